//! `bufsize [SIZE]`

use super::number;
use super::reader::Reader;
use super::report::Report;

/// The size that <https://www.dnsflagday.net/2020/> recommends, in bytes: it passes nearly everywhere unfragmented.
const DEFAULT_BYTES: u16 = 1232;

/// Reads the size in bytes, 512 (the least that RFC 6891 allows) to 4096.
pub(super) fn check(mut reader: Reader<'_>, report: &mut Report) -> Option<u16> {
    let mut size = None;
    let mut lines = 0;
    while reader.next_line(report) {
        lines += 1;
        if lines > 1 {
            // CoreDNS reads no further than the first line and says nothing.
            report.warn(reader.current(), "bufsize is given again; the first in the block holds");
            reader.give_up();
            break;
        }
        size = match reader.remaining_args() {
            [] => Some(DEFAULT_BYTES),
            [size] => {
                number::parse(&size.text).ok().and_then(|n| u16::try_from(n).ok()).filter(|n| (512..=4096).contains(n))
            }
            _ => None,
        };
        if size.is_none() {
            // CoreDNS names the plugin twice here.
            let error = reader.argument_error().from_plugin("bufsize");
            report.error(error.hint("bufsize takes one number of bytes, 512 to 4096, or nothing for 1232"));
        }
    }
    size
}
