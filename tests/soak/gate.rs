//! The way from podzone to the API server, which can be shut: for podzone the API server is then away, while the cluster
//! goes on changing.

use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::{io, thread};

use super::support::ports;

#[derive(Default)]
struct State {
    is_shut: AtomicBool,
    passing: Mutex<Vec<TcpStream>>,
}

/// Passes on connections; its threads end with the connections, and with the process.
pub(crate) struct Gate {
    pub(crate) port: u16,
    state: Arc<State>,
}

impl Gate {
    /// To a port on loopback.
    pub(crate) fn to(target: u16) -> Self {
        let port = ports::free();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("a free port");
        let state = Arc::new(State::default());
        let passed = Arc::clone(&state);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, target)) else { continue };
                let ends = [&client, &server].map(|end| end.try_clone().expect("a second handle"));
                let mut passing = passed.passing.lock().expect("no thread panics");
                // Those that are closed from both sides are forgotten.
                passing.retain(|stream| stream.peer_addr().is_ok());
                if passed.is_shut.load(Ordering::SeqCst) {
                    continue;
                }
                passing.extend(ends);
                drop(passing);
                pass(&client, &server);
                pass(&server, &client);
            }
        });
        Self { port, state }
    }

    /// Breaks what passes, and lets nothing pass any more.
    pub(crate) fn shut(&self) {
        self.state.is_shut.store(true, Ordering::SeqCst);
        for stream in self.state.passing.lock().expect("no thread panics").drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    pub(crate) fn open(&self) {
        self.state.is_shut.store(false, Ordering::SeqCst);
    }
}

fn pass(from: &TcpStream, to: &TcpStream) {
    let (mut from, mut to) = (from.try_clone().expect("a second handle"), to.try_clone().expect("a second handle"));
    thread::spawn(move || {
        let _ = io::copy(&mut from, &mut to);
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
    });
}
