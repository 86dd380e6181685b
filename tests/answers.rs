//! What is answered, as data: `tests/cases/answers/*.case`. Each file holds one rule, and its name says which.
//!
//! A case is sections that begin with `--- NAME`; what stands before the first says why it is there.
//! - `--- kubernetes`: lines of the `kubernetes` block. The server block around it is [`COREFILE`].
//! - `--- corefile`: in its place, a whole Corefile; `{objects}` stands for the `manifests` line.
//! - `--- objects`: manifests. They lie in the namespaces `shop` and `other`; `nowhere` is never one.
//! - `--- questions`: a question, and below it, indented, its answer. `+` words say what is special about a query, see
//!   [`support::answered`]. Lines that begin with `#` are comments.
//! - `--- differs`: CoreDNS gives another answer to a question of the case, and this says which.
//!
//! An answer is the status, the header's flags and the records of each section, sorted; a SOA's serial is `SERIAL`, and
//! `{own}` an address of this machine. It is the same over UDP and TCP; where it is too long for UDP it says so, and the
//! records are those over TCP.
//!
//! The answers are CoreDNS's own: the second test asks it, on a real API server. `PODZONE_WRITE_CASES=1` makes that test
//! write what it hears into the files, for whoever adds a question. Read the change before you keep it.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use podzone::config::{Machine as _, ThisMachine};
use support::answered::answer;
use support::kube::{ControlPlane, Options};
use support::mcs;
use support::process::Scratch;
use support::server::Program;

const COREFILE: &str = "cluster.local in-addr.arpa ip6.arpa {
    bind 127.0.0.1
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        {objects}
        {options}
    }
}
";
const SECTIONS: [&str; 5] = ["kubernetes", "corefile", "objects", "questions", "differs"];
/// Processes at a time; they mostly wait.
const WORKERS: usize = 4;

struct Case {
    name: String,
    path: PathBuf,
    sections: BTreeMap<String, String>,
}

impl Case {
    fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).expect("a case");
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        let mut sections: BTreeMap<String, String> = BTreeMap::new();
        let mut current = None;
        for line in text.split_inclusive('\n') {
            if let Some(header) = line.strip_prefix("--- ") {
                let section = header.trim_end();
                assert!(SECTIONS.contains(&section), "{name}: unknown section {section}");
                current = Some(section.to_owned());
                sections.insert(section.to_owned(), String::new());
            } else if let Some(section) = current.as_ref().and_then(|section| sections.get_mut(section)) {
                section.push_str(line);
            }
        }
        assert!(sections.contains_key("questions"), "{name}: no questions");
        Self { name, path: path.to_owned(), sections }
    }

    fn section(&self, name: &str) -> String {
        own(self.sections.get(name).map_or("", String::as_str))
    }

    /// The Corefile, with this line to say where the objects are.
    fn corefile(&self, objects: &str) -> String {
        let whole = self.sections.get("corefile").map_or(COREFILE, String::as_str);
        whole.replace("{objects}", objects).replace("{options}", self.section("kubernetes").trim())
    }

    /// Questions as they stand in the file, each with the answer that is expected.
    fn questions(&self) -> Vec<(String, Vec<String>)> {
        let mut questions: Vec<(String, Vec<String>)> = Vec::new();
        for line in self.section("questions").lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')) {
            match (line.starts_with(' '), questions.last_mut()) {
                (true, Some((_, answer))) => answer.push(line.trim().to_owned()),
                (true, None) => panic!("{}: an answer before the first question", self.name),
                (false, _) => questions.push((line.to_owned(), Vec::new())),
            }
        }
        questions
    }

    /// Writes new answers into the file.
    fn write(&self, answers: &[(String, Vec<String>)]) {
        let text = std::fs::read_to_string(&self.path).expect("a case");
        let (before, questions) = text.split_once("--- questions\n").expect("questions");
        let mut answers = answers.iter();
        let mut new = format!("{before}--- questions\n");
        for line in questions.lines().filter(|line| !line.starts_with(' ')) {
            new.push_str(line);
            new.push('\n');
            if !line.is_empty() && !line.starts_with('#') {
                let (_, answer) = answers.next().expect("an answer to each question");
                new.extend(answer.iter().map(|line| format!("    {line}\n")));
            }
        }
        std::fs::write(&self.path, new).expect("the case is written");
    }
}

/// Fills in an address of this machine. CoreDNS and podzone look for it among the endpoints, to say who serves the
/// zone.
fn own(text: &str) -> String {
    if !text.contains("{own}") {
        return text.to_owned();
    }
    let addresses = ThisMachine.interfaces().unwrap().into_iter().map(|(_, address)| address);
    let address = addresses.filter(|address| !address.is_loopback()).find(std::net::IpAddr::is_ipv4);
    text.replace("{own}", &address.expect("this machine has an IPv4 address beside loopback's").to_string())
}

