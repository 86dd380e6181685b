//! The code is laid out as src/lib.rs says: data flows from left to right, and no part knows more than it needs.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// What a folder of src may import from the others; folders that are not named here may import any.
const IMPORTS: [(&str, &[&str]); 11] = [
    ("corefile", &[]),
    ("model", &[]),
    ("config", &["corefile", "model"]),
    ("source", &["model", "config", "histogram"]),
    ("zone", &["model"]),
    ("snapshot", &["model"]),
    ("tsig", &["zone"]),
    ("answer", &["zone", "tsig"]),
    ("transfer", &["zone", "tsig", "answer"]),
    // Panics are everybody's: a leaf that knows nothing of the others. So is what counts durations.
    ("net", &["answer", "panics", "transfer", "tsig"]),
    ("forward", &["answer", "config", "net", "histogram"]),
];
/// Those put the parts together and look at them.
const FREE: [&str; 3] = ["admin", "cli", "telemetry"];
/// Crates that pure parts know nothing of.
const OUTSIDE: [&str; 3] = ["tokio", "kube", "k8s_openapi"];
const PURE: [&str; 6] = ["model", "zone", "snapshot", "tsig", "answer", "transfer"];
const LINES_MAX: usize = 600;
/// The one file with unsafe code.
const UNSAFE: &str = "src/net/mmsg.rs";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files below a folder with this ending, by their paths from the repository's root.
fn files(folder: &str, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = std::fs::read_dir(root().join(folder)) else { return found };
    for entry in entries {
        let path = entry.unwrap().path();
        let relative = path.strip_prefix(root()).unwrap().to_owned();
        if path.is_dir() {
            found.extend(files(&relative.to_string_lossy(), ending));
        } else if path.extension().is_some_and(|extension| extension == ending) {
            found.push(relative);
        }
    }
    found.sort();
    found
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(root().join(path)).unwrap()
}

/// The code of a file, without what stands behind `//`, which may name whatever explains it.
fn code(path: &Path) -> String {
    read(path).lines().map(|line| line.split("//").next().unwrap_or_default().to_owned() + "\n").collect()
}

/// The folder of src that a file is in.
fn part(path: &Path) -> String {
    path.components().nth(1).unwrap().as_os_str().to_string_lossy().into_owned()
}

/// Where a word stands in code, as a whole word.
fn words<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let is_inner = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(word)
        .map(|(at, _)| at)
        .filter(move |at| !code[..*at].ends_with(is_inner) && !code[at + word.len()..].starts_with(is_inner))
}

/// The first segments of all paths that begin with `crate::`, in a `use` with braces too.
fn imported(code: &str) -> BTreeSet<String> {
    let segment = |text: &str| {
        let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
        text[..end].to_owned()
    };
    let mut found = BTreeSet::new();
    for at in words(code, "crate").filter(|at| code[*at..].starts_with("crate::")) {
        let rest = &code[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            None => {
                found.insert(segment(rest));
            }
            Some(list) => {
                let mut depth = 0;
                let mut item = String::new();
                for c in list.chars() {
                    match c {
                        '}' if depth == 0 => break,
                        ',' if depth == 0 => {
                            found.insert(segment(item.trim()));
                            item.clear();
                            continue;
                        }
                        '{' => depth += 1,
                        '}' => depth -= 1,
                        _ => {}
                    }
                    item.push(c);
                }
                found.insert(segment(item.trim()));
            }
        }
    }
    found.remove("");
    found
}

#[test]
fn imports_are_read_in_every_form() {
    let code = "use crate::zone::{Name, View};\nuse crate::{model, net::{a, b}, config};\nlet x = crate::answer::y;";
    let found: Vec<String> = imported(code).into_iter().collect();
    assert_eq!(found, ["answer", "config", "model", "net", "zone"]);
}

