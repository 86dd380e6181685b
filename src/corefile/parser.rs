//! Words to server blocks.

use std::sync::Arc;

use super::diagnostic::Diagnostic;
use super::lexer::{Token, lex};
use super::source::Source;
use super::suggest::did_you_mean;
use super::variables::expand;

/// How many unknown directives are kept: a file of another kind has one on every line.
const ERRORS_MAX: usize = 100;

/// A parsed file.
#[derive(Debug, Default)]
pub struct Parsed {
    /// Its server blocks that have keys, in order.
    pub blocks: Vec<ServerBlock>,
    /// What is odd and was read as CoreDNS reads it.
    pub warnings: Vec<String>,
}

/// Keys, and what stands in the braces behind them.
#[derive(Debug)]
pub struct ServerBlock {
    /// The keys as written, variables replaced; never empty.
    pub keys: Vec<Token>,
    /// The directives, each name once, in the order of their first lines.
    pub directives: Vec<Directive>,
}

/// All words of a directive.
///
/// They stay a flat list because that is what CoreDNS's plugins read: a directive that is repeated in a block is one
/// list with the words of all its lines, and what a brace or the end of a line means is each plugin's business.
#[derive(Debug)]
pub struct Directive {
    /// Its name, variables replaced.
    pub name: String,
    /// Its words, beginning with the name; never empty.
    pub tokens: Vec<Token>,
}

/// Groups the words of `source` by server block and directive.
///
/// `directives` are the names that may stand in a block; `variable` looks up an environment variable.
///
/// # Errors
/// Everything that can be told in one go: all unknown directives, and the first error of structure, which ends the
/// reading.
pub fn parse(
    source: &Arc<Source>,
    directives: &[&str],
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<Parsed, Vec<Diagnostic>> {
    let tokens = lex(source).map_err(|error| vec![error])?;
    let mut parser = Parser { tokens, next: 0, directives, variable, errors: Vec::new(), parsed: Parsed::default() };
    if let Err(error) = parser.blocks() {
        parser.errors.push(error);
    }
    if parser.errors.is_empty() { Ok(parser.parsed) } else { Err(parser.errors) }
}

struct Parser<'a> {
    tokens: Vec<Token>,
    /// Index of the word to be read next. An import will replace words from here on.
    next: usize,
    directives: &'a [&'a str],
    variable: &'a dyn Fn(&str) -> Option<String>,
    errors: Vec<Diagnostic>,
    parsed: Parsed,
}

impl Parser<'_> {
    fn blocks(&mut self) -> Result<(), Diagnostic> {
        while let Some(first) = self.tokens.get(self.next).cloned() {
            let (keys, ended) = self.keys(&first)?;
            if let [key] = keys.as_slice()
                && key.text.starts_with('(')
                && key.text.ends_with(')')
            {
                return Err(not_served(key, "snippets are", "write its lines where they are imported"));
            }
            let directives = if ended { Vec::new() } else { self.contents()? };
            if keys.is_empty() {
                self.parsed.warnings.push(format!(
                    "{}:{}: a server block without a zone serves nothing and is left out",
                    first.place.source.name(),
                    first.place.line
                ));
            } else {
                self.parsed.blocks.push(ServerBlock { keys, directives });
            }
        }
        Ok(())
    }

    /// Reads keys up to the opening brace or the first word of the next line, neither included. Says too whether the
    /// file ended with them.
    fn keys(&mut self, first: &Token) -> Result<(Vec<Token>, bool), Diagnostic> {
        let mut keys = Vec::new();
        let mut expecting = false;
        let mut last = first.clone();
        while let Some(token) = self.tokens.get(self.next).cloned() {
            let at_line_start = self.next == 0 || !self.tokens[self.next - 1].continues(&token);
            if !(expecting || last == token || last.continues(&token)) {
                return Ok((keys, false));
            }
            let mut key = self.replaced(&token);
            if key.text == "import" && at_line_start {
                return Err(import_not_served(&token));
            }
            if key.text == "{" {
                if expecting {
                    let message = "Expected another address but had '{' - check for extra comma";
                    return Err(Diagnostic::parsing(&token.place, message));
                }
                return Ok((keys, false));
            }
            if !key.text.is_empty() {
                expecting = key.text.ends_with(',');
                if expecting {
                    key.text.pop();
                }
                keys.push(key);
            }
            last = token;
            self.next += 1;
        }
        if expecting {
            let error = Diagnostic::parsing(&last.place, "Unexpected EOF");
            return Err(error.hint("a key is expected behind the comma"));
        }
        Ok((keys, true))
    }

    /// Reads what belongs to keys: directives in braces, or the rest of the file.
    fn contents(&mut self) -> Result<Vec<Directive>, Diagnostic> {
        let opening = self.tokens.get(self.next).filter(|token| token.text == "{").cloned();
        if opening.is_some() {
            self.next += 1;
        }
        let mut directives: Vec<Directive> = Vec::new();
        while let Some(token) = self.tokens.get(self.next).cloned() {
            self.next += 1;
            match token.text.as_str() {
                "}" => return Ok(directives),
                "import" => return Err(import_not_served(&token)),
                _ => {}
            }
            let name = self.replaced(&token).text;
            let known = self.directives.contains(&name.as_str());
            if !known && self.errors.len() < ERRORS_MAX {
                let error = self.unknown_directive(&token, &name);
                self.errors.push(error);
            }
            let tokens = self.directive(token)?;
            match directives.iter_mut().find(|directive| directive.name == name) {
                Some(directive) => directive.tokens.extend(tokens),
                None if known => directives.push(Directive { name, tokens }),
                None => {}
            }
        }
        match (opening, self.tokens.last()) {
            // CoreDNS looks only whether the file's last word is a brace, not which one it closes.
            (Some(opening), Some(last)) if last.text == "}" => self.parsed.warnings.push(format!(
                "{}:{}: this server block is never closed: a '}}' is missing at the end of the file",
                opening.place.source.name(),
                opening.place.line
            )),
            (Some(opening), Some(last)) => {
                let error = Diagnostic::syntax(&last.place, &last.text, "}");
                return Err(error.hint(format!("the '{{' of line {} is never closed", opening.place.line)));
            }
            _ => {}
        }
        Ok(directives)
    }

    /// Reads the words of a directive, from its name on: its line, and the lines of its braces.
    fn directive(&mut self, name: Token) -> Result<Vec<Token>, Diagnostic> {
        let mut last = name.clone();
        let mut tokens = vec![name];
        let mut open: Vec<Token> = Vec::new();
        while let Some(token) = self.tokens.get(self.next).cloned() {
            let new_line = !last.continues(&token);
            match token.text.as_str() {
                "{" => open.push(token.clone()),
                _ if new_line && open.is_empty() => return Ok(tokens),
                "}" if open.pop().is_none() => {
                    let error = Diagnostic::parsing(&token.place, "Unexpected '}' because no matching opening brace");
                    return Err(error.hint("a closing brace belongs on a line of its own"));
                }
                "import" if new_line => return Err(import_not_served(&token)),
                _ => {}
            }
            tokens.push(self.replaced(&token));
            last = token;
            self.next += 1;
        }
        match open.last() {
            None => Ok(tokens),
            Some(brace) => {
                let error = Diagnostic::parsing(&last.place, "Unexpected EOF");
                Err(error.hint(format!("the '{{' of line {} is never closed", brace.place.line)))
            }
        }
    }

    fn replaced(&self, token: &Token) -> Token {
        Token { text: expand(&token.text, self.variable), ..token.clone() }
    }

    fn unknown_directive(&self, token: &Token, name: &str) -> Diagnostic {
        let error = Diagnostic::parsing(&token.place, format!("Unknown directive '{name}'"));
        if let Some(known) = did_you_mean(name, self.directives.iter().copied()) {
            error.hint(format!("did you mean '{known}'?"))
        } else if name.is_empty() {
            error.hint("the variable is not set")
        } else if name.ends_with(':') {
            error.hint("this looks like YAML; of a ConfigMap, give the text under 'Corefile:'")
        } else if name == "{" {
            error.hint("the '{' of a server block belongs on the line of its keys, or the line after")
        } else {
            error
        }
    }
}

