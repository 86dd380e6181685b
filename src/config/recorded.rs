//! Which files a configuration was read from, and what was in them.

use std::cell::RefCell;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use ring::digest::{Context, SHA256};

use super::machine::{Machine, ThisMachine};
use crate::corefile::Files;

/// What was read of files: two are equal if nothing has changed between them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fingerprint(Vec<u8>);

impl Fingerprint {
    /// That of these files, each in whole.
    pub fn of(files: &[PathBuf]) -> Self {
        let machine = Recorded::new(&ThisMachine);
        for file in files {
            // What cannot be read is a state as well.
            let _ = machine.read(file);
        }
        machine.fingerprint()
    }
}

/// Another machine, and what is read of its files.
pub(super) struct Recorded<'m> {
    machine: &'m dyn Machine,
    digest: RefCell<Context>,
}

impl<'m> Recorded<'m> {
    pub(super) fn new(machine: &'m dyn Machine) -> Self {
        Self { machine, digest: RefCell::new(Context::new(&SHA256)) }
    }

    pub(super) fn fingerprint(self) -> Fingerprint {
        Fingerprint(self.digest.into_inner().finish().as_ref().to_vec())
    }

    /// Files are told apart by their names and lengths: what ends one never begins the next.
    fn note(&self, path: &Path, read: &io::Result<Vec<u8>>) {
        let mut digest = self.digest.borrow_mut();
        let mut part = |octets: &[u8]| {
            digest.update(&(octets.len() as u64).to_be_bytes());
            digest.update(octets);
        };
        part(path.as_os_str().as_encoded_bytes());
        match read {
            Ok(octets) => part(octets),
            Err(error) => part(error.kind().to_string().as_bytes()),
        }
    }
}

impl Files for Recorded<'_> {
    fn matching(&self, pattern: &str) -> Result<Vec<PathBuf>, String> {
        self.machine.matching(pattern)
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let read = self.machine.read(path);
        self.note(path, &read);
        read
    }
}

impl Machine for Recorded<'_> {
    fn variable(&self, name: &str) -> Option<String> {
        self.machine.variable(name)
    }

    fn interfaces(&self) -> io::Result<Vec<(String, IpAddr)>> {
        self.machine.interfaces()
    }

    fn host_name(&self) -> String {
        self.machine.host_name()
    }
}
