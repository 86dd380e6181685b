//! `podzone fmt` changes how a Corefile looks and nothing of what it says.

use std::path::PathBuf;
use std::sync::Arc;

use podzone::corefile::{Source, Token, format, lex, parse};
use proptest::prelude::*;

use crate::{NoMachine, cases, nearly_a_corefile, table};

/// A word of a file; a `{` opens the lines behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Line {
    words: Vec<String>,
    block: Option<Vec<Self>>,
}

/// A server block or a snippet.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Block {
    keys: Vec<String>,
    lines: Vec<Line>,
}

/// What stands between words and lines, and how words are spelt: drawn from in turn.
#[derive(Clone, Debug)]
struct Looks(Vec<u8>, usize);

impl Looks {
    fn next(&mut self, choices: usize) -> usize {
        self.1 = (self.1 + 1) % self.0.len();
        usize::from(self.0[self.1]) % choices
    }

    fn space(&mut self) -> &'static str {
        [" ", "  ", "\t", " \u{a0}", " \r "][self.next(5)]
    }

    /// The end of a line, with what may stand behind it.
    fn end(&mut self) -> &'static str {
        ["\n", "\r\n", "  \n", " # why {\n", "\n\n\n", "\n # \"alone\n", "#touches } \n", "\n\t\n"][self.next(8)]
    }

    fn word(&mut self, word: &str, text: &mut String) {
        let is_plain = !word.is_empty() && !word.starts_with('"') && !word.contains([' ', '\n', '#', '\t']);
        // In quotes a backslash at some places says something else.
        if is_plain && (word.contains('\\') || self.next(3) > 0) {
            text.push_str(word);
        } else {
            text.push('"');
            text.push_str(&word.replace('"', "\\\""));
            text.push('"');
        }
    }

    fn line(&mut self, line: &Line, text: &mut String) {
        for word in &line.words {
            text.push_str(["", "  ", "\t"][self.next(3)]);
            self.word(word, text);
            text.push_str(self.space());
        }
        if let Some(lines) = &line.block {
            text.push('{');
            text.push_str(self.end());
            lines.iter().for_each(|line| self.line(line, text));
            text.push_str(["}", "   }"][self.next(2)]);
        }
        text.push_str(self.end());
    }

    fn file(&mut self, blocks: &[Block]) -> String {
        let mut text = ["", "\u{feff}", "\n\n", "# top\n"][self.next(4)].to_owned();
        for block in blocks {
            for (at, key) in block.keys.iter().enumerate() {
                self.word(key, &mut text);
                match (at + 1 < block.keys.len()).then(|| self.next(3)) {
                    None => text.push_str(self.space()),
                    // Behind a comma, which belongs to a key without quotes, keys go on in the next line.
                    Some(0) if text.ends_with(char::is_alphanumeric) => {
                        text.push(',');
                        text.push_str(self.end());
                    }
                    Some(_) => text.push_str(self.space()),
                }
            }
            text.push('{');
            text.push_str(self.end());
            block.lines.iter().for_each(|line| self.line(line, &mut text));
            text.push('}');
            text.push_str(self.end());
        }
        text
    }
}

fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-z.:/*0-9-]{1,8}",
        1 => Just(String::new()),
        1 => "[a-z#\" \n\t']{0,8}[a-z]",
        1 => prop::sample::select(vec!["{$A}", "{%B%}x", "a\\b", "a\"b", "\\\"x", "#", "é\u{feff}", "{common}", ",", "(s)"])
            .prop_map(str::to_owned),
    ]
}

fn line(inner: impl Strategy<Value = Option<Vec<Line>>>) -> impl Strategy<Value = Line> {
    // Names of directives that nothing replaces or imports.
    ("[a-h]{1,6}", prop::collection::vec(word(), 0..4), inner).prop_map(|(name, mut words, block)| {
        words.insert(0, name);
        Line { words, block }
    })
}

fn blocks() -> impl Strategy<Value = Vec<Block>> {
    let option = line(Just(None));
    let directive = line(prop::option::of(prop::collection::vec(option, 0..3)));
    let key = "[a-h0-9]{1,3}(\\.[a-h]{1,3}){0,2}\\.?(:53)?";
    let block = (prop::collection::vec(key, 1..4), prop::collection::vec(directive, 0..4));
    prop::collection::vec(block.prop_map(|(keys, lines)| Block { keys, lines }), 0..4)
}

/// All names that directives of `blocks` can have.
fn names(blocks: &[Block]) -> Vec<String> {
    blocks.iter().flat_map(|block| &block.lines).map(|line| line.words[0].clone()).collect()
}

/// What is read of a text: keys, and for each directive its words by lines.
type Tree = Vec<(Vec<String>, Vec<(String, Vec<Vec<String>>)>)>;

/// `Err` with what is wrong.
fn read(text: &str, names: &[&str]) -> Result<Tree, String> {
    // Variables stay as they are written, so that they are compared too.
    let variable = |name: &str| Some(format!("<{name}>"));
    let parsed = parse(&Source::new("Corefile", text), names, &variable, &NoMachine);
    if !parsed.errors.is_empty() {
        let errors: Vec<_> = parsed.errors.iter().map(ToString::to_string).collect();
        return Err(errors.join("\n"));
    }
    let keys = |tokens: &[Token]| tokens.iter().map(|token| token.text.clone()).collect();
    let directives = |block: &podzone::corefile::ServerBlock| {
        block.directives.iter().map(|directive| (directive.name.clone(), by_lines(&directive.tokens))).collect()
    };
    Ok(parsed.blocks.iter().map(|block| (keys(&block.keys), directives(block))).collect())
}

fn tree(text: &str, names: &[String]) -> Tree {
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    read(text, &names).unwrap_or_else(|errors| panic!("{errors}\n{text}"))
}

fn by_lines(tokens: &[Token]) -> Vec<Vec<String>> {
    let mut lines: Vec<Vec<String>> = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        match lines.last_mut() {
            Some(line) if tokens[at - 1].continues(token) => line.push(token.text.clone()),
            _ => lines.push(vec![token.text.clone()]),
        }
    }
    lines
}

/// The tree that `blocks` should be read as: lines of one name go together.
fn expected(blocks: &[Block]) -> Tree {
    let shown = |word: &String| word.replace("{$A}", "<A>").replace("{%B%}", "<B>");
    fn flat(line: &Line, shown: &dyn Fn(&String) -> String, into: &mut Vec<Vec<String>>) {
        into.push(line.words.iter().map(shown).collect());
        if let Some(lines) = &line.block {
            into.last_mut().unwrap().push("{".into());
            lines.iter().for_each(|line| flat(line, shown, into));
            into.push(vec!["}".into()]);
        }
    }
    let tree = |block: &Block| {
        let mut directives: Vec<(String, Vec<Vec<String>>)> = Vec::new();
        for line in &block.lines {
            let name = &line.words[0];
            if !directives.iter().any(|(known, _)| known == name) {
                directives.push((name.clone(), Vec::new()));
            }
            let (_, lines) = directives.iter_mut().find(|(known, _)| known == name).unwrap();
            flat(line, &shown, lines);
        }
        (block.keys.clone(), directives)
    };
    blocks.iter().map(tree).collect()
}

fn formatted(text: &str) -> Option<String> {
    format(&Source::new("Corefile", text)).ok()
}

/// The words of a text by lines, and its comments.
fn contents(source: &Arc<Source>) -> (Vec<Vec<String>>, Vec<String>) {
    let lexed = lex(source);
    let comment =
        |comment: &podzone::corefile::Comment| source.text()[comment.start..comment.end].trim_end().to_owned();
    (by_lines(&lexed.tokens), lexed.comments.iter().map(comment).collect())
}

/// Words, lines, comments and what is read of them are the same, and formatting again changes nothing.
fn is_kept(text: &str) {
    let Some(once) = formatted(text) else { return };
    assert_eq!(
        contents(&Source::new("Corefile", text)),
        contents(&Source::new("Corefile", &once)),
        "{text:?}\n{once:?}"
    );
    assert_eq!(formatted(&once).as_ref(), Some(&once), "{text:?}");
    // How reading goes on behind an error depends on where lines begin; that there is one does not.
    let names = ["errors", "log", "health", "bind", "forward", "kubernetes"];
    assert_eq!(read(text, &names).ok(), read(&once, &names).ok(), "{text:?}\n{once:?}");
}

proptest! {
    // What fails becomes a case, not a seed.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_formatted_tree_is_the_same_tree(blocks in blocks(), looks in prop::collection::vec(any::<u8>(), 1..200)) {
        let text = Looks(looks, 0).file(&blocks);
        let names = names(&blocks);
        prop_assert_eq!(tree(&text, &names), expected(&blocks), "{}", text);
        let once = formatted(&text).expect("formats");
        prop_assert_eq!(tree(&once, &names), expected(&blocks), "{}", once);
        prop_assert_eq!(formatted(&once), Some(once.clone()));
        is_kept(&text);
    }

    #[test]
    fn formatting_keeps_the_words_of_any_text(text in any::<String>(), nearly in nearly_a_corefile()) {
        is_kept(&text);
        is_kept(&nearly);
    }
}

#[test]
fn formatting_keeps_the_words_of_every_case() {
    cases().iter().for_each(|case| is_kept(&case.corefile()));
    table::rows().iter().for_each(|row| is_kept(&row.corefile));
}

#[test]
fn the_example_and_the_corefiles_for_clusters_are_formatted() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join("Corefile.example")).unwrap();
    assert_eq!(formatted(&text), Some(text));
}
