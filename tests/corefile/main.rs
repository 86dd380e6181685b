//! Corefiles and what they mean, or why they are refused: `tests/cases/corefile/*.case`.
//!
//! A case is sections that begin with `--- NAME`; what stands before the first says why it is there.
//! - `--- corefile`: the text; `\u{...}` in `--- corefile escaped` is a character.
//! - `--- env`: `NAME=value` lines; without it, no variable is set.
//! - `--- interfaces`: `NAME ADDRESS` lines.
//! - `--- error LINE:COLUMN` or `--- error`: the first error's headline, then those of the others, in order.
//! - `--- shown`: lines that the full diagnostic has, one after another.
//! - `--- config`: the configuration in the words of `summary`.
//! - `--- warnings`: all warnings, one a line.
//! - `--- coredns`: CoreDNS 1.14.7 refuses it with the same headline.
//! - `--- differs NAME`: CoreDNS does not refuse it, or not there, or reads what podzone refuses, for the reason that
//!   `docs/differences.md` gives under that name.

#![allow(clippy::expect_used, clippy::unwrap_used)]

#[path = "../support/mod.rs"]
mod support;

mod commands;
mod coredns;
mod formatting;
mod table;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use podzone::config::{
    self, ApiLimits, COMMON_FORMAT, Cache, CacheSide, Config, Forward, HealthCheck, LogClasses, Machine, Monitor,
    Multisocket,
};
use podzone::config::{
    PodMode, PodNames, Policy, RequiredCodes, SearchPath, ServerBlock, Source, Timeouts, Transfer, TransferTo, Tsig,
};
use podzone::corefile::Files;
use proptest::prelude::*;

const PORT: u16 = 53;

#[derive(Default)]
struct Case {
    name: String,
    sections: BTreeMap<String, (String, String)>,
    /// What may be imported, by path.
    files: BTreeMap<String, String>,
}

/// What of a case is being read.
enum Section {
    Named(String),
    File(String),
}

impl Case {
    fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).expect("case can be read");
        let mut case = Self { name: path.file_stem().unwrap().to_string_lossy().into_owned(), ..Self::default() };
        let mut current = None;
        for line in text.split_inclusive('\n') {
            if let Some(header) = line.strip_prefix("--- ") {
                let (name, argument) = header.trim_end().split_once(' ').unwrap_or_else(|| (header.trim_end(), ""));
                if name == "file" {
                    case.files.insert(argument.to_owned(), String::new());
                    current = Some(Section::File(argument.to_owned()));
                    continue;
                }
                let known =
                    ["corefile", "env", "interfaces", "error", "shown", "config", "warnings", "coredns", "differs"]
                        .contains(&name);
                assert!(known, "{}: unknown section {name}", case.name);
                case.sections.insert(name.to_owned(), (argument.to_owned(), String::new()));
                current = Some(Section::Named(name.to_owned()));
            } else {
                match &current {
                    Some(Section::Named(name)) => case.sections.get_mut(name).unwrap().1.push_str(line),
                    Some(Section::File(path)) => case.files.get_mut(path).unwrap().push_str(line),
                    None => {}
                }
            }
        }
        case
    }

    fn lines(&self, section: &str) -> impl Iterator<Item = &str> {
        self.sections.get(section).map_or("", |(_, text)| text.as_str()).lines()
    }

    fn corefile(&self) -> String {
        let (argument, text) = &self.sections["corefile"];
        if argument != "escaped" {
            return text.clone();
        }
        unescape(text)
    }

    fn load(&self) -> Result<config::Loaded, config::ConfigError> {
        config::parse_for(self, "Corefile", &self.corefile(), PORT)
    }
}

/// A text with each `\u{...}` replaced by the character that it is.
fn unescape(text: &str) -> String {
    let mut parts = text.split("\\u{");
    let mut result = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (code, rest) = part.split_once('}').expect("escape is closed");
        result.push(char::from_u32(u32::from_str_radix(code, 16).unwrap()).unwrap());
        result.push_str(rest);
    }
    result
}

