//! `chaos [VERSION] [AUTHORS...]`

use std::collections::BTreeSet;

use super::Chaos;
use super::reader::Reader;
use super::report::Report;

/// Octets of a string in a TXT record (RFC 1035 section 3.3).
const OCTETS_MAX: usize = 255;

/// Reads what the server says of itself. As in CoreDNS, the first line holds, and long words are cut.
pub(super) fn check(mut reader: Reader<'_>, host: &str, report: &mut Report) -> Option<Chaos> {
    if !reader.next_line(report) {
        return None;
    }
    let mut words = reader.remaining_args().iter().map(|word| trim(&word.text));
    let version = words.next();
    let authors: BTreeSet<String> = words.collect();
    if let Some(option) = reader.next_option() {
        let error = reader.error(format_args!("unknown property '{}'", option.text));
        report.error(error.hint("it is written on one line: chaos VERSION AUTHORS..."));
    } else if reader.next_word() {
        report.warn(reader.current(), "chaos is given again; the first in the block holds");
    }
    reader.give_up();
    Some(Chaos { host: trim(host), version, authors: authors.into_iter().collect() })
}

/// At most as much as a string holds, in whole characters.
fn trim(text: &str) -> String {
    let end = (0..=text.len().min(OCTETS_MAX)).rev().find(|end| text.is_char_boundary(*end));
    text.get(..end.unwrap_or_default()).unwrap_or_default().to_owned()
}
