//! What a Corefile's meaning depends on beside its text.

use std::io::{self, Read as _};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use crate::corefile::{BYTES_MAX, Files};

/// The environment, the interfaces and the files of the machine that a Corefile is read for.
pub trait Machine: Files {
    /// The value of an environment variable.
    fn variable(&self, name: &str) -> Option<String>;

    /// The addresses of all network interfaces, each with its interface's name.
    ///
    /// # Errors
    /// If the system does not tell.
    fn interfaces(&self) -> io::Result<Vec<(String, IpAddr)>>;

    /// The host's name; `localhost` if it has none that can be told.
    fn host_name(&self) -> String {
        "localhost".into()
    }
}

/// The machine that this process runs on.
#[derive(Clone, Copy, Debug, Default)]
pub struct ThisMachine;

impl Files for ThisMachine {
    fn matching(&self, pattern: &str) -> Result<Vec<PathBuf>, String> {
        let paths = glob::glob(pattern).map_err(|error| error.msg.to_owned())?;
        // A folder that may not be looked into has no files, as in Go's `filepath.Glob`.
        Ok(paths.filter_map(Result::ok).collect())
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        std::fs::File::open(path)?.take(BYTES_MAX + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

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

    fn host_name(&self) -> String {
        nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_else(|| "localhost".into())
    }
}