impl Files for Case {
    fn matching(&self, pattern: &str) -> Result<Vec<PathBuf>, String> {
        let pattern = glob::Pattern::new(pattern).map_err(|error| error.to_string())?;
        Ok(self.files.keys().filter(|path| pattern.matches(path)).map(PathBuf::from).collect())
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        match self.files.get(path.to_str().unwrap()) {
            Some(text) => Ok(text.clone().into_bytes()),
            // What every machine has.
            None if path == Path::new("/etc/resolv.conf") => Ok(b"nameserver 127.0.0.1\n".to_vec()),
            None => Err(io::Error::from_raw_os_error(2)),
        }
    }
}

impl Machine for Case {
    fn variable(&self, name: &str) -> Option<String> {
        self.lines("env").filter_map(|line| line.split_once('=')).find(|(n, _)| *n == name).map(|(_, v)| v.to_owned())
    }

    fn interfaces(&self) -> io::Result<Vec<(String, IpAddr)>> {
        let parse = |line: &str| {
            let (name, address) = line.split_once(' ').expect("NAME ADDRESS");
            (name.to_owned(), address.parse().expect("address"))
        };
        Ok(self.lines("interfaces").map(parse).collect())
    }
}

fn cases() -> Vec<Case> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/cases/corefile");
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "case"));
    paths.sort();
    assert!(paths.len() >= 60, "only {} cases found", paths.len());
    paths.iter().map(|path| Case::read(path)).collect()
}

