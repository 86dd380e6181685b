//! Runs the container of a Deployment as a kubelet would, without an engine: in a network namespace, in a root file system of its own
//! that is read only and has the program, the mounts and nothing else, as the user and with the sysctls of the pod's security
//! context, with the token of its ServiceAccount, which is all that it has to reach the API server. So what the manifests say is
//! what runs, Corefile and ports included.

use std::fs;
use std::net::Ipv4Addr;
use std::time::Duration;

use serde_json::Value;

use super::cluster::{PATIENCE, object};
use super::support::kube::ControlPlane;
use super::support::namespace::{Host, Network};
use super::support::process::{Process, Scratch};
use super::support::server::Program;
use super::support::wait_for;
use super::way;

/// `$1` is the folder with the pod's files, `$2` the program, `$3` its user, the rest its arguments. `sysctls` has a line for each,
/// `writable` and `mounts` one for each mount.
const CONTAINER: &str = r#"
folder=$1 program=$2 user=$3 root=$1/root
shift 3
mkdir -p "$root"
mount -t tmpfs -o mode=755 tmpfs "$root"
mkdir -p "$root/proc" "$root/dev" "$root/usr" "$root/etc" "$root/var/run/secrets/kubernetes.io/serviceaccount"
# A program that is not linked statically needs its libraries.
mount --bind /usr "$root/usr"
for name in lib lib64; do ln -s "usr/$name" "$root/$name"; done
mount -t proc proc "$root/proc"
for name in null urandom; do
    : >"$root/dev/$name"
    mount --bind "/dev/$name" "$root/dev/$name"
