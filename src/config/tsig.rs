//! `tsig [ZONES...] { secret NAME KEY ; secrets FILE ; require QTYPE... ; require_opcode OPCODE... }`

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::reader::{ONCE, Reader};
use super::record_types::{OPCODES, TYPES, number_of};
use super::report::Report;
use super::zone::zones;
use super::{RequiredCodes, Tsig, TsigAlgorithm, TsigKey, ZoneKey, zone};
use crate::corefile::{Token, did_you_mean};

const OPTIONS: [&str; 4] = ["secret", "secrets", "require", "require_opcode"];
/// The largest file of secrets that is read, in octets.
const FILE_OCTETS_MAX: u64 = 1 << 20;

/// Reads the directive.
///
/// CoreDNS parses as this does and then says of every error that the arguments are wrong (plugin/tsig/setup.go, func
/// setup). Here stands what it found.
pub(super) fn check(mut reader: Reader<'_>, keys: &[ZoneKey], report: &mut Report) -> Option<Tsig> {
    let errors_before = report.errors.len();
    let mut found = None;
    while reader.next_line(report) {
        if found.is_some() {
            report.error(reader.bare_error(reader.current(), ONCE));
            break;
        }
        let zones = zones(&mut reader, keys, report);
        let mut tsig =
            Tsig { zones, keys: Vec::new(), types: RequiredCodes::default(), opcodes: RequiredCodes::default() };
        while let Some(option) = reader.next_option() {
            check_option(&mut tsig, option, &mut reader, report);
        }
        found = Some(tsig);
    }
    found.filter(|_| report.errors.len() == errors_before)
}

fn check_option<'a>(tsig: &mut Tsig, option: &'a Token, reader: &mut Reader<'a>, report: &mut Report) {
    let name = option.text.as_str();
    match (name, reader.remaining_args()) {
        ("secret", [name, secret]) => match read_key(&name.text, &secret.text, None) {
            Ok(key) => add(tsig, key, name, reader, report),
            Err(message) => report.error(reader.error_at(secret, message)),
        },
        ("secrets", [file]) => {
            let keys = read_file(&file.text).and_then(|text| parse_key_file(&text));
            match keys {
                Ok(keys) => keys.into_iter().for_each(|key| add(tsig, key, file, reader, report)),
                Err(message) => {
                    let error = reader.bare_error(file, message);
                    report.error(error.hint("it holds: key \"NAME\" {, secret \"KEY\";, }; each on a line"));
                }
            }
        }
        ("require", codes @ [_, ..]) => {
            tsig.types = required("query type", codes, |name| number_of(&TYPES, name), reader, report);
        }
        ("require_opcode", codes @ [_, ..]) => {
            tsig.opcodes = required("opcode", codes, |name| number_of(&OPCODES, name), reader, report);
        }
        (known, _) if OPTIONS.contains(&known) => report.error(reader.argument_error().hint(usage(known))),
        (other, _) => {
            let mut error = reader.error_at(option, format_args!("unknown property '{other}'"));
            if let Some(known) = did_you_mean(other, OPTIONS) {
                error = error.hint(format!("did you mean '{known}'?"));
            }
            report.error(error);
            if other == "{" {
                reader.give_up();
            }
        }
    }
}

fn usage(option: &str) -> &'static str {
    match option {
        "secret" => "it is written: secret NAME KEY, the key in base64",
        "secrets" => "it is written: secrets FILE",
        "require" => "it is written: require all, require none, or require AXFR IXFR",
        _ => "it is written: require_opcode all, require_opcode none, or require_opcode NOTIFY",
    }
}

/// The codes of words; `all` and `none` stand for themselves where they come first, as in CoreDNS.
fn required(
    what: &str,
    words: &[Token],
    find: impl Fn(&str) -> Option<u16>,
    reader: &Reader<'_>,
    report: &mut Report,
) -> RequiredCodes {
    match words.first().map(|word| word.text.as_str()) {
        Some("all") => return RequiredCodes::All,
        Some("none") => return RequiredCodes::default(),
        _ => {}
    }
    let mut codes = Vec::new();
    for word in words {
        match find(&word.text) {
            Some(code) => codes.push(code),
            None => {
                let mut error = reader.error_at(word, format_args!("unknown {what} '{}'", word.text));
                if find(&word.text.to_uppercase()).is_some() {
                    error = error.hint(format!("it is written in capitals: {}", word.text.to_uppercase()));
                }
                report.error(error);
            }
        }
    }
    RequiredCodes::These(codes)
}

fn add(tsig: &mut Tsig, key: TsigKey, word: &Token, reader: &Reader<'_>, report: &mut Report) {
    if tsig.keys.iter().any(|known| known.name == key.name) {
        report.error(reader.bare_error(word, format_args!("key {:?} redefined", key.name)));
    } else {
        tsig.keys.push(key);
    }
}