/// A configuration in words: what differs from the default, a line each.
fn summary(config: &Config) -> String {
    let mut text = String::new();
    for block in &config.blocks {
        let keys: Vec<_> = block.keys.iter().map(|key| format!("{}:{}", key.zone, key.port)).collect();
        writeln!(text, "{}", keys.join(" ")).unwrap();
        text.push_str(&summary_of_ahead(block));
        match block.multisocket {
            Some(Multisocket::OnePerCpu) => writeln!(text, "  multisocket").unwrap(),
            Some(Multisocket::Number(number)) => writeln!(text, "  multisocket {number}").unwrap(),
            None => {}
        }
        if !block.bind.is_empty() {
            let addresses: Vec<_> = block.bind.iter().map(ToString::to_string).collect();
            writeln!(text, "  bind {}", addresses.join(" ")).unwrap();
        }
        if let Some(size) = block.bufsize {
            writeln!(text, "  bufsize {size}").unwrap();
        }
        if let Some(ready) = &block.ready {
            let monitor = if ready.monitor == Monitor::Continuously { " continuously" } else { "" };
            writeln!(text, "  ready {}{monitor}", ready.address).unwrap();
        }
        if let Some(health) = &block.health {
            writeln!(text, "  health {} lameduck {:?}", health.address, health.lameduck).unwrap();
        }
        if let Some(address) = &block.prometheus {
            writeln!(text, "  prometheus {address}").unwrap();
        }
        if let Some(errors) = &block.errors {
            writeln!(text, "  errors").unwrap();
            for of in &errors.consolidate {
                let (pattern, level) = (of.pattern.as_str(), of.level);
                writeln!(text, "    consolidate {} {pattern} {level:?} {}", of.period_text(), of.show_first).unwrap();
            }
        }
        for rule in &block.log {
            let LogClasses { all, success, denial, error } = rule.classes;
            let classes: Vec<_> = [("all", all), ("success", success), ("denial", denial), ("error", error)]
                .into_iter()
                .filter_map(|(name, on)| on.then_some(name))
                .collect();
            let format = rule.format.replace(COMMON_FORMAT, "<common>");
            writeln!(text, "  log {} {} [{format}]", rule.name, classes.join("+")).unwrap();
        }
        if let Some(balance) = &block.loadbalance {
            let weights = balance.weights.as_ref().map(|file| format!(" {} {:?}", file.path.display(), file.reload));
            let prefer: String = balance.prefer.iter().map(|(address, bits)| format!(" {address}/{bits}")).collect();
            writeln!(text, "  loadbalance{}{prefer}", weights.unwrap_or_default()).unwrap();
        }
        if let Some(tsig) = &block.tsig {
            text.push_str(&summary_of_tsig(tsig));
        }
        if let Some(cache) = &block.cache {
            text.push_str(&summary_of_cache(cache));
        }
        for transfer in &block.transfers {
            text.push_str(&summary_of_transfer(transfer));
        }
        if let Some(view) = &block.kubernetes {
            writeln!(text, "  kubernetes {}", view.zones.join(" ")).unwrap();
            match &view.source {
                Source::InCluster => writeln!(text, "    in cluster"),
                Source::Kubeconfig { path, context } => {
                    writeln!(text, "    kubeconfig {} {}", path.display(), context.as_deref().unwrap_or("-"))
                }
                Source::Endpoint { url, tls: None } => writeln!(text, "    endpoint {url}"),
                Source::Endpoint { url, tls: Some(tls) } => {
                    let (cert, key, ca) = (tls.cert.display(), tls.key.display(), tls.ca.display());
                    writeln!(text, "    endpoint {url} tls {cert} {key} {ca}")
                }
                Source::Manifests(folder) => writeln!(text, "    manifests {}", folder.display()),
            }
            .unwrap();
            if !view.multicluster.is_empty() {
                writeln!(text, "    multicluster {}", view.multicluster.join(" ")).unwrap();
            }
            let ApiLimits { qps, burst, max_inflight } = view.api_limits;
            let limits = [
                ("qps", qps.map(|qps| qps.per_second().to_string())),
                ("burst", burst.map(|burst| burst.to_string())),
                ("max_inflight", max_inflight.map(|most| most.to_string())),
            ];
            for (name, limit) in limits.into_iter().filter_map(|(name, limit)| Some((name, limit?))) {
                writeln!(text, "    apiserver_{name} {limit}").unwrap();
            }
            if !view.namespaces.is_empty() {
                writeln!(text, "    namespaces {}", view.namespaces.join(" ")).unwrap();
            }
            if let Some(labels) = &view.namespace_labels {
                writeln!(text, "    namespace_labels {labels}").unwrap();
            }
            if let Some(labels) = &view.labels {
                writeln!(text, "    labels {labels}").unwrap();
            }
            if view.pods != PodMode::Disabled {
                writeln!(text, "    pods {:?}", view.pods).unwrap();
            }
            for PodNames { both, kubelet, hostname, namespaces, labels } in &view.endpoint_pod_names {
                write!(text, "    endpoint_pod_names").unwrap();
                if *both {
                    write!(text, " both").unwrap();
                }
                if *kubelet {
                    write!(text, " kubelet").unwrap();
                }
                if *hostname {
                    write!(text, " hostname").unwrap();
                }
                if !namespaces.is_empty() {
                    write!(text, " namespaces {}", namespaces.join(" ")).unwrap();
                }
                let labels = labels.as_ref().map(|labels| format!(" labels {labels}"));
                writeln!(text, "{}", labels.unwrap_or_default()).unwrap();
            }
            let switches = [
                ("portless_srv", view.portless_srv),
                ("ptr canonical", view.canonical_ptr),
                ("publish_not_ready names", view.publish_not_ready),
                ("drain", view.drain),
                ("noendpoints", view.no_endpoints),
                ("ignore empty_service", view.ignore_empty_service),
                ("zonal", view.zonal),
            ];
            for (name, _) in switches.into_iter().filter(|(_, on)| *on) {
                writeln!(text, "    {name}").unwrap();
            }
            if view.ttl_secs != 5 {
                writeln!(text, "    ttl {}", view.ttl_secs).unwrap();
            }
            if let Some(limit) = view.srv_limit {
                writeln!(text, "    srv_limit {limit}").unwrap();
            }
            if let Some(secs) = view.negative_ttl_secs {
                writeln!(text, "    negative_ttl {secs}").unwrap();
            }
            if !view.fallthrough.is_empty() {
                writeln!(text, "    fallthrough {}", view.fallthrough.join(" ")).unwrap();
            }
            if let Some(file) = &view.snapshot {
                writeln!(text, "    snapshot {}", file.display()).unwrap();
            }
            if let Some(rule) = view.mass_removal {
                writeln!(text, "    hold_mass_removal {}% {:?}", rule.percent, rule.time).unwrap();
            }
            if view.listen_when_synced {
                writeln!(text, "    listen_when_synced").unwrap();
            }
            if view.startup_timeout.as_secs() != 5 {
                writeln!(text, "    startup_timeout {:?}", view.startup_timeout).unwrap();
            }
        }
        for forward in &block.forwards {
            text.push_str(&summary_of_forward(forward));
        }
    }
    text
}

