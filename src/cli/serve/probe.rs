//! Asks a server whether it is ready: for health checks of containers that hold nothing but this program.

use std::io::{Read, Write};
use std::net::{IpAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

/// Whoever takes longer is not well.
const LIMIT: Duration = Duration::from_secs(3);

/// Whether the server of this machine that listens there answers and will go on doing so.
pub fn is_ready(host: &str, port: u16) -> bool {
    ask(reached_at(host), port).is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
}

/// Who listens on every address is asked at one of them.
fn reached_at(host: &str) -> &str {
    let bare = host.trim_matches(['[', ']']);
    match bare.parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) if address.is_unspecified() => "127.0.0.1",
        Ok(IpAddr::V6(address)) if address.is_unspecified() => "::1",
        _ => bare,
    }
}

fn ask(host: &str, port: u16) -> std::io::Result<String> {
    let address = (host, port).to_socket_addrs()?.next().ok_or(std::io::ErrorKind::NotFound)?;
    let mut stream = TcpStream::connect_timeout(&address, LIMIT)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.write_all(b"GET /ready HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
    let mut start = [0; 12];
    stream.read_exact(&mut start)?;
    Ok(String::from_utf8_lossy(&start).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_asked_where_it_listens() {
        for (host, at) in [
            ("0.0.0.0", "127.0.0.1"),
            ("::", "::1"),
            ("[::]", "::1"),
            ("10.1.2.3", "10.1.2.3"),
            ("localhost", "localhost"),
        ] {
            assert_eq!(reached_at(host), at);
        }
    }
}