done
cp /etc/hosts /etc/resolv.conf "$root/etc"
cp "$folder"/account/* "$root/var/run/secrets/kubernetes.io/serviceaccount"
while read -r from to; do
    mkdir -p "$root$to"
    cp -r "$folder/$from/." "$root$to"
done <"$folder/mounts"
while read -r path; do
    mkdir -p "$root$path"
    mount -t tmpfs -o mode=777 tmpfs "$root$path"
done <"$folder/writable"
while read -r path value; do
    echo "$value" >"/proc/sys/$path"
done <"$folder/sysctls"
: >"$root/program"
mount --bind "$program" "$root/program"
mount -o remount,ro "$root"
exec chroot --userspec="$user" --groups= "$root" /program "$@"
"#;

/// A pod of podzone.
pub(crate) struct Pod {
    process: Process,
    host: Host,
    container: Value,
    /// The pod's user and group.
    user: String,
    /// Where the API server is, of the host's loopback.
    api_port: String,
    folder: Scratch,
}

impl Pod {
    /// Runs the Deployment's container on a host of this name and address. The node's resolver is `upstream`.
    pub(crate) fn run(
        plane: &ControlPlane,
        network: &Network,
        (namespace, deployment): (&str, &str),
        (name, address): (&str, Ipv4Addr),
        upstream: &[Ipv4Addr],
    ) -> Self {
        let template = object(plane, namespace, &format!("deployment/{deployment}"))["spec"]["template"].take();
        let spec = &template["spec"];
        assert_eq!(spec["dnsPolicy"], "Default", "the node's resolver is what the host gets");
        let container = spec["containers"][0].clone();
        let folder = Scratch::new();
        let account = folder.path().join("account");
        fs::create_dir(&account).unwrap();
        let token =
            plane.kubectl(&["create", "token", text(&spec["serviceAccountName"]), "--namespace", namespace], "");
        fs::write(account.join("token"), token.trim()).unwrap();
        fs::write(account.join("namespace"), namespace).unwrap();
        fs::copy(plane.ca(), account.join("ca.crt")).unwrap();
        let (mut mounts, mut writable) = (String::new(), String::new());
        for mount in container["volumeMounts"].as_array().unwrap() {
            let volume =
                spec["volumes"].as_array().unwrap().iter().find(|volume| volume["name"] == mount["name"]).unwrap();
            let path = text(&mount["mountPath"]);
            match volume.get("configMap") {
                Some(map) => {
                    let map = object(plane, namespace, &format!("configmap/{}", text(&map["name"])));
                    let files = folder.path().join(text(&mount["name"]));
                    fs::create_dir(&files).unwrap();
                    for (file, content) in map["data"].as_object().unwrap() {
                        fs::write(files.join(file), text(content)).unwrap();
                    }
                    mounts += &format!("{} {path}\n", text(&mount["name"]));
                }
                None => {
                    assert!(volume.get("emptyDir").is_some(), "{volume}");
                    writable += &format!("{path}\n");
                }
            }
        }
        let security = &spec["securityContext"];
        let sysctls: String = security["sysctls"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|it| format!("{} {}\n", text(&it["name"]).replace('.', "/"), text(&it["value"])))
            .collect();
        for (file, content) in [("mounts", mounts), ("writable", writable), ("sysctls", sysctls)] {
            fs::write(folder.path().join(file), content).unwrap();
        }
        assert_eq!(container.pointer("/securityContext/readOnlyRootFilesystem"), Some(&Value::Bool(true)));

        let host = network.host(name, address, upstream);
        let port = plane.url().rsplit(':').next().unwrap().to_owned();
        way::pass_on(host.listen_at(Ipv4Addr::LOCALHOST, port.parse().unwrap()), port.parse().unwrap());
        let user = format!("{}:{}", security["runAsUser"], security["runAsGroup"]);
        let process = spawn(&host, &container, &user, &port, &folder);
        Self { process, host, container, user, api_port: port, folder }
    }

    /// Runs it again after its end, where it was, with a new emptyDir. The log goes on.
    pub(crate) fn run_again(&mut self) {
        self.process = spawn(&self.host, &self.container, &self.user, &self.api_port, &self.folder);
    }

    /// The port of this name, as the pod's container has it.
    pub(crate) fn port(&self, name: &str) -> String {
        let ports = self.container["ports"].as_array().unwrap();
        let port =
            ports.iter().find(|port| port["name"] == name).unwrap_or_else(|| panic!("no port {name}: {ports:?}"));
        port["containerPort"].to_string()
    }

    pub(crate) fn address(&self) -> Ipv4Addr {
        self.host.address()
    }

    pub(crate) fn log(&self) -> String {
        self.process.log()
    }

    /// Waits until its probes succeed, all is listed and nothing is missing, and it may do all that it asks for.
    pub(crate) fn wait_until_ready(&self) {
        for probe in ["livenessProbe", "readinessProbe"] {
            let get = &self.container[probe]["httpGet"];
            let url = format!("http://{}:{}{}", self.address(), self.port(text(&get["port"])), text(&get["path"]));
            wait_for(&format!("{probe} succeeds"), PATIENCE, || {
                let mut command = self.host.command("curl");
                let output = command.args(["--silent", "--fail-with-body", "--max-time", "5", &url]).output().unwrap();
                let body = String::from_utf8_lossy(&output.stdout);
                if output.status.success() && body.trim() == "OK" {
                    Ok(())
                } else {
                    Err(format!("{body}\n{}", self.log()))
                }
            });
        }
        let log = self.log();
        assert!(!log.contains("forbidden") && !log.contains("[ERROR]"), "{log}");
    }

    /// What dig says, on the host of the pod itself.
    pub(crate) fn dig(&self, arguments: &[&str]) -> String {
        let mut command = self.host.command("dig");
        command
            .arg(format!("@{}", self.address()))
            .args(["-p", &self.port("dns"), "+time=2", "+tries=3"])
            .args(arguments);
        let output =
            command.env("HOME", self.folder.path()).output().expect("dig: run `make setup` (tests/peers/install)");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Asks it to end as a kubelet does, and waits; it has the time that the pod gives it.
    pub(crate) fn stop(&mut self) {
        let status = self.process.terminate(Duration::from_secs(30));
        assert!(status.is_some_and(|status| status.success()), "{status:?}\n{}", self.log());
    }

    /// Ends it at once, as when its node runs out of memory.
    pub(crate) fn kill(&mut self) {
        self.process.kill();
    }
}

fn spawn(host: &Host, container: &Value, user: &str, api_port: &str, folder: &Scratch) -> Process {
    let mut command = host.command("sh");
    command.args(["-ec", CONTAINER, "container"]).arg(folder.path()).arg(Program::Podzone.path()).arg(user);
    command.args(container["args"].as_array().unwrap().iter().map(text));
    command.env("KUBERNETES_SERVICE_HOST", "127.0.0.1").env("KUBERNETES_SERVICE_PORT", api_port);
    Process::spawn(&format!("podzone on {}", host.address()), command, &folder.path().join("log"))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}
