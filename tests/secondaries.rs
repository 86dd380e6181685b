//! Knot and NSD as secondaries of podzone: told of changes by NOTIFY, they fetch them by IXFR, with signatures and
//! without, and hold at every pause what podzone holds.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use http::{Method, Request};
use kube::Client;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};
use support::dns::Record;
use support::kube::{ControlPlane, Options};
use support::process::{Process, Scratch};
use support::server::{Program, Server};
use support::xfr::{self, axfr};
use support::{mcs, page, peers, ports, wait_for};

const ZONES: [&str; 3] = ["cluster.local", "10.in-addr.arpa", "clusterset.local"];
const CHANGES: usize = 2000;
const PAUSES: usize = 10;
const SERVICES: u32 = 20;
const IMPORTS: u32 = 10;
const SLICES: u32 = 40;
const SECRET: &str = "NoTCJU+DMqFWywaPyxSijrDEA/eC3nK0xi3AMEZuPVk=";
/// A secondary follows within a second or two; a machine that is busy with other tests takes longer.
const FOLLOWS_WITHIN: Duration = Duration::from_secs(60);

const KNOT: &str = r#"
server:
  rundir: "{folder}"
  listen: 127.0.0.1@{port}
log:
  - target: stderr
    any: info
database:
  storage: "{folder}"
{key}
remote:
  - id: primary
    address: {primary}
{with_key}
acl:
  - id: told
    address: 127.0.0.1
    action: notify
{with_key}
  - id: read
    address: 127.0.0.1
    action: transfer
template:
  - id: default
    master: primary
    acl: [told, read]
    zonefile-sync: -1
    zonefile-load: none
    journal-content: changes
zone:
  - domain: cluster.local
  - domain: 10.in-addr.arpa
  - domain: clusterset.local
"#;

const KNOT_KEY: &str = "key:\n  - id: xfr.key\n    algorithm: hmac-sha256\n    secret: {secret}\n";

const NSD: &str = r#"
server:
  server-count: 1
  ip-address: 127.0.0.1@{port}
  username: ""
  chroot: ""
  zonesdir: "{folder}"
  pidfile: "{folder}/nsd.pid"
  xfrdfile: "{folder}/xfrd.state"
  zonelistfile: "{folder}/zone.list"
  xfrdir: "{folder}"
  database: ""
  xfrd-reload-timeout: 0
  rrl-ratelimit: 0
  verbosity: 2
remote-control:
  control-enable: no
{key}
pattern:
  name: secondary
  zonefile: "{folder}/%s.zone"
  request-xfr: {primary} {key_name}
  allow-notify: 127.0.0.1 {key_name}
  provide-xfr: 127.0.0.1 NOKEY
zone:
  name: cluster.local
  include-pattern: secondary
zone:
  name: 10.in-addr.arpa
  include-pattern: secondary
zone:
  name: clusterset.local
  include-pattern: secondary
"#;

const NSD_KEY: &str = "key:\n  name: xfr.key\n  algorithm: hmac-sha256\n  secret: \"{secret}\"\n";

/// A server that slaves the zones.
struct Secondary {
    name: &'static str,
    process: Process,
    addr: SocketAddr,
    _scratch: Scratch,
}

impl Secondary {
    fn start(name: &'static str, port: u16, primary: SocketAddr, is_signed: bool) -> Self {
        let scratch = Scratch::new();
        let folder = scratch.path();
        let fill = |text: &str| {
            let knots = name == "knot";
            let (key, with_key) = match (is_signed, knots) {
                (false, _) => (String::new(), ""),
                (true, true) => (KNOT_KEY.replace("{secret}", SECRET), "    key: xfr.key"),
                (true, false) => (NSD_KEY.replace("{secret}", SECRET), ""),
            };
            text.replace("{folder}", &folder.to_string_lossy())
                .replace("{port}", &port.to_string())
                .replace("{primary}", &format!("{}@{}", primary.ip(), primary.port()))
                .replace("{key}", &key)
                .replace("{with_key}", with_key)
                .replace("{key_name}", if is_signed { "xfr.key" } else { "NOKEY" })
        };
        let configuration = folder.join("conf");
        let (text, arguments): (&str, &[&str]) = match name {
            "knot" => (KNOT, &["-c"]),
            _ => (NSD, &["-d", "-c"]),
        };
        std::fs::write(&configuration, fill(text)).unwrap();
        let mut command = Command::new(peers::binary(name));
        command.args(arguments).arg(&configuration).current_dir(folder);
        let process = Process::spawn(name, command, &folder.join("log"));
        Self { name, process, addr: SocketAddr::from(([127, 0, 0, 1], port)), _scratch: scratch }
    }

    /// Waits until it has a version of a zone; its records.
    fn at(&self, zone: &str, serial: u32) -> BTreeSet<Record> {
        wait_for(&format!("{} has {zone} {serial}", self.name), FOLLOWS_WITHIN, || {
            match xfr::serial(self.addr, zone) {
                Some(has) if has == serial => Ok(()),
                has => Err(format!("{has:?}\n{}", self.process.log_tail())),
            }
        });
        axfr(self.addr, zone).unwrap_or_else(|rcode| panic!("{}: {rcode}", self.name)).zone()
    }
}

