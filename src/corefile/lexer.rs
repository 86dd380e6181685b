//! Text to words.

use std::sync::Arc;

use super::diagnostic::Diagnostic;
use super::source::{Place, Source};

/// A word of a Corefile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// What it says: without its quotes, with `\"` resolved and, once parsed, with variables replaced.
    pub text: String,
    /// Where it is written, quotes included.
    pub place: Place,
    /// The line that it ends on; only quoted words span lines.
    pub end_line: u32,
    /// Whether it begins a line whatever stands before it: the first of what is imported does.
    pub begins_line: bool,
}

impl Token {
    /// Whether `next` goes on the line that this word ends on.
    pub fn continues(&self, next: &Self) -> bool {
        !next.begins_line && self.place.source == next.place.source && self.end_line == next.place.line
    }
}

/// What a text is made of.
#[derive(Debug, Default)]
pub struct Lexed {
    /// Its words.
    pub tokens: Vec<Token>,
    /// Its comments, each from its `#` to the end of its line.
    pub comments: Vec<Comment>,
    /// A quote that is never closed. Its word is then taken to end with its line, and what follows is read on.
    pub error: Option<Diagnostic>,
}

/// A comment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Comment {
    /// The byte of its `#`.
    pub start: usize,
    /// One past its last byte, which is never the newline.
    pub end: usize,
    /// Its line, from 1.
    pub line: u32,
}

/// Cuts a source into words.
///
/// White space parts words. A word that begins with `"` goes to the next `"`, over lines too, and in it a backslash
/// makes a plain character of `"` and stands for itself elsewhere. Elsewhere `"` is an ordinary character, `#` begins
/// a comment wherever it stands, and a carriage return is nothing at all.
///
/// Two things differ from caddy's lexer on purpose: a comment that touches a word (`errors#why`) ends with its line,
/// not at its first space, and a quote that is never closed is refused where it opens, not read to the end.
pub fn lex(source: &Arc<Source>) -> Lexed {
    let mut lexer = Lexer { source, lexed: Lexed::default(), word: None, line: 1, column: 1, comment: None };
    lexer.read_from(0);
    lexer.lexed
}

struct Lexer<'a> {
    source: &'a Arc<Source>,
    lexed: Lexed,
    word: Option<Word>,
    line: u32,
    column: u32,
    /// The byte where a comment that is being read begins.
    comment: Option<usize>,
}

/// A word that is being read.
struct Word {
    text: String,
    start: usize,
    line: u32,
    column: u32,
    quote: Quote,
}

#[derive(Clone, Copy, PartialEq)]
enum Quote {
    None,
    Open,
    /// After a backslash.
    Escape,
}

impl Lexer<'_> {
    /// Reads on from a byte to the end.
    fn read_from(&mut self, start: usize) {
        let text = self.source.text();
        for (offset, character) in text[start..].char_indices() {
            self.step(start + offset, character);
        }
        match self.word.take() {
            Some(word) if word.quote != Quote::None => self.unclosed(&word),
            word => {
                self.word = word;
                self.end_word(text.len());
                self.end_comment(text.len());
            }
        }
    }

    fn step(&mut self, at: usize, character: char) {
        match self.word.as_mut() {
            Some(word) if word.quote != Quote::None => match (word.quote, character) {
                (Quote::Open, '\\') => word.quote = Quote::Escape,
                (Quote::Open, '"') => self.end_word(at + 1),
                (state, _) => {
                    if state == Quote::Escape && character != '"' {
                        word.text.push('\\');
                    }
                    word.text.push(character);
                    word.quote = Quote::Open;
                }
            },
            _ if self.comment.is_some() => {
                if character == '\n' {
                    self.end_comment(at);
                }
            }
            _ if character == '\r' => {}
            _ if character.is_whitespace() => self.end_word(at),
            _ if character == '#' => {
                self.end_word(at);
                self.comment = Some(at);
            }
            Some(word) => word.text.push(character),
            None => {
                let quote = if character == '"' { Quote::Open } else { Quote::None };
                let mut text = String::new();
                if quote == Quote::None {
                    text.push(character);
                }
                self.word = Some(Word { text, start: at, line: self.line, column: self.column, quote });
            }
        }
        if character == '\n' {
            self.line = self.line.saturating_add(1);
            self.column = 1;
        } else {
            self.column = self.column.saturating_add(1);
        }
    }

    fn end_word(&mut self, end: usize) {
        if let Some(Word { text, start, line, column, .. }) = self.word.take() {
            let place = Place { source: Arc::clone(self.source), start, end, line, column };
            self.lexed.tokens.push(Token { text, place, end_line: self.line, begins_line: false });
        }
    }

    fn end_comment(&mut self, end: usize) {
        if let Some(start) = self.comment.take() {
            self.lexed.comments.push(Comment { start, end, line: self.line });
        }
    }

    /// Refuses a quote that no other closes, and reads on behind its line.
    ///
    /// That happens once in a text: each quote further down has a backslash before it, so that none opens there.
    fn unclosed(&mut self, word: &Word) {
        let text = self.source.text();
        let place = |end| Place {
            source: Arc::clone(self.source),
            start: word.start,
            end,
            line: word.line,
            column: word.column,
        };
        let quote = word.start + 1;
        if self.lexed.error.is_none() {
            let error = Diagnostic::parsing(&place(quote), "Unexpected EOF");
            self.lexed.error = Some(error.hint("this quote is never closed"));
        }
        let end = text[quote..].find('\n').map_or(text.len(), |offset| quote + offset);
        let begun = text[quote..end].trim_end().to_owned();
        let token = Token { text: begun, place: place(end), end_line: word.line, begins_line: false };
        self.lexed.tokens.push(token);
        self.line = word.line;
        self.read_from(end);
    }
}

