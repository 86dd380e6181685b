//! `multisocket [NUMBER]`

use super::Multisocket;
use super::number;
use super::reader::Reader;
use super::report::Report;

/// The most UDP sockets of an address and port: CoreDNS's limit (`plugin/multisocket/multisocket.go`).
pub const SOCKETS_MAX: u16 = 1024;

/// Reads the number of sockets, 1 to [`SOCKETS_MAX`].
pub(super) fn check(mut reader: Reader<'_>, report: &mut Report) -> Option<Multisocket> {
    if !reader.next_line(report) {
        return None;
    }
    let args = reader.remaining_args();
    if args.len() > 1 || reader.next_word() {
        let hint = format!("multisocket stands once in a block, with one number, 1 to {SOCKETS_MAX}, or with nothing");
        report.error(reader.argument_error().hint(hint));
        reader.give_up();
        return None;
    }
    let Some(word) = args.first() else { return Some(Multisocket::OnePerCpu) };
    let message = match number::parse(&word.text) {
        Err(error) => format!("invalid num sockets: {error}"),
        Ok(number) if number < 1 => format!("num sockets can not be zero or negative: {number}"),
        Ok(number) => match u16::try_from(number).ok().filter(|number| *number <= SOCKETS_MAX) {
            Some(number) => return Some(Multisocket::Number(number)),
            None => format!("num sockets exceeds maximum ({SOCKETS_MAX}): {number}"),
        },
    };
    let error = reader.bare_error(word, message);
    report.error(error.hint(format!("write 1 to {SOCKETS_MAX}, or nothing for one per available CPU")));
    None
}
