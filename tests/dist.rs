//! What `make dist` gives to users, and the image that holds it: one program that needs nothing around it, made the same each
//! time, with a list of what is in it.
// A test may panic; what it lacks is said by the harness.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use support::dns::{self, A, NOERROR, Query};
use support::process::{Process, Scratch};
use support::scripted::Scripted;
use support::server::Program;
use support::toy_api::ToyApi;
use support::{dist, page, ports, wait_for};

const PATIENCE: Duration = Duration::from_secs(60);
/// Whom deploy/kustomize lets it run as.
const USER: &str = "65532";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// What a command says; it must succeed.
fn output(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = [output.stdout, output.stderr].map(|octets| String::from_utf8_lossy(&octets).into_owned()).concat();
    assert!(output.status.success(), "{command:?}: {said}");
    said
}

/// The archive's name: whatever ends so.
fn archive() -> PathBuf {
    let files = std::fs::read_dir(dist::folder()).unwrap().map(|entry| entry.unwrap().path());
    let found: Vec<PathBuf> = files.filter(|path| path.extension().is_some_and(|ending| ending == "tgz")).collect();
    assert_eq!(found.len(), 1, "{found:?}");
    found[0].clone()
}

#[test]
fn the_program_is_static_and_says_what_it_was_built_from() {
    let program = dist::folder().join("podzone");
    let headers = output(Command::new("readelf").args(["--wide", "--program-headers", "--dynamic"]).arg(&program));
    assert!(!headers.contains("INTERP") && !headers.contains("(NEEDED)"), "{headers}");
    let sections = output(Command::new("readelf").args(["--wide", "--section-headers"]).arg(&program));
    assert!(!sections.contains(".symtab") && sections.contains(".gnu_debuglink"), "{sections}");
    let symbols =
        output(Command::new("readelf").args(["--wide", "--section-headers"]).arg(dist::folder().join("podzone.debug")));
    assert!(symbols.contains(".symtab"), "{symbols}");

    let version = output(Command::new(&program).arg("-version"));
    let lines: Vec<&str> = version.lines().collect();
    assert_eq!(lines[0], concat!("podzone-", env!("CARGO_PKG_VERSION")));
    assert!(lines[1].starts_with("linux/") && lines[1].ends_with(&format!(", {}", dist::COMMIT)), "{version}");
}

#[test]
fn the_commit_is_the_packagers_word_or_that_of_the_history() {
    let scratch = Scratch::new();
    let program = scratch.path().join("build");
    output(Command::new("rustc").args(["--edition", "2024", "build.rs", "-o"]).arg(&program).current_dir(root()));
    let folder = scratch.path().join("source");
    let inner = folder.join("unpacked");
    std::fs::create_dir_all(&inner).unwrap();
    let commit = |folder: &Path, named: Option<&str>| {
        let mut command = Command::new(&program);
        command.current_dir(folder).env_remove("PODZONE_COMMIT").env("GIT_CEILING_DIRECTORIES", scratch.path());
        let said = output(command.envs(named.map(|named| ("PODZONE_COMMIT", named))));
        said.lines().find_map(|line| line.strip_prefix("cargo:rustc-env=PODZONE_COMMIT=").map(str::to_owned)).unwrap()
    };
    assert_eq!(commit(&folder, None), "unknown");
    assert_eq!(commit(&folder, Some("v1-3-gabc")), "v1-3-gabc");
    assert_eq!(commit(&folder, Some("")), "unknown");
    let git = |arguments: &[&str]| {
        let person = ["-c", "user.name=a", "-c", "user.email=a@b.test", "-c", "commit.gpgsign=false"];
        output(Command::new("git").args(person).args(arguments).current_dir(&folder))
    };
    git(&["init", "--quiet"]);
    git(&["commit", "--quiet", "--allow-empty", "--message=first"]);
    assert_eq!(commit(&folder, None), git(&["rev-parse", "--short", "HEAD"]).trim());
    assert_eq!(commit(&folder, Some("named")), "named");
    assert_eq!(commit(&inner, None), "unknown", "the history is not of what was unpacked in it");
}

