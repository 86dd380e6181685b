//! `nsid [DATA]`

use super::reader::{ONCE, Reader};
use super::report::Report;

/// Octets that an option of EDNS may hold beside others in a message; CoreDNS has no limit, and could not send more.
const OCTETS_MAX: usize = 512;

/// Reads the server's name: all words, or that of the host.
pub(super) fn check(mut reader: Reader<'_>, host: &str, report: &mut Report) -> Option<String> {
    let mut name: Option<String> = None;
    while reader.next_line(report) {
        if name.is_some() {
            report.error(reader.bare_error(reader.current(), ONCE));
            return name;
        }
        let words: Vec<&str> = reader.remaining_args().iter().map(|word| word.text.as_str()).collect();
        let data = if words.is_empty() { host.to_owned() } else { words.join(" ") };
        if data.len() > OCTETS_MAX {
            let error = reader.error(format_args!("a name of {} bytes", data.len()));
            report.error(error.hint(format!("nsid takes at most {OCTETS_MAX} bytes")));
        }
        name = Some(data);
    }
    name
}
