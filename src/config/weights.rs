//! The file of `loadbalance weighted FILE`: names, and below each addresses with their weights.

use std::collections::HashMap;
use std::net::IpAddr;

/// The weights of addresses, 1 to 255, by the names that have them, in lower case with a final dot. An address that is not
/// named weighs 1.
pub type WeightTable = HashMap<String, Vec<(IpAddr, u8)>>;

/// Reads the text of a file that errors call `file_name`.
///
/// # Errors
/// In CoreDNS's words (plugin/loadbalance/weighted.go, func parseWeights), for the first line that is neither.
pub fn parse_weights(file_name: &str, text: &str) -> Result<WeightTable, String> {
    let mut table = WeightTable::new();
    let mut name: Option<String> = None;
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        match line.split_whitespace().collect::<Vec<_>>()[..] {
            [word] if word.parse::<IpAddr>().is_ok() => {
                return Err(format!(
                    "wrong domain name:\"{word}\" in weight file {file_name}. (Maybe a missing weight value?)"
                ));
            }
            [word] => {
                let dot = if word.ends_with('.') { "" } else { "." };
                let found = format!("{}{dot}", word.to_ascii_lowercase());
                table.entry(found.clone()).or_default();
                name = Some(found);
            }
            [address, weight] => {
                let wrong = |what: &str, word: &str| format!("wrong {what}:\"{word}\" in weight file {file_name}");
                let parsed = address.parse::<IpAddr>().map_err(|_| wrong("IP address", address))?;
                let is_number = weight.bytes().all(|octet| octet.is_ascii_digit());
                let value = weight.parse::<u8>().ok().filter(|value| is_number && *value > 0);
                let value = value.ok_or_else(|| wrong("weight value", weight))?;
                let Some(name) = &name else { return Err(format!("missing domain name in weight file {file_name}")) };
                table.entry(name.clone()).or_default().push((parsed, value));
            }
            _ => return Err(format!("could not parse weight line:\"{line}\" in weight file {file_name}")),
        }
    }
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_followed_by_their_addresses() {
        let text = "# weights\nWWW.example.org\n 10.0.0.1 9\n\n10.0.0.2\t1\nv6.test.\nfd00::1 255\nwww.example.org.\n10.0.0.3 4";
        let table = parse_weights("w", text).unwrap_or_default();
        let of = |name: &str| table.get(name).cloned().unwrap_or_default();
        let addresses = of("www.example.org.").iter().map(|(_, weight)| *weight).collect::<Vec<_>>();
        assert_eq!(addresses, [9, 1, 4]);
        assert_eq!(of("v6.test.").len(), 1);
    }

    #[test]
    fn what_is_neither_is_refused_in_coredns_words() {
        let refused = [
            ("10.0.0.1", "wrong domain name:\"10.0.0.1\" in weight file w. (Maybe a missing weight value?)"),
            ("a.b\nc 3", "wrong IP address:\"c\" in weight file w"),
            ("a.b\n10.0.0.1 0", "wrong weight value:\"0\" in weight file w"),
            ("a.b\n10.0.0.1 256", "wrong weight value:\"256\" in weight file w"),
            ("a.b\n10.0.0.1 +1", "wrong weight value:\"+1\" in weight file w"),
            ("10.0.0.1 1", "missing domain name in weight file w"),
            ("a b c", "could not parse weight line:\"a b c\" in weight file w"),
        ];
        for (text, words) in refused {
            assert_eq!(parse_weights("w", text).err().as_deref(), Some(words));
        }
    }
}
