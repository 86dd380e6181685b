//! Whole numbers as Go's `strconv.Atoi` reads them, with its words for what it refuses.

/// Reads an optional sign and decimal digits.
///
/// # Errors
/// CoreDNS's wording.
pub(super) fn parse(text: &str) -> Result<i64, String> {
    text.parse::<i64>().map_err(|error| {
        use std::num::IntErrorKind::{NegOverflow, PosOverflow};
        let reason = match error.kind() {
            PosOverflow | NegOverflow => "value out of range",
            _ => "invalid syntax",
        };
        format!("strconv.Atoi: parsing {text:?}: {reason}")
    })
}
