//! `autopath [ZONE]... RESOLV-CONF|@kubernetes`

use std::path::Path;

use super::machine::Machine;
use super::reader::Reader;
use super::report::Report;
use super::zone;
use super::{Autopath, PodMode, SearchPath, ServerBlock, ZoneKey};
use crate::corefile::{self, Diagnostic, Token};

const NAME: &str = "autopath";
/// What stands for the search path of the client's pod.
const OF_PODS: &str = "@kubernetes";
/// Where a host's own search path is (plugin/kubernetes/setup.go, func searchFromResolvConf).
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// Reads the lines of a block; the last one counts, as in CoreDNS (plugin/autopath/setup.go, func autoPathParse).
pub(super) fn check(
    mut reader: Reader<'_>,
    keys: &[ZoneKey],
    machine: &dyn Machine,
    report: &mut Report,
) -> Option<Autopath> {
    let mut autopath = None;
    while reader.next_line(report) {
        let Some((last, words)) = reader.remaining_args().split_last() else {
            let error = reader.bare_error(reader.current(), "no resolv-conf specified");
            report.error(error.hint("autopath @kubernetes is for clients that are pods"));
            continue;
        };
        let zones = check_zones(words, keys, &reader, report);
        let search = match last.text.strip_prefix('@') {
            Some("kubernetes") => SearchPath::OfPods { host: host_search(machine) },
            Some(other) => {
                let message = format_args!("{other} has no search paths");
                report.error(reader.bare_error(last, message).hint("the one that has is: @kubernetes"));
                continue;
            }
            None => match machine.read(Path::new(&last.text)) {
                Ok(content) => SearchPath::These(search_of(&String::from_utf8_lossy(&content))),
                Err(error) => {
                    let error = reader.bare_error(last, format_args!("failed to parse {:?}: {error}", last.text));
                    report.error(error.hint("it ends with a file like /etc/resolv.conf, or with @kubernetes"));
                    continue;
                }
            },
        };
        if matches!(&search, SearchPath::These(zones) if zones.is_empty()) {
            report.warn(last, format_args!("{} has no search path, so that autopath does nothing", last.text));
        }
        autopath = Some(Autopath { zones, search });
    }
    autopath
}

fn check_zones(words: &[Token], keys: &[ZoneKey], reader: &Reader<'_>, report: &mut Report) -> Vec<String> {
    if words.is_empty() {
        return keys.iter().map(|key| key.zone.clone()).collect();
    }
    let mut zones = Vec::new();
    for word in words {
        match zone::parse(&word.text) {
            Ok(written) => zones.extend(written.zones),
            Err(_) => report.error(reader.bare_error(word, format_args!("not a zone: {}", word.text))),
        }
    }
    zones
}

/// Refuses what asks for the search paths of pods where no pods are known. CoreDNS takes it, and does nothing.
pub(super) fn check_all(written: &[corefile::ServerBlock], blocks: &[ServerBlock], report: &mut Report) {
    for (written, block) in written.iter().zip(blocks) {
        if !matches!(&block.autopath, Some(Autopath { search: SearchPath::OfPods { .. }, .. }))
            || block.kubernetes.as_ref().is_some_and(|view| view.pods == PodMode::Verified)
        {
            continue;
        }
        let words = written.directives.iter().filter(|directive| directive.name == NAME);
        let Some(word) = words.flat_map(|directive| &directive.tokens).find(|word| word.text == OF_PODS) else {
            continue;
        };
        let (message, hint) = match block.kubernetes {
            Some(_) => (
                "the addresses of pods are not known",
                "write 'pods verified' in kubernetes, which takes the right to list and watch pods",
            ),
            None => ("the server block has no kubernetes", "it needs kubernetes with 'pods verified'"),
        };
        let error = Diagnostic::parsing(&word.place, message);
        report.error(error.from_plugin(NAME).hint(hint));
    }
}

/// The search path of this host; none where it cannot be read, as in CoreDNS.
fn host_search(machine: &dyn Machine) -> Vec<String> {
    let content = machine.read(Path::new(RESOLV_CONF)).unwrap_or_default();
    search_of(&String::from_utf8_lossy(&content))
}

/// The last `search` or `domain` line of resolv.conf(5). What is no name there is left out: nobody can ask for it.
fn search_of(content: &str) -> Vec<String> {
    let mut search = Vec::new();
    for line in content.lines() {
        let mut words = line.split_whitespace();
        match words.next() {
            Some("search") => search = words.collect(),
            Some("domain") => search = words.take(1).collect(),
            _ => {}
        }
    }
    search.into_iter().filter_map(|name| zone::normalize(name).ok()).filter(|name| name != ".").collect()
}

#[cfg(test)]
mod tests {
    use super::search_of;

    #[test]
    fn the_last_search_path_counts() {
        let of = |text| search_of(text).join(" ");
        assert_eq!(
            of("nameserver 1.2.3.4\ndomain foo.com\nsearch Bar.com  baz.com.\noptions ndots:5\n"),
            "bar.com. baz.com."
        );
        assert_eq!(of("search a.com b.com\ndomain c.com d.com\n"), "c.com.");
        assert_eq!(of("search a..b c.com .\n#search d.com\n"), "c.com.");
        assert_eq!(of(""), "");
    }
}
