//! Words to server blocks.

use std::collections::HashMap;
use std::sync::Arc;

use super::diagnostic::Diagnostic;
use super::import::{Expansions, Files, import_files};
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
/// `directives` are the names that may stand in a block; `variable` looks up an environment variable; `files` are those
/// that may be imported.
///
/// # Errors
/// Everything that can be told in one go: all unknown directives, and the first error of structure, which ends the
/// reading.
pub fn parse(
    source: &Arc<Source>,
    directives: &[&str],
    variable: &dyn Fn(&str) -> Option<String>,
    files: &dyn Files,
) -> Result<Parsed, Vec<Diagnostic>> {
    let mut rest = lex(source).map_err(|error| vec![error])?;
    rest.reverse();
    let mut parser = Parser {
        rest,
        last: None,
        directives,
        variable,
        files,
        snippets: HashMap::new(),
        expansions: Expansions::default(),
        errors: Vec::new(),
        parsed: Parsed::default(),
    };
    if let Err(error) = parser.blocks() {
        parser.errors.push(error);
    }
    if parser.errors.is_empty() { Ok(parser.parsed) } else { Err(parser.errors) }
}

struct Parser<'a> {
    /// The words that are left to be read, the next one last: an import puts others in its place there.
    rest: Vec<Token>,
    /// The word that was read last.
    last: Option<Token>,
    directives: &'a [&'a str],
    variable: &'a dyn Fn(&str) -> Option<String>,
    files: &'a dyn Files,
    snippets: HashMap<String, Vec<Token>>,
    expansions: Expansions,
    errors: Vec<Diagnostic>,
    parsed: Parsed,
}

