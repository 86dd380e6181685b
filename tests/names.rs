//! What Services say of their names by annotations, and views by options of podzone's own, as data:
//! `tests/cases/names/*.case`. Each file holds one rule, and its name says which.
//!
//! A case is sections that begin with `--- NAME`; what stands before the first says why it is there.
//! - `--- kubernetes`: lines of the `kubernetes` block.
//! - `--- objects`: manifests, in the namespaces `shop` and `other`. Where they stand again, they take the place of those
//!   before, under the running server.
//! - `--- questions`: as in `tests/answers.rs`.
//! - `--- log`: how often each of these texts stands in the log, the number first.
//! - `--- metrics`: samples of the page of metrics, the values of which are awaited.
//! - `--- conflicts`: all of the page of names that several pods claim, or that were cut; it is awaited.
//!
//! `PODZONE_WRITE_CASES=1` writes what is answered into the files. Read it before you keep it.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use support::answered::answer;
use support::page;
use support::process::Scratch;
use support::server::{Program, Server};

const COREFILE: &str = "cluster.local in-addr.arpa ip6.arpa {
    bind 127.0.0.1
    prometheus 127.0.0.1:{port:metrics}
    ready 127.0.0.1:{port:ready}
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        manifests {objects}
        {options}
    }
}
";
const SECTIONS: [&str; 6] = ["kubernetes", "objects", "questions", "log", "metrics", "conflicts"];
/// How long a change may take until it is answered from.
const PATIENCE: Duration = Duration::from_secs(10);
/// Processes at a time; they mostly wait.
const WORKERS: usize = 4;

struct Case {
    path: PathBuf,
    /// What stands before the first section.
    reason: String,
    sections: Vec<(String, String)>,
}

impl Case {
    fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap();
        let mut case = Self { path: path.to_owned(), reason: String::new(), sections: Vec::new() };
        for line in text.split_inclusive('\n') {
            if let Some(name) = line.strip_prefix("--- ").map(str::trim_end) {
                assert!(SECTIONS.contains(&name), "{}: unknown section {name}", path.display());
                case.sections.push((name.to_owned(), String::new()));
            } else {
                case.sections.last_mut().map_or(&mut case.reason, |(_, text)| text).push_str(line);
            }
        }
        assert!(case.sections.iter().any(|(name, _)| name == "questions"), "{}: no questions", path.display());
        case
    }

    /// Plays the sections in their order; what is otherwise than they say. New answers are put into them.
    fn play(&mut self) -> String {
        let options = self.sections.iter().find(|(name, _)| name == "kubernetes").map_or("", |(_, text)| text.trim());
        let scratch = Scratch::new();
        let objects = scratch.path().join("objects");
        std::fs::create_dir(&objects).unwrap();
        let corefile = COREFILE.replace("{objects}", &objects.display().to_string()).replace("{options}", options);
        let (mut server, mut failures) = (None, String::new());
        for (name, text) in &mut self.sections {
            match name.as_str() {
                "objects" => {
                    let new = objects.join("new");
                    std::fs::write(&new, &text).unwrap();
                    std::fs::rename(&new, objects.join("objects.yaml")).unwrap();
                }
                "questions" => {
                    let server = server.get_or_insert_with(|| Program::Podzone.start(&corefile));
                    failures.push_str(&ask_until_right(server, text));
                }
                "log" => {
                    let server = server.as_ref().expect("questions before the log");
                    failures.push_str(&until_right(|| count_in_log(&server.log(), text)));
                }
                "metrics" => {
                    let page = server.as_ref().expect("questions before metrics").addr_of("metrics");
                    failures.push_str(&until_right(|| missing_samples(page, text)));
                }
                "conflicts" => {
                    let page = server.as_ref().expect("questions before conflicts").addr_of("ready");
                    let told = || page::get(page, "/conflicts").unwrap_or_default().2;
                    failures.push_str(&until_right(|| match told() {
                        told if told == *text => String::new(),
                        told => format!("\nnot as expected:\n{told}"),
                    }));
                }
                _ => {}
            }
        }
        failures
    }

    fn write(&self) {
        let sections = self.sections.iter().map(|(name, text)| format!("--- {name}\n{text}"));
        std::fs::write(&self.path, sections.fold(self.reason.clone(), |all, section| all + &section)).unwrap();
    }
}

