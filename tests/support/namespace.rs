//! Hosts that look like pods: each in a network namespace of its own, with an address of the cluster's pod range, its
//! own `hostname`, `/etc/hosts` and `/etc/resolv.conf` as a kubelet writes them.
//!
//! The hosts of a [`Network`] hang on a bridge in one more namespace. There is no uplink and no route out of the range,
//! so that nothing that runs here reaches the machine or the world, and each host may use port 53, as the real ones.

use super::process::{Afterwards, Scratch};
use nix::sched::{CloneFlags, setns};
use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::thread;

/// `$1` is what the namespaces' names begin with. Daemons that a host's programs left behind (epmd) end here too.
const REMOVE: &str = r#"
for space in $(ip netns list | cut -d' ' -f1 | grep "^$1"); do
    for pid in $(ip netns pids "$space"); do kill -KILL "$pid"; done
    ip netns del "$space"
done
"#;

/// `$1` is the folder of the host's files, `$2` its hostname, the rest what it runs. As every step ends in `exec`, the
/// program keeps the process number that the test knows.
const ENTER: &str = r#"
mount --bind "$1/hosts" /etc/hosts
mount --bind "$1/resolv.conf" /etc/resolv.conf
hostname "$2"
shift 2
exec "$@"
"#;

/// A link layer that hosts hang on. All of it, and whatever runs in it, ends with this value.
pub struct Network {
    id: String,
    _guard: Afterwards,
    scratch: Scratch,
}

impl Network {
    pub fn new() -> Self {
        let owner = fs::metadata("/proc/self").expect("/proc").uid();
        assert!(owner == 0, "network namespaces are made by root only: run this test as root");
        let id = format!("podzone-{:08x}-", rand::random::<u32>());
        // Before the first namespace: also what a failure below leaves is removed.
        let guard = Afterwards::run(REMOVE, &id);
        let network = Self { id, _guard: guard, scratch: Scratch::new() };
        let bridge = network.bridge();
        ip(&["netns", "add", &bridge]);
        ip(&["-n", &bridge, "link", "add", "bridge", "type", "bridge"]);
        ip(&["-n", &bridge, "link", "set", "bridge", "up"]);
        network
    }

    /// Adds a host. The first label of `fqdn` is its hostname; `nameservers` are asked in this order.
    pub fn host(&self, fqdn: &str, address: Ipv4Addr, nameservers: &[Ipv4Addr]) -> Host {
        let hostname = fqdn.split('.').next().unwrap_or(fqdn).to_owned();
        let host = Host {
            namespace: format!("{}{hostname}", self.id),
            folder: self.scratch.path().join(&hostname),
            hostname,
            address,
        };
        let servers: String = nameservers.iter().map(|server| format!("nameserver {server}\n")).collect();
        fs::create_dir(&host.folder).expect("a folder for a host of a new name");
        fs::write(host.folder.join("resolv.conf"), servers + RESOLV_CONF).expect("resolv.conf");
        let hosts = format!("127.0.0.1 localhost\n{address} {fqdn} {}\n", host.hostname);
        fs::write(host.folder.join("hosts"), hosts).expect("hosts");

        let (bridge, space) = (self.bridge(), &host.namespace);
        // Unique, and short enough for the name of an interface.
        let port = format!("v{:08x}", u32::from(address));
        ip(&["netns", "add", space]);
        ip(&["-n", &bridge, "link", "add", &port, "type", "veth", "peer", "name", "eth0", "netns", space]);
        ip(&["-n", &bridge, "link", "set", &port, "master", "bridge", "up"]);
        ip(&["-n", space, "address", "add", &format!("{address}/16"), "dev", "eth0"]);
        ip(&["-n", space, "link", "set", "lo", "up"]);
        host.set_link("up");
        host
    }

    fn bridge(&self) -> String {
        format!("{}bridge", self.id)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let _ = Command::new("sh").args(["-c", REMOVE, "remove", &self.id]).status();
    }
}

const RESOLV_CONF: &str = "search default.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n";

/// A host of a [`Network`]; it is there as long as the network.
pub struct Host {
    namespace: String,
    hostname: String,
    address: Ipv4Addr,
    folder: PathBuf,
}

impl Host {
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// A command that runs on this host.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", &self.namespace, "unshare", "--mount", "--uts", "sh", "-ec", ENTER, "enter"])
            .arg(&self.folder)
            .args([&self.hostname, program]);
        command
    }

    /// A socket that listens on this host, though who holds it does not run there: so a host may stand for a service that
    /// runs elsewhere.
    pub fn listen(&self, port: u16) -> TcpListener {
        self.listen_at(self.address, port)
    }

    /// The same at another address of the host.
    pub fn listen_at(&self, address: Ipv4Addr, port: u16) -> TcpListener {
        self.inside(|| TcpListener::bind((address, port)).expect("a free port"))
    }

    /// The same over UDP.
    pub fn bind_udp(&self, port: u16) -> UdpSocket {
        self.inside(|| UdpSocket::bind((self.address, port)).expect("a free port"))
    }

    /// Does something in the host's network.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        // A thread may be in another namespace than its process. This one ends there; its sockets stay.
        thread::scope(|scope| {
            let worked = scope.spawn(|| {
                let namespace = File::open(format!("/run/netns/{}", self.namespace)).expect("a host's namespace");
                setns(namespace, CloneFlags::CLONE_NEWNET).expect("setns");
                work()
            });
            worked.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Runs `ip` for the host's network.
    pub fn ip(&self, arguments: &[&str]) {
        ip(&[&["-n", &self.namespace], arguments].concat());
    }

    /// Writes its `/etc/resolv.conf` anew, for what is started from now on.
    pub fn write_resolv_conf(&self, text: &str) {
        fs::write(self.folder.join("resolv.conf"), text).expect("resolv.conf");
    }

    /// Cuts it off: what is sent to it is lost, as when its machine loses power.
    pub fn cut_off(&self) {
        self.set_link("down");
    }

    pub fn reconnect(&self) {
        self.set_link("up");
    }

    fn set_link(&self, state: &str) {
        ip(&["-n", &self.namespace, "link", "set", "eth0", state]);
    }
}

fn ip(arguments: &[&str]) {
    let Output { status, stderr, .. } =
        Command::new("ip").args(arguments).output().expect("ip: run `make setup` (tests/peers/install)");
    assert!(status.success(), "ip {}: {}", arguments.join(" "), String::from_utf8_lossy(&stderr).trim());
}