/// What is answered ahead of the zones, and how long who waits.
fn summary_of_ahead(block: &ServerBlock) -> String {
    let mut lines = Vec::new();
    lines.extend(block.metadata.as_ref().map(|metadata| format!("metadata {:?}", metadata.zones)));
    lines.extend(block.cancel.map(|timeout| format!("cancel {timeout:?}")));
    lines.extend(block.reload.map(|reload| format!("reload {:?} {:?}", reload.interval, reload.jitter)));
    if block.timeouts != Timeouts::default() {
        lines.push(format!("timeouts {:?}", block.timeouts));
    }
    lines.extend(block.nsid.as_ref().map(|name| format!("nsid {name}")));
    lines.extend(block.debug.then(|| "debug".to_owned()));
    lines.extend(block.local.map(|local| format!("local prefix={}", local.prefix)));
    lines.extend(block.any.then(|| "any".to_owned()));
    lines.extend(block.chaos.as_ref().map(|chaos| format!("chaos {:?} {:?}", chaos.version, chaos.authors)));
    if let Some(autopath) = &block.autopath {
        let search = match &autopath.search {
            SearchPath::OfPods { host } if host.is_empty() => "of pods".to_owned(),
            SearchPath::OfPods { host } => format!("of pods, then {}", host.join(" ")),
            SearchPath::These(path) => path.join(" "),
        };
        lines.push(format!("autopath {} {search}", autopath.zones.join(" ")).trim_end().to_owned());
    }
    lines.extend(block.finds_loops.then(|| "loop".to_owned()));
    for rule in &block.acl {
        lines.push(format!("acl {}", rule.zones.join(" ")));
        for policy in &rule.policies {
            let networks = policy
                .networks
                .as_ref()
                .map(|all| all.iter().map(|(address, bits)| format!("{address}/{bits}")).collect::<Vec<_>>());
            lines.push(format!("  {:?} types={:?} networks={networks:?}", policy.action, policy.types));
        }
    }
    lines.extend(block.minimal.then(|| "minimal".to_owned()));
    lines.extend(block.whoami.then(|| "whoami".to_owned()));
    lines.iter().fold(String::new(), |text, line| text + "  " + line + "\n")
}

fn summary_of_tsig(tsig: &Tsig) -> String {
    let codes = |codes: &RequiredCodes| match codes {
        RequiredCodes::All => "all".to_owned(),
        RequiredCodes::These(codes) => codes.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
    };
    let mut text = format!("  tsig {}\n", tsig.zones.join(" "));
    for key in &tsig.keys {
        writeln!(text, "    key {} {:?} of {} octets", key.name, key.algorithm, key.secret.len()).unwrap();
    }
    for (name, required) in [("require", codes(&tsig.types)), ("require_opcode", codes(&tsig.opcodes))] {
        if !required.is_empty() {
            writeln!(text, "    {name} {required}").unwrap();
        }
    }
    text
}

