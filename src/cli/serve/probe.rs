//! Asks a server whether it is ready: for health checks of containers that hold nothing but this program.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

/// Whoever takes longer is not well.
const LIMIT: Duration = Duration::from_secs(3);

/// Whether the server on this machine at a port answers and will go on doing so.
pub fn is_ready(port: u16) -> bool {
    ask(port).is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
}

fn ask(port: u16) -> std::io::Result<String> {
    let address = ("127.0.0.1", port).to_socket_addrs()?.next().ok_or(std::io::ErrorKind::NotFound)?;
    let mut stream = TcpStream::connect_timeout(&address, LIMIT)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.write_all(b"GET /ready HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
    let mut start = [0; 12];
    stream.read_exact(&mut start)?;
    Ok(String::from_utf8_lossy(&start).into_owned())
}
