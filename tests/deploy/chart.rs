//! The Helm chart: sound for every file of values in `deploy/chart/ci`, in its table of values and in what it refuses, and the same
//! as `deploy/kustomize` in what matters.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::process::Command;

use serde_json::Value;

use super::cluster::{cluster, deploy, helm, helm_on, objects, rendered, wait_until_only};
use super::overlays::assert_rights;
use super::pod::Pod;
use super::support::kube::ControlPlane;
use super::support::namespace::Network;
use super::support::process::Scratch;
use super::support::server::Program;

/// The files of values in `deploy/chart/ci`, and of these, what they make as an overlay does.
const VALUES: [&str; 6] = ["forwarded", "hpa", "monitor", "multicluster", "pods-verified", "replace"];
const OVERLAYS: [&str; 3] = ["forwarded", "pods-verified", "multicluster"];

pub(crate) fn values(name: &str) -> String {
    deploy(&format!("chart/ci/{name}.yaml")).display().to_string()
}

/// What the chart comes to, with these options; the release is called podzone.
fn template(options: &[&str]) -> Result<String, String> {
    helm(&[&["template", "podzone", "deploy/chart", "--namespace", "podzone"], options].concat())
}

fn yaml(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn documents(text: &str) -> Vec<Value> {
    text.split("\n---\n").map(yaml).filter(|document| !document.is_null()).collect()
}

#[test]
fn the_chart_is_sound_for_all_files_of_values() {
    let found: BTreeSet<String> = std::fs::read_dir(deploy("chart/ci"))
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    assert!(found.iter().eq(VALUES), "{found:?}");
    let paths = VALUES.map(values);
    let options = paths.iter().map(|path| vec!["--values", path.as_str()]).chain([vec![]]);
    for options in options {
        let lint = helm(&[&["lint", "--strict", "deploy/chart"], &options[..]].concat());
        lint.unwrap_or_else(|error| panic!("{options:?}: {error}"));
        let objects = documents(&template(&options).unwrap());
        let map = objects.iter().find(|object| object["kind"] == "ConfigMap").expect("a ConfigMap");
        let folder = Scratch::new();
        let path = folder.path().join("Corefile");
        std::fs::write(&path, map["data"]["Corefile"].as_str().unwrap()).unwrap();
        let check = Command::new(Program::Podzone.path()).args(["check", "-conf"]).arg(&path).output().unwrap();
        let said = [check.stdout, check.stderr].map(|octets| String::from_utf8(octets).unwrap()).concat();
        assert!(check.status.success() && !said.contains("warning"), "{options:?}: {said}");
    }
}

#[test]
fn values_that_mean_nothing_are_refused_by_name() {
    let without = |plugin: &str| {
        format!("servers=[{{\"zones\":[{{\"zone\":\"cluster.local\"}}],\"plugins\":[{{\"name\":\"{plugin}\"}}]}}]")
    };
    let (no_health, no_ready) = (without("ready"), without("health"));
    for (option, words) in [
        (["--set", "autoscaler.enabled=true"], "autoscaler"),
        (["--set", "service.clusterip=10.96.0.53"], "clusterip"),
        (["--set", "replicaCount=two"], "/replicaCount"),
        (["--set", "deployment.dnsPolicy=Ours"], "/deployment/dnsPolicy"),
        (["--set-json", r#"servers=[{"plugins":[{"nam":"errors"}]}]"#], "/servers/0/plugins/0"),
        (
            ["--set-json", r#"servers=[{"zones":[{"zone":"x","scheme":"grpc://"}],"plugins":[{"name":"errors"}]}]"#],
            "/scheme",
        ),
        (["--set-json", &no_health], "livenessProbe: no server has the plugin health"),
        (["--set-json", &no_ready], "no server has the plugin ready"),
        (["--set", "prometheus.monitor.enabled=true,service.enabled=false"], "prometheus.monitor: there is no Service"),
        (["--set", "deployment.dnsPolicy=None"], "None needs deployment.dnsConfig"),
    ] {
        let error = template(&option).expect_err(option[1]);
        assert!(error.contains(words), "{option:?}: {error}");
    }
    // What Helm itself hands down to a chart within another.
    template(&["--set", "global.anything=1"]).unwrap();
}

/// Where kubeadm's Service is, the chart brings pods that it selects, and no Service.
#[test]
fn behind_the_service_of_kubeadm_there_is_no_other() {
    let objects = documents(&template(&["--values", &values("replace"), "--set", "service.enabled=false"]).unwrap());
    let of_kind = |kind: &str| objects.iter().filter(|object| object["kind"] == kind).collect::<Vec<_>>();
    assert!(of_kind("Service").is_empty());
    let pod = &of_kind("Deployment")[0]["spec"]["template"];
    assert_eq!(pod["metadata"]["labels"]["k8s-app"], "kube-dns");
    assert!(pod["spec"]["containers"][0]["ports"].as_array().unwrap().iter().any(|port| port["containerPort"] == 53));
    assert_eq!(of_kind("Deployment")[0].pointer("/metadata/labels/k8s-app"), None);
}

/// Every value has a row with its default, and every row is about a value.
#[test]
fn the_table_of_values_is_true() {
    let values = yaml(&std::fs::read_to_string(deploy("chart/values.yaml")).unwrap());
    let readme = std::fs::read_to_string(deploy("chart/README.md")).unwrap();
    let rows: BTreeMap<&str, &str> = readme
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` | "))
        .map(|(name, rest)| (name, rest.split(" | ").next().unwrap().trim_matches('`')))
        .collect();
    for (name, default) in &rows {
        let pointer = format!("/{}", name.replace('.', "/"));
        let value = values.pointer(&pointer).unwrap_or_else(|| panic!("values.yaml has no {name}"));
        if *default == "…" {
            assert!(value.to_string().len() > 110, "{name}: {value} fits into its row");
        } else {
            let said: Value =
                serde_json::from_str(default).unwrap_or_else(|error| panic!("{name}: {default}: {error}"));
            assert_eq!(said, *value, "{name}");
        }
    }
    fn without_row(value: &Value, name: &str, rows: &BTreeMap<&str, &str>) -> Vec<String> {
        match value {
            _ if rows.contains_key(name) => Vec::new(),
            Value::Object(map) if !map.is_empty() => map
                .iter()
                .flat_map(|(key, value)| without_row(value, format!("{name}.{key}").trim_start_matches('.'), rows))
                .collect(),
            _ => vec![name.to_owned()],
        }
    }
    assert_eq!(without_row(&values, "", &rows), Vec::<String>::new(), "without a row in the table");
}

/// What an API server makes of an object, of that what matters: names, defaults of the API and what each tool adds are left out.
fn essence(object: &Value) -> Value {
    fn strip(value: &mut Value) {
        match value {
            Value::Object(map) => {
                map.retain(|key, value| {
                    let is_tools =
                        ["app.kubernetes.io/instance", "image", "imagePullPolicy", "clusterIP", "clusterIPs"]
                            .contains(&key.as_str());
                    !is_tools && *value != Value::Null
                });
                map.values_mut().for_each(strip);
            }
            Value::Array(list) => list.iter_mut().for_each(strip),
            _ => {}
        }
    }
    let mut object = object.clone();
    let name = object["metadata"]["name"].clone();
    for key in ["metadata", "status", "apiVersion", "kind"] {
        object.as_object_mut().unwrap().remove(key);
    }
    if let Some(meta) = object.pointer_mut("/spec/template/metadata") {
        *meta = meta["labels"].clone();
    }
    strip(&mut object);
    if let Some(text) = object.pointer_mut("/data/Corefile") {
        let lines = text.as_str().unwrap().lines().map(str::trim);
        *text = lines.filter(|line| !line.is_empty() && !line.starts_with('#')).collect::<Vec<_>>().join("\n").into();
    }
    object["name"] = name;
    object
}

/// What applying these would make, by kind and name; nobody may be warned.
fn would_be(plane: &ControlPlane, what: &str, objects: &str) -> BTreeMap<(String, String), Value> {
    let dry = ["apply", "--server-side", "--dry-run=server", "--output=json", "-f", "-"];
    let (output, warnings) = plane.kubectl_warned(&dry, objects);
    assert_eq!(warnings, "", "{what}");
    let list: Value = serde_json::from_str(&output).unwrap();
    let items = list["items"].as_array().unwrap();
    assert_eq!(items.len(), objects.matches("\nkind: ").count(), "{what}\n{objects}");
    let key =
        |item: &Value| ["/kind", "/metadata/name"].map(|at| item.pointer(at).unwrap().as_str().unwrap().to_owned());
    items.iter().map(|item| (key(item).into(), essence(item))).collect()
}

/// What an overlay of a user's own comes to, of `forwarded` and a component.
fn with_component(plane: &ControlPlane, component: &str) -> String {
    let folder = Scratch::new();
    let path = folder.path().canonicalize().unwrap();
    // kustomize takes no absolute paths.
    let up = "../".repeat(path.components().count() - 1);
    let there = format!("{up}{}", deploy("kustomize").canonicalize().unwrap().strip_prefix("/").unwrap().display());
    let text = format!("resources: [{there}/overlays/forwarded]\ncomponents: [{there}/components/{component}]\n");
    std::fs::write(path.join("kustomization.yaml"), text).unwrap();
    plane.kubectl(&["kustomize", &path.display().to_string()], "")
}

#[test]
fn chart_and_kustomize_make_the_same() {
    let plane = cluster();
    let before = objects(&plane);
    plane.apply(&std::fs::read_to_string(deploy("kustomize/base/namespace.yaml")).unwrap());
    let with_scaler = with_component(&plane, "hpa");
    let cases = OVERLAYS.map(|name| (name, rendered(&plane, name), vec![values(name)]));
    let scaled = ("hpa", with_scaler, vec![values("forwarded"), values("hpa")]);
    for (name, objects, files) in cases.into_iter().chain([scaled]) {
        let mut by_kustomize = would_be(&plane, name, &objects);
        assert!(by_kustomize.remove(&("Namespace".into(), "podzone".into())).is_some());
        let options: Vec<&str> = files.iter().flat_map(|file| ["--values", file]).collect();
        let by_chart = would_be(&plane, name, &template(&options).unwrap());
        let keys = |of: &BTreeMap<_, _>| of.keys().cloned().collect::<Vec<(String, String)>>();
        assert_eq!(keys(&by_chart), keys(&by_kustomize), "{name}");
        for (key, object) in &by_kustomize {
            assert_eq!(by_chart[key], *object, "{name}: {key:?}");
        }
    }
    // In CoreDNS's place: what runs, and what it serves.
    let by_kustomize = would_be(&plane, "replace", &rendered(&plane, "replace"));
    let options = ["template", "podzone", "deploy/chart", "--namespace", "kube-system", "--values", &values("replace")];
    let by_chart = would_be(&plane, "replace", &helm(&options).unwrap());
    for kind in ["Deployment", "ConfigMap", "PodDisruptionBudget", "ServiceAccount"] {
        let key = (kind.to_owned(), "podzone".to_owned());
        assert_eq!(by_chart[&key], by_kustomize[&key], "{kind}");
    }
    let monitored = would_be(&plane, "monitor", &template(&["--values", &values("monitor")]).unwrap());
    assert!(monitored.contains_key(&("ServiceMonitor".into(), "podzone".into())), "{:?}", monitored.keys());
    plane.kubectl(&["delete", "namespace", "podzone"], "");
    wait_until_only(&plane, &before, &[]);
}

#[test]
fn each_file_of_values_installs_and_leaves_nothing() {
    let plane = cluster();
    let before = objects(&plane);
    let network = Network::new();
    for (number, name) in VALUES.iter().enumerate() {
        // CoreDNS's place is in kube-system.
        let namespace = if *name == "replace" { "kube-system" } else { "chart" };
        let install = ["install", name, "deploy/chart", "--namespace", namespace, "--create-namespace"];
        helm_on(&plane, &[&install[..], &["--values", &values(name), "--wait", "--timeout=120s"]].concat());
        // The release's name has the chart's in it.
        let release = format!("{name}-podzone");
        let more = match *name {
            "pods-verified" => &["pods"][..],
            "multicluster" => &["serviceimports.multicluster.x-k8s.io"],
            _ => &[],
        };
        assert_rights(&plane, namespace, &release, more);
        // The Corefile and what runs it are those of the overlays, which is held above: it is the rights that may be too few.
        if !more.is_empty() {
            let address = Ipv4Addr::new(10, 244, 0, 2 + u8::try_from(number).unwrap());
            let mut pod = Pod::run(&plane, &network, (namespace, &release), (name, address), &[]);
            pod.wait_until_ready();
            pod.stop();
        }
        helm_on(&plane, &["uninstall", name, "--namespace", namespace, "--wait"]);
        wait_until_only(&plane, &before, &["Namespace <none> chart"]);
    }
    plane.kubectl(&["delete", "namespace", "chart"], "");
    wait_until_only(&plane, &before, &[]);
}
