//! Reading the words of a directive, as CoreDNS's plugins do.

use std::fmt;

use crate::corefile::{Diagnostic, Directive, Token};

/// How CoreDNS words a second line of a directive that may have one.
pub(super) const ONCE: &str = "this plugin can only be used once per Server Block";

/// A cursor over a directive's words; the counterpart of caddy's `Dispenser`, whose rules decide which files CoreDNS
/// accepts.
pub(super) struct Reader<'a> {
    name: &'a str,
    tokens: &'a [Token],
    /// One past the current word; 0 before the first.
    next: usize,
    in_block: bool,
}

impl<'a> Reader<'a> {
    pub(super) fn new(directive: &'a Directive) -> Self {
        Self { name: &directive.name, tokens: &directive.tokens, next: 0, in_block: false }
    }

    /// Moves on to the directive's next line: `true` if there is one. What stands between is not something that the
    /// directive has: an error, which ends the reading.
    pub(super) fn next_line(&mut self, report: &mut super::report::Report) -> bool {
        let Some(token) = self.advance() else { return false };
        // The first word names the directive, through a variable perhaps.
        if self.next == 1 || token.text == self.name {
            return true;
        }
        // CoreDNS counts any word as one more line of the directive: it refuses those that may have one line only, with
        // these words, and makes odd sense of the others.
        let mut error = match self.name {
            "ready" | "prometheus" | "errors" | "kubernetes" | "nsid" => Diagnostic::new(ONCE).at(&token.place),
            name => Diagnostic::syntax(&token.place, &token.text, name),
        };
        if token.text == "{" {
            error = error.hint(format!("the '{{' belongs on the line of '{}'", self.name));
        }
        report.error(error.from_plugin(self.name));
        self.next = self.tokens.len();
        false
    }

    /// The arguments that are left on the line, up to an opening brace.
    pub(super) fn remaining_args(&mut self) -> &'a [Token] {
        let start = self.next;
        while let Some(token) = self.peek_on_line()
            && token.text != "{"
        {
            self.next += 1;
        }
        &self.tokens[start..self.next]
    }

    /// The next word of the line, which is not moved on to.
    pub(super) fn peek(&self) -> Option<&'a Token> {
        self.peek_on_line()
    }

    /// Moves on to the next word of the line, an opening brace too: `true` if there is one.
    pub(super) fn next_arg(&mut self) -> bool {
        let is_there = self.peek_on_line().is_some();
        self.next += usize::from(is_there);
        is_there
    }

    /// The next option of the block that opens on this line, or `None` at the block's end or if there is none.
    pub(super) fn next_option(&mut self) -> Option<&'a Token> {
        if !self.in_block {
            self.peek_on_line().filter(|token| token.text == "{")?;
            self.next += 1;
            self.in_block = true;
        }
        let token = self.advance().filter(|token| token.text != "}");
        self.in_block = token.is_some();
        token
    }

    /// Moves on to the next word, on whichever line: `true` if there is one.
    pub(super) fn next_word(&mut self) -> bool {
        self.advance().is_some()
    }

    /// Skips the rest of the directive, after an error that leaves no way to tell what is what.
    pub(super) fn give_up(&mut self) {
        self.next = self.tokens.len();
    }

    /// The current word: the one read last.
    pub(super) fn current(&self) -> &'a Token {
        &self.tokens[self.next.saturating_sub(1).min(self.tokens.len() - 1)]
    }

    /// An error at the current word.
    pub(super) fn error(&self, message: impl fmt::Display) -> Diagnostic {
        Diagnostic::parsing(&self.current().place, message).from_plugin(self.name)
    }

    /// An error at `token`.
    pub(super) fn error_at(&self, token: &Token, message: impl fmt::Display) -> Diagnostic {
        Diagnostic::parsing(&token.place, message).from_plugin(self.name)
    }

    /// An error at the current word: too many arguments, or too few.
    pub(super) fn argument_error(&self) -> Diagnostic {
        let word = &self.current().text;
        if word == "{" {
            return self.error("Unexpected token '{', expecting argument");
        }
        let error = self.error(format_args!("Wrong argument count or unexpected line ending after '{word}'"));
        if word == "}" { error.hint("the '}' belongs on a line of its own") } else { error }
    }

    /// An error that CoreDNS words without a place, at `token`.
    pub(super) fn bare_error(&self, token: &Token, message: impl fmt::Display) -> Diagnostic {
        Diagnostic::new(message.to_string()).at(&token.place).from_plugin(self.name)
    }

    fn advance(&mut self) -> Option<&'a Token> {
        let token = self.tokens.get(self.next)?;
        self.next += 1;
        Some(token)
    }

    fn peek_on_line(&self) -> Option<&'a Token> {
        let next = self.tokens.get(self.next)?;
        let last = self.next.checked_sub(1).map(|last| &self.tokens[last]);
        last.is_none_or(|last| last.continues(next)).then_some(next)
    }
}
