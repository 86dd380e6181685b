//! The way to the API server: a host of the network that passes on what it is sent, so that the way can be cut.

use std::io;
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::thread;

/// Passes connections on to a port of the machine's loopback. Its threads end with the connections, and with the process.
pub(crate) fn pass_on(listener: TcpListener, port: u16) {
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            // Where nobody listens, the client's connection breaks.
            let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else { continue };
            pass(&client, &server);
            pass(&server, &client);
        }
    });
}

fn pass(from: &TcpStream, to: &TcpStream) {
    let (mut from, mut to) = (from.try_clone().expect("a second handle"), to.try_clone().expect("a second handle"));
    thread::spawn(move || {
        let _ = io::copy(&mut from, &mut to);
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
    });
}