/// A podzone and its secondaries.
struct Group {
    primary: Server,
    secondaries: Vec<Secondary>,
}

impl Group {
    fn start(kubeconfig: &Path, is_signed: bool) -> Self {
        let to = [ports::free(), ports::free()];
        let targets: Vec<String> = to.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        let (tsig, notify_key) = match is_signed {
            true => (format!("tsig {{\n secret xfr.key. {SECRET}\n require AXFR IXFR\n }}\n"), "notify_key xfr.key"),
            false => (String::new(), ""),
        };
        let zones = ZONES.join(" ");
        let corefile = format!(
            "{zones} {{\n bind 127.0.0.1\n prometheus 127.0.0.1:{{port:metrics}}\n {tsig} transfer {{\n to {}\n \
             {notify_key}\n }}\n kubernetes {{\n kubeconfig {}\n endpoint_pod_names\n pods verified\n \
             multicluster clusterset.local\n }}\n}}\n",
            targets.join(" "),
            kubeconfig.display()
        );
        let primary = Program::Podzone.start(&corefile);
        let start = |(name, port)| Secondary::start(name, port, primary.addr(), is_signed);
        let secondaries = ["knot", "nsd"].into_iter().zip(to).map(start).collect();
        Self { primary, secondaries }
    }

    /// How many transfers ended so, after podzone's count.
    fn counted(&self, outcome: &str) -> u64 {
        let (_, _, metrics) = page::get(self.primary.addr_of("metrics"), "/metrics").expect("metrics");
        let lines = metrics.lines().filter(|line| {
            line.starts_with("podzone_transfers_total{") && line.contains(&format!("outcome=\"{outcome}\""))
        });
        lines.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
    }

    /// Waits until nothing changes any more; the serials of the zones.
    fn rest(&self) -> [u32; ZONES.len()] {
        let serial = || ZONES.map(|zone| xfr::serial(self.primary.addr(), zone).expect("a serial"));
        let mut last = serial();
        loop {
            std::thread::sleep(Duration::from_millis(1500));
            let now = serial();
            if now == last {
                return now;
            }
            last = now;
        }
    }

    /// All secondaries hold what podzone holds, record for record.
    fn compare(&self, key: Option<&str>) {
        for (zone, serial) in ZONES.into_iter().zip(self.rest()) {
            let of_primary = match key {
                None => axfr(self.primary.addr(), zone).unwrap().zone(),
                Some(key) => dig(self.primary.addr(), zone, key),
            };
            for secondary in &self.secondaries {
                let held = secondary.at(zone, serial);
                let lacks: Vec<_> = of_primary.difference(&held).map(ToString::to_string).collect();
                let has: Vec<_> = held.difference(&of_primary).map(ToString::to_string).collect();
                assert!(
                    lacks.is_empty() && has.is_empty(),
                    "{} {zone}: lacks {lacks:#?}, has {has:#?}",
                    secondary.name
                );
            }
        }
    }
}

/// A signed transfer.
fn dig(server: SocketAddr, zone: &str, secret: &str) -> BTreeSet<Record> {
    use base64::Engine as _;
    use podzone::tsig::{self, Algorithm, Key, Signer};
    let secret = base64::engine::general_purpose::STANDARD.decode(secret).unwrap();
    let key = Key::new(podzone::zone::Name::parse("xfr.key").unwrap(), Algorithm::Sha256, secret);
    let mut query = support::dns::Query::new(zone, support::dns::AXFR).to_bytes();
    Signer::new(&std::sync::Arc::new(key)).sign(&mut query, tsig::now());
    xfr::transfer(server, &query).expect("a transfer").zone()
}

// ---- the cluster ----------------------------------------------------------------------------------------------------

