//! Directives without arguments: `any`, `minimal`, `whoami`, `debug`.

use super::reader::Reader;
use super::report::Report;

/// Checks one of them; `true`, since it is there.
///
/// CoreDNS looks at a block only under `any`, and at other lines only under `debug`; here nothing may stand there, since
/// it would say something that nobody hears.
pub(super) fn check(mut reader: Reader<'_>, report: &mut Report) -> bool {
    while reader.next_line(report) {
        if reader.next_arg() {
            report.error(reader.argument_error().hint("it stands alone"));
            reader.give_up();
        }
    }
    true
}
