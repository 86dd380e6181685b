//! Where the peers' binaries are.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The binary of a peer: `coredns`, `etcd`, `helm`, `kube-apiserver`, `kube-controller-manager`, `kubectl`, `kwok`, `nsd`,
/// `knot` or `promlint`; for the benchmark, `nsd-recvmmsg`.
///
/// Looked for in the folder `PODZONE_PEERS`, else where `tests/peers/install` puts it. A missing peer fails the
/// test: a test that is skipped in silence proves nothing.
pub fn binary(name: &str) -> PathBuf {
    let path = path(name);
    assert!(path.is_file(), "the peer {name} is not at {}: run `make setup` (tests/peers/install)", path.display());
    path
}

/// Where the binary of a peer is, if it is there.
pub fn path(name: &str) -> PathBuf {
    match std::env::var_os("PODZONE_PEERS") {
        Some(folder) => Path::new(&folder).join(name),
        None => installed(name),
    }
}

fn installed(name: &str) -> PathBuf {
    static WHERE: OnceLock<String> = OnceLock::new();
    let listing = WHERE.get_or_init(|| {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/install");
        let output = Command::new(&script)
            .arg("--where")
            .output()
            .unwrap_or_else(|error| panic!("{} --where: {error}", script.display()));
        assert!(output.status.success(), "{} --where: {}", script.display(), String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("paths in UTF-8")
    });
    listing
        .lines()
        .filter_map(|line| line.split_once('\t'))
        .find(|(known, _)| *known == name)
        .map_or_else(|| panic!("tests/peers/install knows no peer {name}"), |(_, path)| PathBuf::from(path))
}