#[cfg(test)]
mod tests {
    use super::{Source, lex};

    fn words(text: &str) -> Vec<(String, u32, u32, u32)> {
        let lexed = lex(&Source::new("Corefile", text));
        assert_eq!(lexed.error, None);
        lexed.tokens.into_iter().map(|t| (t.text, t.place.line, t.place.column, t.end_line)).collect()
    }

    fn texts(text: &str) -> Vec<String> {
        words(text).into_iter().map(|word| word.0).collect()
    }

    #[test]
    fn white_space_parts_words() {
        assert_eq!(texts("a b\tc\u{a0}d\n e\r\n"), ["a", "b", "c", "d", "e"]);
    }

    #[test]
    fn places_count_from_one_in_characters() {
        assert_eq!(words("é b\n  c"), [("é".into(), 1, 1, 1), ("b".into(), 1, 3, 1), ("c".into(), 2, 3, 2)]);
    }

    #[test]
    fn quotes_only_where_a_word_begins() {
        assert_eq!(texts(r#""a b" c"d e"f"#), ["a b", "c\"d", "e\"f"]);
        assert_eq!(texts(r#""""x"y"#), ["", "x", "y"].map(String::from)[..].to_vec());
    }

    #[test]
    fn backslash_escapes_quotes_and_nothing_else() {
        assert_eq!(texts(r#""a\"b\n\\" a\"b"#), ["a\"b\\n\\\\", "a\\\"b"]);
    }

    #[test]
    fn quoted_words_span_lines() {
        assert_eq!(words("\"a\nb\" c"), [("a\nb".into(), 1, 1, 2), ("c".into(), 2, 4, 2)]);
    }

    #[test]
    fn comments_begin_anywhere_and_end_with_the_line() {
        assert_eq!(texts("a#b c\nd # e\n\"#f\""), ["a", "d", "#f"]);
    }

    #[test]
    fn carriage_returns_vanish() {
        assert_eq!(texts("a\rb\r\nc"), ["ab", "c"]);
    }

    #[test]
    fn byte_order_mark_is_dropped() {
        assert_eq!(words("\u{feff}a"), [("a".into(), 1, 1, 1)]);
    }

    #[test]
    fn comments_are_kept_beside_the_words() {
        let text = "a#b c\nd # e\r\n\"#f\" #";
        let lexed = lex(&Source::new("Corefile", text));
        let comments: Vec<_> = lexed.comments.iter().map(|c| (&text[c.start..c.end], c.line)).collect();
        assert_eq!(comments, [("#b c", 1), ("# e\r", 2), ("#", 3)]);
    }

    #[test]
    fn open_quote_is_refused_where_it_opens_and_what_follows_is_read() {
        let lexed = lex(&Source::new("Corefile", "a\n  \"b c \n  d\\\" e"));
        let error = lexed.error.expect("refused");
        assert_eq!(error.headline(), "Corefile:2 - Error during parsing: Unexpected EOF");
        assert_eq!(error.place().map(|place| (place.line, place.column)), Some((2, 3)));
        let words: Vec<_> = lexed.tokens.iter().map(|t| (t.text.as_str(), t.place.line, t.place.column)).collect();
        assert_eq!(words, [("a", 1, 1), ("b c", 2, 3), ("d\\\"", 3, 3), ("e", 3, 7)]);
    }
}
