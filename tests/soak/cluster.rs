//! The cluster of units: written to the API server, changed, and compared with what podzone serves.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use futures::stream::{self, StreamExt};
use kube::Client;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::Value;
use tokio::runtime::Runtime;

use super::ask::{self, Findings, Way};
use super::churn::{self, Change, SLICES};
use super::model::{Kind, Unit};
use super::support::dns::{A, NXDOMAIN, Query, type_text};
use super::support::kube::ControlPlane;
use super::support::wait_for;
use super::write;

/// Units that never change, and those that do; in each, some are large.
const STILL: usize = 60;
const CHANGING: usize = 24;
const PODS: u16 = 8;
const PODS_OF_LARGE: u16 = 320;
const LARGE_OF: u16 = 20;

/// Requests at once when the cluster is made.
const IN_FLIGHT: usize = 16;
/// A unit of which podzone has not followed so many writes is left alone until it has.
const PENDING_MAX: u64 = 10;
const PAUSE: Duration = Duration::from_millis(25);
/// How long podzone may take, behind an API server that is there again: the longest wait between attempts is 30 s.
const CONVERGES_WITHIN: Duration = Duration::from_secs(90);

pub(crate) struct Cluster {
    /// Those that never change first.
    pub(crate) units: Vec<Mutex<Unit>>,
    runtime: Runtime,
    client: Client,
    changes: AtomicU64,
    writes: AtomicU64,
}

fn locked(unit: &Mutex<Unit>) -> MutexGuard<'_, Unit> {
    unit.lock().expect("no thread panics")
}

impl Cluster {
    /// Writes all units.
    pub(crate) fn create(plane: &ControlPlane) -> Self {
        let mut dice = StdRng::seed_from_u64(1);
        let units: Vec<Unit> = (0..(STILL + CHANGING) as u16)
            .map(|number| {
                let pods = if number % LARGE_OF == 1 { PODS_OF_LARGE } else { PODS };
                let kind = match number % 6 {
                    0 => Kind::Alias(0),
                    2 | 3 => Kind::ClusterIp(1),
                    _ => Kind::Headless,
                };
                let slices = (0..SLICES - 1).map(|slice| (slice, churn::a_slice(pods, &mut dice))).collect();
                Unit::new(number, pods, kind, slices)
            })
            .collect();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let client = {
            let _within = runtime.enter();
            plane.client()
        };
        let namespaces = "{apiVersion: v1, kind: Namespace, metadata: {name: soak-0}}\n---\n\
                          {apiVersion: v1, kind: Namespace, metadata: {name: soak-1}}\n---\n\
                          {apiVersion: v1, kind: Namespace, metadata: {name: soak-2}}\n";
        plane.apply(namespaces);
        let writes = units.iter().flat_map(|unit| {
            let services = write::services(unit, None, unit.services.last());
            let slices = write::slices(unit, None, unit.slices.last());
            services.into_iter().chain(slices).chain([write::service_of_marks(unit)])
        });
        let writes: Vec<_> = writes.collect();
        let each = writes.iter().map(|one| write::carry_out(&client, one));
        runtime.block_on(stream::iter(each).buffer_unordered(IN_FLIGHT).collect::<Vec<()>>());
        let units = units.into_iter().map(Mutex::new).collect();
        Self { units, runtime, client, changes: AtomicU64::new(0), writes: AtomicU64::new(0) }
    }

