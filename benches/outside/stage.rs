//! Both servers with the Corefile that kubeadm gives CoreDNS, but for addresses.

use crate::server::Server;
use crate::subject::Subject;
use crate::support::kube::{ControlPlane, Options};
use crate::support::{peers, ports};
use crate::{arguments::Arguments, internet};
use std::path::PathBuf;

const COREFILE: &str = "
. {
    bind 127.0.0.1
    errors
    health 127.0.0.1:{health} {
       lameduck 5s
    }
    ready 127.0.0.1:{ready}
    kubernetes cluster.local in-addr.arpa ip6.arpa {
       kubeconfig {kubeconfig}
       pods insecure
       fallthrough in-addr.arpa ip6.arpa
       ttl 30
    }
    prometheus 127.0.0.1:{metrics}
    forward . {upstream} {
       max_concurrent 1000
    }
    cache 30 {
       disable success cluster.local
       disable denial cluster.local
    }
    loop
    reload
    loadbalance
}
";

/// What both need.
pub(crate) struct Stage {
    plane: ControlPlane,
    internet: Server,
    podzone: PathBuf,
    core: usize,
}

impl Stage {
    pub(crate) fn start(arguments: &Arguments) -> Self {
        Self {
            plane: ControlPlane::start(Options::default()),
            internet: internet::start(arguments.client_core),
            podzone: arguments.podzone(),
            core: arguments.server_core,
        }
    }

    /// Starts a server on its core, and waits until it answers.
    pub(crate) fn start_server(&self, subject: Subject) -> Server {
        let program = match subject {
            Subject::Podzone => self.podzone.clone(),
            Subject::Coredns => peers::binary("coredns"),
        };
        let mut server = Server::spawn(subject.title(), self.core, |command, folder, port| {
            let fields = [
                ("{health}", ports::free().to_string()),
                ("{ready}", ports::free().to_string()),
                ("{metrics}", ports::free().to_string()),
                ("{kubeconfig}", self.plane.kubeconfig().display().to_string()),
                ("{upstream}", self.internet.addr.to_string()),
            ];
            let text = fields.iter().fold(COREFILE.to_owned(), |text, (field, value)| text.replace(field, value));
            std::fs::write(folder.join("Corefile"), text).expect("a Corefile");
            command.arg(program).args(["-conf", "Corefile", "-dns.port", &port.to_string()]);
            // As many as it may use; Go would find that out by itself. The other program does not know it.
            command.env("GOMAXPROCS", "1");
        });
        // Of what the cluster has in any case, and of what the upstream has.
        server.wait_until_known(vec![
            (crate::support::dns::Query::new(&internet::name(0), crate::support::dns::A), "198.18.0.1".to_owned()),
            (
                crate::support::dns::Query::new("kubernetes.default.svc.cluster.local", crate::support::dns::A),
                "10.96.0.1".to_owned(),
            ),
        ]);
        server
    }
}
