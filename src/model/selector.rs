//! Kubernetes label selectors.
//!
//! The grammar, the meaning and the words of the errors are those of `k8s.io/apimachinery/pkg/labels` 0.36, as far as
//! a `LabelSelector` can say it: `>` and `<` are refused, as CoreDNS refuses them.

use std::collections::BTreeSet;
use std::fmt;

use super::objects::Labels;

/// A label selector: requirements that must all hold. Without any, everything is selected.
///
/// `Display` gives the canonical text, which the API server takes as `labelSelector`: sorted by key, values sorted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Selector {
    requirements: Vec<Requirement>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Requirement {
    key: String,
    test: Test,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Test {
    Equals(String),
    In(BTreeSet<String>),
    NotIn(BTreeSet<String>),
    NotEquals(String),
    Exists,
    Absent,
}

/// Why a text is no selector; `Display` gives the reason as CoreDNS words it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectorError {
    /// It does not follow the grammar, or a key or value is not one that labels can have.
    #[error("couldn't parse the selector string \"{text}\": {reason}")]
    Syntax {
        /// The whole text.
        text: String,
        /// What was found where.
        reason: String,
    },
    /// It compares numbers, which selectors of lists and watches cannot: `gt` or `lt`.
    #[error("\"{0}\" isn't supported in label selectors")]
    Unsupported(&'static str),
}

impl Selector {
    /// Reads a selector, as in `a=b,c!=d,e in (x,y),f notin (z),g,!h`.
    ///
    /// # Errors
    /// If it does not follow the grammar, or names a key or value that no label can have.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let mut parser = Parser { words: scan(text), next: 0, unsupported: None };
        let mut requirements =
            parser.requirements().map_err(|reason| SelectorError::Syntax { text: text.to_owned(), reason })?;
        if let Some(operator) = parser.unsupported {
            return Err(SelectorError::Unsupported(operator));
        }
        requirements.sort();
        requirements.dedup();
        Ok(Self { requirements })
    }

    /// Whether it selects an object with these labels. `!=` and `notin` hold where the key is absent.
    pub fn matches(&self, labels: &Labels) -> bool {
        self.requirements.iter().all(|Requirement { key, test }| match (test, labels.get(key)) {
            (Test::Equals(value), label) => label == Some(value),
            (Test::NotEquals(value), label) => label != Some(value),
            (Test::In(values), label) => label.is_some_and(|label| values.contains(label)),
            (Test::NotIn(values), label) => label.is_none_or(|label| !values.contains(label)),
            (Test::Exists, label) => label.is_some(),
            (Test::Absent, label) => label.is_none(),
        })
    }

    /// Whether it selects everything.
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, requirement) in self.requirements.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            requirement.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = &self.key;
        let list = |values: &BTreeSet<String>| values.iter().map(String::as_str).collect::<Vec<_>>().join(",");
        match &self.test {
            Test::Equals(value) => write!(f, "{key}={value}"),
            Test::NotEquals(value) => write!(f, "{key}!={value}"),
            Test::In(values) => write!(f, "{key} in ({})", list(values)),
            Test::NotIn(values) => write!(f, "{key} notin ({})", list(values)),
            Test::Exists => f.write_str(key),
            Test::Absent => write!(f, "!{key}"),
        }
    }
}

impl std::str::FromStr for Selector {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, SelectorError> {
        Self::parse(text)
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Word<'a> {
    /// A key, a value, or the operators `in` and `notin`.
    Text(&'a str),
    /// One of `= == != ! < > ( ) ,`.
    Symbol(&'static str),
    /// A run of symbols that begins with none of these; there is none today, and it must not be lost.
    Unknown(&'a str),
    End,
}

impl<'a> Word<'a> {
    fn text(self) -> &'a str {
        match self {
            Word::Text(text) | Word::Unknown(text) => text,
            Word::Symbol(symbol) => symbol,
            Word::End => "",
        }
    }
}

/// The symbols, longer ones before their beginnings.
const SYMBOLS: [&str; 9] = ["==", "!=", "=", "!", "<", ">", "(", ")", ","];

fn scan(text: &str) -> Vec<Word<'_>> {
    let is_space = |c: char| matches!(c, ' ' | '\t' | '\r' | '\n');
    let mut words = Vec::new();
    let mut rest = text.trim_start_matches(is_space);
    while !rest.is_empty() {
        let length = if let Some(symbol) = SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol)) {
            words.push(Word::Symbol(symbol));
            symbol.len()
        } else {
            let ends = |c: char| is_space(c) || SYMBOLS.iter().any(|symbol| symbol.starts_with(c));
            let length = rest.find(ends).unwrap_or(rest.len());
            let (word, _) = rest.split_at(length);
            words.push(if word.is_empty() { Word::Unknown(rest) } else { Word::Text(word) });
            if word.is_empty() { rest.len() } else { length }
        };
        rest = rest[length..].trim_start_matches(is_space);
    }
    words.push(Word::End);
    words
}

