//! The measuring half of `make bench`; `run.sh` decides what runs when.
//!
//! `grid` stands outside of what it judges: it shares no code with loadtest. The minimal loop and the bare
//! sender take packets and clock from it.

mod floor;
mod grid;
mod media;
mod roundtrip;
mod table;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

#[derive(Parser)]
#[command(name = "peers")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Starts a sender of RTP streams, and measures how well it keeps its interval and its CPU time.
    Grid {
        /// The address that the streams come to.
        #[arg(long)]
        listen: SocketAddr,
        /// Number of streams to wait for.
        #[arg(long)]
        streams: usize,
        /// Seconds to measure once they are there.
        #[arg(long)]
        seconds: u64,
        /// Send every packet back as it is.
        #[arg(long)]
        echo: bool,
        /// The sender reads what comes back, so that this is part of its work.
        #[arg(long)]
        reads: bool,
        /// The sender.
        #[arg(last = true, required = true)]
        sender: Vec<String>,
    },
    /// The least that paces streams: one thread that waits and sends.
    Send {
        #[arg(long)]
        to: SocketAddr,
        #[arg(long)]
        streams: usize,
        #[arg(long)]
        seconds: u64,
    },
    /// CPU a packet of our media lanes, beside a bare sender and a bare reader on the same sockets.
    Media {
        #[arg(long)]
        streams: u32,
        #[arg(long, default_value_t = 1)]
        lanes: u32,
        #[arg(long)]
        seconds: u64,
        /// The bare pair goes first.
        #[arg(long)]
        bare_first: bool,
    },
    /// The least that measures a round trip: one thread that waits, sends, and waits for the answer.
    Roundtrip {
        /// An echo of RTP.
        #[arg(long)]
        to: SocketAddr,
        #[arg(long)]
        seconds: u64,
        /// Take the kernel's receive stamp for the end, not the time after the call.
        #[arg(long)]
        kernel: bool,
    },
    /// The round trips of an irtt client's JSON file.
    Irtt { file: PathBuf },
    /// The tables of a folder of results, as Markdown.
    Table { folder: PathBuf },
}

fn main() -> ExitCode {
    let ms = Duration::from_millis;
    let done = match Cli::parse().command {
        Command::Grid { listen, streams, seconds, echo, reads, sender } => {
            grid::measure(listen, streams, ms(1000 * seconds), echo, reads, &sender)
                .map(|figures| println!("{figures}"))
        }
        Command::Send { to, streams, seconds } => floor::send(to, streams, seconds),
        Command::Media { streams, lanes, seconds, bare_first } => {
            media::measure(streams, lanes, seconds, bare_first).map(|figures| println!("{figures}"))
        }
        Command::Roundtrip { to, seconds, kernel } => {
            roundtrip::measure(to, seconds * 50, ms(20), kernel).map(|figures| println!("{figures}"))
        }
        Command::Irtt { file } => roundtrip::of_irtt(&file).map(|figures| println!("{figures}")),
        Command::Table { folder } => table::write(&folder).map(|text| print!("{text}")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("peers: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The `p`th quantile (0–1) of sorted values, by the nearest rank.
fn quantile<T: Copy>(sorted: &[T], p: f64) -> Option<T> {
    let rank = (p * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied()
}