fn cases() -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/answers");
    let mut paths: Vec<_> =
        std::fs::read_dir(folder).expect("cases").map(|entry| entry.expect("a case").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "case"));
    paths.sort();
    // `PODZONE_CASE=srv` picks those with such a name.
    let picked = std::env::var("PODZONE_CASE").unwrap_or_default();
    paths.retain(|path| path.to_string_lossy().contains(&picked));
    assert!(paths.len() >= 40 || !picked.is_empty(), "only {} cases found", paths.len());
    paths.iter().map(|path| Case::read(path)).collect()
}

/// The differences of a case's answers, as a newcomer wants to see them; empty if there are none.
fn differences(case: &Case, answers: &[(String, Vec<String>)]) -> String {
    let mut text = String::new();
    for ((line, expected), (_, answer)) in case.questions().iter().zip(answers) {
        if expected != answer {
            text.push_str(&format!("\n{line}\n"));
            text.extend(
                expected.iter().filter(|line| !answer.contains(line)).map(|line| format!("  expected {line}\n")),
            );
            text.extend(
                answer.iter().filter(|line| !expected.contains(line)).map(|line| format!("  answered {line}\n")),
            );
        }
    }
    text
}

fn ask_all(server: SocketAddr, case: &Case) -> Vec<(String, Vec<String>)> {
    case.questions().into_iter().map(|(line, _)| (answer(server, &line), line)).map(|(a, line)| (line, a)).collect()
}

#[test]
fn podzone_answers_as_the_cases_say() {
    let queue = Mutex::new(cases());
    let failures = Mutex::new(Vec::new());
    let work = || {
        while let Some(case) = { queue.lock().expect("the queue").pop() } {
            let scratch = Scratch::new();
            let objects = scratch.path().join("objects");
            std::fs::create_dir(&objects).expect("a folder");
            std::fs::write(objects.join("objects.yaml"), case.section("objects")).expect("manifests");
            let server = Program::Podzone.start(&case.corefile(&format!("manifests {}", objects.display())));
            let differences = differences(&case, &ask_all(server.addr(), &case));
            if !differences.is_empty() {
                failures.lock().expect("failures").push(format!("--- {}{differences}", case.name));
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(work);
        }
    });
    let mut failures = failures.into_inner().expect("failures");
    failures.sort();
    assert!(failures.is_empty(), "{} cases:\n{}", failures.len(), failures.join("\n"));
}

/// Documents of manifests whose kind is one of these.
fn documents(text: &str, wanted: impl Fn(&str) -> bool) -> String {
    let kind = |document: &str| document.lines().find_map(|line| line.strip_prefix("kind: ")).map(str::to_owned);
    let chosen: Vec<_> =
        text.split("\n---\n").filter(|document| kind(document).is_some_and(|it| wanted(&it))).collect();
    chosen.join("\n---\n")
}

#[test]
fn coredns_answers_as_the_cases_say() {
    let plane = ControlPlane::start(Options::default());
    mcs::install(&plane);
    let namespace = |name: &str| format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}}}\n---\n");
    plane.apply(&(namespace("shop") + &namespace("other")));
    let kubeconfig = format!("kubeconfig {} test", plane.kubeconfig().display());
    let write = std::env::var_os("PODZONE_WRITE_CASES").is_some();
    let mut failures = Vec::new();
    for case in &cases() {
        let objects = case.section("objects");
        if !documents(&objects, |_| true).is_empty() {
            plane.apply(&objects);
        }
        let pods = documents(&objects, |kind| kind == "Pod");
        if !pods.is_empty() {
            plane.kubectl(&["apply", "--server-side", "--subresource=status", "-f", "-"], &pods);
        }
        let server = Program::CoreDns.start(&case.corefile(&kubeconfig));
        let answers = ask_all(server.addr(), case);
        let differences = differences(case, &answers);
        if case.sections.contains_key("differs") {
            if differences.is_empty() {
                failures.push(format!("--- {}\nCoreDNS does not differ any more", case.name));
            }
        } else if write && !differences.is_empty() {
            case.write(&answers);
        } else if !differences.is_empty() {
            failures.push(format!("--- {}{differences}", case.name));
        }
        // Namespaces stay: only a controller could remove them.
        let gone = documents(&objects, |kind| kind != "Namespace");
        if !gone.is_empty() {
            plane.kubectl(&["delete", "--force", "--grace-period=0", "--wait=false", "-f", "-"], &gone);
        }
    }
    assert!(failures.is_empty(), "{} cases:\n{}", failures.len(), failures.join("\n"));
}
