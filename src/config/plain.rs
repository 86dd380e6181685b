//! Directives without arguments: `any`, `minimal`, `whoami`, `debug`.

use super::reader::Reader;
use super::report::Report;

/// Checks one of them.
///
/// CoreDNS looks at a block only under `any`, and at other lines only under `debug`; here nothing may stand there, since
/// it would say something that nobody hears.
pub(super) fn check(name: &str, mut reader: Reader<'_>, report: &mut Report) {
    while reader.next_line(report) {
        if reader.next_arg() {
            report.error(reader.argument_error().hint(format!("{name} stands alone")));
            reader.give_up();
        }
    }
}
