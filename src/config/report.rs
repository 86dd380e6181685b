//! What checking a Corefile finds.

use crate::corefile::{Diagnostic, Token, Warning};

/// Errors and warnings, in the order in which CoreDNS would come to them: the first error is CoreDNS's error.
#[derive(Default)]
pub(super) struct Report {
    pub(super) errors: Vec<Diagnostic>,
    /// What CoreDNS has and podzone has not: told after the errors, for CoreDNS has none here.
    pub(super) not_served: Vec<Diagnostic>,
    pub(super) warnings: Vec<Warning>,
}

impl Report {
    pub(super) fn error(&mut self, error: Diagnostic) {
        self.errors.push(error);
    }

    pub(super) fn warn(&mut self, token: &Token, message: impl std::fmt::Display) {
        self.warnings.push(Warning::new(&token.place, message));
    }

    /// `what` (as in "directive 'forward'") is CoreDNS's and not podzone's.
    pub(super) fn not_served(&mut self, token: &Token, what: impl std::fmt::Display) {
        let hint = "CoreDNS has it, podzone does not serve it yet: keep CoreDNS in front for it, or remove it here";
        self.not_served_but(token, what, hint);
    }

    /// `what` is CoreDNS's and not podzone's, and `hint` says what to write instead.
    pub(super) fn not_served_but(&mut self, token: &Token, what: impl std::fmt::Display, hint: &str) {
        let error = Diagnostic::parsing(&token.place, format_args!("{what} is not served by podzone"));
        self.not_served.push(error.hint(hint));
    }
}