fn summary_of_transfer(transfer: &Transfer) -> String {
    let to = transfer.to.iter().map(|to| match to {
        TransferTo::Everybody => "*".to_owned(),
        TransferTo::Address { address, interface, port } => {
            let interface = interface.as_ref().map(|name| format!("%{name}")).unwrap_or_default();
            format!("{address}{interface} port {port}")
        }
    });
    let mut text = format!("  transfer {}\n    to {}\n", transfer.zones.join(" "), to.collect::<Vec<_>>().join(", "));
    if let Some(source) = transfer.source {
        writeln!(text, "    source {source}").unwrap();
    }
    if let Some(key) = &transfer.notify_key {
        writeln!(text, "    notify_key {key}").unwrap();
    }
    text
}

fn summary_of_cache(cache: &Cache) -> String {
    let mut text = format!("  cache {}\n", cache.zones.join(" "));
    let mut line = |there: bool, what: String| {
        if there {
            writeln!(text, "    {what}").unwrap();
        }
    };
    for (name, CacheSide { capacity, max_ttl_secs, min_ttl_secs }) in
        [("success", cache.success), ("denial", cache.denial)]
    {
        line(true, format!("{name} {capacity} {max_ttl_secs} {min_ttl_secs}"));
    }
    line(cache.servfail.as_secs() != 5, format!("servfail {:?}", cache.servfail));
    line(cache.prefetch.is_some(), format!("{:?}", cache.prefetch));
    line(cache.stale.is_some(), format!("{:?}", cache.stale));
    for (name, zones) in [("success", &cache.success_disabled), ("denial", &cache.denial_disabled)] {
        line(!zones.is_empty(), format!("disable {name} {}", zones.join(" ")));
    }
    line(cache.keep_ttl, "keepttl".into());
    text
}

fn summary_of_forward(forward: &Forward) -> String {
    let to: Vec<_> = forward.to.iter().map(ToString::to_string).collect();
    let mut text = format!("  forward {} to {}\n", forward.from, to.join(" "));
    let mut line = |differs: bool, line: String| {
        if differs {
            writeln!(text, "    {}", line.trim_end()).unwrap();
        }
    };
    line(!forward.except.is_empty(), format!("except {}", forward.except.join(" ")));
    line(forward.force_tcp, "force_tcp".into());
    line(forward.prefer_udp, "prefer_udp".into());
    line(forward.max_fails != 2, format!("max_fails {}", forward.max_fails));
    line(
        forward.max_connect_attempts.is_some(),
        format!("max_connect_attempts {}", forward.max_connect_attempts.unwrap_or_default()),
    );
    let HealthCheck { interval, recursion, domain } = &forward.health_check;
    let check = format!(
        "{}{}",
        if *recursion { "" } else { " no_rec" },
        if domain == "." { String::new() } else { format!(" domain {domain}") }
    );
    line(interval.as_millis() != 500 || !check.is_empty(), format!("health_check {interval:?}{check}"));
    line(forward.read_timeout.as_secs() != 2, format!("read_timeout {:?}", forward.read_timeout));
    line(forward.expire.as_secs() != 10, format!("expire {:?}", forward.expire));
    line(forward.max_age.is_some(), format!("max_age {:?}", forward.max_age.unwrap_or_default()));
    line(forward.max_idle_conns > 0, format!("max_idle_conns {}", forward.max_idle_conns));
    line(forward.max_concurrent.is_some(), format!("max_concurrent {}", forward.max_concurrent.unwrap_or_default()));
    line(forward.policy != Policy::Random, format!("policy {:?}", forward.policy));
    line(!forward.next.is_empty(), format!("next {:?}", forward.next));
    line(forward.next_on_nodata, "next_on_nodata".into());
    line(forward.failfast, "failfast_all_unhealthy_upstreams".into());
    line(!forward.failover.is_empty(), format!("failover {:?}", forward.failover));
    line(
        forward.source_address.is_some(),
        format!("source_address {}", forward.source_address.map(|it| it.to_string()).unwrap_or_default()),
    );
    line(!forward.resolvers.is_empty(), format!("resolver {:?}", forward.resolvers));
    let tls = [("authorities", forward.tls.authorities.is_some()), ("client", forward.tls.client.is_some())];
    for (what, _) in tls.into_iter().filter(|(_, is_there)| *is_there) {
        line(true, format!("tls {what}"));
    }
    text
}

