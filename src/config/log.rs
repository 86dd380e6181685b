//! `log [NAMES...] [FORMAT] { class CLASSES... }`

use super::reader::Reader;
use super::report::Report;
use super::zone::{self, ZoneError};
use super::{LogClasses, LogRule};

/// CoreDNS's `{common}` format, which is also the one that is used where none is written
/// (`plugin/log/log.go`).
pub const COMMON_FORMAT: &str = "{remote}:{port} - {>id} \"{type} {class} {name} {proto} {size} {>do} {>bufsize}\" \
                                 {rcode} {>rflags} {rsize} {duration}";

/// What CoreDNS's `{combined}` format has behind the common one.
const COMBINED_TAIL: &str = " \"{>opcode}\"";

/// Reads the rules of all lines, in order.
pub(super) fn check(mut reader: Reader<'_>, report: &mut Report) -> Vec<LogRule> {
    let mut rules = Vec::new();
    while reader.next_line(report) {
        let (names, format) = match reader.remaining_args() {
            [names @ .., format] if !names.is_empty() && format.text.contains('{') => {
                let combined = format!("{COMMON_FORMAT}{COMBINED_TAIL}");
                let text = format.text.replace("{common}", COMMON_FORMAT).replace("{combined}", &combined);
                (names, text)
            }
            names => (names, COMMON_FORMAT.to_owned()),
        };
        let mut scopes = Vec::new();
        for name in names {
            // CoreDNS takes a lone format for a name, and then logs nothing.
            if name.text.contains('{') {
                let error = reader.error(format_args!("a format without a name: {}", name.text));
                report.error(error.hint("write the name whose queries are logged first: log . FORMAT"));
                continue;
            }
            match zone::normalize(&name.text) {
                Ok(scope) => scopes.push(scope),
                Err(ZoneError::Invalid(message, hint)) => {
                    let error = reader.bare_error(name, message);
                    report.error(if let Some(hint) = hint { error.hint(hint) } else { error });
                }
                Err(ZoneError::Scheme(_)) => {}
            }
        }
        if names.is_empty() {
            scopes.push(".".to_owned());
        }
        let classes = check_classes(&mut reader, report);
        rules.extend(scopes.into_iter().map(|name| LogRule { name, format: format.clone(), classes }));
    }
    rules
}

fn check_classes(reader: &mut Reader<'_>, report: &mut Report) -> LogClasses {
    let mut classes = LogClasses::default();
    while let Some(option) = reader.next_option() {
        if option.text != "class" {
            let error = reader.error(format_args!("unknown property '{}'", option.text));
            report.error(error.hint("log has the option class, with any of success, denial, error, all"));
            reader.give_up();
            break;
        }
        let names = reader.remaining_args();
        if names.is_empty() {
            report.error(reader.argument_error());
        }
        for class in names {
            match class.text.as_str() {
                "all" => classes.all = true,
                "success" => classes.success = true,
                "denial" => classes.denial = true,
                "error" => classes.error = true,
                other => {
                    let error = reader.bare_error(class, format_args!("invalid Class: {other}"));
                    report.error(error.hint("the classes are success, denial, error and all"));
                }
            }
        }
    }
    if classes == LogClasses::default() {
        classes.all = true;
    }
    classes
}