/// A recursive descent in the steps of apimachinery's, for the sake of its errors.
struct Parser<'a> {
    words: Vec<Word<'a>>,
    next: usize,
    /// The first operator that is part of the grammar and not of selectors.
    unsupported: Option<&'static str>,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Word<'a> {
        self.words.get(self.next).copied().unwrap_or(Word::End)
    }

    fn take(&mut self) -> Word<'a> {
        let word = self.peek();
        self.next += 1;
        word
    }

    fn requirements(&mut self) -> Result<Vec<Requirement>, String> {
        let mut requirements = Vec::new();
        loop {
            match self.peek() {
                Word::End => return Ok(requirements),
                Word::Text(_) | Word::Symbol("!") => {}
                other => return Err(format!("found '{}', expected: !, identifier, or 'end of string'", other.text())),
            }
            let requirement = self.requirement().map_err(|reason| format!("unable to parse requirement: {reason}"))?;
            requirements.extend(requirement);
            match self.take() {
                Word::End => return Ok(requirements),
                Word::Symbol(",") => match self.peek() {
                    Word::Text(_) | Word::Symbol("!") => {}
                    other => return Err(format!("found '{}', expected: identifier after ','", other.text())),
                },
                other => return Err(format!("found '{}', expected: ',' or 'end of string'", other.text())),
            }
        }
    }

    /// One requirement; `None` for one that is unsupported.
    fn requirement(&mut self) -> Result<Option<Requirement>, String> {
        let mut word = self.take();
        let absent = word == Word::Symbol("!");
        if absent {
            word = self.take();
        }
        let Word::Text(key) = word else {
            return Err(format!("found '{}', expected: identifier", word.text()));
        };
        check_key(key).map_err(|reason| format!("<nil>: Invalid value: {key:?}: {reason}"))?;
        let test = if absent {
            Test::Absent
        } else if matches!(self.peek(), Word::End | Word::Symbol(",")) {
            Test::Exists
        } else {
            match self.take() {
                Word::Text("in") => Test::In(self.values()?),
                Word::Text("notin") => Test::NotIn(self.values()?),
                Word::Symbol("=" | "==") => Test::Equals(self.value()?),
                Word::Symbol("!=") => Test::NotEquals(self.value()?),
                Word::Symbol(symbol @ (">" | "<")) => {
                    self.value()?;
                    self.unsupported.get_or_insert(if symbol == ">" { "gt" } else { "lt" });
                    return Ok(None);
                }
                other => return Err(format!("found '{}', expected: in, notin, =, ==, !=, gt, lt", other.text())),
            }
        };
        let check = |value: &String| check_value(value);
        let checked = match &test {
            Test::Equals(value) | Test::NotEquals(value) => check(value),
            Test::In(values) | Test::NotIn(values) => values.iter().try_for_each(check),
            Test::Exists | Test::Absent => Ok(()),
        };
        checked.map_err(|(value, reason)| {
            let index = match &test {
                Test::In(values) | Test::NotIn(values) => values.iter().position(|v| *v == value).unwrap_or(0),
                _ => 0,
            };
            format!("values[{index}][{key}]: Invalid value: {value:?}: {reason}")
        })?;
        Ok(Some(Requirement { key: key.to_owned(), test }))
    }

    /// The value behind `=`; nothing is the empty value.
    fn value(&mut self) -> Result<String, String> {
        match self.peek() {
            Word::End | Word::Symbol(",") => return Ok(String::new()),
            _ => {}
        }
        match self.take() {
            Word::Text(value) => Ok(value.to_owned()),
            other => Err(format!("found '{}', expected: identifier", other.text())),
        }
    }

    /// Values in parentheses; nothing between commas is the empty value.
    fn values(&mut self) -> Result<BTreeSet<String>, String> {
        match self.take() {
            Word::Symbol("(") => {}
            other => return Err(format!("found '{}' expected: '('", other.text())),
        }
        match self.peek() {
            Word::Text(_) | Word::Symbol("," | ")") => {}
            other => return Err(format!("found '{}', expected: ',', ')' or identifier", other.text())),
        }
        let mut values = BTreeSet::new();
        loop {
            // Before each value; the value itself may be missing.
            if let Word::Text(value) = self.peek() {
                self.next += 1;
                values.insert(value.to_owned());
                match self.take() {
                    Word::Symbol(")") => return Ok(values),
                    Word::Symbol(",") => {}
                    other => return Err(format!("found '{}', expected: ',' or ')'", other.text())),
                }
                if self.peek() == Word::Symbol(")") {
                    values.insert(String::new());
                }
                continue;
            }
            match self.take() {
                Word::Symbol(")") => {
                    if values.is_empty() {
                        values.insert(String::new());
                    }
                    return Ok(values);
                }
                Word::Symbol(",") => {
                    values.insert(String::new());
                }
                other => return Err(format!("found '{}', expected: ',', or identifier", other.text())),
            }
        }
    }
}

