//! What a Corefile's meaning depends on beside its text.

use std::io;
use std::net::IpAddr;

/// The environment and the interfaces of the machine that a Corefile is read for.
pub trait Machine {
    /// The value of an environment variable.
    fn variable(&self, name: &str) -> Option<String>;

    /// The addresses of all network interfaces, each with its interface's name.
    ///
    /// # Errors
    /// If the system does not tell.
    fn interfaces(&self) -> io::Result<Vec<(String, IpAddr)>>;
}

/// The machine that this process runs on.
#[derive(Clone, Copy, Debug, Default)]
pub struct ThisMachine;

impl Machine for ThisMachine {
    fn variable(&self, name: &str) -> Option<String> {
        std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
    }

    fn interfaces(&self) -> io::Result<Vec<(String, IpAddr)>> {
        let addresses = nix::ifaddrs::getifaddrs()?.filter_map(|interface| {
            let address = interface.address?;
            let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
            let ip = v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))?;
            Some((interface.interface_name, ip))
        });
        Ok(addresses.collect())
    }
}
