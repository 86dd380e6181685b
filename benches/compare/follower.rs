//! A server that reads a Corefile and follows the API server: podzone or CoreDNS, told the same.

use std::path::Path;
use std::process::Command;

pub(crate) struct Follower<'p> {
    pub(crate) program: &'p Path,
    pub(crate) kubeconfig: &'p Path,
    /// Whether it knows pods by their addresses, and so watches them.
    pub(crate) pods_verified: bool,
}

impl Follower<'_> {
    /// Adds the program and its arguments to a command; its Corefile goes into a folder.
    pub(crate) fn complete(&self, command: &mut Command, folder: &Path, port: u16) {
        let corefile = folder.join("Corefile");
        let pods = if self.pods_verified { "\n        pods verified" } else { "" };
        let text = format!(
            "cluster.local in-addr.arpa ip6.arpa {{
    bind 127.0.0.1
    kubernetes cluster.local in-addr.arpa ip6.arpa {{
        kubeconfig {}
        endpoint_pod_names{pods}
    }}
}}
",
            self.kubeconfig.display()
        );
        std::fs::write(&corefile, text).expect("a Corefile");
        command.arg(self.program).arg("-conf").arg(&corefile).args(["-dns.port", &port.to_string()]);
    }
}
