//! Zones: names, keys of server blocks, and reverse zones of address ranges.

use std::net::IpAddr;

use super::ZoneKey;
use super::known::SCHEMES_NOT_SERVED;
use super::reader::Reader;
use super::report::Report;

/// Why a key or a zone is refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ZoneError {
    /// In CoreDNS's words, and what may help.
    Invalid(String, Option<&'static str>),
    /// A scheme of CoreDNS's that podzone does not serve.
    Scheme(&'static str),
}

/// A zone as it is written: `[dns://]NAME|CIDR[:PORT]`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Written {
    /// Lower case with the trailing dot; several where a CIDR ends inside a label.
    pub(super) zones: Vec<String>,
    /// The port, if it is written.
    pub(super) port: Option<u16>,
}

/// The zones that a directive names, or its block's.
pub(super) fn zones(reader: &mut Reader<'_>, keys: &[ZoneKey], report: &mut Report) -> Vec<String> {
    let words = reader.remaining_args();
    if words.is_empty() {
        return keys.iter().map(|key| key.zone.clone()).collect();
    }
    let mut zones = Vec::new();
    for word in words {
        // CoreDNS leaves out what is no zone without a word.
        match parse(&word.text) {
            Ok(written) => zones.extend(written.zones),
            Err(ZoneError::Invalid(message, hint)) => {
                let error = reader.bare_error(word, message);
                report.error(if let Some(hint) = hint { error.hint(hint) } else { error });
            }
            Err(ZoneError::Scheme(scheme)) => {
                report.error(reader.error_at(word, format_args!("a zone has no scheme: {scheme}://")));
            }
        }
    }
    zones
}

/// The keys that a word of a server block stands for.
pub(super) fn parse_key(text: &str, default_port: u16) -> Result<Vec<ZoneKey>, ZoneError> {
    let written = parse(text)?;
    let port = written.port.unwrap_or(default_port);
    Ok(written.zones.into_iter().map(|zone| ZoneKey { zone, port }).collect())
}

/// Reads a zone with its scheme and port, in the order of checks of `plugin.SplitHostPort`.
pub(super) fn parse(text: &str) -> Result<Written, ZoneError> {
    let mut name = text.strip_prefix("dns://").unwrap_or(text);
    if let Some((scheme, _)) = text.split_once("://")
        && name.len() == text.len()
    {
        return Err(SCHEMES_NOT_SERVED.iter().find(|known| **known == scheme).map_or_else(
            || invalid_name(text, Some("the only scheme here is dns://, and it may be left out")),
            |known| ZoneError::Scheme(known),
        ));
    }
    if name.is_empty() || name.ends_with(':') {
        return Err(ZoneError::Invalid(format!("expecting data after last colon: {name:?}"), None));
    }
    let mut port = None;
    if let Some((before, after)) = name.rsplit_once(':')
        && is_whole_number(after)
    {
        let Ok(number) = after.trim_start_matches('+').parse::<u16>() else {
            return Err(ZoneError::Invalid(format!("address {after}: invalid port"), Some("ports are 0 to 65535")));
        };
        (name, port) = (before, Some(number));
    }
    if name.len() > 255 {
        return Err(ZoneError::Invalid(format!("specified zone is too long: {} > 255", name.len()), None));
    }
    let zones = match reverse_zones(name) {
        Some(zones) => zones?,
        None => vec![normalize(name)?],
    };
    Ok(Written { zones, port })
}

/// Lower case with the trailing dot, if `name` is a domain name.
pub(super) fn normalize(name: &str) -> Result<String, ZoneError> {
    if !name.is_ascii() {
        return Err(invalid_name(name, Some("names outside ASCII are written in their xn-- form")));
    }
    // CoreDNS takes these, and no resolver asks for them; here they would only hide a slip.
    if name.contains(|c: char| c == '\\' || c.is_ascii_control() || c.is_ascii_whitespace()) {
        return Err(invalid_name(name, Some("escapes, spaces and control characters are not served in zones")));
    }
    if name == "." {
        return Ok(name.to_owned());
    }
    let relative = name.strip_suffix('.').unwrap_or(name);
    if relative.split('.').any(str::is_empty) {
        return Err(invalid_name(name, None));
    }
    if relative.split('.').any(|label| label.len() > 63) {
        return Err(invalid_name(name, Some("a label has at most 63 bytes")));
    }
    // RFC 1035 section 3.1: 255 octets with a length octet before each label and one of the root.
    if relative.len() + 2 > 255 {
        return Err(invalid_name(name, Some("a name has at most 255 bytes")));
    }
    Ok(format!("{}.", relative.to_ascii_lowercase()))
}

/// Whether the zone is one of addresses. Unlike CoreDNS, the roots of the reverse trees count.
pub(super) fn is_reverse(zone: &str) -> bool {
    ["in-addr.arpa.", "ip6.arpa."].iter().any(|root| is_below(zone, root))
}

