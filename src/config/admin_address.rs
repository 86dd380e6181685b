//! `[HOST]:PORT` of the endpoints beside DNS.

use std::fmt;

use super::reader::Reader;
use super::report::Report;
use crate::corefile::Token;

/// Where an endpoint beside DNS listens over TCP.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AdminAddress {
    /// A name or an address without brackets; empty means all addresses.
    pub host: String,
    /// The port; 0 lets the system choose.
    pub port: u16,
}

impl AdminAddress {
    /// Whether a socket on one leaves none for the other, as far as their words tell.
    pub(super) fn collides(&self, other: &Self) -> bool {
        self.port == other.port && self.port != 0 && (self.host == other.host || self.is_all() || other.is_all())
    }

    /// Whether it stands for all addresses of the machine.
    pub fn is_all(&self) -> bool {
        self.host.is_empty() || self.host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_unspecified())
    }
}

impl fmt::Display for AdminAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// Reads the one argument that a directive may have.
pub(super) fn check(word: &Token, reader: &Reader<'_>, report: &mut Report) -> Option<AdminAddress> {
    let hint = "addresses are written :8080, 127.0.0.1:8080 or [::1]:8080";
    let (host, port) = match split(&word.text) {
        Ok(parts) => parts,
        Err(reason) => {
            let shown = if word.text.is_empty() { String::new() } else { format!("address {}: ", word.text) };
            report.error(reader.bare_error(word, format_args!("{shown}{reason}")).hint(hint));
            return None;
        }
    };
    let Ok(port) = port.parse() else {
        // CoreDNS first looks at the port when it listens there, and then names no plugin.
        let error = crate::corefile::Diagnostic::new(format!("listen tcp: address {port}: invalid port"));
        report.error(error.at(&word.place).hint("ports are 0 to 65535"));
        return None;
    };
    Some(AdminAddress { host: host.to_owned(), port })
}

/// Host and port, split where Go's `net.SplitHostPort` splits them, with its reasons for what it refuses.
fn split(text: &str) -> Result<(&str, &str), &'static str> {
    let (before, port) = text.rsplit_once(':').ok_or("missing port in address")?;
    if let Some(bracketed) = text.strip_prefix('[') {
        let (host, rest) = bracketed.split_once(']').ok_or("missing ']' in address")?;
        return match rest.strip_prefix(':') {
            None => Err("missing port in address"),
            Some(port) if port.contains(':') => Err("too many colons in address"),
            Some(port) => brackets(host, port).map(|()| (host, port)),
        };
    }
    if before.contains(':') {
        return Err("too many colons in address");
    }
    brackets(before, port).map(|()| (before, port))
}

fn brackets(host: &str, port: &str) -> Result<(), &'static str> {
    match (host.contains('[') || port.contains('['), host.contains(']') || port.contains(']')) {
        (true, _) => Err("unexpected '[' in address"),
        (_, true) => Err("unexpected ']' in address"),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_split_as_in_go() {
        let cases = [
            (":8080", Ok(("", "8080"))),
            ("localhost:9153", Ok(("localhost", "9153"))),
            ("[::1]:80", Ok(("::1", "80"))),
            ("", Err("missing port in address")),
            ("127.0.0.1", Err("missing port in address")),
            ("[::1]", Err("missing port in address")),
            ("::1:80", Err("too many colons in address")),
            ("[::1:80", Err("missing ']' in address")),
            ("[::1]:8:0", Err("too many colons in address")),
            ("a[:80", Err("unexpected '[' in address")),
            ("a]:80", Err("unexpected ']' in address")),
        ];
        for (text, expected) in cases {
            assert_eq!(split(text), expected, "{text}");
        }
    }

    #[test]
    fn all_addresses_collide_with_each() {
        let address = |text: &str| {
            let (host, port) = split(text).expect("an address");
            AdminAddress { host: host.into(), port: port.parse().expect("a port") }
        };
        assert!(address(":80").collides(&address("127.0.0.1:80")));
        assert!(address("[::]:80").collides(&address("localhost:80")));
        assert!(!address("127.0.0.1:80").collides(&address("127.0.0.2:80")));
        assert!(!address(":80").collides(&address(":81")));
        assert!(!address(":0").collides(&address(":0")));
        assert_eq!(address("[::1]:80").to_string(), "[::1]:80");
    }
}
