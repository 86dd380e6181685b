//! `kubernetes [ZONES...] { ... }`

use std::path::PathBuf;
use std::time::Duration;

use super::api_limits::ApiLimits;
use super::known::KUBERNETES_OPTIONS;
use super::reader::{ONCE, Reader};
use super::report::Report;
use super::zone::{self, ZoneError};
use super::{
    Kubernetes, MassRemoval, PodMode, PodNames, Source, TlsFiles, ZoneKey, duration, number, outages, pod_names,
};
use crate::corefile::{Token, did_you_mean};
use crate::model::Selector;

/// Defaults of `plugin/kubernetes` in CoreDNS.
const TTL_SECS_DEFAULT: u32 = 5;
const TTL_SECS_MAX: i64 = 3600;
const STARTUP_TIMEOUT_DEFAULT: Duration = Duration::from_secs(5);

/// Reads the directive; without zones of its own it serves those of its block's `keys`.
pub(super) fn check(mut reader: Reader<'_>, keys: &[ZoneKey], report: &mut Report) -> Option<Kubernetes> {
    let errors_before = report.errors.len();
    let mut view = None;
    while reader.next_line(report) {
        if view.is_some() {
            report.error(reader.bare_error(reader.current(), ONCE));
            break;
        }
        view = Some(check_stanza(&mut reader, keys, report));
    }
    view.filter(|_| report.errors.len() == errors_before)
}

fn check_stanza(reader: &mut Reader<'_>, keys: &[ZoneKey], report: &mut Report) -> Kubernetes {
    let directive = reader.current();
    let zones = check_zones(reader, directive, keys, report);
    let mut options = Options::default();
    while let Some(option) = reader.next_option() {
        options.check(option, reader, report);
    }
    options.check_conflicts(reader, report);
    let source = options.source(reader, report);
    check_multicluster(&options.multicluster, &zones, reader, report);
    Kubernetes {
        zones,
        multicluster: options.multicluster.into_iter().map(|(_, zone)| zone).collect(),
        source,
        api_limits: options.api_limits,
        namespaces: options.namespaces,
        namespace_labels: options.namespace_labels.map(|(_, selector)| selector),
        labels: options.labels,
        pods: options.pods,
        endpoint_pod_names: options.endpoint_pod_names,
        no_endpoints: options.no_endpoints.is_some(),
        portless_srv: options.portless_srv,
        canonical_ptr: options.canonical_ptr,
        publish_not_ready: options.publish_not_ready,
        drain: options.drain,
        ignore_empty_service: options.ignore_empty_service,
        zonal: options.zonal.is_some(),
        ttl_secs: options.ttl_secs.unwrap_or(TTL_SECS_DEFAULT),
        negative_ttl_secs: options.negative_ttl_secs,
        fallthrough: options.fallthrough,
        startup_timeout: options.startup_timeout.unwrap_or(STARTUP_TIMEOUT_DEFAULT),
        listen_when_synced: options.listen_when_synced.is_some(),
        snapshot: options.snapshot.map(|(_, file)| file),
        mass_removal: options.mass_removal,
    }
}

fn check_zones(reader: &mut Reader<'_>, directive: &Token, keys: &[ZoneKey], report: &mut Report) -> Vec<String> {
    let mut zones: Vec<String> = Vec::new();
    let words = reader.remaining_args();
    let errors_before = report.errors.len();
    for word in words {
        // CoreDNS leaves out what is no zone without a word.
        let written = match zone::parse(&word.text) {
            Ok(written) => written,
            Err(ZoneError::Invalid(message, hint)) => {
                let error = reader.bare_error(word, message);
                report.error(if let Some(hint) = hint { error.hint(hint) } else { error });
                continue;
            }
            Err(ZoneError::Scheme(scheme)) => {
                report.error(reader.error_at(word, format_args!("a zone of kubernetes has no scheme: {scheme}://")));
                continue;
            }
        };
        for zone in written.zones {
            let meets = |key: &ZoneKey| zone::is_below(&zone, &key.zone) || zone::is_below(&key.zone, &zone);
            if !keys.is_empty() && !keys.iter().any(meets) {
                let message = format!("no query for {zone} comes here: the server block has no such key");
                report.warn(word, message);
            }
            if !zones.contains(&zone) {
                zones.push(zone);
            }
        }
    }
    if words.is_empty() {
        for key in keys {
            if !zones.contains(&key.zone) {
                zones.push(key.zone.clone());
            }
        }
    }
    // Keys that were refused, and said so, leave no zones to judge.
    let judged = report.errors.len() == errors_before && !(words.is_empty() && keys.is_empty());
    if judged && zones.iter().all(|zone| zone::is_reverse(zone)) {
        let error = reader.bare_error(directive, "non-reverse zone name must be used");
        report.error(error.hint("names are needed to point back to: kubernetes cluster.local in-addr.arpa"));
    }
    zones
}

