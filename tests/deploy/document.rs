//! The commands of the documents, run as they stand.

use std::process::Command;

use super::cluster::root;
use super::support::kube::ControlPlane;
use super::support::peers;

/// The fenced `sh` blocks below a heading of a document, up to the next heading.
pub(crate) fn blocks(document: &str, heading: &str) -> Vec<String> {
    let text = std::fs::read_to_string(root().join(document)).unwrap();
    let start = text.find(&format!("# {heading}\n")).unwrap_or_else(|| panic!("{document} has no {heading:?}"));
    let section = text[start..].split_once('\n').unwrap().1;
    // A line of a block may begin like a heading: a comment.
    let (mut found, mut open): (Vec<String>, bool) = (Vec::new(), false);
    for line in section.lines() {
        match (open, line) {
            (false, "```sh") => {
                open = true;
                found.push(String::new());
            }
            (true, "```") => open = false,
            (true, line) => found.last_mut().unwrap().extend([line, "\n"]),
            (false, line) if line.starts_with('#') => break,
            _ => {}
        }
    }
    found
}

/// Runs a block on a cluster, from the repository's root, with kubectl and helm; gives what it says.
pub(crate) fn run(plane: &ControlPlane, block: &str) -> String {
    let bin = plane.folder().join("bin");
    std::fs::create_dir_all(&bin).unwrap();
    for name in ["kubectl", "helm"].into_iter().filter(|name| block.contains(name) && !bin.join(name).exists()) {
        std::os::unix::fs::symlink(peers::binary(name), bin.join(name)).unwrap();
    }
    let path = std::env::join_paths([bin].into_iter().chain(std::env::split_paths(&std::env::var_os("PATH").unwrap())));
    let mut command = Command::new("sh");
    command.args(["-ec", block]).env("PATH", path.unwrap()).env("KUBECONFIG", plane.kubeconfig()).current_dir(root());
    // Not the configuration of whoever runs the tests.
    for variable in ["HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"] {
        command.env(variable, plane.folder());
    }
    let output = command.output().expect("sh");
    let [said, beside] = [output.stdout, output.stderr].map(|octets| String::from_utf8(octets).unwrap());
    assert!(output.status.success(), "{block}\n{said}\n{beside}\n{}", plane.logs());
    said
}
