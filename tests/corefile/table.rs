//! Corefiles for which CoreDNS and podzone say the same: `tests/cases/corefile-table/*.table`.
//!
//! A table begins with words on what it is about. Each Corefile has a line above it: `=== NAME: WHAT`, where WHAT is what
//! CoreDNS says: `accepted`, `refused LINE`, or `refused` where its message has no line. podzone says the same, and may
//! know a line; `, differs REASON` behind it is for what it says otherwise, under that name in `docs/differences.md`.
//! Behind the text, `@env NAME=VALUE` sets a variable, and `@file PATH` begins a file beside the Corefile. `\u{...}` is a
//! character.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// A Corefile, what is beside it, and what CoreDNS says of it.
#[derive(Debug, Default)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) corefile: String,
    pub(crate) files: BTreeMap<String, String>,
    pub(crate) env: Vec<(String, String)>,
    /// `accepted`, `refused` or `refused LINE`.
    pub(crate) coredns: String,
    pub(crate) differs: Option<String>,
}

/// All rows of all tables.
pub(crate) fn rows() -> Vec<Row> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/cases/corefile-table");
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let mut rows: Vec<Row> = Vec::new();
    for path in paths {
        let table = path.file_stem().unwrap().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        let begin = rows.len();
        let mut file: Option<String> = None;
        for line in text.split_inclusive('\n') {
            if let Some(header) = line.strip_prefix("=== ") {
                let (name, says) = header.trim_end().split_once(": ").unwrap_or_else(|| panic!("{table}: {line}"));
                let (coredns, differs) = match says.split_once(", differs ") {
                    Some((coredns, reason)) => (coredns, Some(reason.to_owned())),
                    None => (says, None),
                };
                let name = format!("{table}: {name}");
                assert!(rows.iter().all(|row| row.name != name), "{name} is there twice");
                rows.push(Row { name, coredns: coredns.to_owned(), differs, ..Row::default() });
                file = None;
                continue;
            }
            let Some(row) = rows[begin..].last_mut() else { continue };
            if let Some(variable) = line.strip_prefix("@env ") {
                let (name, value) = variable.trim_end_matches('\n').split_once('=').expect("NAME=VALUE");
                row.env.push((name.to_owned(), value.to_owned()));
            } else if let Some(path) = line.strip_prefix("@file ") {
                file = Some(path.trim_end().to_owned());
                row.files.insert(path.trim_end().to_owned(), String::new());
            } else if let Some(file) = &file {
                row.files.get_mut(file).unwrap().push_str(line);
            } else {
                row.corefile.push_str(line);
            }
        }
        for row in &mut rows[begin..] {
            row.corefile = crate::unescape(&row.corefile);
        }
    }
    rows
}