/// A key of a name and a secret in base64. One that is none would fit no signature.
fn read_key(name: &str, secret: &str, algorithm: Option<&str>) -> Result<TsigKey, String> {
    let normalized = zone::normalize(name).map_err(|_| format!("not the name of a key: {name}"))?;
    let Some(secret) = STANDARD.decode(secret).ok().filter(|secret| !secret.is_empty()) else {
        return Err(format!("the secret of {normalized} is not base64"));
    };
    // One that is not served here may be the other side's; what is signed here first is signed with SHA-256 then.
    let algorithm = algorithm.and_then(TsigAlgorithm::parse).unwrap_or_default();
    Ok(TsigKey { name: normalized, secret, algorithm })
}

fn read_file(path: &str) -> Result<String, String> {
    use std::io::Read as _;
    let refuse = |error: std::io::Error| {
        let text = error.to_string();
        format!("open {path}: {}", text.split(" (os error").next().unwrap_or_default().to_lowercase())
    };
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(refuse)?;
    file.take(FILE_OCTETS_MAX).read_to_string(&mut text).map_err(refuse)?;
    Ok(text)
}

/// The keys of a file in the form of `named.conf`, line by line as CoreDNS reads it (func parseKeyFile), in its words.
fn parse_key_file(text: &str) -> Result<Vec<TsigKey>, String> {
    let mut keys: Vec<TsigKey> = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let Some(first) = fields.first() else { continue };
        if *first != "key" {
            return Err(format!("unexpected token {first:?}"));
        }
        let name = fields.get(1).map_or("", |name| name.trim_matches(['"', '{']));
        if name.is_empty() {
            return Err(format!("expected key name {line:?}"));
        }
        let normalized = zone::normalize(name).map_err(|_| format!("not the name of a key: {name}"))?;
        if keys.iter().any(|key| key.name == normalized) {
            return Err(format!("key {normalized:?} redefined"));
        }
        let (mut secret, mut algorithm) = (None, None);
        for line in lines.by_ref() {
            let fields: Vec<&str> = line.split_whitespace().collect();
            match fields.first().copied() {
                None => {}
                Some("algorithm") => algorithm = fields.get(1).map(|name| name.trim_matches(['"', ';'])),
                Some("secret") => {
                    let text = fields.get(1).map_or("", |secret| secret.trim_matches(['"', ';']));
                    if text.is_empty() {
                        return Err(format!("expected secret key {line:?}"));
                    }
                    secret = Some(text);
                }
                Some("}" | "};") => break,
                Some(other) => return Err(format!("unexpected token {other:?}")),
            }
        }
        let Some(secret) = secret else { return Err(format!("expected secret for key {normalized:?}")) };
        keys.push(read_key(name, secret, algorithm)?);
    }
    Ok(keys)
}

impl TsigAlgorithm {
    fn parse(text: &str) -> Option<Self> {
        match text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase().as_str() {
            "hmac-sha256" => Some(Self::Sha256),
            "hmac-sha384" => Some(Self::Sha384),
            "hmac-sha512" => Some(Self::Sha512),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(text: &str) -> Result<Vec<(String, TsigAlgorithm)>, String> {
        parse_key_file(text).map(|keys| keys.into_iter().map(|key| (key.name, key.algorithm)).collect())
    }

    #[test]
    fn a_file_of_keys_is_read_as_named_conf_has_it() {
        let text = "key \"foo\" {\n\talgorithm hmac-sha512;\n\tsecret \"36eowrtmxceNA3T5AdE+JNUOWFCw3amtcyHACnrDVgQ=\";\n};\n\nkey bar {\n  secret BycDPXSx/5YCD44Q4g5Nd2QNxNRDKwWTXddrU/zpIQM=;\n}\n";
        let expected = vec![("foo.".to_owned(), TsigAlgorithm::Sha512), ("bar.".to_owned(), TsigAlgorithm::Sha256)];
        assert_eq!(keys(text), Ok(expected));
    }

    /// The table of CoreDNS's test (plugin/tsig/setup_test.go, TestParseKeyFileErrors).
    #[test]
    fn what_is_wrong_with_a_file_of_keys_is_said_in_the_words_of_coredns() {
        let secret = "secret \"36eowrtmxceNA3T5AdE+JNUOWFCw3amtcyHACnrDVgQ=\";";
        let cases = [
            ("key {".to_owned(), "expected key name \"key {\""),
            ("foo \"key\" {".into(), "unexpected token \"foo\""),
            (format!("key \"foo\" {{\n{secret}\n}};\nkey \"foo\" {{\n{secret}\n}};"), "key \"foo.\" redefined"),
            ("key \"foo\" {\n\tschmalgorithm hmac-sha256;".into(), "unexpected token \"schmalgorithm\""),
            ("key \"foo\" {\n\tsecret".into(), "expected secret key \"\\tsecret\""),
            ("key \"foo\" {\n\tsecret ;".into(), "expected secret key \"\\tsecret ;\""),
            ("key \"foo\" {\n};".into(), "expected secret for key \"foo.\""),
        ];
        for (text, expected) in cases {
            assert_eq!(keys(&text), Err(expected.to_owned()), "{text}");
        }
    }
}