/// What a case should give and gives, in the form of its own sections.
fn compare(case: &Case) -> (String, String) {
    let section = |name: &str| case.sections.get(name).map(|(argument, text)| format!("--- {name} {argument}\n{text}"));
    let mut actual = String::new();
    let expected = match case.load() {
        Ok(loaded) => {
            write!(actual, "--- config \n{}", summary(&loaded.config)).unwrap();
            if !loaded.warnings.is_empty() {
                actual.push_str("--- warnings \n");
                loaded.warnings.iter().for_each(|warning| writeln!(actual, "{warning}").unwrap());
            }
            [section("config"), section("warnings"), section("error")]
        }
        Err(error) => {
            let place =
                error.line().zip(error.column()).map_or(String::new(), |(line, column)| format!("{line}:{column}"));
            writeln!(actual, "--- error {place}").unwrap();
            for diagnostic in error.diagnostics() {
                writeln!(actual, "{}", diagnostic.to_string().lines().next().unwrap_or_default()).unwrap();
            }
            let mut full = error.to_string();
            if let Some((_, shown)) = case.sections.get("shown") {
                // Only what is asked for counts; the rest of the picture may change.
                full = if full.contains(shown.trim_end()) { shown.clone() } else { full + "\n" };
                write!(actual, "--- shown \n{full}").unwrap();
            }
            [section("error"), section("shown"), section("config")]
        }
    };
    (expected.into_iter().flatten().collect(), actual)
}

#[test]
fn every_case_holds() {
    let wrong: Vec<_> = cases()
        .iter()
        .filter_map(|case| {
            let (expected, actual) = compare(case);
            (expected != actual).then(|| format!("== {}\n-- expected\n{expected}-- actual\n{actual}", case.name))
        })
        .collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// Whoever reads an error learns where it is and what to do.
#[test]
fn every_error_has_a_place_and_a_hint() {
    for case in cases() {
        let Err(error) = case.load() else { continue };
        for error in error.diagnostics() {
            assert!(error.place().is_some(), "{}: {error}", case.name);
            assert!(!error.hints().is_empty(), "{}: {error}", case.name);
        }
    }
}

#[test]
fn example_is_sound() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("Corefile.example");
    let loaded = config::load(&path, PORT).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(loaded.warnings, []);
    let view = loaded.config.blocks[0].kubernetes.as_ref().expect("a view");
    assert_eq!(view.source, Source::Manifests("deploy/sample".into()));
    assert_eq!(view.endpoint_pod_names, [PodNames::default()]);
    assert!(loaded.config.blocks[0].keys.iter().all(|key| key.port == 1053));
}

#[test]
fn files_that_cannot_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let load = |name: &str| config::load(&folder.path().join(name), PORT).expect_err(name);

    let missing = load("nothing");
    assert!(missing.is_missing());
    assert!(missing.to_string().contains("nothing: no such file or directory"), "{missing}");
    assert!(missing.to_string().contains("-conf FILE"), "{missing}");

    let directory = load("");
    assert!(!directory.is_missing());
    assert!(directory.to_string().contains("is a directory"), "{directory}");

    std::fs::write(folder.path().join("latin1"), b". {\n errors # \xe9\n}\n").unwrap();
    let latin1 = load("latin1");
    assert_eq!((latin1.line(), latin1.column()), (Some(2), Some(11)));
    assert!(latin1.headline().contains("not UTF-8"), "{latin1}");

    std::fs::write(folder.path().join("elf"), b"\x7fELF\0\0").unwrap();
    assert!(load("elf").headline().contains("a NUL byte"));

    std::fs::write(folder.path().join("huge"), vec![b'#'; 5 << 20]).unwrap();
    assert!(load("huge").headline().contains("is larger than"));
}