    pub(crate) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Relaxed)
    }

    pub(crate) fn writes(&self) -> u64 {
        self.writes.load(Ordering::Relaxed)
    }

    /// Changes this one's share of the units until it is over.
    pub(crate) fn keep_changing(
        &self,
        changer: usize,
        changers: usize,
        phase: usize,
        server: SocketAddr,
        over: &AtomicBool,
        findings: &Findings,
    ) {
        let mut dice = StdRng::seed_from_u64((phase * changers + changer) as u64);
        let own: Vec<&Mutex<Unit>> = self.units[STILL..].iter().skip(changer).step_by(changers).collect();
        while !over.load(Ordering::Relaxed) {
            let unit = own[dice.random_range(0..own.len())];
            let pending = {
                let unit = locked(unit);
                unit.services.pending() + unit.slices.pending()
            };
            if pending <= PENDING_MAX {
                let change = churn::change(&locked(unit), &mut dice);
                self.changes.fetch_add(1, Ordering::Relaxed);
                self.make(unit, change);
            }
            follow(unit, server, findings);
            thread::sleep(PAUSE);
        }
    }

    fn make(&self, unit: &Mutex<Unit>, change: Change) {
        let carry_out = |writes: Vec<_>| {
            self.writes.fetch_add(writes.len() as u64, Ordering::Relaxed);
            for one in &writes {
                self.runtime.block_on(write::carry_out(&self.client, one));
            }
        };
        // A state is begun before the write is sent, after which podzone may know it at any time.
        match change {
            Change::Services(states) => {
                for state in states {
                    let writes = {
                        let mut unit = locked(unit);
                        let writes = write::services(&unit, Some(unit.services.last()), &state);
                        unit.services.begin(state);
                        writes
                    };
                    carry_out(writes);
                }
            }
            Change::Slices(states) => {
                for state in states {
                    let writes = {
                        let mut unit = locked(unit);
                        let writes = write::slices(&unit, Some(unit.slices.last()), &state);
                        unit.slices.begin(state);
                        writes
                    };
                    carry_out(writes);
                }
            }
        }
    }

    /// Waits until podzone has come to the last state of every unit; then all answers are compared with it.
    pub(crate) fn converge(&self, server: SocketAddr, findings: &Findings) {
        // Whatever was not changed of late: both streams are followed, and nothing is listed any more.
        let changing = &self.units[STILL];
        let marks = churn::marks_only(&locked(changing));
        marks.into_iter().for_each(|change| self.make(changing, change));
        for unit in &self.units {
            wait_for("podzone follows what was written", CONVERGES_WITHIN, || {
                follow(unit, server, findings);
                let unit = locked(unit);
                match (unit.services.pending(), unit.slices.pending()) {
                    (0, 0) => Ok(()),
                    behind => Err(format!("unit {} is {behind:?} states behind", unit.number)),
                }
            });
        }
        for unit in &self.units {
            let questions = locked(unit).questions();
            for question in questions {
                ask::check(server, unit, question, Way::Udp, findings);
            }
        }
    }

    /// As many objects as the API server has, not one more.
    pub(crate) fn assert_objects_are_held(&self, metrics: SocketAddr) {
        let paths = [
            ("Namespace", "/api/v1/namespaces"),
            ("Service", "/api/v1/services"),
            ("EndpointSlice", "/apis/discovery.k8s.io/v1/endpointslices"),
        ];
        for (kind, path) in paths {
            let request = http::Request::get(path).body(Vec::new()).expect("a request");
            let list: Value = self.runtime.block_on(self.client.request(request)).expect("a list");
            let there = list["items"].as_array().expect("items").len();
            wait_for(&format!("{there} objects of {kind} are held"), CONVERGES_WITHIN, || {
                let output = Command::new("curl").arg("--silent").arg(format!("http://{metrics}/metrics")).output();
                let text = String::from_utf8(output.expect("curl").stdout).expect("text");
                let label = format!("kind=\"{kind}\"");
                let line = text.lines().find(|line| line.starts_with("podzone_objects{") && line.contains(&label));
                let held = line.and_then(|line| line.rsplit(' ').next()?.parse::<usize>().ok());
                if held == Some(there) { Ok(()) } else { Err(format!("{line:?}")) }
            });
        }
    }

    /// What may be asked of the units that never change, in dnsperf's form.
    pub(crate) fn still_names(&self) -> String {
        let mut text = String::new();
        for unit in &self.units[..STILL] {
            let unit = locked(unit);
            for question in unit.questions() {
                let (name, rtype) = unit.asked(question);
                writeln!(text, "{name} {}", type_text(rtype)).expect("a string");
            }
        }
        text
    }
}

/// Looks how far podzone has come with a unit, mark by mark.
fn follow(unit: &Mutex<Unit>, server: SocketAddr, findings: &Findings) {
    loop {
        let (services, slices, names) = {
            let unit = locked(unit);
            let (services, slices) = (unit.services.reached().mark, unit.slices.reached().mark);
            (services, slices, unit.mark_names(unit.services.reached(), unit.slices.reached()))
        };
        let is_gone = names.map(|name| {
            let answer = ask::ask(server, &Query::new(&name, A), Way::Udp, findings);
            answer.is_ok_and(|message| message.rcode == NXDOMAIN)
        });
        let mut unit = locked(unit);
        if is_gone[0] {
            unit.services.reach(|state| state.mark == services + 1);
        }
        if is_gone[1] {
            unit.slices.reach(|state| state.mark == slices + 1);
        }
        if is_gone == [false, false] {
            return;
        }
    }
}
