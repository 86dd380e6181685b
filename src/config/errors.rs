//! `errors [stdout] { stacktrace }`

use super::reader::{ONCE, Reader};
use super::report::Report;

/// Checks the directive; there is nothing to keep but that it is there.
pub(super) fn check(mut reader: Reader<'_>, report: &mut Report) {
    let mut lines = 0;
    while reader.next_line(report) {
        lines += 1;
        if lines > 1 {
            report.error(reader.bare_error(reader.current(), ONCE));
            return;
        }
        match reader.remaining_args() {
            [] => {}
            [file] if file.text == "stdout" => {}
            [file] => report.error(reader.error(format_args!("invalid log file: {}", file.text))),
            _ => report.error(reader.argument_error()),
        }
        while let Some(option) = reader.next_option() {
            match option.text.as_str() {
                "stacktrace" => {}
                "consolidate" => {
                    report.not_served(option, "option 'consolidate' of errors");
                    reader.remaining_args();
                }
                unknown => {
                    let error = crate::corefile::Diagnostic::syntax(
                        &option.place,
                        unknown,
                        &format!("Unknown field {unknown}"),
                    );
                    report.error(error.from_plugin("errors").hint("errors has the options stacktrace, consolidate"));
                    reader.give_up();
                }
            }
        }
    }
}
