//! A folder of manifests as a source: what files mean, and what happens when they change.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use podzone::config::{ApiLimits, Source};
use podzone::model::{Event, Kind, Object, ObjectKey};
use podzone::source::{self, Handle, Timing};
use tokio::sync::mpsc;

const POLL: Duration = Duration::from_millis(50);

fn key(object: &Object) -> ObjectKey {
    match object {
        Object::Namespace(object) => ObjectKey::new("", object.name.clone()),
        Object::Service(object) => object.key.clone(),
        Object::EndpointSlice(object) => object.key.clone(),
        Object::Pod(object) => object.key.clone(),
        Object::ServiceImport(object) => object.key.clone(),
    }
}

async fn start(folder: &Path) -> (Handle, mpsc::Receiver<Event>) {
    let (sender, events) = mpsc::channel(16);
    let timing = Timing { poll: POLL, ..Timing::default() };
    let handle =
        source::start_with(&Source::Manifests(folder.into()), &Kind::ALL, None, &ApiLimits::default(), sender, timing)
            .await
            .unwrap();
    (handle, events)
}

/// The objects of the next full listing of each of `count` kinds.
async fn listings(events: &mut mpsc::Receiver<Event>, count: usize) -> Vec<String> {
    let mut objects = Vec::new();
    let mut ends = 0;
    while ends < count {
        match tokio::time::timeout(Duration::from_secs(10), events.recv()).await.expect("an event").unwrap() {
            Event::Apply(object) => objects.push(format!("{} {}", object.kind(), key(&object))),
            Event::End(_) => ends += 1,
            Event::Begin(_) => {}
            Event::Delete(..) | Event::Triggered(..) | Event::Unknown(_) => panic!("manifests are always listed"),
        }
    }
    objects
}

async fn is_quiet(events: &mut mpsc::Receiver<Event>) -> bool {
    tokio::time::timeout(Duration::from_millis(500), events.recv()).await.is_err()
}

/// Waits until the source names this as what is wrong.
async fn complains(handle: &Handle, expected: &str) {
    for _ in 0..1000 {
        let failing = handle.health().status(Kind::Pod).unwrap().failing;
        if failing.is_some_and(|failing| failing.cause.contains(expected)) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("no complaint about {expected}");
}

/// Writes a file as if a while ago, so that it need not settle.
fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    static AGE: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    let age = Duration::from_secs(10_000 - AGE.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
    fs::File::options().write(true).open(path).unwrap().set_modified(SystemTime::now() - age).unwrap();
}

fn service(name: &str) -> String {
    format!("apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {{clusterIP: None}}\n")
}

#[tokio::test]
async fn every_case_means_what_it_expects() {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/manifests");
    let mut files: Vec<PathBuf> = fs::read_dir(cases).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_none_or(|extension| extension != "expect"));
    assert!(files.len() > 8);
    for file in files {
        let folder = tempfile::tempdir().unwrap();
        let name = file.file_name().unwrap().to_str().unwrap();
        fs::copy(&file, folder.path().join(name)).unwrap();
        let expected = fs::read_to_string(file.with_file_name(format!("{name}.expect"))).unwrap();
        let (handle, mut events) = start(folder.path()).await;
        let objects = listings(&mut events, Kind::ALL.len()).await;
        let failing = handle.health().status(Kind::Service).unwrap().failing.map(|failing| failing.cause);
        match expected.strip_prefix("error: ") {
            None => {
                assert_eq!(failing, None, "{name}");
                assert_eq!(objects, expected.lines().collect::<Vec<_>>(), "{name}");
            }
            Some(reason) => {
                let failing = failing.unwrap_or_else(|| panic!("{name} was taken: {objects:?}"));
                assert!(failing.contains(&format!("{name}: {}", reason.trim_end())), "{name}: {failing}");
                assert_eq!(objects, Vec::<String>::new(), "{name}");
            }
        }
    }
}

