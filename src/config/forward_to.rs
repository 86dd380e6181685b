//! The upstreams of `forward`: addresses, files in the form of resolv.conf, and names of hosts
//! (plugin/pkg/parse/host.go, plugin/forward/resolve.go).

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use rustls::pki_types::ServerName;

use super::forward::Forward;
use super::machine::Machine;
use super::reader::Reader;
use super::report::Report;
use super::zone;
use crate::corefile::Token;

const PORT_DEFAULT: u16 = 53;
/// Of DNS over TLS (RFC 7858 section 3.1).
const TLS_PORT_DEFAULT: u16 = 853;

/// Schemes of upstreams that only CoreDNS serves.
const SCHEMES_NOT_SERVED: [&str; 1] = ["https"];
/// Schemes that CoreDNS knows and refuses here, with the port that it names in its refusal.
const SCHEMES_REFUSED: [(&str, &str); 3] = [("quic", ":853"), ("grpc", ":443"), ("unix", "")];
/// The most words that name upstreams (plugin/forward/setup.go, max).
const TO_MAX: usize = 15;

/// An upstream as the Corefile has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwardTo {
    /// Where it is.
    pub host: ForwardHost,
    /// Its port.
    pub port: u16,
    /// `tls://`: it is asked over TLS.
    pub tls: bool,
    /// The name that its certificate must have, behind a percent sign or as `tls_servername` says; without one it must
    /// have the name of the host, or the address.
    pub server_name: Option<String>,
}

/// Where an upstream is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ForwardHost {
    /// At an address.
    Address(IpAddr),
    /// At the addresses that this name has when serving begins.
    Name(String),
}

impl fmt::Display for ForwardTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.tls {
            write!(f, "tls://")?;
        }
        match &self.host {
            ForwardHost::Address(address) => write!(f, "{}", SocketAddr::new(*address, self.port))?,
            ForwardHost::Name(name) => write!(f, "{name}:{}", self.port)?,
        }
        self.server_name.as_ref().map_or(Ok(()), |name| write!(f, " as {name}"))
    }
}

