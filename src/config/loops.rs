//! `loop`

use super::reader::{ONCE, Reader};
use super::report::Report;

/// Reads the one line that a block may have (plugin/loop/setup.go, func parse); `true`, since it is there.
pub(super) fn check(mut reader: Reader<'_>, report: &mut Report) -> bool {
    let mut is_there = false;
    while reader.next_line(report) {
        if is_there {
            report.error(reader.bare_error(reader.current(), ONCE));
            reader.give_up();
        } else if reader.next_arg() {
            report.error(reader.argument_error().hint("it stands alone"));
            reader.give_up();
        }
        is_there = true;
    }
    is_there
}