#[tokio::test]
async fn the_sample_cluster_is_taken_whole() {
    let (handle, mut events) = start(&Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/sample")).await;
    let objects: BTreeSet<String> = listings(&mut events, Kind::ALL.len()).await.into_iter().collect();
    for name in
        ["Namespace shop", "Service default/beam", "EndpointSlice shop/postgres-n4b7k", "Service kube-system/kube-dns"]
    {
        assert!(objects.contains(name), "{name} in {objects:?}");
    }
    assert!(!objects.contains("Pod default/beam-migrate-6k9sl"));
    let status = handle.health().status(Kind::Service).unwrap();
    assert!(status.listed && status.failing.is_none());
    assert!(handle.health().is_synced());
}

#[tokio::test]
async fn changes_are_followed_and_mistakes_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let a = folder.path().join("a.yaml");
    write(&a, &service("one"));
    let (handle, mut events) = start(folder.path()).await;
    assert_eq!(listings(&mut events, Kind::ALL.len()).await, ["Namespace default", "Service default/one"]);
    assert!(is_quiet(&mut events).await);

    // Only the kind that changed is listed again, and of two of the same name the first file's counts.
    write(&folder.path().join("b.yaml"), &format!("{}---\n{}", service("one"), service("two")));
    assert_eq!(listings(&mut events, 1).await, ["Service default/one", "Service default/two"]);

    // A mistake keeps what the file said, and what others say.
    write(&a, "apiVersion: v1\nkind: Service\nmetadata: {name: [}\n");
    assert!(is_quiet(&mut events).await);
    let cause = handle.health().status(Kind::Service).unwrap().failing.unwrap().cause;
    assert!(cause.contains("a.yaml: line 3"), "{cause}");
    write(&a, &service("three"));
    assert_eq!(listings(&mut events, 1).await, ["Service default/one", "Service default/three", "Service default/two"]);
    assert!(handle.health().status(Kind::Service).unwrap().failing.is_none());

    // Rewritten with the same meaning: nothing to tell.
    write(&a, &format!("# said otherwise\n{}", service("three")));
    assert!(is_quiet(&mut events).await);

    fs::remove_file(folder.path().join("b.yaml")).unwrap();
    assert_eq!(listings(&mut events, 1).await, ["Service default/three"]);

    // The folder vanishes: an accident. It comes back empty: a change.
    let aside = tempfile::tempdir().unwrap();
    fs::rename(folder.path(), aside.path().join("x")).unwrap();
    assert!(is_quiet(&mut events).await);
    assert!(handle.health().status(Kind::Service).unwrap().failing.is_some());
    fs::create_dir(folder.path()).unwrap();
    assert_eq!(listings(&mut events, 2).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_mounted_config_map_swaps_as_one() {
    let folder = tempfile::tempdir().unwrap();
    let link = |to: &str, at: &str| std::os::unix::fs::symlink(to, folder.path().join(at)).unwrap();
    for (version, name) in [("..1", "one"), ("..2", "two")] {
        fs::create_dir(folder.path().join(version)).unwrap();
        write(&folder.path().join(version).join("web.yaml"), &service(name));
    }
    link("..1", "..data");
    link("..data/web.yaml", "web.yaml");
    let (_handle, mut events) = start(folder.path()).await;
    assert_eq!(listings(&mut events, Kind::ALL.len()).await, ["Namespace default", "Service default/one"]);
    link("..2", "..data_tmp");
    fs::rename(folder.path().join("..data_tmp"), folder.path().join("..data")).unwrap();
    assert_eq!(listings(&mut events, 1).await, ["Service default/two"]);
}

#[tokio::test]
async fn what_is_no_file_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    write(&folder.path().join("good.yaml"), &service("one"));
    fs::create_dir(folder.path().join("folder.yaml")).unwrap();
    let (handle, mut events) = start(folder.path()).await;
    assert_eq!(listings(&mut events, Kind::ALL.len()).await, ["Namespace default", "Service default/one"]);
    complains(&handle, "folder.yaml: not a file").await;
    fs::remove_dir(folder.path().join("folder.yaml")).unwrap();

    let _socket = std::os::unix::net::UnixListener::bind(folder.path().join("socket.json")).unwrap();
    let pipe = folder.path().join("pipe.yml");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let (handle, mut events) = start(folder.path()).await;
    assert_eq!(listings(&mut events, Kind::ALL.len()).await.len(), 2);
    complains(&handle, "pipe.yml: not a file").await;
    fs::remove_file(pipe).unwrap();
    complains(&handle, "socket.json: not a file").await;

    let large = fs::File::create(folder.path().join("large.yaml")).unwrap();
    large.set_len(16 * 1024 * 1024 + 1).unwrap();
    complains(&handle, "large.yaml: larger than 16 MiB").await;
}

#[tokio::test]
async fn a_folder_that_is_not_there_is_an_error() {
    let (sender, _events) = mpsc::channel(1);
    let config = Source::Manifests("/nonexistent/manifests".into());
    let error =
        source::start(&config, &Kind::ALL, None, &ApiLimits::default(), sender).await.err().unwrap().to_string();
    assert!(error.contains("/nonexistent/manifests") && error.contains("No such file"), "{error}");
}
