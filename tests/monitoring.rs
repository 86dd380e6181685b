//! What `deploy/monitoring` asks for is what a real podzone tells: every metric, label and value, by Prometheus's own parser
//! of queries; every panel of the dashboard has data in a real Prometheus; every alert is raised when it should be, and has a
//! section in the runbook.
// A test may panic; what it lacks is said by the harness.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../benches/scale/cgroup.rs"]
#[allow(dead_code)]
mod cgroup;
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use support::dns::{self, A, Query, SRV};
use support::exposition::{Family, Samples, families, scrape, scrape_text};
use support::kube::{ControlPlane, Options};
use support::process::{Process, Scratch};
use support::scripted::Scripted;
use support::server::{Program, Server};
use support::{page, peers, ports, wait_for};

const PATIENCE: Duration = Duration::from_secs(60);
/// What Prometheus adds to every series.
const OF_TARGETS: [&str; 2] = ["job", "instance"];
/// What the server under test may take, far more than it needs.
const MEMORY: u64 = 512 << 20;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn yaml(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap()
}

/// The alerts, as they are for the operator's custom resource.
fn alerts() -> Vec<Value> {
    let spec = yaml(&read("deploy/monitoring/alerts.yaml"))["spec"].clone();
    spec["groups"].as_array().unwrap().iter().flat_map(|group| group["rules"].as_array().unwrap().clone()).collect()
}

fn dashboard() -> Value {
    serde_json::from_str(&read("deploy/monitoring/dashboard.json")).unwrap()
}

/// The queries of all panels: title, expression and legend.
fn panels() -> Vec<(String, String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let dashboard = dashboard();
    let panels = dashboard["panels"].as_array().unwrap().iter().filter(|panel| panel["type"] != "row");
    let mut found = Vec::new();
    for panel in panels {
        let targets = panel["targets"].as_array().unwrap();
        assert!(!targets.is_empty(), "{}", panel["title"]);
        found.extend(
            targets.iter().map(|it| (text(&panel["title"]), filled(&text(&it["expr"])), text(&it["legendFormat"]))),
        );
    }
    found
}

/// An expression of the dashboard as Grafana sends it.
fn filled(expression: &str) -> String {
    let filled = [("$__rate_interval", "30s"), ("$job", "podzone"), ("$instance", ".*")];
    let filled = filled.iter().fold(expression.to_owned(), |text, (from, to)| text.replace(from, to));
    assert!(!filled.contains('$'), "a variable that the dashboard does not have: {expression}");
    filled
}

/// What an expression asks for, as tests/peers/promlint tells it.
#[derive(Deserialize)]
struct Asked {
    selectors: Vec<Selector>,
}

#[derive(Deserialize)]
struct Selector {
    name: String,
    matchers: Vec<Matcher>,
    /// Those that what stands around it groups or matches by.
    labels: Vec<String>,
}

#[derive(Deserialize)]
struct Matcher {
    label: String,
    kind: String,
    value: String,
}

fn parsed(expressions: &[String]) -> Vec<Asked> {
    let mut child = Command::new(peers::binary("promlint"))
        .arg("queries")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("promlint");
    child.stdin.take().unwrap().write_all(serde_json::to_string(expressions).unwrap().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let asked: Vec<Asked> = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(asked.len(), expressions.len());
    asked
}

/// A page: its families, and its series.
struct Told {
    families: BTreeMap<String, Family>,
    samples: Samples,
}

impl Told {
    /// Why a selection finds nothing on the page, if so.
    fn lacks(&self, selector: &Selector) -> Option<String> {
        let name = &*selector.name;
        let mut known: BTreeSet<&str> = OF_TARGETS.into();
        if name != "up" {
            let base = ["_bucket", "_sum", "_count"].iter().find_map(|end| {
                let base = name.strip_suffix(end)?;
                self.families.get(base).filter(|family| family.kind == "histogram")
            });
            let Some(family) = base.or_else(|| self.families.get(name)) else { return Some(format!("no {name}")) };
            known.extend(family.labels.iter().map(String::as_str));
            known.extend(name.ends_with("_bucket").then_some("le"));
        }
        let used = selector.matchers.iter().map(|matcher| &matcher.label).chain(&selector.labels);
        if let Some(label) = used.into_iter().find(|label| !known.contains(label.as_str())) {
            return Some(format!("{name} has no label {label}"));
        }
        let of_page = |matcher: &&Matcher| !OF_TARGETS.contains(&&*matcher.label);
        selector.matchers.iter().filter(of_page).find_map(|Matcher { label, kind, value }| {
            assert_eq!(kind, "=", "{name}: a matcher that this test cannot look at");
            let mut series = self.samples.keys().filter(|(known, _)| known == name);
            let is_there = series.any(|(_, labels)| labels.get(label) == Some(value));
            (!is_there).then(|| format!("{name} never has {label}={value:?}"))
        })
    }

    fn check<'a>(&self, what: impl IntoIterator<Item = (&'a String, &'a Asked)>) {
        let lacks = |(what, asked): (&String, &Asked)| {
            assert!(!asked.selectors.is_empty(), "{what}: asks for nothing");
            asked.selectors.iter().filter_map(|it| Some(format!("{what}: {}", self.lacks(it)?))).collect::<Vec<_>>()
        };
        let lacking: Vec<String> = what.into_iter().flat_map(lacks).collect();
        assert!(lacking.is_empty(), "{lacking:#?}");
    }
}

