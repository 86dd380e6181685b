//! `local { localhost_prefix on|off }`

use super::Local;
use super::reader::Reader;
use super::report::Report;

/// Reads the directive; the last word on `localhost_prefix` holds.
pub(super) fn check(mut reader: Reader<'_>, report: &mut Report) -> Local {
    let mut local = Local { prefix: true };
    while reader.next_line(report) {
        if !reader.remaining_args().is_empty() {
            report.error(reader.argument_error().hint("local has no arguments"));
        }
        while let Some(option) = reader.next_option() {
            if option.text != "localhost_prefix" {
                let error = reader.error(format_args!("unknown property '{}'", option.text));
                report.error(error.hint("local has the option localhost_prefix on|off"));
                reader.give_up();
                break;
            }
            match reader.remaining_args() {
                [word] if word.text == "on" => local.prefix = true,
                [word] if word.text == "off" => local.prefix = false,
                [word] => {
                    let message = format_args!("localhost_prefix expects 'on' or 'off', got {:?}", word.text);
                    report.error(reader.error_at(word, message));
                }
                _ => report.error(reader.argument_error().hint("it is written: localhost_prefix on|off")),
            }
        }
    }
    local
}
