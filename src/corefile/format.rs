//! Corefiles, evenly written.

use std::sync::Arc;

use super::diagnostic::Diagnostic;
use super::lexer::{Comment, Token, lex};
use super::source::Source;

/// How far the lines in braces are set in, for each brace.
const INDENT: &str = "    ";

/// The same Corefile with lines set in by four spaces for each brace, one space between words, at most one empty line at
/// a time, none at the ends of a block and one between blocks. Lines stay lines and comments stay where they are. Quotes
/// go where a word says the same without them.
///
/// The words and what stands on a line with what are not changed, so that the text means what it meant: imports and
/// variables are left as they are written, and what is wrong stays wrong. What was formatted is not changed again.
///
/// # Errors
/// A quote that is never closed: nobody knows where its word was meant to end.
pub fn format(source: &Arc<Source>) -> Result<String, Diagnostic> {
    let lexed = lex(source);
    if let Some(error) = lexed.error {
        return Err(error);
    }
    let mut text = String::new();
    let mut depth = 0_usize;
    let mut before: Option<Line<'_>> = None;
    for line in lines(&lexed.tokens, &lexed.comments) {
        let closing = line.words.iter().take_while(|word| word.text == "}").count();
        if let Some(before) = &before
            && separates(before, &line, depth, closing)
        {
            text.push('\n');
        }
        let indent = depth.saturating_sub(closing);
        (0..indent).for_each(|_| text.push_str(INDENT));
        for (at, word) in line.words.iter().enumerate() {
            if at > 0 {
                text.push(' ');
            }
            text.push_str(spelling(word));
            match word.text.as_str() {
                "{" => depth += 1,
                "}" => depth = depth.saturating_sub(1),
                _ => {}
            }
        }
        if let Some(comment) = line.comment {
            if !line.words.is_empty() {
                text.push(' ');
            }
            text.push_str(source.text()[comment.start..comment.end].trim_end());
        }
        text.push('\n');
        before = Some(line);
    }
    // A mark at the beginning is dropped when a file is read: one that is part of a word needs another before it.
    if text.starts_with('\u{feff}') {
        text.insert(0, '\u{feff}');
    }
    Ok(text)
}

/// Words that stand on one line, and the comment behind them; or a comment alone.
struct Line<'a> {
    words: Vec<&'a Token>,
    comment: Option<Comment>,
}

impl Line<'_> {
    /// The first and the last of its lines in the text.
    fn span(&self) -> (u32, u32) {
        let comment = self.comment.map_or(0, |comment| comment.line);
        let first = self.words.first().map_or(comment, |word| word.place.line);
        (first, self.words.last().map_or(comment, |word| word.end_line))
    }
}

fn lines<'a>(tokens: &'a [Token], comments: &[Comment]) -> Vec<Line<'a>> {
    let mut lines: Vec<Line<'a>> = Vec::new();
    let mut comments = comments.iter().copied().peekable();
    for token in tokens {
        while let Some(comment) = comments.next_if(|comment| comment.start < token.place.start) {
            add_comment(&mut lines, comment);
        }
        match lines.last_mut() {
            Some(line) if line.words.last().is_some_and(|last| last.continues(token)) => line.words.push(token),
            _ => lines.push(Line { words: vec![token], comment: None }),
        }
    }
    comments.for_each(|comment| add_comment(&mut lines, comment));
    lines
}

fn add_comment(lines: &mut Vec<Line<'_>>, comment: Comment) {
    match lines.last_mut() {
        Some(line) if line.comment.is_none() && line.span().1 == comment.line => line.comment = Some(comment),
        _ => lines.push(Line { words: Vec::new(), comment: Some(comment) }),
    }
}

/// Whether an empty line stands between two lines, of which the second is in `depth` braces and closes `closing`.
fn separates(before: &Line<'_>, line: &Line<'_>, depth: usize, closing: usize) -> bool {
    let ends = |text: &str| before.words.last().is_some_and(|word| word.text == text);
    if ends("{") || closing > 0 {
        return false;
    }
    let has_gap = line.span().0 > before.span().1.saturating_add(1);
    has_gap || depth == 0 && ends("}")
}

/// How a word is written: with its quotes only if it needs them. A brace keeps them, for whoever reads it.
fn spelling(word: &Token) -> &str {
    let written = &word.place.source.text()[word.place.start..word.place.end];
    let needs_quotes = word.text.is_empty()
        || word.text.starts_with('"')
        || word.text.contains(|c: char| c.is_whitespace() || matches!(c, '#' | '{' | '}'));
    if written.starts_with('"') && needs_quotes { written } else { &word.text }
}

#[cfg(test)]
mod tests {
    use super::{Source, format};

    fn formatted(text: &str) -> String {
        let once = format(&Source::new("Corefile", text)).expect("formats");
        let twice = format(&Source::new("Corefile", &once)).expect("formats again");
        assert_eq!(once, twice);
        once
    }

    #[test]
    fn lines_are_set_in_and_words_are_one_space_apart() {
        let text = "\u{feff}.:53   a,\r\nb\t{\r\n\r\n errors\n\n\n  kubernetes   x {\nttl 5\n\n}\n}\nc {\n}\n";
        let expected = ".:53 a,\nb {\n    errors\n\n    kubernetes x {\n        ttl 5\n    }\n}\n\nc {\n}\n";
        assert_eq!(formatted(text), expected);
    }

    #[test]
    fn comments_stay() {
        let text = "# top\n\n\n. { # zone  \n#log\nerrors#why\n # end\n}\n# behind";
        let expected = "# top\n\n. { # zone\n    #log\n    errors #why\n    # end\n}\n\n# behind\n";
        assert_eq!(formatted(text), expected);
    }

    #[test]
    fn quotes_stay_where_they_are_needed() {
        let text = r##"log "a" "" "b c" "#" "\"d" "e\"f" "{$G}" h"i {$J}"##;
        assert_eq!(formatted(text), "log a \"\" \"b c\" \"#\" \"\\\"d\" e\"f \"{$G}\" h\"i {$J}\n");
        assert_eq!(formatted("log \"a\n  b\"  c #d\n"), "log \"a\n  b\" c #d\n");
    }

    #[test]
    fn a_mark_that_is_a_word_stays_one() {
        assert_eq!(formatted("\u{feff}\u{feff}a"), "\u{feff}\u{feff}a\n");
    }

    #[test]
    fn nothing_stays_nothing() {
        assert_eq!(formatted("\n \r\n"), "");
        assert!(format(&Source::new("Corefile", "log \"a\n")).is_err());
    }
}