#[test]
fn it_is_made_the_same_again_and_the_sums_are_right() {
    let folder = dist::folder();
    output(Command::new("sha256sum").args(["--check", "--strict", "SHA256SUMS"]).current_dir(folder));
    let sums = std::fs::read_to_string(folder.join("SHA256SUMS")).unwrap();
    let mut listed: Vec<&str> = sums.lines().filter_map(|line| line.split_whitespace().nth(1)).collect();
    listed.push("SHA256SUMS");
    let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(names.collect::<BTreeSet<_>>(), listed.iter().map(|&name| name.to_owned()).collect());
    let scratch = Scratch::new();
    dist::make(scratch.path(), folder.parent().unwrap());
    assert_eq!(std::fs::read_to_string(scratch.path().join("SHA256SUMS")).unwrap(), sums);
    let held = output(Command::new("tar").arg("--list").arg("--gzip").arg("--file").arg(archive()));
    assert_eq!(held.lines().collect::<Vec<_>>(), ["LICENSE", "podzone", "podzone.cdx.json"]);
}

#[test]
fn no_folder_of_the_machine_is_in_it() {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo"))).unwrap();
    let target = dist::folder().parent().unwrap();
    for name in ["podzone", "podzone.debug", "podzone.cdx.json"] {
        let octets = std::fs::read(dist::folder().join(name)).unwrap();
        for folder in [root(), target, &home] {
            let folder = folder.as_os_str().as_encoded_bytes();
            let at = octets.windows(folder.len()).position(|window| window == folder);
            let around = at.map(|at| String::from_utf8_lossy(&octets[at..(at + 200).min(octets.len())]).into_owned());
            assert_eq!(around, None, "{name}");
        }
    }
}

/// The crates that a list of Cargo.lock or of `cargo tree` names, each with its version.
type Crates = BTreeSet<(String, String)>;

/// Cargo.lock: name, version and checksum.
fn locked() -> BTreeMap<(String, String), Option<String>> {
    let text = read("Cargo.lock");
    let of = |block: &str| {
        let field = |name: &str| {
            let line = block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(" = "));
            line.map(|value| value.trim_matches('"').to_owned())
        };
        Some(((field("name")?, field("version")?), field("checksum")))
    };
    text.split("[[package]]").filter_map(of).collect()
}

/// What cargo links into the program: not what builds use, nor tests.
fn linked() -> Crates {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["tree", "--locked", "--offline", "--edges", "normal,no-proc-macro", "--prefix", "none"]);
    let said = output(cargo.args(["--format", "crate {p}"]).current_dir(root()));
    let crates = said.lines().filter_map(|line| line.strip_prefix("crate ")).map(|line| {
        let (name, rest) = line.split_once(" v").expect("a version");
        (name.to_owned(), rest.split(' ').next().unwrap().to_owned())
    });
    crates.filter(|(name, _)| name != "podzone").collect()
}

#[test]
fn all_that_is_linked_is_listed_with_license_and_checksum() {
    let text = std::fs::read_to_string(dist::folder().join("podzone.cdx.json")).unwrap();
    let bill: Value = serde_json::from_str(&text).unwrap();
    // What the schema of CycloneDX 1.5 requires (bom-1.5.schema.json).
    assert_eq!((&bill["bomFormat"], &bill["specVersion"]), (&"CycloneDX".into(), &"1.5".into()));
    assert!(bill["version"].as_u64().is_some_and(|version| version >= 1), "{}", bill["version"]);
    assert_eq!(bill["metadata"]["component"]["name"], "podzone");
    assert_eq!(bill["metadata"]["component"]["version"], env!("CARGO_PKG_VERSION"));
    let components = bill["components"].as_array().unwrap();
    let mut references: BTreeSet<&str> = BTreeSet::from([bill["metadata"]["component"]["bom-ref"].as_str().unwrap()]);
    for component in components {
        assert!(component["type"].is_string() && component["name"].is_string(), "{component}");
        assert!(references.insert(component["bom-ref"].as_str().unwrap()), "twice: {component}");
    }
    for dependency in bill["dependencies"].as_array().unwrap() {
        let on = dependency["dependsOn"].as_array().into_iter().flatten().chain([&dependency["ref"]]);
        on.for_each(|reference| assert!(references.contains(reference.as_str().unwrap()), "{reference}"));
    }

    let locked = locked();
    let mut listed = Crates::new();
    for component in components {
        let text = |name: &str| component[name].as_str().unwrap_or_default().to_owned();
        let key = (text("name"), text("version"));
        let checksum = locked.get(&key).unwrap_or_else(|| panic!("{key:?} is not in Cargo.lock"));
        assert!(component["licenses"].as_array().is_some_and(|licenses| !licenses.is_empty()), "{component}");
        let hashes = component["hashes"].as_array().unwrap();
        assert!(
            hashes.iter().any(|hash| hash["alg"] == "SHA-256" && hash["content"].as_str() == checksum.as_deref()),
            "{component}"
        );
        listed.insert(key);
    }
    let linked = linked();
    assert!(linked.len() > 50, "{linked:?}");
    let missing: Vec<_> = linked.difference(&listed).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// The instructions of the Dockerfile's last stage, comments left out and lines joined.
fn last_stage() -> Vec<String> {
    let text = read("Dockerfile").replace("\\\n", " ");
    let lines: Vec<String> =
        text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).map(str::to_owned).collect();
    let from = lines.iter().rposition(|line| line.starts_with("FROM ")).unwrap();
    lines[from..].to_vec()
}