/// What a word says, before it is checked whether that fits the rest.
enum Said {
    /// An upstream, with the name behind its percent sign.
    Upstream(ForwardTo, Option<String>),
    /// What a file holds.
    File(Vec<IpAddr>),
    /// A transport that is none of `forward`, in the words of the refusal.
    Refused(String),
    /// A transport that podzone does not ask over.
    NotServed(&'static str),
}

/// Reads the words behind FROM.
pub(super) fn check(
    forward: &mut Forward,
    words: &[Token],
    server_name: Option<&str>,
    (reader, machine): (&Reader<'_>, &dyn Machine),
    report: &mut Report,
) {
    // CoreDNS reads all of them before it looks at what they say.
    let mut said = Vec::new();
    for word in words {
        match read(&word.text, machine) {
            Ok(it) => said.push((word, it)),
            Err((message, hint)) => report.error(reader.bare_error(word, message).hint(hint)),
        }
    }
    let mut entries = 0;
    for (word, said) in said {
        entries += usize::from(!matches!(&said, Said::File(servers) if servers.is_empty()));
        if entries == TO_MAX + 1 {
            report.error(reader.bare_error(word, format_args!("more than {TO_MAX} TOs configured: {}", words.len())));
        }
        match said {
            Said::Refused(message) => report.error(reader.bare_error(word, message)),
            Said::NotServed(scheme) => report.not_served(word, format_args!("an upstream over {scheme}://")),
            Said::File(servers) => {
                if servers.is_empty() {
                    report.warn(word, format_args!("{} names no name server", word.text));
                }
                for server in servers {
                    forward.add(ForwardTo::plain(ForwardHost::Address(server), PORT_DEFAULT));
                }
            }
            Said::Upstream(to, own) if !to.tls => {
                if own.is_some() {
                    let message = format_args!("not an IP address, file, or valid domain: {:?}", word.text);
                    let hint = "a name behind a percent sign is for tls:// upstreams; interfaces cannot be said";
                    report.error(reader.bare_error(word, message).hint(hint));
                }
                forward.add(to);
            }
            Said::Upstream(to, own) => {
                if let (Some(all), Some(own)) = (server_name, &own) {
                    let message = format_args!(
                        "both forward ('{all}') and proxy level ('{own}') TLS servernames are set for upstream proxy \
                         '{to}'"
                    );
                    report.error(reader.bare_error(word, message).hint("remove one of them"));
                }
                if let Some(own) = &own {
                    check_server_name(word, own, reader, report);
                }
                let server_name = own.or_else(|| server_name.map(str::to_owned));
                forward.add(ForwardTo { server_name, ..to });
            }
        }
    }
}

/// Refuses a name that no certificate can have.
pub(super) fn check_server_name(word: &Token, name: &str, reader: &Reader<'_>, report: &mut Report) {
    if ServerName::try_from(name).is_err() {
        let error = reader.bare_error(word, format_args!("not the name of a TLS server: {name}"));
        report.error(error.hint("it is a host's name, or an address, that the certificate has"));
    }
}

/// What is wrong with a word, and how to mend it.
type Wrong = (String, &'static str);

const HOST_FORM: &str = "TO is an address, with :PORT or without, a host's name, or a file like /etc/resolv.conf";

fn read(text: &str, machine: &dyn Machine) -> Result<Said, Wrong> {
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, rest)) if is_scheme(scheme) => (scheme, rest),
        _ => ("dns", text),
    };
    if rest.is_empty() {
        return Err((format!("invalid address: {text:?}"), HOST_FORM));
    }
    if let Some((known, port)) = SCHEMES_REFUSED.iter().find(|(known, _)| *known == scheme) {
        let port = if rest.parse::<IpAddr>().is_ok() { port } else { "" };
        let message = format!("'{known}' is not supported as a destination protocol in forward: {text}{port}");
        return Ok(Said::Refused(message));
    }
    if let Some(known) = SCHEMES_NOT_SERVED.into_iter().find(|known| *known == scheme) {
        return Ok(Said::NotServed(known));
    }
    let tls = scheme == "tls";
    let default_port = if tls { TLS_PORT_DEFAULT } else { PORT_DEFAULT };
    let (host, port) = match split_host_port(rest) {
        Some((host, port)) => (host, Some(port)),
        None => (rest.trim_matches(['[', ']']), None),
    };
    let (bare, server_name) = host.rsplit_once('%').map_or((host, None), |(bare, name)| (bare, Some(name)));
    let server_name = server_name.filter(|name| !name.is_empty()).map(str::to_owned);
    let number = |port: Option<&str>| match port {
        None => Ok(default_port),
        Some(port) => port.parse().map_err(|_| (format!("not a port: {port}"), "ports are numbers, 0 to 65535")),
    };
    if let Ok(address) = bare.parse::<IpAddr>() {
        let to = ForwardTo { tls, ..ForwardTo::plain(ForwardHost::Address(address), number(port)?) };
        return Ok(Said::Upstream(to, server_name));
    }
    let refuse = |hint| Err((format!("not an IP address, file, or valid domain: {text:?}"), hint));
    match machine.read(Path::new(rest)) {
        // CoreDNS asks what such a file names over UDP and TCP, whatever the scheme says.
        Ok(_) if tls => refuse("a file's servers are asked without TLS: write it without tls://, or addresses with it"),
        Ok(content) => Ok(Said::File(name_servers(&String::from_utf8_lossy(&content)))),
        Err(error) if error.kind() != io::ErrorKind::NotFound => refuse("the file cannot be read"),
        Err(_) if is_host(bare) => {
            let to = ForwardTo { tls, ..ForwardTo::plain(ForwardHost::Name(bare.to_owned()), number(port)?) };
            Ok(Said::Upstream(to, server_name))
        }
        Err(_) => refuse(HOST_FORM),
    }
}

fn is_scheme(text: &str) -> bool {
    ["dns", "tls"].contains(&text)
        || SCHEMES_NOT_SERVED.contains(&text)
        || SCHEMES_REFUSED.iter().any(|(known, _)| *known == text)
}

/// Host and port, as Go's net.SplitHostPort parts them.
fn split_host_port(text: &str) -> Option<(&str, &str)> {
    let (host, port) = text.rsplit_once(':')?;
    let host = match host.strip_prefix('[') {
        Some(host) => host.strip_suffix(']')?,
        None if host.contains(':') => return None,
        None => host,
    };
    (!host.contains(['[', ']']) && !port.contains(['[', ']'])).then_some((host, port))
}

/// Whether a word may be a host's name, rather than a file that is not there.
fn is_host(name: &str) -> bool {
    !name.is_empty() && !name.contains(['/', ':']) && zone::parse(name).is_ok()
}

/// The `nameserver` lines of resolv.conf(5).
fn name_servers(content: &str) -> Vec<IpAddr> {
    let address = |line: &str| {
        let mut words = line.split_whitespace();
        let address = words.next().filter(|word| *word == "nameserver").and_then(|_| words.next())?;
        // A zone (fe80::1%eth0) cannot be kept; CoreDNS drops it too.
        let address = address.split_once('%').map_or(address, |(address, _)| address);
        address.parse::<IpAddr>().ok()
    };
    content.lines().filter_map(address).collect()
}

impl ForwardTo {
    fn plain(host: ForwardHost, port: u16) -> Self {
        Self { host, port, tls: false, server_name: None }
    }
}

impl Forward {
    /// Adds an upstream, unless one is there at the same address and port: the first decides how it is asked.
    fn add(&mut self, to: ForwardTo) {
        if !self.to.iter().any(|known| (&known.host, known.port) == (&to.host, to.port)) {
            self.to.push(to);
        }
    }
}
