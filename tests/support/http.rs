//! What little of HTTP/1 a server of a test's own needs.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;

/// Reads a request's head and gives its path.
pub fn request(stream: &TcpStream) -> Option<String> {
    let mut path = None;
    for line in BufReader::new(stream).lines() {
        let line = line.ok()?;
        if line.is_empty() {
            return path;
        }
        path = path.or_else(|| line.split(' ').nth(1).map(str::to_owned));
    }
    None
}

/// Answers, and says that it is the last answer on the connection. Of a body that is cut, so many octets are sent.
pub fn reply(mut stream: &TcpStream, status: &str, content: &str, body: &str, cut: Option<usize>) {
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\nContent-Type: {content}\r\nContent-Length: {length}\r\n");
    // A client that is gone needs no answer.
    let _ = stream.write_all(format!("{head}Connection: close\r\n\r\n{}", &body[..cut.unwrap_or(length)]).as_bytes());
}

/// Answers each connection to a port of loopback on a thread of its own, until the test's process ends; the port.
pub fn serve(answer: impl Fn(TcpStream) + Send + Sync + 'static) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let answer = Arc::new(answer);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let answer = Arc::clone(&answer);
            std::thread::spawn(move || answer(stream));
        }
    });
    port
}
