//! Free ports on loopback.

use std::collections::HashSet;
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, UdpSocket};
use std::sync::Mutex;

// Below Linux's range of ephemeral ports, so that no outgoing connection takes a port between the choice and its use.
const LOWEST: u16 = 12_000;
const HIGHEST: u16 = 32_000;

/// A port that is free now for UDP and TCP on 127.0.0.1 and ::1, and that this process has not given out before.
pub fn free() -> u16 {
    static GIVEN: Mutex<Option<HashSet<u16>>> = Mutex::new(None);
    let mut given = GIVEN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let given = given.get_or_insert_with(HashSet::new);
    for _ in 0..1000 {
        let port = rand::random_range(LOWEST..HIGHEST);
        if !given.contains(&port) && is_free(port) {
            given.insert(port);
            return port;
        }
    }
    panic!("no free port on loopback");
}

fn is_free(port: u16) -> bool {
    let v4 = (Ipv4Addr::LOCALHOST, port);
    let v6 = (Ipv6Addr::LOCALHOST, port);
    // A machine without IPv6 has nothing to collide with there.
    let v6_free = UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).is_err()
        || (UdpSocket::bind(v6).is_ok() && TcpListener::bind(v6).is_ok());
    UdpSocket::bind(v4).is_ok() && TcpListener::bind(v4).is_ok() && v6_free
}