const OBJECTS: &str = "
apiVersion: v1
kind: Service
metadata: {name: web, namespace: default}
spec: {clusterIP: None, selector: {app: web}, ports: [{name: http, port: 80}]}
";

/// A slice of the Service, written for what happened just now.
fn slice(last: u8) -> String {
    let now = String::from_utf8(Command::new("date").args(["-u", "+%FT%T.%NZ"]).output().unwrap().stdout).unwrap();
    format!(
        "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata:\n  name: web-1\n  namespace: default\n  \
         labels: {{kubernetes.io/service-name: web}}\n  annotations: \
         {{endpoints.kubernetes.io/last-change-trigger-time: '{}'}}\naddressType: IPv4\n\
         endpoints: [{{addresses: [10.244.1.{last}], conditions: {{ready: true}}}}]\nports: [{{name: http, port: 80}}]\n",
        now.trim()
    )
}

/// A podzone that has done what its metrics count, in a control group with a limit.
struct Exercised {
    server: Server,
    // In the order of their end.
    _group: cgroup::Group,
    _plane: ControlPlane,
    _upstreams: [Scripted; 2],
}

fn exercised() -> Exercised {
    let plane = ControlPlane::start(Options::default());
    plane.apply(&(OBJECTS.to_owned() + &slice(1)));
    let (upstream, dead) = (Scripted::start(), Scripted::start());
    dead.be_silent(true);
    let corefile = format!(
        "cluster.local {{
    prometheus 127.0.0.1:{{port:metrics}}
    reload 1h
    kubernetes cluster.local {{
        kubeconfig {}
    }}
}}
outside.test {{
    prometheus 127.0.0.1:{{port:metrics}}
    cache
    forward . {}
}}
dead.test {{
    prometheus 127.0.0.1:{{port:metrics}}
    forward . {} {{
        read_timeout 200ms
        health_check 100ms
    }}
}}
loop.test {{
    loop
    forward . 127.0.0.1:{{port}}
}}
",
        plane.kubeconfig().display(),
        upstream.addr(),
        dead.addr()
    );
    let mut server = Program::Podzone.start(&corefile);
    let group = cgroup::Group::new().expect("a control group for memory: this test needs root and a kernel with them");
    let launcher = group.launcher();
    let folder = Path::new(launcher.last().expect("the group's folder"));
    let file = if group.version() == cgroup::Version::V1 { "memory.limit_in_bytes" } else { "memory.max" };
    std::fs::write(folder.join(file), MEMORY.to_string()).expect("a limit");
    std::fs::write(folder.join("cgroup.procs"), server.process().id().to_string()).expect("the server in the group");
    let name = "web.default.svc.cluster.local.";
    for last in [1, 2] {
        plane.apply(&slice(last));
        wait_for("the slice is answered", PATIENCE, || {
            let answer = server.ask(name, A);
            if answer.data_of(A) == [format!("10.244.1.{last}")] { Ok(()) } else { Err(answer.to_string()) }
        });
    }
    server.ask(name, SRV);
    dns::ask_tcp(server.addr(), &Query::new(name, A)).expect("an answer");
    // The second time from the cache.
    for _ in 0..2 {
        dns::ask(server.addr(), &Query::new("www.outside.test.", A)).expect("an answer");
    }
    dns::ask(server.addr(), &Query::new("a.dead.test.", A)).expect("SERVFAIL");
    wait_for("the dead upstream is found out", PATIENCE, || {
        let failed = scrape_text(&server).contains("\ncoredns_proxy_healthcheck_failures_total{");
        if failed { Ok(()) } else { Err(String::new()) }
    });
    wait_for("the loop is found out", PATIENCE, || {
        let found = scrape_text(&server).contains("\npodzone_looping{");
        if found { Ok(()) } else { Err(String::new()) }
    });
    Exercised { server, _group: group, _plane: plane, _upstreams: [upstream, dead] }
}