/// Text that is more often nearly a Corefile than noise is.
fn nearly_a_corefile() -> impl Strategy<Value = String> {
    let words = prop::sample::select(vec![
        ".",
        "a.b",
        "10.0.0.0/15",
        "2001:db8::/31",
        "a:53",
        ":",
        ",",
        "{",
        "}",
        "{\n",
        "\n}\n",
        "\n",
        "\"",
        "\\",
        "#",
        "\r",
        "\t",
        "kubernetes",
        "errors",
        "log",
        "health",
        "ready",
        "prometheus",
        ":8080",
        "lameduck",
        "monitor",
        "continuously",
        "bind",
        "bufsize",
        "multisocket",
        "loadbalance",
        "autopath",
        "@kubernetes",
        "loop",
        "weighted",
        "prefer",
        "reload",
        "forward",
        "import",
        "import s\n",
        "(s)",
        "(s) {\n",
        "endpoint",
        "tls",
        "kubeconfig",
        "manifests",
        "namespaces",
        "multicluster",
        "labels",
        "a in (b,",
        "!",
        "pods",
        "insecure",
        "ttl",
        "3601",
        "5s",
        "startup_timeout",
        "1.5h",
        "class",
        "denial",
        "{common}",
        "{$A}",
        "{%A%}",
        "{$",
        "127.0.0.1",
        "lo",
        "except",
        "\u{feff}",
        "é",
        "\u{a0}",
        "\0",
        "tls://x",
        "dns://",
        "99999999999999999999",
        "/",
        "a..b",
        "\\.",
    ]);
    prop::collection::vec((words, prop::sample::select(vec![" ", "", "\n"])), 0..40)
        .prop_map(|words| words.into_iter().map(|(word, space)| format!("{word}{space}")).collect())
}

struct NoMachine;

/// A file that imports itself, whatever it is called.
impl Files for NoMachine {
    fn matching(&self, pattern: &str) -> Result<Vec<PathBuf>, String> {
        Ok(vec![pattern.into()])
    }

    fn read(&self, _: &Path) -> io::Result<Vec<u8>> {
        Ok(b"errors\nimport s\nlog {\nimport s\n".into())
    }
}

impl Machine for NoMachine {
    fn variable(&self, name: &str) -> Option<String> {
        (name == "A").then(|| "x {\n{$A}".to_owned())
    }

    fn interfaces(&self) -> io::Result<Vec<(String, IpAddr)>> {
        Err(io::Error::other("none"))
    }
}

/// Reads it and shows every error: neither may panic, and places lie in their texts.
fn survives(text: &str) {
    if let Err(error) = config::parse_for(&NoMachine, "Corefile", text, PORT) {
        assert!(!error.to_string().is_empty());
        for place in error.diagnostics().filter_map(|diagnostic| diagnostic.place()) {
            assert!(place.start <= place.end && place.end <= place.source.text().len(), "{place:?}");
            assert!(place.line >= 1 && place.column >= 1);
        }
    }
}

proptest! {
    // What fails becomes a case, not a seed.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_panics(text in any::<String>()) {
        survives(&text);
    }

    #[test]
    fn nothing_like_a_corefile_panics(text in nearly_a_corefile()) {
        survives(&text);
    }

    #[test]
    fn no_bytes_panic_in_load(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &bytes).unwrap();
        if let Err(error) = config::load(file.path(), PORT) {
            prop_assert!(!error.to_string().is_empty());
        }
    }

    #[test]
    fn no_selector_panics(text in "[a-c=!<>(), \\-./é]{0,24}|[a-c]( in | notin |=|!=)\\([a-c, ]*\\)") {
        if let Ok(selector) = podzone::model::Selector::parse(&text) {
            prop_assert_eq!(podzone::model::Selector::parse(&selector.to_string()), Ok(selector));
        }
    }
}