/// Whether `name` is `zone` or a name below it; both lower case with trailing dots.
pub(super) fn is_below(name: &str, zone: &str) -> bool {
    zone == "." || name.strip_suffix(zone).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// CoreDNS's start warning about zones that are legal and improbable, if the zone is one
/// (`core/dnsserver/onstartup.go`).
pub fn syntax_warning(zone: &str) -> Option<String> {
    let preferred = |label: &str| {
        label.starts_with(|c: char| c.is_ascii_alphabetic())
            && label.ends_with(|c: char| c.is_ascii_alphanumeric())
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    };
    let name = zone.strip_suffix('.').unwrap_or(zone);
    (!name.is_empty() && !is_reverse(zone) && !name.split('.').all(preferred))
        .then(|| format!("Domain {zone:?} does not follow RFC1035 preferred syntax"))
}

/// The reverse zones of a range of addresses; `None` if `text` is not one.
///
/// A mask that ends inside a label (a byte of IPv4, four bits of IPv6) becomes the zones of all the labels that it
/// covers, 128 at most.
fn reverse_zones(text: &str) -> Option<Result<Vec<String>, ZoneError>> {
    let (address, mask) = text.split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    if mask.is_empty() || !mask.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let mask: u32 = mask.parse().ok()?;
    // The address in 128 bits, the bits that it has, and the bits of a label.
    let (bits, width, step) = match address {
        IpAddr::V4(v4) => (u128::from(v4.to_bits()) << 96, 32, 8),
        IpAddr::V6(v6) => (v6.to_bits(), 128, 4),
    };
    if mask > width {
        return None;
    }
    if text.starts_with(':') || (text.starts_with('0') && text.contains(':')) {
        return Some(Err(ZoneError::Invalid(format!("invalid CIDR {text}"), None)));
    }
    let covered = mask.div_ceil(step) * step;
    let network = if mask == 0 { 0 } else { bits & (u128::MAX << (128 - mask)) };
    let zones = (0..1_u128 << (covered - mask)).map(|index| {
        let network = if covered == 0 { 0 } else { network | index << (128 - covered) };
        let mut zone = String::new();
        for label in (1..=covered / step).rev() {
            let value = (network >> (128 - label * step)) & ((1 << step) - 1);
            zone += &if step == 8 { format!("{value}.") } else { format!("{value:x}.") };
        }
        zone + if step == 8 { "in-addr.arpa." } else { "ip6.arpa." }
    });
    Some(Ok(zones.collect()))
}

fn invalid_name(name: &str, hint: Option<&'static str>) -> ZoneError {
    ZoneError::Invalid(format!("zone is not a valid domain name: {name}"), hint)
}

fn is_whole_number(text: &str) -> bool {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zones(text: &str) -> Vec<String> {
        parse(text).expect("a zone").zones
    }

    #[test]
    fn names_are_lower_case_with_a_dot() {
        assert_eq!(zones("Example.ORG"), ["example.org."]);
        assert_eq!(zones("dns://a.b.:5353"), ["a.b."]);
        assert_eq!(parse("a:0053").map(|written| written.port), Ok(Some(53)));
        assert_eq!(zones("."), ["."]);
    }

    #[test]
    fn ranges_are_reverse_zones() {
        let cases: [(&str, &[&str]); 9] = [
            ("10.0.0.0/8", &["10.in-addr.arpa."]),
            ("10.0.0.0/15", &["0.10.in-addr.arpa.", "1.10.in-addr.arpa."]),
            ("192.168.1.1/23", &["0.168.192.in-addr.arpa.", "1.168.192.in-addr.arpa."]),
            ("192.0.2.7/32", &["7.2.0.192.in-addr.arpa."]),
            ("0.0.0.0/0", &["in-addr.arpa."]),
            ("2001:db8::/32", &["8.b.d.0.1.0.0.2.ip6.arpa."]),
            ("2001:db8::/31", &["8.b.d.0.1.0.0.2.ip6.arpa.", "9.b.d.0.1.0.0.2.ip6.arpa."]),
            ("fd00::/8", &["d.f.ip6.arpa."]),
            ("10.0.0.0/33", &["10.0.0.0/33."]),
        ];
        for (text, expected) in cases {
            assert_eq!(zones(text), expected, "{text}");
        }
        assert_eq!(zones("128.0.0.0/1").len(), 128);
        assert_eq!(zones("128.0.0.0/1").last().map(String::as_str), Some("255.in-addr.arpa."));
        assert_eq!(zones("2001:db8::1/128")[0].len(), 64 + 9);
    }

    #[test]
    fn bounds_of_lengths() {
        let label = "a".repeat(63);
        assert!(normalize(&label).is_ok());
        assert!(normalize(&"a".repeat(64)).is_err());
        let longest = format!("{label}.{label}.{label}.{}", "a".repeat(61));
        assert_eq!(longest.len(), 253);
        assert!(normalize(&longest).is_ok());
        assert!(normalize(&format!("{longest}a")).is_err());
    }

    #[test]
    fn below_counts_labels() {
        assert!(is_below("a.b.", "b."));
        assert!(is_below("b.", "b."));
        assert!(is_below("b.", "."));
        assert!(!is_below("ab.", "b."));
        assert!(!is_below("b.", "a.b."));
    }

    #[test]
    fn odd_names_are_warned_about() {
        assert_eq!(syntax_warning("cluster.local."), None);
        assert_eq!(syntax_warning("."), None);
        assert_eq!(syntax_warning("10.in-addr.arpa."), None);
        assert!(syntax_warning("_tcp.a.").is_some());
        assert!(syntax_warning("a,b.").is_some());
    }
}
