//! An ARI account that may only read: named with its cure before a call is lost to it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};

use crate::harness::{Place, ends_with, stderr};

/// An Asterisk that lets everybody read, and answers everything else as it does for `read_only = yes`.
fn asterisk() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || serve(stream));
        }
    });
    address
}

fn serve(mut stream: TcpStream) {
    let mut lines = BufReader::new(stream.try_clone().expect("a second handle")).lines();
    while let Some(Ok(first)) = lines.next() {
        if lines.by_ref().map_while(Result::ok).any(|line| line.is_empty()) {
            let (status, body) = match first.split(' ').next() {
                Some("GET") if first.contains("/applications/") => ("404 Not Found", "{}"),
                Some("GET") => ("200 OK", "[]"),
                _ => ("403 Forbidden", r#"{"message":"Write access denied"}"#),
            };
            let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            if stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    }
}

#[test]
fn an_account_that_may_only_read_is_named_with_its_cure_by_check_run_and_service() {
    let (place, asterisk) = (Place::new(), asterisk());
    let ari = format!("asterisk.ari=http://{asterisk}");
    let set = ["asterisk.mode=external", "asterisk.sip=127.0.0.1:9", &ari];
    let cured = |said: &str| {
        let is_named = said.contains("lets user `reader` read and not write");
        assert!(is_named && said.contains("read_only = no"), "{said}");
    };
    for mut command in [place.check("smoke", &set), place.run("smoke", &set)] {
        command.envs([("ARI_USER", "reader"), ("ARI_PASS", "x")]);
        cured(&stderr(&ends_with(&mut command, 2)));
    }
    let mut service = place.program();
    service.args(["service", "--http", "127.0.0.1:0", "--user", "reader", "--ari-url"]);
    service.arg(format!("http://{asterisk}")).env("ARI_PASS", "x");
    let said = stderr(&ends_with(&mut service, 1));
    cured(&said);
    // Who only looks on needs no more.
    let mut onlooker = place.check("smoke", &[&set[..], &["service.mode=external"]].concat());
    onlooker.envs([("ARI_USER", "reader"), ("ARI_PASS", "x")]);
    let said = stderr(&ends_with(&mut onlooker, 2));
    assert!(said.contains("does not list the application") && !said.contains("read_only"), "{said}");
    place.assert_nothing_left();
}
