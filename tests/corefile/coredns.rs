//! What CoreDNS 1.14.7 says of the same Corefiles.
//!
//! Each is given to `podzone check` and to CoreDNS, in a folder and a network of their own, where every port is free and
//! an address of the API server is known, though nobody is there. CoreDNS has no check: it is ended as soon as it serves.
//! Needs root, as the tests with Erlang do.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::{cases, support, table};

/// How many are looked at at a time: CoreDNS waits half a second for an API server before it says so.
const AT_A_TIME: usize = 8;
/// How long CoreDNS may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Makes the network, asks podzone, and becomes CoreDNS. Arguments: podzone, CoreDNS, and NAME ADDRESS of interfaces.
const SCRIPT: &str = r#"
exec 2>&1
mount -t tmpfs none /run
mkdir -p /run/secrets/kubernetes.io/serviceaccount
echo token > /run/secrets/kubernetes.io/serviceaccount/token
echo 1 > /proc/sys/net/ipv4/ip_nonlocal_bind
echo 1 > /proc/sys/net/ipv6/ip_nonlocal_bind
ip link set lo up
podzone=$1 coredns=$2
shift 2
while [ $# -gt 0 ]; do
    [ "$1" = lo ] || [ -e "/proc/sys/net/ipv6/conf/$1" ] || ip link add "$1" type veth peer name "peer-$1"
    [ "$2" = 127.0.0.1 ] || ip address add "$2" dev "$1" nodad
    shift 2
done
"$podzone" check -conf Corefile -format json > podzone.json || [ $? = 1 ]
exec setpriv --pdeathsig KILL "$coredns" -conf Corefile
"#;

/// A Corefile to be looked at.
struct Question {
    name: String,
    corefile: String,
    files: BTreeMap<String, String>,
    env: Vec<(String, String)>,
    /// NAME ADDRESS
    interfaces: Vec<String>,
    /// CoreDNS says what podzone says first.
    same_words: bool,
    /// What a table says that CoreDNS says.
    expected: Option<String>,
    differs: Option<String>,
}

fn questions() -> Vec<Question> {
    let cases = cases().into_iter().map(|case| Question {
        corefile: case.corefile(),
        env: case
            .lines("env")
            .filter_map(|line| line.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
        interfaces: case.lines("interfaces").flat_map(|line| line.split(' ')).map(str::to_owned).collect(),
        same_words: case.sections.contains_key("coredns"),
        expected: None,
        differs: case.sections.get("differs").map(|(reason, _)| reason.clone()),
        name: case.name,
        files: case.files,
    });
    let rows = table::rows().into_iter().map(|row| Question {
        name: row.name,
        corefile: row.corefile,
        files: row.files,
        env: row.env,
        interfaces: Vec::new(),
        same_words: false,
        expected: Some(row.coredns),
        differs: row.differs,
    });
    cases.chain(rows).collect()
}

/// What a server says of a Corefile.
#[derive(Debug)]
enum Verdict {
    Accepted,
    /// With the file's name, without its folder, and the line, where the message has them.
    Refused(Option<(String, String)>),
}

impl Verdict {
    /// Of words like `Corefile:3 - Error during parsing: ...`, with a plugin's name before them perhaps.
    fn refused(message: &str) -> Self {
        let place = [" - Error during parsing", " - Syntax error"].iter().find_map(|what| {
            let before = message.split_once(what)?.0;
            let (file, line) = before.rsplit(' ').next()?.rsplit_once(':')?;
            Some((file.rsplit('/').next()?.to_owned(), line.to_owned()))
        });
        Self::Refused(place)
    }

    /// Whether both accept, or both refuse, at one place if both know one.
    fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Accepted, Self::Accepted) => true,
            (Self::Refused(Some(this)), Self::Refused(Some(that))) => this == that,
            (Self::Refused(_), Self::Refused(_)) => true,
            _ => false,
        }
    }

    fn words(&self) -> String {
        match self {
            Self::Accepted => "accepted".into(),
            Self::Refused(None) => "refused".into(),
            Self::Refused(Some((_, line))) => format!("refused {line}"),
        }
    }
}

