//! Words to server blocks.

use std::collections::HashMap;
use std::sync::Arc;

use super::diagnostic::Diagnostic;
use super::import::{Expansions, Files, import_files};
use super::lexer::{Token, lex};
use super::source::Source;
use super::suggest::did_you_mean;
use super::variables::expand;
use super::warning::Warning;

/// How many errors are kept: a file of another kind has one on every line.
const ERRORS_MAX: usize = 100;

/// A parsed file.
#[derive(Debug, Default)]
pub struct Parsed {
    /// Its server blocks that have keys, in order, as far as they could be read.
    pub blocks: Vec<ServerBlock>,
    /// What is odd and was read as CoreDNS reads it.
    pub warnings: Vec<Warning>,
    /// What is wrong, in the order in which CoreDNS would come to it; at most 100. With an error the blocks are not what
    /// the file means, and only good for finding more errors.
    pub errors: Vec<Diagnostic>,
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
/// Errors are told in the result. Each ends what it is about: an import, a directive, or a server block.
pub fn parse(
    source: &Arc<Source>,
    directives: &[&str],
    variable: &dyn Fn(&str) -> Option<String>,
    files: &dyn Files,
) -> Parsed {
    let mut lexed = lex(source);
    lexed.tokens.reverse();
    let mut parser = Parser {
        rest: lexed.tokens,
        last: None,
        directives,
        variable,
        files,
        snippets: HashMap::new(),
        expansions: Expansions::default(),
        ended: false,
        parsed: Parsed::default(),
    };
    // Who stops early has said why.
    let _ = parser.blocks();
    let mut parsed = parser.parsed;
    if let Some(error) = lexed.error {
        // Where CoreDNS would have come to it.
        let start = |error: &Diagnostic| error.place().filter(|at| at.source == *source).map(|at| at.start);
        let later = parsed.errors.iter().position(|other| start(other) > start(&error));
        parsed.errors.insert(later.unwrap_or(parsed.errors.len()), error);
    }
    parsed
}

/// The reading cannot go on; the error that says why is told already.
struct Stop;

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
    /// Whether the text ended in the braces of a directive.
    ended: bool,
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

    /// Tells an error, of which the reading recovers.
    fn refuse(&mut self, error: Diagnostic) {
        if self.parsed.errors.len() < ERRORS_MAX {
            self.parsed.errors.push(error);
        }
    }

    fn blocks(&mut self) -> Result<(), Stop> {
        while let Some(first) = self.peek().cloned() {
            let (keys, ended) = self.keys()?;
            if let Some((name, key)) = snippet_name(&keys).filter(|_| !ended) {
                self.snippet(name, &key);
                continue;
            }
            let directives = if ended { Vec::new() } else { self.contents()? };
            if !keys.is_empty() {
                self.parsed.blocks.push(ServerBlock { keys, directives });
            } else if first.text != "import" {
                let message = "a server block without a zone serves nothing and is left out";
                self.parsed.warnings.push(Warning::new(&first.place, message));
            }
        }
        Ok(())
    }

    /// Reads keys up to the opening brace or the first word of the next line, neither included. Says too whether the
    /// file ended with them.
    fn keys(&mut self) -> Result<(Vec<Token>, bool), Stop> {
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
                    self.refuse(Diagnostic::parsing(&token.place, message).hint("remove the comma before it"));
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
        if let Some(last) = self.last.as_ref().filter(|_| expecting) {
            let error = Diagnostic::parsing(&last.place, "Unexpected EOF");
            self.refuse(error.hint("a key is expected behind the comma"));
        }
        Ok((keys, true))
    }