/// What Kubernetes says of a name that has other characters, or begins or ends with punctuation.
const NAME_RULE: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an \
                         alphanumeric character";
const NAME_REGEX: &str = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";
const NAME_EXAMPLES: &str = "(e.g. 'MyName',  or 'my.name',  or '123-abc'";

/// A label key: an optional DNS subdomain and `/`, and a name.
fn check_key(key: &str) -> Result<(), String> {
    let mut reasons = Vec::new();
    let parts: Vec<_> = key.split('/').collect();
    let name = match parts.as_slice() {
        [name] => name,
        [prefix, name] => {
            if prefix.is_empty() {
                reasons.push("prefix part must be non-empty".to_owned());
            } else {
                if prefix.len() > 253 {
                    reasons.push("prefix part must be no more than 253 bytes".to_owned());
                }
                if !is_subdomain(prefix) {
                    reasons.push(
                        "prefix part a lowercase RFC 1123 subdomain must consist of lower case alphanumeric \
                         characters, '-' or '.', and must start and end with an alphanumeric character (e.g. \
                         'example.com', regex used for validation is \
                         '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
                            .to_owned(),
                    );
                }
            }
            name
        }
        _ => {
            return Err(format!(
                "a valid label key {NAME_RULE} {NAME_EXAMPLES}, regex used for validation is '{NAME_REGEX}') with an \
                 optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
            ));
        }
    };
    if name.is_empty() {
        reasons.push("name part must be non-empty".to_owned());
    } else if name.len() > 63 {
        reasons.push("name part must be no more than 63 bytes".to_owned());
    }
    if !is_name(name) {
        reasons.push(format!("name part {NAME_RULE} {NAME_EXAMPLES}, regex used for validation is '{NAME_REGEX}')"));
    }
    if reasons.is_empty() { Ok(()) } else { Err(reasons.join("; ")) }
}

/// A label value; the value comes back with the reason.
fn check_value(value: &str) -> Result<(), (String, String)> {
    let mut reasons = Vec::new();
    if value.len() > 63 {
        reasons.push("must be no more than 63 bytes".to_owned());
    }
    if !value.is_empty() && !is_name(value) {
        reasons.push(
            "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must \
             start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used \
             for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
                .to_owned(),
        );
    }
    if reasons.is_empty() { Ok(()) } else { Err((value.to_owned(), reasons.join("; "))) }
}

fn is_name(text: &str) -> bool {
    let outer = |c: char| c.is_ascii_alphanumeric();
    text.starts_with(outer) && text.ends_with(outer) && text.chars().all(|c| outer(c) || matches!(c, '-' | '_' | '.'))
}

fn is_subdomain(text: &str) -> bool {
    let outer = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.split('.')
        .all(|label| label.starts_with(outer) && label.ends_with(outer) && label.chars().all(|c| outer(c) || c == '-'))
}

