//! How Erlang nodes are run that find their peers by `discovery.erl`, and what they say.

use super::support::namespace::Host;
use super::support::process::Process;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

/// The options of a node that is called what its host says of itself. Without `connect_all` every connection owes to an
/// answer of the DNS. By default a node's peers are connected to it too, and it is expelled when one of them cannot: here
/// nodes may join before their names resolve.
pub(crate) const MEMBER: &str = r#"-name "beam@$(hostname -f)" -setcookie podzone -connect_all false"#;

/// What a node knew after one look.
#[derive(Clone, Debug, Default)]
pub(crate) struct Look {
    /// The time in milliseconds.
    pub(crate) at: u64,
    /// How long the answer took, in milliseconds.
    pub(crate) took: u64,
    pub(crate) targets: BTreeSet<String>,
    pub(crate) connected: BTreeSet<String>,
}

/// Compiles what nodes run into this folder.
pub(crate) fn compile(folder: &Path) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/erlang/discovery.erl");
    let output = Command::new("erlc").arg("-o").args([folder, &source]).output();
    let output = output.expect("erlc: run `make setup` (tests/peers/install)");
    assert!(output.status.success(), "erlc: {output:?}");
}

/// Erlang on this host, with what was compiled into this folder, and with options in the shell's words.
pub(crate) fn erl(host: &Host, folder: &Path, options: &str) -> Command {
    let mut command = host.command("sh");
    // One scheduler a node: the machine has few cores.
    let script = format!("exec erl -noinput -noshell +S 1 {options} \"$@\"");
    command.args(["-c", &script, "erl", "-pa"]).arg(folder);
    // Not the start-up file and the cookie of whoever runs the tests.
    command.env("HOME", folder);
    command
}

/// The lines of a node's log, each split into words.
pub(crate) fn lines(node: &Process) -> Vec<Vec<String>> {
    let mut log = node.log();
    // The last line may be half written.
    log.truncate(log.rfind('\n').map_or(0, |end| end + 1));
    log.lines().map(|line| line.split(' ').map(str::to_owned).collect()).collect()
}

/// All looks of a node.
pub(crate) fn looks(node: &Process) -> Vec<Look> {
    let names = |list: &str| match list {
        "-" => BTreeSet::new(),
        list => list.split(',').map(str::to_owned).collect(),
    };
    let mut looks = Vec::new();
    let mut state = Look::default();
    for line in lines(node) {
        match line.get(1).map(String::as_str) {
            Some("targets") => state.targets = names(&line[2]),
            Some("connected") => state.connected = names(&line[2]),
            Some("look") => {
                looks.push(Look { at: line[0].parse().unwrap(), took: line[2].parse().unwrap(), ..state.clone() });
            }
            _ => {}
        }
    }
    looks
}

/// What the node of a pod is called.
pub(crate) fn beam(fqdn: &str) -> String {
    format!("beam@{fqdn}")
}

/// The time in milliseconds, as the nodes print it.
pub(crate) fn now() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}
