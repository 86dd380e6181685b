//! Pages of metrics, read and compared.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::process::{Command, Stdio};

use super::page::get;
use super::peers;
use super::server::Server;

/// A series' name and labels.
pub type Series = (String, BTreeMap<String, String>);

/// All samples of a page.
pub type Samples = BTreeMap<Series, f64>;

/// The page of a server whose Corefile has `prometheus` at `{port:metrics}`.
pub fn scrape_text(server: &Server) -> String {
    let (status, content_type, body) = get(server.addr_of("metrics"), "/metrics").expect("metrics");
    assert_eq!(status, 200);
    assert!(content_type.starts_with("text/plain; version=0.0.4"), "{content_type}");
    body
}

/// All its samples; the port of DNS, in which servers differ, is left out.
pub fn scrape(server: &Server) -> Samples {
    let port = server.addr().port().to_string();
    let sample = |line: &str| {
        let (series, value) = line.rsplit_once(' ').expect("a value");
        let (name, labels) = series.trim_end_matches('}').split_once('{').unwrap_or((series, ""));
        let label = |label: &str| {
            let (name, value) = label.split_once("=\"").expect("a label");
            (name.to_owned(), value.trim_end_matches('"').replace(&port, "PORT"))
        };
        let labels = labels.split("\",").filter(|label| !label.is_empty()).map(label).collect();
        ((name.to_owned(), labels), value.parse().expect("a number"))
    };
    scrape_text(server).lines().filter(|line| !line.starts_with('#')).map(sample).collect()
}

/// What was added between two scrapes to series of one name, by the values of these labels.
pub fn added(before: &Samples, after: &Samples, name: &str, labels: &[&str]) -> BTreeMap<Vec<String>, f64> {
    let mut sums = BTreeMap::new();
    for (series, value) in after.iter().filter(|((known, _), _)| known == name) {
        let value = value - before.get(series).copied().unwrap_or_default();
        let key = labels.iter().map(|label| series.1[*label].clone()).collect();
        if value != 0.0 {
            *sums.entry(key).or_default() += value;
        }
    }
    sums
}

/// A family as a page declares it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Family {
    /// `counter`, `gauge` or `histogram`.
    pub kind: String,
    /// The names of its labels, the bounds of buckets not among them.
    pub labels: BTreeSet<String>,
}

/// The families of a page, by name.
pub fn families(text: &str) -> BTreeMap<String, Family> {
    let mut found: BTreeMap<String, Family> = BTreeMap::new();
    let mut current = String::new();
    for line in text.lines() {
        if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            let family = Family { kind: kind.to_owned(), labels: BTreeSet::new() };
            assert!(found.insert(name.to_owned(), family).is_none(), "{name} stands twice");
            name.clone_into(&mut current);
        } else if !line.starts_with('#') {
            assert!(line.starts_with(&current), "{line} does not belong to {current}");
            let labels = line.split_once('{').map_or("", |(_, rest)| rest);
            let names = labels.split("\",").filter_map(|label| label.split_once("=\"")).map(|(name, _)| name);
            let family = found.get_mut(&current).expect("a declaration before the samples");
            family.labels.extend(names.filter(|name| *name != "le").map(str::to_owned));
        }
    }
    found
}

/// What Prometheus's lint finds in a page, its newest and the one of Debian's promtool.
pub fn lint(text: &str) {
    let promlint = Command::new(peers::binary("promlint"));
    let mut promtool = Command::new("promtool");
    promtool.args(["check", "metrics"]);
    for mut command in [promlint, promtool] {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}: run `make setup`"));
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.is_empty(), "{said}\n{text}");
    }
}
