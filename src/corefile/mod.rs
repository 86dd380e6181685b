//! Corefile text to a tree with places.
//!
//! The grammar is that of CoreDNS 1.14.7 (module `github.com/coredns/caddy`, package `caddyfile`), so that a file
//! which CoreDNS reads is read here too and a file which it refuses is refused in the same words. Three steps, each
//! in its own file: [`lex`] makes words, [`parse`] groups them by server block and directive, and `config` decides
//! what they mean. Nothing here knows what a directive does. [`format()`] writes the words of a file evenly.
//!
//! CoreDNS stops at the first error. Here each is told and stepped over, and the reading goes on where the next line
//! makes sense, so that one look at a file finds all that is wrong with it.

mod diagnostic;
mod format;
mod import;
mod lexer;
mod parser;
mod source;
mod suggest;
mod variables;
mod warning;

pub use diagnostic::{Diagnostic, harmless};
pub use format::format;
pub use import::{BYTES_MAX, Files};
pub use lexer::{Comment, Lexed, Token, lex};
pub use parser::{Directive, Parsed, ServerBlock, parse};
pub use source::{Place, Source};
pub use suggest::did_you_mean;
pub use variables::expand;
pub use warning::Warning;