#[test]
fn the_image_is_built_by_make_dist_with_the_compiler_of_cargo_toml() {
    let text = read("Dockerfile");
    let version =
        read("Cargo.toml").lines().find_map(|line| line.strip_prefix("rust-version = ").map(str::to_owned)).unwrap();
    assert!(text.contains(&format!("FROM rust:{}.", version.trim_matches('"'))), "not Rust {version}:\n{text}");
    let runs: Vec<&str> = text.lines().filter(|line| line.starts_with("RUN ")).collect();
    assert_eq!(runs.len(), 1, "{runs:?}");
    assert!(runs[0].contains("make dist ") && runs[0].ends_with("DIST=/dist"), "{}", runs[0]);
    let stage = last_stage();
    assert_eq!(stage[0], "FROM scratch");
    let has = |line: &str| assert!(stage.iter().any(|known| known == line), "no {line} in {stage:#?}");
    has(&format!("USER {USER}:{USER}"));
    has(r#"ENTRYPOINT ["/podzone"]"#);
    // Every port that a container of the Deployment opens.
    let exposed = stage.iter().find_map(|line| line.strip_prefix("EXPOSE ")).unwrap();
    let exposed: BTreeSet<&str> = exposed.split_whitespace().collect();
    let deployment: Value = serde_saphyr::from_str(&read("deploy/kustomize/base/deployment.yaml")).unwrap();
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    let opened = container["ports"].as_array().unwrap().iter();
    let opened =
        opened.map(|port| format!("{}/{}", port["containerPort"], port["protocol"].as_str().unwrap().to_lowercase()));
    assert_eq!(opened.collect::<BTreeSet<_>>(), exposed.into_iter().map(str::to_owned).collect());
    let arguments = container["args"].as_array().unwrap().iter().map(|word| word.as_str().unwrap());
    has(&format!("CMD {:?}", arguments.collect::<Vec<_>>()));
}

/// A folder that holds what the image does, and what is mounted into it.
struct Image {
    scratch: Scratch,
}

impl Image {
    /// With these: a Corefile, `/etc/hosts` and `/etc/resolv.conf`, which container engines write.
    fn new(files: &[(&str, &str)]) -> Self {
        let scratch = Scratch::new();
        for line in last_stage().iter().filter_map(|line| line.strip_prefix("COPY ")) {
            let words: Vec<&str> = line.split_whitespace().collect();
            let ["--from=build", from, to] = words[..] else { panic!("a COPY that this test cannot read: {line}") };
            let from =
                from.strip_prefix("/dist/").map_or_else(|| PathBuf::from(from), |name| dist::folder().join(name));
            let to = scratch.path().join(to.trim_start_matches('/'));
            std::fs::create_dir_all(to.parent().unwrap()).unwrap();
            std::fs::copy(&from, &to).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
        }
        for (path, text) in files {
            let path = scratch.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        for device in ["null", "zero", "full", "random", "urandom", "tty"] {
            std::fs::create_dir_all(scratch.path().join("dev")).unwrap();
            std::fs::write(scratch.path().join("dev").join(device), "").unwrap();
        }
        output(Command::new("chmod").arg("755").arg(scratch.path()));
        Self { scratch }
    }

    /// The program with its root there, which is read-only, as its user, without capabilities or ways to get any. It has the
    /// devices that every container has (OCI's runtime-spec, config-linux.md, "Default Devices"), but no /proc and no /sys.
    fn run(&self, log: &Path) -> Process {
        let script = r#"mount --make-rprivate / && mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" || exit
            for device in null zero full random urandom tty; do mount --bind "/dev/$device" "$1/dev/$device" || exit; done
            exec setpriv --no-new-privs chroot --userspec="$2:$2" --groups= "$1" /podzone -conf /etc/podzone/Corefile"#;
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", script, "image"]).arg(self.scratch.path()).arg(USER).env_clear();
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        Process::spawn("podzone of the image", command, log)
    }
}

/// The fields of `/proc/PID/status`.
fn status(process: &Process) -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap();
    let fields = text.lines().filter_map(|line| line.split_once(':'));
    fields
        .map(|(name, value)| (name.to_owned(), value.split_whitespace().next().unwrap_or_default().to_owned()))
        .collect()
}

#[test]
fn the_image_needs_nothing_else_and_finds_names_of_hosts() {
    let id = output(Command::new("id").arg("--user"));
    assert_eq!(id.trim(), "0", "this test makes a root folder of its own, which takes the user root");
    // An API server whose name DNS knows, and an upstream whose name stands in /etc/hosts.
    let api = ToyApi::start();
    api.set([("web", 2)]);
    let api_port = api.url().rsplit(':').next().unwrap().to_owned();
    let upstream = Scripted::start();
    let resolver = Scratch::new();
    let objects = r#"{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "api", "namespace": "test"}, "spec": {"clusterIP": "127.0.0.1"}}"#;
    std::fs::write(resolver.path().join("api.json"), objects).unwrap();
    // No port can be said in /etc/resolv.conf; no other process listens at such an address.
    let address = format!("127.{}.{}.53", rand::random_range(1..255), rand::random_range(1..255));
    let resolves = format!("cluster.local {{\n bind {address}\n kubernetes cluster.local {{\n manifests .\n }}\n}}\n");
    std::fs::write(resolver.path().join("Corefile"), resolves).unwrap();
    let mut command = Command::new(Program::Podzone.path());
    command.args(["-conf", "Corefile"]).current_dir(resolver.path());
    let _resolver = Process::spawn("the resolver", command, &resolver.path().join("log"));

    let [port, ready, metrics] = [(); 3].map(|()| ports::free());
    let corefile = format!(
        ".:{port} {{
    bind 127.0.0.1
    errors
    ready 127.0.0.1:{ready}
    prometheus 127.0.0.1:{metrics}
    kubernetes cluster.local {{
        endpoint http://api.test.svc.cluster.local:{api_port}
    }}
    forward outside.test upstream.test:{}
}}
",
        upstream.addr().port()
    );
    let image = Image::new(&[
        ("etc/podzone/Corefile", &corefile),
        ("etc/hosts", "127.0.0.1 upstream.test\n"),
        ("etc/resolv.conf", &format!("nameserver {address}\n")),
    ]);
    let scratch = Scratch::new();
    let mut process = image.run(&scratch.path().join("log"));
    let at = |port: u16| SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port);
    process.wait_until("it is ready", PATIENCE, || {
        page::get(at(ready), "/ready").filter(|(code, _, body)| *code == 200 && body.starts_with("OK"))
    });
    for (name, address) in [("e1.web.shop.svc.cluster.local.", "10.0.0.1"), ("www.outside.test.", "192.0.2.99")] {
        wait_for(name, PATIENCE, || {
            let answer = dns::ask(at(port), &Query::new(name, A)).map_err(|error| error.to_string())?;
            let is_right = answer.rcode == NOERROR && answer.data_of(A) == [address];
            if is_right { Ok(()) } else { Err(format!("{answer}\n{}", process.log_tail())) }
        });
    }
    let (_, _, told) = page::get(at(metrics), "/metrics").expect("metrics");
    assert!(told.contains("coredns_build_info{version="), "{told}");

    let status = status(&process);
    for (field, value) in [
        ("Uid", USER),
        ("Gid", USER),
        ("CapEff", "0000000000000000"),
        ("CapPrm", "0000000000000000"),
        ("NoNewPrivs", "1"),
    ] {
        assert_eq!(status[field], value, "{field}");
    }
    let mounts = std::fs::read_to_string(format!("/proc/{}/mountinfo", process.id())).unwrap();
    let own = mounts
        .lines()
        .find(|line| line.split(' ').nth(4) == Some("/"))
        .unwrap_or_else(|| panic!("no root in\n{mounts}"));
    assert!(own.split(' ').nth(5).unwrap().split(',').any(|option| option == "ro"), "{own}");
    assert!(process.terminate(PATIENCE).is_some_and(|status| status.success()), "{}", process.log_tail());
}