fn import_not_served(token: &Token) -> Diagnostic {
    not_served(token, "import is", "write the lines of the imported text in its place")
}

fn not_served(token: &Token, what: &str, mend: &str) -> Diagnostic {
    Diagnostic::parsing(&token.place, format!("{what} not served by podzone"))
        .hint(format!("CoreDNS has this, podzone does not serve it yet: {mend}"))
}

#[cfg(test)]
mod tests {
    use super::{Parsed, Source, parse};

    fn parse_text(text: &str) -> Result<Parsed, Vec<String>> {
        let variable = |name: &str| (name == "ZONE").then(|| "a.b,".to_owned());
        parse(&Source::new("Corefile", text), &["errors", "log"], &variable)
            .map_err(|errors| errors.iter().map(|error| error.headline().to_owned()).collect())
    }

    fn keys(text: &str) -> Vec<Vec<String>> {
        let parsed = parse_text(text).expect("parses");
        parsed.blocks.iter().map(|block| block.keys.iter().map(|key| key.text.clone()).collect()).collect()
    }

    #[test]
    fn keys_go_on_behind_a_comma() {
        assert_eq!(keys("a, b,\nc d {\n}\ne {\n}"), [vec!["a", "b", "c", "d"], vec!["e"]]);
        assert_eq!(keys("{$ZONE} c {\n}"), [["a.b", "c"]]);
    }

    #[test]
    fn braces_may_be_left_out_of_a_single_block() {
        let parsed = parse_text(".\nerrors\nlog a\n").expect("parses");
        assert_eq!(parsed.blocks[0].directives.len(), 2);
        assert_eq!(keys("a b"), [["a", "b"]]);
    }

    #[test]
    fn repeated_directives_are_one() {
        let parsed = parse_text(". {\n log a\n errors\n log b {\n class all\n }\n}").expect("parses");
        let directives = &parsed.blocks[0].directives;
        assert_eq!(directives.iter().map(|d| d.name.as_str()).collect::<Vec<_>>(), ["log", "errors"]);
        let words: Vec<_> = directives[0].tokens.iter().map(|token| token.text.as_str()).collect();
        assert_eq!(words, ["log", "a", "log", "b", "{", "class", "all", "}"]);
    }

    #[test]
    fn all_unknown_directives_are_told() {
        let errors = parse_text(". {\n foo\n bar x {\n y\n }\n errors\n}").expect_err("refused");
        assert_eq!(
            errors,
            [
                "Corefile:2 - Error during parsing: Unknown directive 'foo'",
                "Corefile:3 - Error during parsing: Unknown directive 'bar'"
            ]
        );
    }

    #[test]
    fn a_block_without_keys_is_left_out() {
        let parsed = parse_text("{$UNSET} {\n errors\n}\n").expect("parses");
        assert!(parsed.blocks.is_empty());
        assert_eq!(parsed.warnings.len(), 1);
    }
}
