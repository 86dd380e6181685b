//! `metadata [ZONE]...`

use super::reader::Reader;
use super::report::Report;
use super::zone::zones;
use super::{Metadata, ZoneKey};

/// Reads the one line that a block may have.
pub(super) fn check(mut reader: Reader<'_>, keys: &[ZoneKey], report: &mut Report) -> Metadata {
    reader.next_word();
    let metadata = Metadata { zones: zones(&mut reader, keys, report) };
    if reader.next_option().is_some() || reader.next_word() {
        report.error(reader.argument_error().hint("metadata stands once in a block, with zones or without"));
        reader.give_up();
    }
    metadata
}