#[test]
fn each_part_imports_only_what_stands_left_of_it() {
    let parts: BTreeSet<String> =
        files("src", "rs").iter().map(|path| part(path)).filter(|part| !part.ends_with(".rs")).collect();
    let mut known: BTreeSet<String> = IMPORTS.iter().map(|(part, _)| (*part).to_owned()).collect();
    known.extend(FREE.map(str::to_owned));
    assert_eq!(parts, known, "folders of src: say in this test what a new one may import");

    for path in files("src", "rs") {
        let Some((own, allowed)) = IMPORTS.iter().find(|(name, _)| *name == part(&path)) else { continue };
        for import in imported(&code(&path)) {
            assert!(import == *own || allowed.contains(&&*import), "{} imports crate::{import}", path.display());
        }
    }
}

#[test]
fn configuration_takes_nothing_of_the_model_but_selectors() {
    for path in files("src/config", "rs") {
        let code = code(&path);
        for (at, _) in code.match_indices("crate::model") {
            let rest = &code[at + "crate::model".len()..];
            assert!(rest.starts_with("::Selector"), "{}: crate::model{:.30}", path.display(), rest);
        }
    }
}

#[test]
fn the_pure_parts_know_nothing_of_sockets_and_clusters() {
    for path in files("src", "rs").iter().filter(|path| PURE.contains(&&*part(path))) {
        let code = code(path);
        for outside in OUTSIDE {
            assert_eq!(words(&code, outside).next(), None, "{} mentions {outside}", path.display());
        }
    }
}

#[test]
fn no_file_is_long_and_one_is_unsafe() {
    for path in files("src", "rs") {
        let lines = read(&path).lines().count();
        assert!(lines <= LINES_MAX, "{} has {lines} lines", path.display());
        let is_unsafe = words(&code(&path), "unsafe").next().is_some();
        assert_eq!(is_unsafe, path == Path::new(UNSAFE), "unsafe code: {}", path.display());
        if is_unsafe {
            let (blocks, reasons) =
                (code(&path).matches("unsafe {").count(), read(&path).matches("// SAFETY: ").count());
            assert_eq!(blocks, reasons, "each unsafe block of {} says why it is sound", path.display());
        }
    }
}

/// The fenced blocks of a text that are Corefiles: they have no language or say so, and hold a server block.
fn corefiles(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut open: Option<(usize, String, String)> = None;
    for (number, line) in text.lines().enumerate() {
        match (line.trim_start().strip_prefix("```"), &mut open) {
            (Some(language), None) => open = Some((number + 2, language.trim().to_owned(), String::new())),
            (Some(_), Some(_)) => {
                let Some((first, language, block)) = open.take() else { continue };
                if language == "corefile" || matches!(&*language, "" | "text") && is_server_block(&block) {
                    found.push((first, block));
                }
            }
            (None, Some((_, _, block))) => {
                block.push_str(line);
                block.push('\n');
            }
            (None, None) => {}
        }
    }
    found
}

/// Its first line that is no comment opens a block, and its last closes one.
fn is_server_block(text: &str) -> bool {
    let mut lines = text.lines().filter(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#'));
    lines.next().is_some_and(|line| line.ends_with('{')) && lines.next_back().is_some_and(|line| line == "}")
}

#[test]
fn corefiles_in_the_documents_load() {
    let documents = [vec![PathBuf::from("README.md")], files("docs", "md")].concat();
    let mut loaded = 0;
    for path in documents.iter().filter(|path| root().join(path).is_file()) {
        for (line, text) in corefiles(&read(path)) {
            let place = format!("{}:{line}", path.display());
            if let Err(error) = podzone::config::parse(&place, &text, 53) {
                panic!("{place}: {error}\n{text}");
            }
            loaded += 1;
        }
    }
    let example = read(Path::new("Corefile.example"));
    podzone::config::parse("Corefile.example", &example, 53).expect("Corefile.example loads");
    assert!(loaded >= 1 || !root().join("README.md").is_file(), "no Corefile found in the documents");
}