    /// Reads what a snippet's name stands for: all between its braces. A snippet with an error stands for what was read
    /// first under its name, or for nothing, so that its imports are no errors too.
    fn snippet(&mut self, name: String, key: &Token) {
        let place = self.peek().map_or(&key.place, |token| &token.place).clone();
        if self.snippets.contains_key(&name) {
            let message = format_args!("redeclaration of previously declared snippet {name}");
            self.refuse(Diagnostic::parsing(&place, message).hint("each snippet needs a name of its own"));
        }
        let Some(opening) = self.peek().filter(|token| token.text == "{").cloned() else {
            let found = self.peek().map_or("", |token| &token.text).to_owned();
            let error = Diagnostic::syntax(&place, &found, "{");
            self.refuse(error.hint(format!("a snippet is written: ({name}) {{, its lines, and }}")));
            self.snippets.entry(name).or_default();
            self.skip_to_block();
            return;
        };
        self.advance();
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
                let begins = |at: usize| at == 0 || !tokens[at - 1].continues(&tokens[at]);
                let imports_itself = |at: &usize| {
                    tokens[*at].text == "import" && begins(*at) && expand(&tokens[*at + 1].text, self.variable) == name
                };
                if let Some(at) = (0..tokens.len().saturating_sub(1)).find(imports_itself) {
                    let error = Diagnostic::parsing(&token.place, Expansions::TOO_MANY_SNIPPETS).at(&tokens[at].place);
                    self.refuse(error.hint(format!("the snippet '{name}' imports itself")));
                    tokens.clear();
                }
                self.snippets.entry(name).or_insert(tokens);
                return;
            }
            tokens.push(token);
        }
        let last = tokens.last().unwrap_or(&opening);
        let error = Diagnostic::syntax(&last.place, &last.text, "}");
        self.refuse(error.hint(format!("the '{{' of line {} is never closed", opening.place.line)));
    }

    /// Skips this line, and then to one that may be of keys: those begin where lines begin, what is in braces mostly
    /// further in.
    fn skip_to_block(&mut self) {
        self.advance();
        while let Some(token) = self.peek() {
            if token.place.column == 1 && token.text != "}" && self.begins_line(token) {
                return;
            }
            self.advance();
        }
    }

    /// Puts a snippet's words, or those of files, in the place of an `import`, which is to be read next. `false` if it is
    /// wrong: then it is skipped with its line.
    fn import(&mut self) -> Result<bool, Stop> {
        let Some(import) = self.advance() else { return Ok(false) };
        let argument = self.peek().filter(|next| import.continues(next)).cloned();
        match self.imported(&import, argument) {
            Ok(mut imported) => {
                // CoreDNS takes its first word for one more of a line before it that happens to have a higher number.
                if let Some(first) = imported.first_mut() {
                    first.begins_line = true;
                }
                self.bound(|expansions| expansions.words(&import, imported.len()))?;
                self.rest.extend(imported.into_iter().rev());
                Ok(true)
            }
            Err(None) => Err(Stop),
            Err(Some(error)) => {
                self.refuse(*error);
                while let Some(last) = &self.last
                    && self.peek().is_some_and(|next| last.continues(next) && !matches!(&*next.text, "{" | "}"))
                {
                    self.advance();
                }
                Ok(false)
            }
        }
    }

    /// The words that an `import` stands for; no error stands for one that is told already, and ends the reading.
    fn imported(&mut self, import: &Token, argument: Option<Token>) -> Result<Vec<Token>, Option<Box<Diagnostic>>> {
        let refuse = |error: Diagnostic| Some(Box::new(error));
        let Some(argument) = argument else {
            let message = format_args!("Wrong argument count or unexpected line ending after '{}'", import.text);
            let error = Diagnostic::parsing(&import.place, message).hint("it is written: import SNIPPET|FILE|PATTERN");
            return Err(refuse(error));
        };
        self.advance();
        let pattern = self.replaced(&argument);
        if pattern.text.is_empty() {
            let error = Diagnostic::parsing(&argument.place, "Import requires a non-empty filepath");
            return Err(refuse(error.hint("it is written: import SNIPPET|FILE|PATTERN")));
        }
        if let Some(more) = self.peek().filter(|next| argument.continues(next)) {
            let message = "Import takes only one argument (glob pattern or file)";
            let error = Diagnostic::parsing(&more.place, message);
            return Err(refuse(error.hint("write a line for each import; a snippet takes no arguments")));
        }
        if let Some(tokens) = self.snippets.get(&pattern.text).cloned() {
            self.bound(|expansions| expansions.snippet(import)).map_err(|Stop| None)?;
            return Ok(tokens);
        }
        self.bound(|expansions| expansions.file(import)).map_err(|Stop| None)?;
        let imported = import_files(&pattern, self.files, self.snippets.keys()).map_err(refuse)?;
        self.parsed.warnings.extend(imported.warning);
        imported.errors.into_iter().for_each(|error| self.refuse(error));
        Ok(imported.tokens)
    }

    /// Counts what is imported; where that is too much, the reading ends.
    fn bound(&mut self, count: impl FnOnce(&mut Expansions) -> Result<(), Diagnostic>) -> Result<(), Stop> {
        count(&mut self.expansions).map_err(|error| {
            self.refuse(error);
            Stop
        })
    }

    /// Reads what belongs to keys: directives in braces, or the rest of the file.
    fn contents(&mut self) -> Result<Vec<Directive>, Stop> {
        let opening = self.peek().filter(|token| token.text == "{").cloned();
        if opening.is_some() {
            self.advance();
        }
        let mut directives: Vec<Directive> = Vec::new();
        let mut is_indented = false;
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
            if !known {
                let unclosed = opening.as_ref().filter(|_| is_indented && self.begins_block(&token, &name));
                let error = unknown_directive(&token, &name, self.directives, unclosed);
                self.refuse(error);
                if unclosed.is_some() {
                    self.rest.push(token);
                    self.last = None;
                    return Ok(directives);
                }
            }
            is_indented |= token.place.column > 1;
            let Some(tokens) = self.directive(token)? else { continue };
            match directives.iter_mut().find(|directive| directive.name == name) {
                Some(directive) => directive.tokens.extend(tokens),
                None if known => directives.push(Directive { name, tokens }),
                None => {}
            }
        }
        if let (Some(opening), Some(last), false) = (opening, &self.last, self.ended) {
            // CoreDNS looks only whether the file's last word is a brace, not which one it closes.
            if last.text == "}" {
                let message = "this server block is never closed: a '}' is missing at the end of the file";
                self.parsed.warnings.push(Warning::new(&opening.place, message));
            } else {
                let error = Diagnostic::syntax(&last.place, &last.text, "}");
                self.refuse(error.hint(format!("the '{{' of line {} is never closed", opening.place.line)));
            }
        }
        Ok(directives)
    }

    /// Whether an unknown directive looks like the keys of the next server block, or like a snippet: it stands where lines
    /// begin, is written like a zone, and opens a brace.
    fn begins_block(&self, token: &Token, name: &str) -> bool {
        let mut line = std::iter::once(token).chain(self.rest.iter().rev());
        let mut last = token;
        let opens = line.by_ref().take_while(|next| {
            let same = std::ptr::eq(*next, token) || last.continues(next);
            last = next;
            same
        });
        token.place.column == 1
            && name.contains(['.', ':', '/', '('])
            && opens.last().is_some_and(|end| end.text == "{")
    }

    /// Reads the words of a directive, from its name on: its line, and the lines of its braces. `None` if they are not
    /// what they should be.
    fn directive(&mut self, name: Token) -> Result<Option<Vec<Token>>, Stop> {
        let mut tokens = vec![name];
        let mut open: Vec<Token> = Vec::new();
        let mut is_whole = true;
        while let Some(token) = self.peek().cloned() {
            let new_line = self.begins_line(&token);
            match token.text.as_str() {
                "{" => open.push(token.clone()),
                _ if new_line && open.is_empty() => return Ok(is_whole.then_some(tokens)),
                "}" if open.pop().is_none() => {
                    let error = Diagnostic::parsing(&token.place, "Unexpected '}' because no matching opening brace");
                    self.refuse(error.hint("a closing brace belongs on a line of its own"));
                    // It is meant for the server block, unless another stands behind it that may be.
                    if self.rest.iter().rev().nth(1).is_some_and(|next| next.text == "}") {
                        self.advance();
                    }
                    return Ok(None);
                }
                "import" if new_line => {
                    is_whole &= self.import()?;
                    continue;
                }
                _ => {}
            }
            let token = self.replaced(&token);
            self.advance();
            // Errors name the word as it is read.
            self.last = Some(token.clone());
            tokens.push(token);
        }
        if let (Some(brace), Some(last)) = (open.last(), &self.last) {
            let error = Diagnostic::parsing(&last.place, "Unexpected EOF");
            self.refuse(error.hint(format!("the '{{' of line {} is never closed", brace.place.line)));
            self.ended = true;
            return Ok(None);
        }
        Ok(is_whole.then_some(tokens))
    }

    fn replaced(&self, token: &Token) -> Token {
        Token { text: expand(&token.text, self.variable), ..token.clone() }
    }
}