async fn send(client: &Client, method: Method, path: &str, body: &Value) {
    let bytes = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    for attempt in 0.. {
        let request = Request::builder().method(&method).uri(path).header("content-type", "application/json");
        let Err(error) = client.request::<Value>(request.body(bytes.clone()).unwrap()).await else { return };
        // An address that was given back a moment ago may still be taken.
        let passes = matches!(&error, kube::Error::Api(status) if matches!(status.code, 409 | 422 | 429 | 500..));
        assert!(passes && attempt < 50, "{method} {path}: {error}\n{body}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn service_object(number: u32, dice: &mut StdRng) -> Value {
    let spec = match number % 4 {
        0 => json!({ "type": "ExternalName", "externalName": format!("h{}.example.com", dice.random_range(0..9)) }),
        1 => json!({ "clusterIP": "None", "ports": [{ "name": "http", "port": 80 }] }),
        _ => {
            let port = dice.random_range(80..90);
            json!({ "clusterIP": format!("10.96.7.{number}"), "ports": [{ "name": "http", "port": port }] })
        }
    };
    json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": format!("s{number}") }, "spec": spec })
}

fn import_object(number: u32) -> Value {
    let spec = match number % 3 {
        0 => {
            json!({ "type": "ClusterSetIP", "ips": [format!("10.97.7.{number}")], "ports": [{ "name": "http", "port": 80 }] })
        }
        _ => json!({ "type": "Headless", "ports": [{ "name": "http", "port": 80 }] }),
    };
    json!({
        "apiVersion": "multicluster.x-k8s.io/v1alpha1",
        "kind": "ServiceImport",
        "metadata": { "name": format!("s{number}") },
        "spec": spec,
    })
}

/// Some pods under few addresses, so that a name changes while its address stays.
fn slice_object(number: u32, dice: &mut StdRng) -> Value {
    let endpoint = |dice: &mut StdRng| {
        json!({
            "addresses": [format!("10.244.{}.{}", number, dice.random_range(1..30))],
            "conditions": { "ready": dice.random_bool(0.9) },
            "hostname": format!("host-{}", dice.random_range(0..50)),
            "targetRef": { "kind": "Pod", "name": format!("pod-{}", dice.random_range(0..200)) },
        })
    };
    let endpoints: Vec<Value> = (0..dice.random_range(0..8)).map(|_| endpoint(dice)).collect();
    let labels = match number % 4 {
        3 => json!({
            "multicluster.kubernetes.io/service-name": format!("s{}", number % IMPORTS),
            "multicluster.kubernetes.io/source-cluster": format!("cluster-{}", dice.random_range(0..2)),
        }),
        _ => json!({ "kubernetes.io/service-name": format!("s{}", number % SERVICES) }),
    };
    json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": { "name": format!("s{number}"), "labels": labels },
        "addressType": "IPv4",
        "endpoints": endpoints,
        "ports": [{ "name": "http", "port": dice.random_range(8080..8083), "protocol": "TCP" }],
    })
}

/// What there is, and how it is changed.
struct Cluster {
    client: Client,
    dice: StdRng,
    services: BTreeSet<u32>,
    imports: BTreeSet<u32>,
    slices: BTreeSet<u32>,
}

impl Cluster {
    /// Creates, replaces or deletes one object.
    async fn change(&mut self) {
        let kind = self.dice.random_range(0..10);
        let dice = &mut self.dice;
        let (collection, number, known, object) = match kind {
            0 | 1 => {
                let number = dice.random_range(0..SERVICES);
                ("/api/v1/namespaces/default/services", number, &mut self.services, service_object(number, dice))
            }
            2 => {
                let number = dice.random_range(0..IMPORTS);
                let collection = "/apis/multicluster.x-k8s.io/v1alpha1/namespaces/default/serviceimports";
                (collection, number, &mut self.imports, import_object(number))
            }
            _ => {
                let number = dice.random_range(0..SLICES);
                let collection = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";
                (collection, number, &mut self.slices, slice_object(number, dice))
            }
        };
        let one = format!("{collection}/s{number}");
        let is_known = known.contains(&number);
        if is_known && (kind < 3 || self.dice.random_bool(0.3)) {
            known.remove(&number);
            return send(&self.client, Method::DELETE, &one, &Value::Null).await;
        }
        known.insert(number);
        match is_known {
            true => send(&self.client, Method::PUT, &one, &object).await,
            false => send(&self.client, Method::POST, collection, &object).await,
        }
    }
}

#[test]
fn knot_and_nsd_hold_what_podzone_holds_by_notify_and_ixfr() {
    let plane = ControlPlane::start(Options::default());
    mcs::install(&plane);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let client = {
        let _entered = runtime.enter();
        plane.client()
    };
    let mut cluster = Cluster {
        client,
        dice: StdRng::seed_from_u64(1),
        services: BTreeSet::new(),
        imports: BTreeSet::new(),
        slices: BTreeSet::new(),
    };
    let groups = [false, true].map(|is_signed| Group::start(plane.kubeconfig(), is_signed));
    let compare = || {
        groups[0].compare(None);
        groups[1].compare(Some(SECRET));
    };
    compare();
    let full: Vec<u64> = groups.iter().map(|group| group.counted("full")).collect();
    let mut longest = Duration::ZERO;
    for _ in 0..PAUSES {
        let begun = Instant::now();
        runtime.block_on(async {
            for _ in 0..CHANGES / PAUSES {
                cluster.change().await;
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        compare();
        longest = longest.max(begun.elapsed());
    }
    // Versions are cut once a second at most, and at each pause all had the last one.
    let versions_max = longest.as_secs() + 2;
    for (group, before) in groups.iter().zip(full) {
        let compared = (PAUSES * ZONES.len()) as u64;
        let (whole, changes) = (group.counted("full") - before - compared, group.counted("incremental"));
        assert!(changes > 20, "{changes} transfers of changes");
        // At least 95 % of the versions, if each transfer of changes has one, and each of a whole zone all that it can.
        assert!(whole * versions_max * 19 <= changes, "{whole} whole zones, {changes} changes");
        assert_eq!(group.counted("failed"), 0);
    }
}
