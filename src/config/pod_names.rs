//! `endpoint_pod_names [both] [kubelet] [hostname] [namespaces NAMESPACE...] [labels SELECTOR]`. The bare word is CoreDNS's.

use super::kubernetes::{check_selector, usage};
use super::reader::Reader;
use super::report::Report;
use crate::corefile::Token;
use crate::model::Selector;

/// A line: some Services whose endpoints are named after their pods.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PodNames {
    /// `both`: the names that they have otherwise resolve too.
    pub both: bool,
    /// `kubelet`: names are cut as kubelet cuts them, and may have dots.
    pub kubelet: bool,
    /// `hostname`: a pod's own `hostname` counts before its name, also where its slice does not say it.
    pub hostname: bool,
    /// `namespaces`: those of the Services; empty means all.
    pub namespaces: Vec<String>,
    /// `labels`: what selects the Services.
    pub labels: Option<Selector>,
}

impl PodNames {
    fn is_about_all(&self) -> bool {
        self.namespaces.is_empty() && self.labels.is_none()
    }
}

/// What follows a word, if it stands first. One that wants others behind it is none without them.
fn after<'w>(words: &'w [Token], name: &str) -> Option<&'w [Token]> {
    let (_, more) = words.split_first().filter(|(first, _)| first.text == name)?;
    Some(more).filter(|_| matches!(name, "both" | "kubelet" | "hostname") || !more.is_empty())
}

/// Reads what follows the option's name, and adds it to the lines before it.
pub(super) fn check(
    option: &Token,
    words: &[Token],
    lines: &mut Vec<PodNames>,
    reader: &Reader<'_>,
    report: &mut Report,
) {
    let mut line = PodNames::default();
    let mut rest = words;
    if let Some(more) = after(rest, "both") {
        (line.both, rest) = (true, more);
    }
    if let Some(more) = after(rest, "kubelet") {
        (line.kubelet, rest) = (true, more);
    }
    if let Some(more) = after(rest, "hostname") {
        (line.hostname, rest) = (true, more);
    }
    if let Some(more) = after(rest, "namespaces") {
        let count = more.iter().position(|word| word.text == "labels").unwrap_or(more.len());
        let (namespaces, more) = more.split_at(count);
        line.namespaces = namespaces.iter().map(|word| word.text.clone()).collect();
        rest = if namespaces.is_empty() { rest } else { more };
    }
    if let Some(selector @ [first, ..]) = after(rest, "labels") {
        line.labels = check_selector("label selector", first, selector, reader, report);
        rest = &[];
    }
    if !rest.is_empty() {
        return report.error(reader.argument_error().hint(usage("endpoint_pod_names")));
    }
    if lines.iter().any(PodNames::is_about_all) && !line.is_about_all() {
        report.warn(option, "this line has no effect: one before it is about all Services");
    }
    // A line twice is one, as CoreDNS has it.
    if !lines.contains(&line) {
        lines.push(line);
    }
}