/// Tries until nothing is wrong, or it is too late.
fn until_right(mut attempt: impl FnMut() -> String) -> String {
    let begin = Instant::now();
    loop {
        let wrong = attempt();
        if wrong.is_empty() || begin.elapsed() > PATIENCE {
            return wrong;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn is_question(line: &str) -> bool {
    !line.trim().is_empty() && !line.starts_with([' ', '#'])
}

/// Asks the questions of a section until they are answered as it says; what is otherwise, and the answers in its place.
fn ask_until_right(server: &Server, section: &mut String) -> String {
    let is_written = std::env::var_os("PODZONE_WRITE_CASES").is_some();
    if is_written {
        std::thread::sleep(Duration::from_secs(3));
    }
    let mut heard = String::new();
    let wrong = until_right(|| {
        heard.clear();
        for line in section.lines().filter(|line| !line.starts_with(' ')) {
            heard.push_str(&format!("{line}\n"));
            if is_question(line) {
                heard.extend(answer(server.addr(), line).iter().map(|line| format!("    {line}\n")));
            }
        }
        if heard == *section || is_written { String::new() } else { difference(section, &heard) }
    });
    if is_written {
        *section = heard;
    }
    wrong
}

/// The questions whose answers differ, with both.
fn difference(expected: &str, heard: &str) -> String {
    let blocks = |text: &str| {
        let mut blocks: Vec<Vec<String>> = Vec::new();
        for line in text.lines() {
            if is_question(line) {
                blocks.push(Vec::new());
            }
            if let Some(block) = blocks.last_mut().filter(|_| !line.starts_with('#')) {
                block.push(line.to_owned());
            }
        }
        blocks
    };
    let mut text = String::new();
    for (expected, heard) in blocks(expected).iter().zip(&blocks(heard)) {
        if expected != heard {
            text.push_str(&format!("\n{}\n", heard[0]));
            text.extend(
                expected[1..].iter().filter(|line| !heard.contains(line)).map(|it| format!("  expected {it}\n")),
            );
            text.extend(
                heard[1..].iter().filter(|line| !expected.contains(line)).map(|it| format!("  answered {it}\n")),
            );
        }
    }
    text
}

fn count_in_log(log: &str, section: &str) -> String {
    let mut wrong = String::new();
    for line in section.lines() {
        let (times, text) = line.split_once(' ').expect("a number and a text");
        let found = log.lines().filter(|line| line.contains(text)).count();
        if found.to_string() != times {
            wrong.push_str(&format!("\n{found} times in the log, not {times}: {text}\n{log}"));
        }
    }
    wrong
}

fn missing_samples(addr: std::net::SocketAddr, section: &str) -> String {
    let (_, _, text) = page::get(addr, "/metrics").unwrap_or_default();
    let missing = section.lines().filter(|wanted| !text.lines().any(|line| line == *wanted));
    let family = |line: &str| line.split(['{', ' ']).next().unwrap_or_default().to_owned();
    let shown =
        |wanted: &str| text.lines().filter(|line| family(line) == family(wanted)).collect::<Vec<_>>().join("\n");
    missing.map(|wanted| format!("\nno sample {wanted}, but\n{}\n", shown(wanted))).collect()
}

#[test]
fn names_are_as_the_cases_say() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/names");
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    // `PODZONE_CASE=ttl` picks those with such a name.
    let picked = std::env::var("PODZONE_CASE").unwrap_or_default();
    paths.retain(|path| path.to_string_lossy().contains(&picked));
    assert!(!paths.is_empty(), "no cases found");
    paths.sort();
    let (queue, failures) = (Mutex::new(paths), Mutex::new(Vec::new()));
    let work = || {
        while let Some(path) = { queue.lock().unwrap().pop() } {
            let mut case = Case::read(&path);
            let wrong = case.play();
            if std::env::var_os("PODZONE_WRITE_CASES").is_some() {
                case.write();
            }
            if !wrong.is_empty() {
                failures.lock().unwrap().push(format!("--- {}{wrong}", path.file_stem().unwrap().display()));
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(work);
        }
    });
    let mut failures = failures.into_inner().unwrap();
    failures.sort();
    assert!(failures.is_empty(), "{} cases:\n{}", failures.len(), failures.join("\n"));
}