/// Ends a process when nothing more is wanted of it.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// All that CoreDNS says until it serves or ends, and whether it served.
fn run(question: &Question, folder: &Path) -> (String, bool) {
    std::fs::write(folder.join("Corefile"), &question.corefile).unwrap();
    for (path, text) in &question.files {
        let path = folder.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let mut command = Command::new("unshare");
    command.args(["--net", "--mount", "sh", "-ec", SCRIPT, "compare", env!("CARGO_BIN_EXE_podzone")]);
    command.arg(support::peers::binary("coredns")).args(&question.interfaces).current_dir(folder);
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.env("KUBERNETES_SERVICE_HOST", "127.0.0.1").env("KUBERNETES_SERVICE_PORT", "1");
    command.envs(question.env.iter().map(|(name, value)| (name, value)));
    let mut child = Ended(command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("unshare"));
    let mut output = child.0.stdout.take().unwrap();
    let (sender, said) = mpsc::channel();
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(1..) = output.read(&mut buffer).inspect(|read| {
            let _ = sender.send(String::from_utf8_lossy(&buffer[..*read]).into_owned());
        }) {}
    });
    let (mut text, begun) = (String::new(), Instant::now());
    // What follows the checks, and nothing before them: its version, or its wait for the API server.
    let serves = |text: &str| text.contains("CoreDNS-1.14.7") || text.contains("waiting for Kubernetes API");
    while !serves(&text) {
        match said.recv_timeout(PATIENCE.saturating_sub(begun.elapsed())) {
            Ok(more) => text += &more,
            Err(mpsc::RecvTimeoutError::Disconnected) => return (text, false),
            Err(mpsc::RecvTimeoutError::Timeout) => panic!("{}: CoreDNS says no more than\n{text}", question.name),
        }
    }
    (text, true)
}

/// What `podzone check` says: its verdict, the first message, and what is amiss in how it says it.
fn ours(folder: &Path) -> (Verdict, String, Vec<String>) {
    let text = std::fs::read_to_string(folder.join("podzone.json")).unwrap();
    let found: serde_json::Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    let errors = found["errors"].as_array().unwrap();
    let unplaced = |found: &&serde_json::Value| !(found["line"].is_u64() && found["column"].is_u64());
    let mut amiss: Vec<_> = errors.iter().filter(unplaced).map(|error| format!("no place: {error}")).collect();
    amiss.extend(errors.iter().filter(|error| !error["hint"].is_string()).map(|error| format!("no hint: {error}")));
    match errors.first() {
        None => (Verdict::Accepted, String::new(), amiss),
        Some(first) => {
            let message = first["message"].as_str().unwrap().to_owned();
            (Verdict::refused(&message), message, amiss)
        }
    }
}

/// What is not as it should be.
fn compare(question: &Question, folder: &Path) -> Vec<String> {
    let (text, serves) = run(question, folder);
    let (ours, message, mut amiss) = ours(folder);
    let theirs = if serves {
        Verdict::Accepted
    } else {
        // The last line is the reason; what a word of the file breaks off belongs to it.
        let at =
            text.lines().position(|line| line.contains(" - Error during parsing") || line.contains(" - Syntax error"));
        Verdict::refused(text.lines().nth(at.unwrap_or(usize::MAX)).unwrap_or_default())
    };
    let both = format!("podzone {}, CoreDNS {}: {message}\n{text}", ours.words(), theirs.words());
    match (&question.differs, ours.is_like(&theirs)) {
        (None, false) => amiss.push(format!("they differ: {both}")),
        (Some(reason), true) => amiss.push(format!("they do not differ by {reason}: {both}")),
        _ => {}
    }
    if question.same_words && !text.contains(&message) {
        amiss.push(format!("not in the same words: {both}"));
    }
    if question.expected.as_ref().is_some_and(|expected| *expected != theirs.words()) {
        amiss.push(format!("not as the table says: {both}"));
    }
    amiss
}

#[test]
fn coredns_accepts_and_refuses_the_same_files() {
    let questions = questions();
    assert!(questions.len() >= 600, "only {} Corefiles", questions.len());
    assert!(questions.iter().filter(|question| question.same_words).count() >= 150);
    let (next, scratch) = (AtomicUsize::new(0), support::process::Scratch::new());
    let work = || {
        let mut wrong = Vec::new();
        while let Some((number, question)) =
            Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|number| Some((number, questions.get(number)?)))
        {
            let folder = scratch.path().join(number.to_string());
            std::fs::create_dir(&folder).unwrap();
            wrong.extend(compare(question, &folder).into_iter().map(|amiss| format!("== {}\n{amiss}", question.name)));
        }
        wrong
    };
    let wrong: Vec<String> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..AT_A_TIME).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("a worker")).collect()
    });
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), questions.len(), wrong.join("\n"));
}

/// Each reason for which a Corefile is read differently is given in the document, and each that it gives has a Corefile.
#[test]
fn differences_are_listed_with_their_reasons() {
    let document = include_str!("../../docs/differences.md");
    let section =
        document.split("\n# Corefile\n").nth(1).and_then(|rest| rest.split("\n# ").next()).expect("a section");
    let listed: BTreeSet<_> =
        section.lines().filter_map(|line| line.strip_prefix("- **")?.split_once("**:")).map(|(name, _)| name).collect();
    let questions = questions();
    let met: BTreeSet<_> = questions.iter().filter_map(|question| question.differs.as_deref()).collect();
    assert_eq!(listed, met);
}
