//! `{$NAME}` and `{%NAME%}`: words from the environment.

/// The longest text that variables may make of one word, in bytes.
///
/// CoreDNS looks again at what a variable gave, for more variables, and never ends on one that names itself. Nested
/// names still work here; this bound and the next end the rest.
const BYTES_MAX: usize = 64 * 1024;

/// How many references are replaced in one word.
const ROUNDS_MAX: usize = 1000;

/// Replaces `{%NAME%}`, then `{$NAME}`, by what `variable` gives; a variable that is not set gives nothing.
///
/// As in CoreDNS, a reference without a name (`{$}`) ends the replacing of its kind, and what has no end is left.
pub fn expand(text: &str, variable: &dyn Fn(&str) -> Option<String>) -> String {
    let text = expand_kind(text.to_owned(), "{%", "%}", variable);
    expand_kind(text, "{$", "}", variable)
}

fn expand_kind(mut text: String, open: &str, close: &str, variable: &dyn Fn(&str) -> Option<String>) -> String {
    for _ in 0..ROUNDS_MAX {
        let Some(start) = text.find(open) else { break };
        let name_start = start + open.len();
        // The end may overlap the opening mark (`{%}`): such a thing has no name.
        let Some(end) = text[start..].find(close).map(|offset| start + offset) else { break };
        if end <= name_start {
            break;
        }
        let value = variable(&text[name_start..end]).unwrap_or_default();
        if text.len() + value.len() > BYTES_MAX {
            break;
        }
        text.replace_range(start..end + close.len(), &value);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::expand;

    fn with(text: &str) -> String {
        expand(text, &|name| match name {
            "A" => Some("one".into()),
            "NESTED" => Some("<{$A}>".into()),
            "SELF" => Some("{$SELF}{$SELF}".into()),
            _ => None,
        })
    }

    #[test]
    fn both_spellings_and_neighbours() {
        assert_eq!(with("x{$A}y{%A%}z{$A}"), "xoneyonezone");
    }

    #[test]
    fn unset_is_empty_and_nested_is_followed() {
        assert_eq!(with("a{$NOPE}b"), "ab");
        assert_eq!(with("{$NESTED}"), "<one>");
    }

    #[test]
    fn incomplete_references_stay() {
        for text in ["{$}", "{%}", "{%%}", "{$A", "{%A}", "{", "$A", "{$", "{%"] {
            assert_eq!(with(text), text);
        }
    }

    #[test]
    fn a_variable_that_names_itself_ends() {
        assert!(with("{$SELF}").len() <= super::BYTES_MAX);
    }
}
