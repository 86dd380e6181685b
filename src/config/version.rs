//! The version of a configuration: the same that CoreDNS gives it.

use std::collections::BTreeMap;
use std::fmt;

use ring::digest::{SHA512, SHA512_OUTPUT_LEN, digest};
use serde::Serialize;

use crate::corefile::{Directive, ServerBlock, Source, Token};

/// The SHA-512 of a parsed Corefile, its imports included. `Display` gives it in hexadecimal.
///
/// It is that of CoreDNS (plugin/reload/reload.go, func parse), which hashes the words of all directives, with their lines
/// and the names of the files that they were imported from, as JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version([u8; SHA512_OUTPUT_LEN]);

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Block<'a> {
    keys: Vec<&'a str>,
    /// By the directives' names, in their order.
    tokens: BTreeMap<&'a str, Vec<Word<'a>>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Word<'a> {
    /// Nothing in the Corefile itself.
    file: &'a str,
    line: u32,
    text: &'a str,
}

impl Version {
    /// The version of the blocks of a Corefile.
    pub(super) fn of(corefile: &Source, blocks: &[ServerBlock]) -> Self {
        let blocks: Vec<Block<'_>> = blocks.iter().map(|block| Block::new(corefile, block)).collect();
        // Go has no empty list here but none at all. Nothing in it can fail to be written.
        let json = if blocks.is_empty() { "null".into() } else { serde_json::to_string(&blocks).unwrap_or_default() };
        let mut version = [0; SHA512_OUTPUT_LEN];
        version.copy_from_slice(digest(&SHA512, as_go_writes(&json).as_bytes()).as_ref());
        Self(version)
    }
}

impl<'a> Block<'a> {
    fn new(corefile: &Source, block: &'a ServerBlock) -> Self {
        let word = |token: &'a Token| {
            let source = &token.place.source;
            let file = if **source == *corefile { "" } else { source.name() };
            Word { file, line: token.place.line, text: &token.text }
        };
        let words = |directive: &'a Directive| (&*directive.name, directive.tokens.iter().map(word).collect());
        Self {
            keys: block.keys.iter().map(|key| &*key.text).collect(),
            tokens: block.directives.iter().map(words).collect(),
        }
    }
}

/// Go escapes what HTML would read, and the line ends of JavaScript (encoding/json, func Marshal). All of these stand in
/// strings only.
fn as_go_writes(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for character in json.chars() {
        match character {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => out.push_str(&format!("\\u{:04x}", u32::from(character))),
            other => out.push(other),
        }
    }
    out
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}