/// An error for a word that stands where a directive should; `unclosed` is the brace of a server block that seems to lack
/// its counterpart.
fn unknown_directive(token: &Token, name: &str, directives: &[&str], unclosed: Option<&Token>) -> Diagnostic {
    let error = Diagnostic::parsing(&token.place, format!("Unknown directive '{name}'"));
    if let Some(brace) = unclosed {
        let line = brace.place.line;
        error.hint(format!("this looks like a server block: is a '}}' missing above it, for the '{{' of line {line}?"))
    } else if let Some(known) = did_you_mean(name, directives.iter().copied()) {
        error.hint(format!("did you mean '{known}'?"))
    } else if name.is_empty() {
        error.hint("the variable is not set")
    } else if name.ends_with(':') {
        error.hint("this looks like YAML; of a ConfigMap, give the text under 'Corefile:'")
    } else if name == "{" {
        error.hint("the '{' of a server block belongs on the line of its keys, or the line after")
    } else if name.contains('{') || name.contains('}') {
        error.hint("braces are words of their own: white space belongs around them")
    } else {
        error.hint("podzone -plugins lists the directives")
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
        let parsed = parse(&Source::new("Corefile", text), &["errors", "log"], &variable, &NoFiles);
        let headline = |error: &super::Diagnostic| error.headline().trim_start_matches("Corefile:").to_owned();
        if parsed.errors.is_empty() { Ok(parsed) } else { Err(parsed.errors.iter().map(headline).collect()) }
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

    fn errors(text: &str) -> Vec<String> {
        parse_text(text).expect_err("refused")
    }

    #[test]
    fn all_unknown_directives_are_told() {
        let told = errors(". {\n foo\n bar x {\n y\n }\n errors\n}");
        let expected =
            ["2 - Error during parsing: Unknown directive 'foo'", "3 - Error during parsing: Unknown directive 'bar'"];
        assert_eq!(told, expected);
    }

    #[test]
    fn reading_goes_on_behind_an_error() {
        let cases: [(&str, &[&str]); 6] = [
            // A comma too many, and an import of nothing.
            (
                "a, {\n import\n foo\n}",
                &[
                    "1 - Error during parsing: Expected another address but had '{' - check for extra comma",
                    "2 - Error during parsing: Wrong argument count or unexpected line ending after 'import'",
                    "3 - Error during parsing: Unknown directive 'foo'",
                ],
            ),
            // A brace on the line of a directive, with and without the block's own behind it.
            (
                "a {\n log }\n}\nb {\n log }\nc {\n foo\n}",
                &[
                    "2 - Error during parsing: Unexpected '}' because no matching opening brace",
                    "5 - Error during parsing: Unexpected '}' because no matching opening brace",
                    "7 - Error during parsing: Unknown directive 'foo'",
                ],
            ),
            // A server block that is never closed.
            (
                "a {\n log {\n class all\n}\nb.c:53 {\n foo\n}",
                &[
                    "5 - Error during parsing: Unknown directive 'b.c:53'",
                    "6 - Error during parsing: Unknown directive 'foo'",
                ],
            ),
            // Snippets: declared twice, without braces, imported all the same.
            (
                "(s) {\n log\n}\n(s) {\n foo\n}\n(t)\n log\n}\na {\n import s\n import t\n import u\n}",
                &[
                    "4 - Error during parsing: redeclaration of previously declared snippet s",
                    "8 - Syntax error: Unexpected token 'log', expecting '{'",
                    "13 - Error during parsing: File to import not found: u",
                ],
            ),
            // A quote that is never closed comes where it stands.
            (
                "a {\n foo\n log \"x\n bar\n}",
                &[
                    "2 - Error during parsing: Unknown directive 'foo'",
                    "3 - Error during parsing: Unexpected EOF",
                    "4 - Error during parsing: Unknown directive 'bar'",
                ],
            ),
            // What is written flush left is no server block.
            (
                "a {\nfoo.bar {\nx\n}\nfoo\n}",
                &[
                    "2 - Error during parsing: Unknown directive 'foo.bar'",
                    "5 - Error during parsing: Unknown directive 'foo'",
                ],
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(errors(text), expected, "{text}");
        }
    }

    #[test]
    fn a_block_without_keys_is_left_out() {
        let parsed = parse_text("{$UNSET} {\n errors\n}\n").expect("parses");
        assert!(parsed.blocks.is_empty());
        assert_eq!(parsed.warnings.len(), 1);
    }
}