#[cfg(test)]
mod tests {
    use super::{Labels, Selector};

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn canonical(text: &str) -> String {
        Selector::parse(text).map_or_else(|error| error.to_string(), |selector| selector.to_string())
    }

    #[test]
    fn canonical_text() {
        let cases = [
            ("", ""),
            ("  ", ""),
            ("a", "a"),
            ("!a", "!a"),
            ("! a", "!a"),
            ("a=b", "a=b"),
            ("a == b", "a=b"),
            ("a != b", "a!=b"),
            ("a=", "a="),
            ("a=,b", "a=,b"),
            ("c,b=x,a", "a,b=x,c"),
            ("e in (y, x),f notin(z)", "e in (x,y),f notin (z)"),
            ("a in ()", "a in ()"),
            ("a in (,b)", "a in (,b)"),
            ("a in (b,)", "a in (,b)"),
            ("a in (b,,c)", "a in (,b,c)"),
            ("a in (in,notin)", "a in (in,notin)"),
            ("in in (in)", "in in (in)"),
            ("a=in", "a=in"),
            ("example.com/a=b", "example.com/a=b"),
            ("a=b,a=b", "a=b"),
        ];
        for (text, expected) in cases {
            assert_eq!(canonical(text), expected, "{text}");
            assert_eq!(canonical(expected), expected, "canonical text of {text} read again");
        }
    }

    #[test]
    fn refused_in_the_words_of_kubernetes() {
        let cases = [
            ("a,,b", "found ',', expected: identifier after ','"),
            ("a,", "found '', expected: identifier after ','"),
            (",a", "found ',', expected: !, identifier, or 'end of string'"),
            ("=a", "found '=', expected: !, identifier, or 'end of string'"),
            ("a=b c", "found 'c', expected: ',' or 'end of string'"),
            ("!a=b", "found '=', expected: ',' or 'end of string'"),
            ("a b", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"),
            ("a in b", "unable to parse requirement: found 'b' expected: '('"),
            ("a in (b", "unable to parse requirement: found '', expected: ',' or ')'"),
            ("a in (", "unable to parse requirement: found '', expected: ',', ')' or identifier"),
            ("!", "unable to parse requirement: found '', expected: identifier"),
            ("a=(", "unable to parse requirement: found '(', expected: identifier"),
        ];
        for (text, reason) in cases {
            assert_eq!(canonical(text), format!("couldn't parse the selector string \"{text}\": {reason}"));
        }
        assert_eq!(canonical("a>3"), "\"gt\" isn't supported in label selectors");
        assert!(canonical("-a=b").contains("<nil>: Invalid value: \"-a\": name part must consist of"));
        assert!(canonical("a in (b,c-)").contains("values[1][a]: Invalid value: \"c-\": a valid label must be"));
        assert!(canonical(&format!("a={}", "b".repeat(64))).ends_with("must be no more than 63 bytes"));
    }

    #[test]
    fn matching() {
        let cases = [
            ("", &[][..], true),
            ("a=b", &[("a", "b")], true),
            ("a=b", &[("a", "c")], false),
            ("a=b", &[], false),
            ("a=", &[("a", "")], true),
            ("a=", &[], false),
            ("a!=b", &[("a", "c")], true),
            ("a!=b", &[("a", "b")], false),
            ("a!=b", &[], true),
            ("a in (b,c)", &[("a", "c")], true),
            ("a in (b,c)", &[("a", "d")], false),
            ("a in (b,c)", &[], false),
            ("a notin (b,c)", &[("a", "c")], false),
            ("a notin (b,c)", &[("a", "d")], true),
            ("a notin (b,c)", &[], true),
            ("a", &[("a", "")], true),
            ("a", &[("b", "")], false),
            ("!a", &[("a", "")], false),
            ("!a", &[("b", "")], true),
            ("a=b,c", &[("a", "b")], false),
            ("a=b,c", &[("a", "b"), ("c", "d")], true),
        ];
        for (text, pairs, expected) in cases {
            let selector = Selector::parse(text).expect("parses");
            assert_eq!(selector.matches(&labels(pairs)), expected, "{text} on {pairs:?}");
        }
    }
}
