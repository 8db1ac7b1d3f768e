//! `loadtest echo`: an echo for RTP, to measure a network path or this machine without SIP.

use std::io;
use std::net::SocketAddr;

use super::{Exit, Failure, say};
use crate::echo::EchoServer;
use crate::net::signals::Signals;
use crate::values::Lanes;

#[derive(Debug, clap::Args)]
#[command(after_long_help = "Example:\n  loadtest echo --listen 0.0.0.0:4000      on one machine\n  \
    loadtest ping 192.0.2.7:4000             on the other\n\n\
    Answers RTP only, never with more than came in, and never an echo's answer.")]
pub struct Args {
    /// Address to listen on; port 0 takes any free one.
    #[arg(long, default_value = "127.0.0.1:4000", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// Lanes that answer, each a thread: a number from 1 to 64, or auto, one less than CPUs.
    #[arg(long, default_value = "1", value_name = "LANES")]
    lanes: Lanes,
    /// Print nothing but warnings and errors.
    #[arg(long, short)]
    quiet: bool,
}

/// Runs the subcommand until SIGTERM or Ctrl-C.
pub async fn run(args: Args) -> Result<Exit, Failure> {
    let mut signals = Signals::to_end()?;
    let cpus = std::thread::available_parallelism().map_or(1, |n| n.get() as u32);
    let echo = EchoServer::with_lanes(args.listen, args.lanes.count(cpus, u32::MAX))
        .map_err(|error| refused(args.listen, &error))?;
    let address = echo.local_addr();
    if !address.ip().to_canonical().is_loopback() {
        say::err(format_args!("warning: {address} is not a loopback address: whoever reaches it is echoed"));
    }
    let (granted, wanted) = echo.receive_buffer();
    if granted < wanted {
        say::err(format_args!(
            "warning: the kernel grants a receive buffer of {} KiB, {} are wanted: many streams at once may lose \
             packets here; type: sudo sysctl net.core.rmem_max={wanted}",
            granted / 1024,
            wanted / 1024
        ));
    }
    if !args.quiet {
        say::out(format_args!("echo listens on {address}; Ctrl-C stops it"));
    }
    signals.next().await;
    let counts = echo.stop();
    if !args.quiet {
        say::out(counts);
    }
    Ok(Exit::Pass)
}

fn refused(listen: SocketAddr, error: &io::Error) -> Failure {
    let cure = match error.kind() {
        io::ErrorKind::AddrInUse => "; name another port with --listen",
        io::ErrorKind::AddrNotAvailable => "; name an address of this machine with --listen",
        _ => "",
    };
    Failure::broke(format!("cannot listen on {listen}: {error}{cure}"))
}
