//! What is answered, as data: `tests/cases/answers/*.case`. Each file holds one rule, and its name says which.
//!
//! A case is sections that begin with `--- NAME`; what stands before the first says why it is there.
//! - `--- kubernetes`: lines of the `kubernetes` block. The server block around it is [`COREFILE`].
//! - `--- corefile`: in its place, a whole Corefile; `{objects}` stands for the `manifests` line.
//! - `--- objects`: manifests. They lie in the namespaces `shop` and `other`; `nowhere` is never one.
//! - `--- questions`: a question, and below it, indented, its answer. `+` words say what is special about a query, see
//!   [`query`]. Lines that begin with `#` are comments.
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
use support::dns::{self, Edns, Message, Query, Record};
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

/// `NAME TYPE`, then any of: `class=N`, `opcode=N`, `-rd`, `+ad`, `+cd`, `+edns=PAYLOAD`, `+do`, `+version=N`,
/// `+option=CODE:HEX`.
fn query(line: &str) -> Query {
    let mut words = line.split_whitespace();
    let name = words.next().expect("a name");
    let rtype = words.next().and_then(type_code).unwrap_or_else(|| panic!("{line}: no type"));
    let mut query = Query::new(name, rtype);
    for word in words {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        let number = || value.parse::<u16>().unwrap_or_else(|_| panic!("{line}: {word}"));
        let edns = query.edns.clone().unwrap_or_default();
        query = match key {
            "class" => query.class(number()),
            "opcode" => query.opcode(number() as u8),
            "-rd" => query.rd(false),
            "+ad" => query.ad(true),
            "+cd" => query.cd(true),
            "+edns" => query.edns(Edns { payload: number(), ..edns }),
            "+do" => query.edns(Edns { dnssec_ok: true, ..edns }),
            "+version" => query.edns(Edns { version: number() as u8, ..edns }),
            "+option" => {
                let (code, hex) = value.split_once(':').expect("CODE:HEX");
                let octets = (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex"));
                let option = (code.parse().expect("a code"), octets.collect());
                query.edns(Edns { options: [edns.options, vec![option]].concat(), ..edns })
            }
            _ => panic!("{line}: what is {word}?"),
        };
    }
    query
}

fn type_code(text: &str) -> Option<u16> {
    let number = text.strip_prefix("TYPE").and_then(|number| number.parse().ok());
    number.or_else(|| (1..=255).find(|code| dns::type_text(*code) == text))
}

/// Asks over both transports, and says what came back in the words of a case.
fn answer(server: SocketAddr, line: &str) -> Vec<String> {
    let query = query(line);
    let (udp, tcp) = match (dns::ask(server, &query), dns::ask_tcp(server, &query)) {
        (Ok(udp), Ok(tcp)) => (udp, tcp),
        (udp, tcp) => return vec![format!("no answer: {udp:?}, {tcp:?}")],
    };
    for message in [&udp, &tcp] {
        assert!(message.is_response() && message.id == query.id, "{line}: not a response to it:\n{message}");
        assert!(message.opt_count <= 1 && message.trailing == 0, "{line}: malformed:\n{message}");
        let asked: Vec<_> = message.questions.iter().map(|it| (it.name.as_str(), it.rtype, it.class)).collect();
        assert_eq!(asked, [(query.name.as_str(), query.rtype, query.class)], "{line}: the question came back changed");
    }
    let shown = words(&tcp);
    if !udp.truncated() {
        assert_eq!(words(&udp), shown, "{line}: over UDP (left) and over TCP");
        return shown;
    }
    let limit = query.edns.as_ref().map_or(512, |edns| edns.payload.max(512));
    assert!(udp.size <= limit.into(), "{line}: {} bytes", udp.size);
    let full = lines(&tcp);
    assert!(lines(&udp).iter().all(|record| full.contains(record)), "{line}: other records over UDP:\n{udp}");
    let cut = format!("(cut to {limit} bytes and tc set over UDP)");
    [vec![cut], shown].concat()
}

fn words(message: &Message) -> Vec<String> {
    let names = [(15, "qr"), (10, "aa"), (9, "tc"), (8, "rd"), (7, "ra"), (6, "z"), (5, "ad"), (4, "cd")];
    let flags: Vec<_> = names.iter().filter(|(bit, _)| message.flags >> bit & 1 == 1).map(|(_, name)| *name).collect();
    let opcode = if message.opcode() == 0 { String::new() } else { format!(" opcode {}", message.opcode()) };
    let mut words = vec![format!("{}{opcode}, flags: {}", dns::rcode_text(message.rcode), flags.join(" "))];
    if let Some(opt) = &message.opt {
        let mut text = format!("edns: version {}, udp {}", opt.version, opt.payload);
        if opt.dnssec_ok {
            text.push_str(", do");
        }
        for (code, octets) in &opt.options {
            let hex: String = octets.iter().map(|octet| format!("{octet:02x}")).collect();
            text.push_str(&format!(", option {code}:{hex}"));
        }
        assert_eq!(opt.z, 0, "flags beside DO:\n{message}");
        words.push(text);
    }
    words.extend(lines(message));
    words
}

fn lines(message: &Message) -> Vec<String> {
    let sections =
        [("answer", &message.answers), ("authority", &message.authorities), ("additional", &message.additionals)];
    let mut lines = Vec::new();
    for (name, records) in sections {
        let mut records: Vec<String> = records.iter().map(|record| format!("{name}: {}", shown(record))).collect();
        records.sort();
        lines.extend(records);
    }
    lines
}

fn shown(record: &Record) -> String {
    let mut text = record.to_string();
    if record.rtype == dns::SOA {
        let mut words: Vec<&str> = text.split(' ').collect();
        words[6] = "SERIAL";
        text = words.join(" ");
    }
    text
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
