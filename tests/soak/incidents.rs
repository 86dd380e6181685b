//! What happens to the API server.

use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use super::gate::Gate;
use super::support::kube::ControlPlane;
use super::support::server::Server;
use super::support::wait_for;

/// The longest wait of a source between attempts is 30 s.
const RECOVERS_WITHIN: Duration = Duration::from_secs(90);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Incident {
    /// Nothing but changes.
    Calm,
    /// The API server crashes and comes back.
    Restart,
    /// podzone cannot reach it for a while in which everything changes, and then what it asks to go on from is
    /// forgotten: each kind's watch is answered with 410, and what changed is to be found by a list.
    Forgotten,
    /// podzone cannot reach it for a while.
    Away,
    /// It takes requests, and answers none for a while.
    Stall,
}

impl Incident {
    pub(crate) const ALL: [Self; 5] = [Self::Calm, Self::Restart, Self::Forgotten, Self::Away, Self::Stall];
}

/// The API server, and what has happened to it.
pub(crate) struct Incidents {
    plane: ControlPlane,
    gate: Gate,
    pub(crate) restarts: usize,
    pub(crate) shut: usize,
    pub(crate) stalls: usize,
    /// Watches of podzone's that were answered with 410.
    pub(crate) expired: usize,
}

impl Incidents {
    pub(crate) fn new(plane: ControlPlane) -> Self {
        let gate = Gate::to(port(&plane.url()));
        Self { plane, gate, restarts: 0, shut: 0, stalls: 0, expired: 0 }
    }

    /// The way through the gate.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        let text = std::fs::read_to_string(self.plane.kubeconfig()).expect("a kubeconfig");
        let path = self.plane.folder().join("gate.kubeconfig");
        let through = format!("https://127.0.0.1:{}", self.gate.port);
        std::fs::write(&path, text.replace(&self.plane.url(), &through)).expect("a kubeconfig");
        path
    }

    /// Lets it happen while others change the cluster.
    pub(crate) fn happens(&mut self, incident: Incident, server: &Server) {
        let pause = |seconds| thread::sleep(Duration::from_secs(seconds));
        pause(3);
        match incident {
            Incident::Calm => pause(6),
            Incident::Restart => {
                self.restarts += 1;
                self.plane.stop_api();
                pause(1);
                self.plane.start_api();
            }
            Incident::Forgotten => {
                self.shut += 1;
                self.restarts += 1;
                let before = expired(server);
                self.gate.shut();
                pause(4);
                self.plane.stop_api();
                self.plane.forget_history();
                self.plane.start_api();
                pause(1);
                self.gate.open();
                // Namespaces, Services and EndpointSlices.
                wait_for("each kind's watch is answered with 410", RECOVERS_WITHIN, || {
                    match expired(server) - before {
                        count if count >= 3 => Ok(()),
                        count => Err(format!("{count} of them\n{}", server.log())),
                    }
                });
            }
            Incident::Away => {
                self.shut += 1;
                self.gate.shut();
                pause(3);
                self.gate.open();
            }
            Incident::Stall => {
                self.stalls += 1;
                self.plane.api().signal("STOP");
                pause(3);
                self.plane.api().signal("CONT");
            }
        }
        pause(3);
        self.expired = expired(server);
    }
}

fn port(url: &str) -> u16 {
    url.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a URL with a port")
}

fn expired(server: &Server) -> usize {
    server.log().lines().filter(|line| line.contains("is too far behind, listing again: 410")).count()
}
