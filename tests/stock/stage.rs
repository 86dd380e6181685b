//! A cluster whose DNS is podzone's and CoreDNS's: each on a host of its own that looks like their pod, with their ports, the
//! address of the API, a service account, and a resolv.conf that names an upstream; and a pod that asks.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use crate::support::dns::{self, NS, Query};
use crate::support::internet::Internet;
use crate::support::kube::rights::{SERVICES, SLICES, podzone_rights};
use crate::support::kube::{ControlPlane, Options};
use crate::support::namespace::{Host, Network};
use crate::support::process::{Process, Scratch};
use crate::support::server::Program;
use crate::support::wait_for;

/// Long, for a machine that may be busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

const UPSTREAM: Ipv4Addr = Ipv4Addr::new(10, 244, 0, 9);
/// The pod that asks.
pub(crate) const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 244, 0, 20);
/// Where the API is for pods.
const API: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 1);
const API_PORT: u16 = 443;

const PODS: &str = "{apiGroups: [''], resources: [pods], verbs: [list, watch]}";

const OBJECTS: &str = include_str!("cluster.yaml");

/// Puts a service account where a pod has it, and becomes a program. `$1` is the account's folder.
const AS_POD: &str = r#"
mount -t tmpfs none /run
mkdir -p /run/secrets/kubernetes.io/serviceaccount
cp "$1"/* /run/secrets/kubernetes.io/serviceaccount
shift
exec "$@"
"#;

/// All that there is. It ends with the test's process.
pub(crate) struct Stage {
    pub(crate) network: Network,
    pub(crate) client: Host,
    account: PathBuf,
    scratch: Scratch,
    api: SocketAddr,
    _upstream: (Host, Internet),
    _plane: ControlPlane,
}

impl Stage {
    /// The one that all tests share.
    pub(crate) fn get() -> &'static Self {
        static STAGE: OnceLock<Stage> = OnceLock::new();
        STAGE.get_or_init(Self::new)
    }

    fn new() -> Self {
        let plane = ControlPlane::start(Options::default());
        plane.apply(&podzone_rights(&[SERVICES, SLICES, PODS]));
        plane.apply(OBJECTS);
        let status = format!(r#"{{"status":{{"phase":"Running","podIP":"{CLIENT}","podIPs":[{{"ip":"{CLIENT}"}}]}}}}"#);
        plane.kubectl(&["patch", "pod", "client", "--subresource=status", "--type=merge", "--patch", &status], "");
        let token = plane.kubectl(&["create", "token", "podzone"], "");

        let (network, scratch) = (Network::new(), Scratch::new());
        let account = scratch.path().join("account");
        std::fs::create_dir(&account).unwrap();
        std::fs::write(account.join("token"), token.trim()).unwrap();
        std::fs::write(account.join("namespace"), "default").unwrap();
        std::fs::copy(plane.ca(), account.join("ca.crt")).unwrap();

        let upstream_host = network.host("upstream.test", UPSTREAM, &[]);
        let upstream = Internet::on(upstream_host.bind_udp(53), upstream_host.listen(53));
        let client = network.host("client.default.svc.cluster.local", CLIENT, &[]);
        let api = plane.url().trim_start_matches("https://").parse().unwrap();
        Self { network, client, account, scratch, api, _upstream: (upstream_host, upstream), _plane: plane }
    }

    /// A server with this Corefile at these last octets of an address; it is ready.
    pub(crate) fn serve(&self, program: Program, name: &str, octet: u8, corefile: &str) -> Server {
        let address = Ipv4Addr::new(10, 244, 0, octet);
        let host = self.host(name, address);
        self.serve_on(program, host, corefile)
    }

    /// A host that looks like a pod of DNS: `dnsPolicy: Default`, so that its resolv.conf is the node's.
    pub(crate) fn host(&self, name: &str, address: Ipv4Addr) -> Host {
        let host = self.network.host(&format!("{name}.kube-system.test"), address, &[]);
        host.write_resolv_conf(&format!("search corp.test\nnameserver {UPSTREAM}\noptions edns0\n"));
        host.ip(&["address", "add", &format!("{API}/32"), "dev", "lo"]);
        let (listener, api) = (host.listen_at(API, API_PORT), self.api);
        std::thread::spawn(move || relay(&listener, api));
        host
    }

    pub(crate) fn serve_on(&self, program: Program, host: Host, corefile: &str) -> Server {
        let folder = self.scratch.path().join(host.address().to_string());
        std::fs::create_dir(&folder).unwrap();
        let path = folder.join("Corefile");
        std::fs::write(&path, corefile).unwrap();
        let mut command = self.as_pod(&host, &program.path());
        command.arg("-conf").arg(&path);
        let process = Process::spawn(&format!("{program:?}"), command, &folder.join("log"));
        Server { program, host, corefile: path, process }
    }

    /// A program in a pod of DNS.
    pub(crate) fn as_pod(&self, host: &Host, program: &Path) -> Command {
        let mut command = host.command("sh");
        command.args(["-ec", AS_POD, "pod"]).arg(&self.account).arg(program);
        command.env("KUBERNETES_SERVICE_HOST", API.to_string()).env("KUBERNETES_SERVICE_PORT", API_PORT.to_string());
        command
    }

    /// What a libc finds by these names from the pod, with this name server: by name what it said, the canonical name, and
    /// the addresses.
    pub(crate) fn look_up(
        &self,
        libc: &Path,
        server: Ipv4Addr,
        names: &[&str],
        timeout_secs: u32,
    ) -> BTreeMap<String, String> {
        let search = "search default.svc.cluster.local svc.cluster.local cluster.local corp.test";
        self.client
            .write_resolv_conf(&format!("{search}\nnameserver {server}\noptions ndots:5 timeout:{timeout_secs}\n"));
        let output = self.client.command(&libc.to_string_lossy()).args(names).output().expect("a lookup");
        assert!(output.status.success(), "{}: {}", libc.display(), String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        let found = text.lines().filter_map(|line| line.split_once(' '));
        let found: BTreeMap<_, _> = found.map(|(name, rest)| (name.to_owned(), rest.to_owned())).collect();
        assert_eq!(found.len(), names.len(), "{text}");
        found
    }

    /// The lookup program of a libc.
    pub(crate) fn libc(&self, compiler: &str) -> PathBuf {
        let path = self.scratch.path().join(format!("lookup-{compiler}-{:08x}", rand::random::<u32>()));
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/libc/lookup.c");
        let output = Command::new(compiler).args(["-O1", "-Wall", "-Werror", "-o"]).arg(&path).arg(source).output();
        let output =
            output.unwrap_or_else(|error| panic!("{compiler}: {error}: run `make setup` (tests/peers/install)"));
        assert!(output.status.success(), "{compiler}: {}", String::from_utf8_lossy(&output.stderr));
        path
    }
}

/// A DNS server of the stage.
pub(crate) struct Server {
    pub(crate) program: Program,
    pub(crate) host: Host,
    pub(crate) corefile: PathBuf,
    pub(crate) process: Process,
}

impl Server {
    /// Waits until it answers at an address, over UDP and TCP.
    pub(crate) fn wait_until_it_answers(&mut self, address: Ipv4Addr) {
        let (addr, query) = (SocketAddr::from((address, 53)), Query::new("web.default.svc.cluster.local", dns::A));
        let (host, program) = (&self.host, self.program);
        self.process.wait_until(&format!("{program:?} answers"), PATIENCE, || {
            let found = host.inside(|| {
                let short = Duration::from_millis(500);
                let answer = dns::tcp_within(addr, &Query::new(".", NS).to_bytes(), short)
                    .and_then(|_| dns::udp_within(addr, &query.to_bytes(), short));
                answer.ok().and_then(|answer| dns::Message::decode(&answer).ok())
            });
            found.filter(|answer| !answer.answers.is_empty()).map(|_| ())
        });
    }

    /// Asks from where it runs, over UDP.
    pub(crate) fn ask_at(&self, address: Ipv4Addr, query: &Query) -> dns::Message {
        let asked = self.host.inside(|| dns::ask(SocketAddr::from((address, 53)), query));
        asked.unwrap_or_else(|error| panic!("{query:?}: {error}\n{}", self.process.log_tail()))
    }

    pub(crate) fn address(&self) -> Ipv4Addr {
        self.host.address()
    }

    /// A page of an admin endpoint, at an address of its host.
    pub(crate) fn page(&self, address: &str, path: &str) -> Option<(u16, String)> {
        let addr: SocketAddr = address.parse().unwrap();
        let (status, _, body) = self.host.inside(|| crate::support::page::get(addr, path))?;
        Some((status, body))
    }

    pub(crate) fn wait_until_ready(&self) {
        wait_for("ready", PATIENCE, || match self.page("127.0.0.1:8181", "/ready") {
            Some((200, _)) => Ok(()),
            other => Err(format!("{other:?}\n{}", self.process.log_tail())),
        });
    }
}

/// Gives a connection to an address on a host to who listens on this machine.
fn relay(listener: &TcpListener, to: SocketAddr) {
    for stream in listener.incoming().flatten() {
        let Ok(other) = TcpStream::connect(to) else { continue };
        for (mut from, mut to) in [(stream.try_clone().unwrap(), other.try_clone().unwrap()), (other, stream)] {
            std::thread::spawn(move || {
                let _ = io::copy(&mut from, &mut to);
                let _ = to.shutdown(std::net::Shutdown::Both);
            });
        }
    }
}