/// Zones must be the directive's own to be made of ServiceImports. CoreDNS sees that at the directive's end, and names
/// the first that is not.
fn check_multicluster(zones: &[(&Token, String)], own: &[String], reader: &Reader<'_>, report: &mut Report) {
    for (word, zone) in zones.iter().filter(|(_, zone)| !own.contains(zone)) {
        let message = format_args!(
            "is not authoritative for the multicluster zone {zone} (authoritative zones: [{}])",
            own.join(" ")
        );
        let error = reader.error_at(word, message);
        report.error(error.hint("the zones of multicluster are among those behind 'kubernetes'"));
    }
}

#[derive(Default)]
struct Options<'a> {
    endpoint: Option<&'a Token>,
    tls: Option<(&'a Token, TlsFiles)>,
    kubeconfig: Option<(&'a Token, Option<String>)>,
    manifests: Option<(&'a Token, PathBuf)>,
    api_limits: ApiLimits,
    namespaces: Vec<String>,
    namespace_labels: Option<(&'a Token, Selector)>,
    labels: Option<Selector>,
    pods: PodMode,
    endpoint_pod_names: Vec<PodNames>,
    no_endpoints: Option<&'a Token>,
    portless_srv: bool,
    canonical_ptr: bool,
    publish_not_ready: bool,
    drain: bool,
    ignore_empty_service: bool,
    zonal: Option<&'a Token>,
    ttl_secs: Option<u32>,
    negative_ttl_secs: Option<u32>,
    fallthrough: Vec<String>,
    /// The zones of the last line, each with the word that it came from.
    multicluster: Vec<(&'a Token, String)>,
    startup_timeout: Option<Duration>,
    listen_when_synced: Option<&'a Token>,
    snapshot: Option<(&'a Token, PathBuf)>,
    mass_removal: Option<MassRemoval>,
}

impl<'a> Options<'a> {
    fn check(&mut self, option: &'a Token, reader: &mut Reader<'a>, report: &mut Report) {
        let name = option.text.as_str();
        if !KUBERNETES_OPTIONS.contains(&name) {
            let mut error = reader.error(format_args!("unknown property '{name}'"));
            if let Some(known) = did_you_mean(name, KUBERNETES_OPTIONS) {
                error = error.hint(format!("did you mean '{known}'?"));
            }
            report.error(error);
            if name == "{" {
                reader.give_up();
            }
            reader.remaining_args();
            return;
        }
        match (name, reader.remaining_args()) {
            ("endpoint_pod_names", words) => {
                pod_names::check(option, words, &mut self.endpoint_pod_names, reader, report)
            }
            ("pods", [mode]) => self.check_pods(mode, reader, report),
            ("namespaces", names @ [_, ..]) => {
                for name in names {
                    if !self.namespaces.contains(&name.text) {
                        self.namespaces.push(name.text.clone());
                    }
                }
            }
            ("namespace_labels", words @ [first, ..]) => {
                let selector = check_selector("namespace_label selector", first, words, reader, report);
                self.namespace_labels =
                    selector.map(|selector| (option, selector)).or_else(|| self.namespace_labels.take());
            }
            ("labels", words @ [first, ..]) => {
                let selector = check_selector("label selector", first, words, reader, report);
                self.labels = selector.or_else(|| self.labels.take());
            }
            ("portless_srv", []) => self.portless_srv = true,
            ("ptr", [way]) => match way.text.as_str() {
                "all" => self.canonical_ptr = false,
                "canonical" => self.canonical_ptr = true,
                other => {
                    let error = reader.error_at(way, format_args!("unknown way of ptr: {other}"));
                    report.error(error.hint("it is written: ptr all|canonical"));
                }
            },
            ("drain", []) => self.drain = true,
            ("publish_not_ready", [what]) => {
                if what.text == "names" {
                    self.publish_not_ready = true;
                } else {
                    let error = reader.error_at(what, format_args!("cannot publish '{}' that is not ready", what.text));
                    report.error(error.hint("the one thing to publish is: names"));
                }
            }
            ("noendpoints", []) => self.no_endpoints = Some(option),
            ("zonal", []) => self.zonal = Some(option),
            ("ignore", [what, more @ ..]) => {
                if what.text == "empty_service" {
                    self.ignore_empty_service = true;
                } else {
                    let error = reader.bare_error(what, format_args!("unable to parse ignore value: '{}'", what.text));
                    report.error(error.hint("the one thing to ignore is: empty_service"));
                }
                warn_of_more(more, report);
            }
            ("ignore", []) => report.warn(option, "ignore has no effect alone: it is written ignore empty_service"),
            ("apiserver_qps" | "apiserver_burst" | "apiserver_max_inflight", [number]) => {
                if let Err(message) = self.api_limits.set(name, &number.text) {
                    report.error(reader.error_at(number, message));
                }
            }
            ("ttl", [secs, more @ ..]) => {
                self.ttl_secs = check_ttl(name, secs, reader, report).or(self.ttl_secs);
                warn_of_more(more, report);
            }
            ("negative_ttl", [secs]) => {
                self.negative_ttl_secs = check_ttl(name, secs, reader, report).or(self.negative_ttl_secs);
            }
            ("fallthrough", words) => self.check_fallthrough(words, reader, report),
            ("multicluster", words) => self.check_multicluster(option, words, reader, report),
            ("startup_timeout", [text, more @ ..]) => {
                match duration::parse(&text.text) {
                    Ok(duration) => self.startup_timeout = Some(duration),
                    Err(error) => {
                        let message = format_args!("failed to parse startup_timeout: {}, {error}", text.text);
                        report.error(reader.bare_error(text, message).hint("durations are written 5s, 1m30s, 500ms"));
                    }
                }
                warn_of_more(more, report);
            }
            ("listen_when_synced", []) => self.listen_when_synced = Some(option),
            ("snapshot", [file]) if !file.text.is_empty() => {
                self.snapshot = Some((option, PathBuf::from(&file.text)));
            }
            ("hold_mass_removal", [percent, time]) => {
                self.mass_removal = outages::check_mass_removal(percent, time, reader, report).or(self.mass_removal);
            }
            ("endpoint", [url, more @ ..]) => {
                if let [second, ..] = more {
                    let message = "Multiple endpoints have been deprecated, only the first specified endpoint";
                    report.warn(second, format_args!("{message} '{}' is used", url.text));
                }
                self.endpoint = Some(url);
            }
            ("tls", [cert, key, ca]) => {
                let files = TlsFiles {
                    cert: PathBuf::from(&cert.text),
                    key: PathBuf::from(&key.text),
                    ca: PathBuf::from(&ca.text),
                };
                self.tls = Some((option, files));
            }
            ("kubeconfig", [file]) => self.kubeconfig = Some((file, None)),
            ("kubeconfig", [file, context]) => self.kubeconfig = Some((file, Some(context.text.clone()))),
            ("manifests", [folder]) if !folder.text.is_empty() => {
                self.manifests = Some((option, PathBuf::from(&folder.text)));
            }
            _ => report.error(reader.argument_error().hint(usage(name))),
        }
    }

    /// Without zones, every name falls through.
    fn check_fallthrough(&mut self, words: &[Token], reader: &Reader<'_>, report: &mut Report) {
        self.fallthrough = if words.is_empty() { vec![".".into()] } else { Vec::new() };
        for word in words {
            match zone::parse(&word.text) {
                Ok(written) => self.fallthrough.extend(written.zones),
                Err(ZoneError::Invalid(message, _)) => report.error(reader.bare_error(word, message)),
                Err(ZoneError::Scheme(scheme)) => {
                    report
                        .error(reader.error_at(word, format_args!("a zone of fallthrough has no scheme: {scheme}://")));
                }
            }
        }
    }

    /// The last line counts. Without zones, none is a multicluster one, as in CoreDNS.
    fn check_multicluster(&mut self, option: &Token, words: &'a [Token], reader: &Reader<'_>, report: &mut Report) {
        self.multicluster.clear();
        if words.is_empty() {
            report.warn(option, "multicluster has no effect without zones");
        }
        for word in words {
            match zone::parse(&word.text) {
                Ok(written) => self.multicluster.extend(written.zones.into_iter().map(|zone| (word, zone))),
                Err(ZoneError::Invalid(message, _)) => report.error(reader.bare_error(word, message)),
                Err(ZoneError::Scheme(scheme)) => {
                    report.error(
                        reader.error_at(word, format_args!("a zone of multicluster has no scheme: {scheme}://")),
                    );
                }
            }
        }
    }

    fn check_pods(&mut self, mode: &Token, reader: &Reader<'_>, report: &mut Report) {
        self.pods = match mode.text.as_str() {
            "disabled" => PodMode::Disabled,
            "insecure" => PodMode::Insecure,
            "verified" => PodMode::Verified,
            other => {
                let message =
                    format_args!("wrong value for pods: {other},  must be one of: disabled, verified, insecure");
                let mut error = reader.bare_error(mode, message);
                if let Some(known) = did_you_mean(other, ["disabled", "insecure", "verified"]) {
                    error = error.hint(format!("did you mean '{known}'?"));
                }
                return report.error(error);
            }
        };
    }

    /// What cannot stand together. CoreDNS tells of it at the block's end; we show the option that is in the way.
    fn check_conflicts(&self, reader: &Reader<'_>, report: &mut Report) {
        if let Some((option, _)) = self.namespace_labels.as_ref().filter(|_| !self.namespaces.is_empty()) {
            let error = reader.error("namespaces and namespace_labels cannot both be set").at(&option.place);
            report.error(error.hint("namespaces names some, namespace_labels selects some: remove one of them"));
        }
        if let Some(option) = self.no_endpoints.filter(|_| self.zonal.is_some()) {
            let error = reader.error("zonal requires the endpoint cache; remove noendpoints").at(&option.place);
            report.error(error.hint("names of topology zones are those of endpoints: remove noendpoints, or zonal"));
        }
        if let Some(option) = self.listen_when_synced.filter(|_| self.startup_timeout.is_some()) {
            let error = reader.error_at(option, "listen_when_synced and startup_timeout cannot both be set");
            report.error(error.hint("the sockets open when all is listed, or after a while: remove one of them"));
        }
        if let Some((option, _)) = self.snapshot.as_ref().filter(|_| self.manifests.is_some()) {
            let error = reader.error_at(option, "snapshot and manifests cannot both be set");
            report.error(error.hint("manifests are on the disk already: remove snapshot"));
        }
    }

    /// Where the objects come from, as CoreDNS decides: a kubeconfig, else an endpoint, else the service account.
    fn source(&self, reader: &Reader<'_>, report: &mut Report) -> Source {
        let others = [
            ("endpoint", self.endpoint),
            ("kubeconfig", self.kubeconfig.as_ref().map(|(file, _)| *file)),
            ("tls", self.tls.as_ref().map(|(option, _)| *option)),
        ];
        if let Some((option, folder)) = &self.manifests {
            for (name, _) in others.iter().filter(|(_, other)| other.is_some()) {
                let error = reader.error_at(option, format_args!("manifests and {name} cannot both be set"));
                report.error(error.hint("the objects come from the folder or from an API server: remove one of them"));
            }
            return Source::Manifests(folder.clone());
        }
        if let Some((file, context)) = &self.kubeconfig {
            for (name, other) in others.iter().filter(|(name, _)| *name != "kubeconfig") {
                if let Some(other) = other {
                    report.warn(other, format_args!("{name} has no effect beside kubeconfig"));
                }
            }
            return Source::Kubeconfig { path: PathBuf::from(&file.text), context: context.clone() };
        }
        let tls = self.tls.as_ref();
        if let Some(url) = self.endpoint {
            return Source::Endpoint {
                url: with_scheme(url, tls.is_some(), reader, report),
                tls: tls.map(|t| t.1.clone()),
            };
        }
        if let Some((option, _)) = tls {
            report.warn(option, "tls has no effect without endpoint");
        }
        Source::InCluster
    }
}

/// Reads a TTL in seconds.
fn check_ttl(option: &str, secs: &Token, reader: &Reader<'_>, report: &mut Report) -> Option<u32> {
    match number::parse(&secs.text) {
        Ok(number @ 0..=TTL_SECS_MAX) => return u32::try_from(number).ok(),
        Ok(number) => {
            let message = format_args!("{option} must be in range [0, {TTL_SECS_MAX}]: {number}");
            report.error(reader.error_at(secs, message));
        }
        Err(message) => {
            let error = reader.bare_error(secs, message);
            report.error(error.hint(format!("{option} is a whole number of seconds")));
        }
    }
    None
}

/// Reads the selector that `words` make, of which `what` tells in an error.
pub(super) fn check_selector(
    what: &str,
    first: &Token,
    words: &[Token],
    reader: &Reader<'_>,
    report: &mut Report,
) -> Option<Selector> {
    let text = words.iter().map(|word| word.text.as_str()).collect::<Vec<_>>().join(" ");
    // CoreDNS has two layers of parsing there: only the syntax errors quote the text a second time.
    let refused = |error| {
        let error = reader.bare_error(first, format_args!("unable to parse {what} value: '{text}': {error}"));
        report.error(error.hint("selectors are written as for kubectl: a=b,c!=d,e in (x,y),!f"));
    };
    Selector::parse(&text).map_err(refused).ok()
}

/// A URL of an API server; where it has no scheme, client-go's `DefaultServerURL` gives it one.
fn with_scheme(url: &Token, has_tls: bool, reader: &Reader<'_>, report: &mut Report) -> String {
    match url.text.split_once("://") {
        Some(("http" | "https", rest)) if !rest.is_empty() => url.text.clone(),
        None if !url.text.is_empty() => format!("{}://{}", if has_tls { "https" } else { "http" }, url.text),
        _ => {
            let error = reader.error_at(url, format_args!("not the URL of an API server: {}", url.text));
            report.error(error.hint("it is written https://HOST[:PORT]"));
            url.text.clone()
        }
    }
}

/// CoreDNS passes over what follows the one argument of these.
fn warn_of_more(more: &[Token], report: &mut Report) {
    if let [first, ..] = more {
        report.warn(first, format_args!("'{}' has no effect here", first.text));
    }
}

/// How an option is written.
pub(super) fn usage(option: &str) -> String {
    let arguments = match option {
        "publish_not_ready" => " names",
        "ptr" => " all|canonical",
        "pods" => " disabled|insecure|verified",
        "namespaces" => " NAMESPACE...",
        "endpoint_pod_names" => " [both] [kubelet] [namespaces NAMESPACE...] [labels SELECTOR]",
        "labels" | "namespace_labels" => " SELECTOR",
        "apiserver_qps" | "apiserver_burst" | "apiserver_max_inflight" => " NUMBER",
        "ttl" | "negative_ttl" => " SECONDS",
        "startup_timeout" => " DURATION",
        "endpoint" => " URL",
        "tls" => " CERT KEY CACERT",
        "kubeconfig" => " FILE [CONTEXT]",
        "manifests" => " DIR",
        "snapshot" => " FILE",
        "hold_mass_removal" => " PERCENT% DURATION",
        _ => "",
    };
    format!("it is written: {option}{arguments}")
}