impl Parser<'_> {
    fn peek(&self) -> Option<&Token> {
        self.rest.last()
    }

    fn advance(&mut self) -> Option<Token> {
        let token = self.rest.pop()?;
        self.last = Some(token.clone());
        Some(token)
    }

    /// Whether a word that is read next begins a line.
    fn begins_line(&self, token: &Token) -> bool {
        self.last.as_ref().is_none_or(|last| !last.continues(token))
    }

    fn blocks(&mut self) -> Result<(), Diagnostic> {
        while let Some(first) = self.peek().cloned() {
            let (keys, ended) = self.keys()?;
            if let Some((name, key)) = snippet_name(&keys).filter(|_| !ended) {
                self.snippet(name, &key)?;
                continue;
            }
            let directives = if ended { Vec::new() } else { self.contents()? };
            if !keys.is_empty() {
                self.parsed.blocks.push(ServerBlock { keys, directives });
            } else if first.text != "import" {
                self.parsed.warnings.push(format!(
                    "{}:{}: a server block without a zone serves nothing and is left out",
                    first.place.source.name(),
                    first.place.line
                ));
            }
        }
        Ok(())
    }

    /// Reads keys up to the opening brace or the first word of the next line, neither included. Says too whether the
    /// file ended with them.
    fn keys(&mut self) -> Result<(Vec<Token>, bool), Diagnostic> {
        let mut keys = Vec::new();
        let mut expecting = false;
        let mut is_first = true;
        while let Some(token) = self.peek().cloned() {
            let at_line_start = self.begins_line(&token);
            if at_line_start && !is_first && !expecting {
                return Ok((keys, false));
            }
            let mut key = self.replaced(&token);
            if key.text == "import" && at_line_start {
                self.import()?;
                // What comes now is as if it had stood here.
                continue;
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
            is_first = false;
            self.advance();
        }
        match &self.last {
            Some(last) if expecting => {
                let error = Diagnostic::parsing(&last.place, "Unexpected EOF");
                Err(error.hint("a key is expected behind the comma"))
            }
            _ => Ok((keys, true)),
        }
    }

    /// Reads what a snippet's name stands for: all between its braces.
    fn snippet(&mut self, name: String, key: &Token) -> Result<(), Diagnostic> {
        let place = self.peek().map_or(&key.place, |token| &token.place).clone();
        if self.snippets.contains_key(&name) {
            let message = format_args!("redeclaration of previously declared snippet {name}");
            return Err(Diagnostic::parsing(&place, message).hint("each snippet needs a name of its own"));
        }
        let Some(opening) = self.advance().filter(|token| token.text == "{") else {
            let found = self.last.as_ref().map_or("", |last| &last.text);
            return Err(Diagnostic::syntax(&place, found, "{"));
        };
        let mut tokens: Vec<Token> = Vec::new();
        let mut depth = 1;
        while let Some(token) = self.advance() {
            match token.text.as_str() {
                "{" => depth += 1,
                "}" => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                // The one way to import itself that can be seen from here.
                let imports_itself =
                    |pair: &&[Token]| pair[0].text == "import" && expand(&pair[1].text, self.variable) == name;
                if let Some(import) = tokens.windows(2).find(imports_itself) {
                    let error = Diagnostic::parsing(&token.place, Expansions::TOO_MANY_SNIPPETS).at(&import[0].place);
                    return Err(error.hint(format!("the snippet '{name}' imports itself")));
                }
                self.snippets.insert(name, tokens);
                return Ok(());
            }
            tokens.push(token);
        }
        let last = tokens.last().unwrap_or(&opening);
        let error = Diagnostic::syntax(&last.place, &last.text, "}");
        Err(error.hint(format!("the '{{' of line {} is never closed", opening.place.line)))
    }

    /// Puts a snippet's words, or those of files, in the place of an `import`, which is to be read next.
    fn import(&mut self) -> Result<(), Diagnostic> {
        let Some(import) = self.advance() else { return Ok(()) };
        let Some(argument) = self.peek().filter(|next| import.continues(next)).cloned() else {
            let message = "Wrong argument count or unexpected line ending after 'import'";
            return Err(Diagnostic::parsing(&import.place, message).hint("it is written: import SNIPPET|FILE|PATTERN"));
        };
        self.advance();
        let pattern = self.replaced(&argument);
        if pattern.text.is_empty() {
            let error = Diagnostic::parsing(&argument.place, "Import requires a non-empty filepath");
            return Err(error.hint("it is written: import SNIPPET|FILE|PATTERN"));
        }
        if let Some(more) = self.peek().filter(|next| argument.continues(next)) {
            let message = "Import takes only one argument (glob pattern or file)";
            return Err(Diagnostic::parsing(&more.place, message).hint("write a line for each import"));
        }
        let mut imported = match self.snippets.get(&pattern.text) {
            Some(tokens) => {
                self.expansions.snippet(&import)?;
                tokens.clone()
            }
            None => {
                self.expansions.file(&import)?;
                import_files(&pattern, self.files, self.snippets.keys(), &mut self.parsed.warnings)?
            }
        };
        // CoreDNS takes its first word for one more of a line before it that happens to have a higher number.
        if let Some(first) = imported.first_mut() {
            first.begins_line = true;
        }
        self.expansions.words(&import, imported.len())?;
        self.rest.extend(imported.into_iter().rev());
        Ok(())
    }

    /// Reads what belongs to keys: directives in braces, or the rest of the file.
    fn contents(&mut self) -> Result<Vec<Directive>, Diagnostic> {
        let opening = self.peek().filter(|token| token.text == "{").cloned();
        if opening.is_some() {
            self.advance();
        }
        let mut directives: Vec<Directive> = Vec::new();
        while let Some(token) = self.peek().cloned() {
            match token.text.as_str() {
                "}" => {
                    self.advance();
                    return Ok(directives);
                }
                "import" => {
                    self.import()?;
                    continue;
                }
                _ => self.advance(),
            };
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
        match (opening, &self.last) {
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
        let mut tokens = vec![name];
        let mut open: Vec<Token> = Vec::new();
        while let Some(token) = self.peek().cloned() {
            let new_line = self.begins_line(&token);
            match token.text.as_str() {
                "{" => open.push(token.clone()),
                _ if new_line && open.is_empty() => return Ok(tokens),
                "}" if open.pop().is_none() => {
                    let error = Diagnostic::parsing(&token.place, "Unexpected '}' because no matching opening brace");
                    return Err(error.hint("a closing brace belongs on a line of its own"));
                }
                "import" if new_line => {
                    self.import()?;
                    continue;
                }
                _ => {}
            }
            tokens.push(self.replaced(&token));
            self.advance();
        }
        match (open.last(), &self.last) {
            (Some(brace), Some(last)) => {
                let error = Diagnostic::parsing(&last.place, "Unexpected EOF");
                Err(error.hint(format!("the '{{' of line {} is never closed", brace.place.line)))
            }
            _ => Ok(tokens),
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

/// The name of a snippet, if these are a snippet's keys.
fn snippet_name(keys: &[Token]) -> Option<(String, Token)> {
    let [key] = keys else { return None };
    let name = key.text.strip_prefix('(')?.strip_suffix(')')?;
    Some((name.to_owned(), key.clone()))
}

#[cfg(test)]
mod tests {
    use super::super::import::Files;
    use super::{Parsed, Source, parse};
    use std::io;
    use std::path::{Path, PathBuf};

    struct NoFiles;

    impl Files for NoFiles {
        fn matching(&self, _: &str) -> Result<Vec<PathBuf>, String> {
            Ok(Vec::new())
        }

        fn read(&self, _: &Path) -> io::Result<Vec<u8>> {
            Err(io::ErrorKind::NotFound.into())
        }
    }

    fn parse_text(text: &str) -> Result<Parsed, Vec<String>> {
        let variable = |name: &str| (name == "ZONE").then(|| "a.b,".to_owned());
        parse(&Source::new("Corefile", text), &["errors", "log"], &variable, &NoFiles)
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