/// A real Prometheus that scrapes podzone every second and has the alerts.
struct Prometheus {
    addr: SocketAddr,
    process: Process,
    _scratch: Scratch,
}

impl Prometheus {
    fn start(target: SocketAddr) -> Self {
        let scratch = Scratch::new();
        let spec = &yaml(&read("deploy/monitoring/alerts.yaml"))["spec"];
        // JSON is YAML.
        std::fs::write(scratch.path().join("rules.yaml"), spec.to_string()).unwrap();
        let config = format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: [rules.yaml]\nscrape_configs:\n\
             - {{job_name: podzone, static_configs: [{{targets: ['{target}']}}]}}\n"
        );
        std::fs::write(scratch.path().join("prometheus.yaml"), config).unwrap();
        let addr = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), ports::free());
        let mut command = Command::new("prometheus");
        command
            .arg("--config.file=prometheus.yaml")
            .arg("--storage.tsdb.path=data")
            .arg(format!("--web.listen-address={addr}"))
            .current_dir(scratch.path());
        let process = Process::spawn("prometheus", command, &scratch.path().join("log"));
        Self { addr, process, _scratch: scratch }
    }

    /// What its API says, as soon as it says anything.
    fn get(&self, path: &str) -> Result<Value, String> {
        let (status, _, body) = page::get(self.addr, path).ok_or_else(|| self.process.log_tail())?;
        let body: Value = serde_json::from_str(&body).map_err(|error| format!("{status}: {error}: {body}"))?;
        if body["status"] == "success" { Ok(body["data"].clone()) } else { Err(body.to_string()) }
    }

    fn query(&self, expression: &str) -> Result<usize, String> {
        let encode = |octet: u8| match octet {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' => char::from(octet).to_string(),
            other => format!("%{other:02X}"),
        };
        let encoded: String = expression.bytes().map(encode).collect();
        self.get(&format!("/api/v1/query?query={encoded}")).map(|data| data["result"].as_array().map_or(0, Vec::len))
    }
}

#[test]
fn dashboard_and_alerts_ask_for_what_podzone_tells() {
    let exercised = exercised();
    let server = &exercised.server;
    let told = Told { families: families(&scrape_text(server)), samples: scrape(server) };
    let limit = told.samples.iter().find(|((name, _), _)| name == "podzone_memory_limit_bytes").unwrap().1;
    assert_eq!(*limit, MEMORY as f64);

    let alerts: Vec<String> = alerts().iter().map(|alert| alert["expr"].as_str().unwrap().to_owned()).collect();
    told.check(alerts.iter().zip(&parsed(&alerts)));

    let panels = panels();
    let expressions: Vec<String> = panels.iter().map(|(_, expression, _)| expression.clone()).collect();
    let asked = parsed(&expressions);
    told.check(expressions.iter().zip(&asked));
    for ((title, expression, legend), asked) in panels.iter().zip(&asked) {
        let by: BTreeSet<&str> = asked.selectors.iter().flat_map(|it| &it.labels).map(String::as_str).collect();
        for label in legend.split("{{").skip(1).map(|rest| rest.split("}}").next().unwrap()) {
            assert!(by.contains(label), "{title}: the legend has {label}, {expression} does not");
        }
    }
    let variables = dashboard()["templating"]["list"].clone();
    for variable in variables.as_array().unwrap().iter().filter(|variable| variable["type"] == "query") {
        let query = variable["query"]["query"].as_str().unwrap();
        let (selection, label) =
            query.strip_prefix("label_values(").unwrap().trim_end_matches(')').rsplit_once(", ").unwrap();
        told.check([(&query.to_owned(), &parsed(&[filled(selection)])[0])]);
        assert!(OF_TARGETS.contains(&label), "{query}");
    }

    let prometheus = Prometheus::start(server.addr_of("metrics"));
    for (title, expression, _) in &panels {
        wait_for(&format!("{title} has data: {expression}"), PATIENCE, || match prometheus.query(expression) {
            Ok(0) => Err("nothing".into()),
            other => other.map(|_| ()),
        });
    }
    wait_for("all alerts are looked at, without a fault", PATIENCE, || {
        let groups = prometheus.get("/api/v1/rules")?;
        let rules =
            groups["groups"].as_array().into_iter().flatten().flat_map(|group| group["rules"].as_array().unwrap());
        let bad: Vec<_> = rules.clone().filter(|rule| rule["health"] != "ok").collect();
        if bad.is_empty() && rules.count() == alerts.len() { Ok(()) } else { Err(format!("{bad:#?}")) }
    });
}

#[test]
fn alerts_are_raised_when_they_should_be() {
    let scratch = Scratch::new();
    let spec = &yaml(&read("deploy/monitoring/alerts.yaml"))["spec"];
    std::fs::write(scratch.path().join("rules.yaml"), spec.to_string()).unwrap();
    let cases = read("tests/cases/alerts/alerts.yaml");
    std::fs::write(scratch.path().join("alerts.yaml"), &cases).unwrap();
    for arguments in [["check", "rules", "rules.yaml"], ["test", "rules", "alerts.yaml"]] {
        let output = Command::new("promtool").args(arguments).current_dir(scratch.path()).output().expect("promtool");
        let said = [output.stdout, output.stderr].map(|octets| String::from_utf8(octets).unwrap()).concat();
        assert!(output.status.success(), "promtool {arguments:?}: {said}");
    }
    // Each is seen raised, and seen not raised.
    let cases = yaml(&cases);
    let tests = cases["tests"].as_array().unwrap().iter().flat_map(|test| test["alert_rule_test"].as_array().unwrap());
    for alert in alerts() {
        let of_alert = tests.clone().filter(|test| test["alertname"] == alert["alert"]);
        let raised: Vec<bool> = of_alert.map(|test| !test["exp_alerts"].as_array().unwrap().is_empty()).collect();
        assert!(raised.contains(&true) && raised.contains(&false), "{}: {raised:?}", alert["alert"]);
    }
}

/// The anchor that a heading has where Markdown is shown.
fn anchor(heading: &str) -> String {
    let words = heading.trim_start_matches('#').trim().to_lowercase();
    words
        .chars()
        .filter(|c| c.is_alphanumeric() || "- _".contains(*c))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

#[test]
fn each_alert_says_what_it_is_and_where_to_read_on() {
    let runbook = read("docs/operations.md");
    let anchors: BTreeSet<String> = runbook.lines().filter(|line| line.starts_with('#')).map(anchor).collect();
    let alerts = alerts();
    for alert in &alerts {
        for text in ["summary", "description"] {
            assert!(alert["annotations"][text].as_str().is_some_and(|text| text.ends_with('.')), "{alert}");
        }
        assert!(matches!(alert["labels"]["severity"].as_str(), Some("critical" | "warning" | "info")), "{alert}");
        let (document, fragment) = alert["annotations"]["runbook_url"].as_str().unwrap().split_once('#').unwrap();
        assert_eq!(document, "docs/operations.md");
        assert!(anchors.contains(fragment), "{document} has no section {fragment}");
        assert_eq!(fragment, alert["alert"].as_str().unwrap().to_lowercase());
    }
    let sections = runbook.lines().filter(|line| line.starts_with("### Podzone")).count();
    assert_eq!(sections, alerts.len(), "a section of an alert that there is not");
}

/// The objects that a folder of Kustomize comes to.
fn rendered(folder: &str) -> Vec<Value> {
    let folder: PathBuf = root().join(folder);
    let output = Command::new(peers::binary("kubectl")).arg("kustomize").arg(folder).output().expect("kubectl");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().split("\n---\n").map(yaml).collect()
}

#[test]
fn the_monitor_selects_the_service_and_gives_the_job_its_name() {
    let objects = rendered("deploy/monitoring");
    let of = |objects: &[Value], kind: &str| objects.iter().find(|it| it["kind"] == kind).expect(kind).clone();
    let monitor = of(&objects, "ServiceMonitor");
    let service = of(&rendered("deploy/kustomize/overlays/forwarded"), "Service");
    for (label, value) in monitor["spec"]["selector"]["matchLabels"].as_object().unwrap() {
        assert_eq!(&service["metadata"]["labels"][label], value, "{label}");
    }
    assert_eq!(monitor["metadata"]["namespace"], service["metadata"]["namespace"]);
    let job = monitor["spec"]["jobLabel"].as_str().unwrap();
    assert_eq!(service["metadata"]["labels"][job], "podzone");
    let port = &monitor["spec"]["endpoints"][0]["port"];
    assert!(service["spec"]["ports"].as_array().unwrap().iter().any(|it| it["name"] == *port), "{port}");
    assert_eq!(of(&objects, "PrometheusRule")["spec"]["groups"].as_array().map(Vec::len), Some(1));
    let dashboards = of(&objects, "ConfigMap");
    let text = dashboards["data"]["podzone.json"].as_str().unwrap();
    assert_eq!(serde_json::from_str::<Value>(text).unwrap(), dashboard());
}
