//! What is served while the API server is away, or says what cannot be believed: `snapshot`, `hold_mass_removal`,
//! `listen_when_synced`.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use support::dns::{A, NOERROR, NXDOMAIN, PTR, SERVFAIL, SRV};
use support::exposition::scrape_text;
use support::page;
use support::server::{Program, Server};
use support::toy_api::ToyApi;
use support::wait_for;

const PATIENCE: Duration = Duration::from_secs(30);

/// `{api}` is the API server's URL, `{options}` what follows it.
fn corefile(api: &ToyApi, options: &str) -> String {
    format!(
        "cluster.local in-addr.arpa {{
    bind 127.0.0.1
    ready 127.0.0.1:{{port:ready}}
    prometheus 127.0.0.1:{{port:metrics}}
    kubernetes cluster.local in-addr.arpa {{
        endpoint {}
        {options}
    }}
}}
",
        api.url()
    )
}

const SNAPSHOT: &str = "snapshot {folder}/cluster.snapshot";

fn snapshot_of(server: &Server) -> PathBuf {
    server.folder().join("cluster.snapshot")
}

fn name(service: &str) -> String {
    format!("{service}.shop.svc.cluster.local.")
}

fn ready(server: &Server) -> (u16, String) {
    let (status, _, body) = page::get(server.addr_of("ready"), "/ready").expect("an answer");
    (status, body)
}

/// The value of a metric of the one source.
fn metric(server: &Server, family: &str, kind: Option<&str>) -> Option<f64> {
    let page = scrape_text(server);
    let kind = kind.map(|kind| format!("kind=\"{kind}\""));
    let line = page.lines().find(|line| {
        line.starts_with(&format!("{family}{{")) && kind.as_ref().is_none_or(|kind| line.contains(&**kind))
    })?;
    line.rsplit(' ').next()?.parse().ok()
}

fn expect(server: &Server, name: &str, rcode: u16, count: usize) {
    wait_for(&format!("{name} is {rcode} with {count}"), PATIENCE, || {
        let answer = server.ask(name, A);
        let found = (answer.rcode, answer.data_of(A).len());
        if found == (rcode, count) { Ok(()) } else { Err(format!("{answer}\n{}", server.log())) }
    });
}

fn wait_for_log(server: &Server, text: &str) {
    wait_for(&format!("the log says {text:?}"), PATIENCE, || {
        let log = server.log();
        if log.contains(text) { Ok(()) } else { Err(log) }
    });
}

fn wait_until_written(server: &Server, file: &Path) -> Vec<u8> {
    wait_for("a snapshot is written", PATIENCE, || {
        std::fs::read(file).map_err(|error| format!("{error}: {}", server.log()))
    })
}

/// Ends it, and starts it again while the API server is away.
fn restart_alone(server: &mut Server, api: &ToyApi) -> Duration {
    assert!(server.stop().is_some_and(|status| status.success()), "{}", server.log());
    api.set_away(true);
    let begun = Instant::now();
    server.restart();
    server.wait_until_it_answers();
    begun.elapsed()
}

#[test]
fn a_snapshot_answers_at_once_and_a_listing_takes_its_place() {
    let api = ToyApi::start();
    api.set([("web", 3), ("db", 2), ("old", 1)]);
    let mut server = Program::Podzone.start(&corefile(&api, SNAPSHOT));
    expect(&server, &name("web"), NOERROR, 3);
    let file = snapshot_of(&server);
    wait_until_written(&server, &file);
    wait_for("it is counted", PATIENCE, || match metric(&server, "podzone_snapshot_writes_total", None) {
        Some(count) if count >= 1.0 => Ok(()),
        other => Err(format!("{other:?}")),
    });
    assert_eq!(metric(&server, "podzone_snapshot_age_seconds", None), Some(0.0), "no answer comes from one");
    assert_eq!(ready(&server), (200, "OK".into()));

    // The default `startup_timeout` is 5 s; a dev build has a second of its own.
    let took = restart_alone(&mut server, &api);
    assert!(took < Duration::from_secs(4), "{took:?}");
    expect(&server, &name("web"), NOERROR, 3);
    expect(&server, &format!("e1.{}", name("db")), NOERROR, 1);
    expect(&server, &name("never"), NXDOMAIN, 0);
    assert_eq!(server.ask("2.0.0.10.in-addr.arpa.", PTR).data_of(PTR), [format!("e2.{}", name("web"))]);
    let targets = server.ask(&format!("_p._tcp.{}", name("web")), SRV);
    assert_eq!(targets.data_of(SRV).len(), 3, "{targets}");
    let (status, body) = ready(&server);
    let told = body.lines().any(|line| line.contains(": answers come from a snapshot of ") && line.ends_with(" s ago"));
    assert!(status == 200 && body.starts_with("OK\n") && told, "{status} {body}");
    wait_for("what is not heard is told", PATIENCE, || {
        let (status, body) = ready(&server);
        let told = body.lines().any(|line| line.contains(": Service: nothing heard for "));
        if status == 200 && told { Ok(()) } else { Err(body) }
    });
    assert!(metric(&server, "podzone_snapshot_age_seconds", None).is_some_and(|age| age >= 1.0));
    assert!(metric(&server, "podzone_source_lost_seconds", Some("Service")).is_some_and(|lost| lost >= 1.0));
    assert_eq!(metric(&server, "podzone_source_listed", Some("Service")), Some(0.0));
    let log = server.log();
    assert!(log.contains("answers come from the snapshot ") && log.contains(" s old"), "{log}");

    // A list that breaks off takes nothing away; a whole one does.
    api.set([("web", 3), ("new", 1)]);
    api.set_broken(true);
    api.set_away(false);
    std::thread::sleep(Duration::from_secs(3));
    expect(&server, &name("old"), NOERROR, 1);
    api.set_broken(false);
    wait_for_log(&server, "everything is listed, no answer comes from the snapshot any more");
    expect(&server, &name("old"), NXDOMAIN, 0);
    expect(&server, &name("new"), NOERROR, 1);
    expect(&server, &name("web"), NOERROR, 3);
    assert_eq!(ready(&server), (200, "OK".into()));
    assert_eq!(metric(&server, "podzone_snapshot_age_seconds", None), Some(0.0));
    wait_for("a newer one is written", PATIENCE, || match metric(&server, "podzone_snapshot_bytes", None) {
        Some(octets) if octets > 100.0 => Ok(()),
        other => Err(format!("{other:?}")),
    });
}

#[test]
fn without_a_snapshot_nothing_is_known_and_some_of_a_set_is_not_given() {
    let api = ToyApi::start();
    api.set([("web", 3), ("other", 1)]);
    api.set_broken(true);
    let server = Program::Podzone.start(&corefile(&api, "startup_timeout 1s"));
    for service in ["web", "other", "never"] {
        let begun = Instant::now();
        assert_eq!(server.ask(&name(service), A).rcode, SERVFAIL, "{service}");
        assert_eq!(server.ask(&name(service), SRV).rcode, SERVFAIL, "{service}");
        assert!(begun.elapsed() < Duration::from_secs(3), "at once");
    }
    assert_eq!(server.ask("2.0.0.10.in-addr.arpa.", PTR).rcode, SERVFAIL);
    let (status, body) = ready(&server);
    assert!(status == 503 && body.contains(": EndpointSlice: not listed for "), "{status} {body}");
    api.set_broken(false);
    expect(&server, &name("web"), NOERROR, 3);
    expect(&server, &name("never"), NXDOMAIN, 0);
    wait_for("it is ready", PATIENCE, || if ready(&server) == (200, "OK".into()) { Ok(()) } else { Err(server.log()) });
}

#[test]
fn a_snapshot_that_cannot_be_used_is_named_and_left_out() {
    let api = ToyApi::start();
    api.set([("web", 3)]);
    let mut server = Program::Podzone.start(&corefile(&api, &format!("{SNAPSHOT}\n startup_timeout 1s")));
    assert!(server.log().contains("there is no snapshot "), "{}", server.log());
    let file = snapshot_of(&server);
    wait_until_written(&server, &file);
    restart_alone(&mut server, &api);
    expect(&server, &name("web"), NOERROR, 3);
    server.process().kill();
    let whole = std::fs::read(&file).unwrap();
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 4;
    let mut later = whole.clone();
    later[20] += 1;
    let cases: [(&str, &[u8]); 4] = [
        ("it is damaged: ", &flipped),
        ("it is damaged: ", &whole[..whole.len() - 7]),
        ("its format has the version 2, and this podzone reads 1", &later),
        ("it is no snapshot of podzone", b"kind: Service"),
    ];
    for (reason, octets) in cases {
        std::fs::write(&file, octets).unwrap();
        let said = server.log().len();
        server.restart();
        server.wait_until_it_answers();
        let log = server.log().split_off(said);
        assert!(log.contains(&format!("{} is not used: {reason}", file.display())), "{reason}: {log}");
        assert_eq!(server.ask(&name("web"), A).rcode, SERVFAIL, "{reason}");
        assert_eq!(ready(&server).0, 503);
        server.process().kill();
        assert_eq!(std::fs::read(&file).unwrap(), octets, "it is left for who looks into it");
    }
    // That of another cluster is another cluster's.
    std::fs::write(&file, whole).unwrap();
    let other = ToyApi::start();
    other.set_away(true);
    server.rewrite_corefile(&corefile(&other, &format!("{SNAPSHOT}\n startup_timeout 1s")));
    server.restart();
    server.wait_until_it_answers();
    let reason = format!("is not used: it is of another cluster: {}, and not {}", api.url(), other.url());
    assert!(server.log().contains(&reason), "{reason}: {}", server.log());
    assert_eq!(server.ask(&name("web"), A).rcode, SERVFAIL);
}

/// Killed while it writes, again and again: what is in its place is whole.
#[test]
fn a_kill_while_it_writes_leaves_the_one_before() {
    let api = ToyApi::start();
    let names: Vec<String> = (0..3000).map(|number| format!("web-{number}")).collect();
    let all = || names.iter().map(|name| (&**name, 20));
    api.set(all());
    let mut server = Program::Podzone.start(&corefile(&api, SNAPSHOT));
    let file = snapshot_of(&server);
    wait_until_written(&server, &file);
    let (mut seen, mut rounds) = (0, 0);
    while seen < 3 {
        rounds += 1;
        assert!(rounds <= 20, "a draft is seen now and then: {seen}");
        server.process().kill();
        server.restart();
        // All is listed, and so it is written at once.
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(20) {
            if has_draft(server.folder()) {
                server.process().kill();
                seen += u32::from(has_draft(server.folder()));
                break;
            }
            std::thread::yield_now();
        }
    }
    println!("killed {seen} times while it wrote, in {rounds} rounds");
    assert!(has_draft(server.folder()), "a killed process leaves its draft");
    api.set_away(true);
    server.restart();
    server.wait_until_it_answers();
    expect(&server, &name("web-2999"), NOERROR, 20);
    expect(&server, &name("web-0"), NOERROR, 20);
}

fn has_draft(folder: &Path) -> bool {
    let entries = std::fs::read_dir(folder).unwrap().flatten();
    entries.map(|entry| entry.file_name()).any(|name| name.to_string_lossy().starts_with("cluster.snapshot.new-"))
}

#[test]
fn a_snapshot_that_cannot_be_written_hurts_nobody() {
    let api = ToyApi::start();
    api.set([("web", 3)]);
    let server = Program::Podzone.start(&corefile(&api, "snapshot {folder}/missing/cluster.snapshot"));
    expect(&server, &name("web"), NOERROR, 3);
    wait_for("the failure is counted", PATIENCE, || {
        let failures = metric(&server, "podzone_snapshot_write_failures_total", None);
        if failures.is_some_and(|count| count >= 1.0) { Ok(()) } else { Err(server.log()) }
    });
    let log = server.log();
    assert!(log.contains("cannot keep a snapshot of ") && log.contains("No such file or directory"), "{log}");
    api.set([("web", 2)]);
    expect(&server, &name("web"), NOERROR, 2);
    assert_eq!(ready(&server), (200, "OK".into()));
    // From when there is a place, it is written.
    std::fs::create_dir(server.folder().join("missing")).unwrap();
    let file = server.folder().join("missing/cluster.snapshot");
    wait_for("it is written after all", Duration::from_secs(60), || std::fs::read(&file).map_err(|_| server.log()));
    wait_for_log(&server, "can be written again");
    assert_eq!(server.log().matches("cannot keep a snapshot of ").count(), 1, "{}", server.log());
}

const HOLD: &str = "hold_mass_removal 50% 4s";
const TEN: [&str; 10] = ["s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9"];

fn some(count: usize) -> impl Iterator<Item = (&'static str, u8)> {
    TEN.into_iter().take(count).map(|name| (name, 2))
}

fn held(server: &Server) -> u64 {
    metric(server, "podzone_held_objects", Some("EndpointSlice")).map_or(0, |count| count as u64)
}

#[test]
fn a_listing_that_loses_too_much_is_not_believed_at_once() {
    let api = ToyApi::start();
    api.set(some(10));
    let server = Program::Podzone.start(&corefile(&api, HOLD));
    expect(&server, &name("s9"), NOERROR, 2);

    // Less than the share goes at once.
    api.set(some(9));
    expect(&server, &name("s9"), NXDOMAIN, 0);
    // Its Service is enough for that; its slice may be listed later.
    let slices = || metric(&server, "podzone_objects", Some("EndpointSlice"));
    wait_for("its slice is gone", PATIENCE, || if slices() == Some(9.0) { Ok(()) } else { Err(server.log()) });
    assert_eq!(metric(&server, "podzone_holds_total", None), Some(0.0));

    // More stays; what is new comes, and what is changed is changed.
    let added = || some(3).map(|(name, count)| (name, count + 1)).chain([("new", 1)]);
    api.set(added());
    expect(&server, &name("new"), NOERROR, 1);
    expect(&server, &name("s0"), NOERROR, 3);
    wait_for("it is held back", PATIENCE, || if held(&server) == 6 { Ok(()) } else { Err(server.log()) });
    expect(&server, &name("s8"), NOERROR, 2);
    assert_eq!(server.ask(&format!("_p._tcp.{}", name("s8")), SRV).data_of(SRV).len(), 2);
    let (status, body) = ready(&server);
    assert!(status == 200 && body.contains("6 EndpointSlice that a listing left out stay for "), "{status} {body}");
    let log = server.log();
    assert!(log.contains("a listing left out 6 objects of the kind EndpointSlice, and with them 12 of "), "{log}");

    // What comes back is as it was, and the rest goes when its time is over.
    let began = Instant::now();
    api.set(added().chain([("s7", 2), ("s8", 2)]));
    wait_for("two are back", PATIENCE, || if held(&server) == 4 { Ok(()) } else { Err(server.log()) });
    expect(&server, &name("s8"), NOERROR, 2);
    expect(&server, &name("s4"), NXDOMAIN, 0);
    assert!(began.elapsed() < Duration::from_secs(12), "{:?}", began.elapsed());
    expect(&server, &name("s8"), NOERROR, 2);
    expect(&server, &name("s7"), NOERROR, 2);
    wait_for("nothing is held", PATIENCE, || if held(&server) == 0 { Ok(()) } else { Err(server.log()) });
    assert_eq!(ready(&server), (200, "OK".into()));
    assert!(metric(&server, "podzone_hold_removed_total", None).is_some_and(|count| count >= 4.0));
    assert!(server.log().contains("4 objects of the kind EndpointSlice did not come back, and are removed"));
}

#[test]
fn while_the_api_server_is_away_nothing_that_is_held_goes() {
    let api = ToyApi::start();
    api.set(some(10));
    let server = Program::Podzone.start(&corefile(&api, HOLD));
    expect(&server, &name("s9"), NOERROR, 2);
    api.set(some(2));
    wait_for("it is held back", PATIENCE, || if held(&server) == 8 { Ok(()) } else { Err(server.log()) });
    api.set_away(true);
    std::thread::sleep(Duration::from_secs(7));
    expect(&server, &name("s9"), NOERROR, 2);
    api.set(some(10));
    api.set_away(false);
    wait_for("all is back", PATIENCE, || if held(&server) == 0 { Ok(()) } else { Err(server.log()) });
    expect(&server, &name("s9"), NOERROR, 2);
    assert_eq!(metric(&server, "podzone_hold_removed_total", None), Some(0.0));
}

#[test]
fn the_first_listing_after_a_snapshot_may_lose_too_much_as_well() {
    let api = ToyApi::start();
    api.set(some(10));
    let mut server = Program::Podzone.start(&corefile(&api, &format!("{SNAPSHOT}\n{HOLD}")));
    let file = snapshot_of(&server);
    wait_until_written(&server, &file);
    restart_alone(&mut server, &api);
    api.set(some(1));
    api.set_away(false);
    wait_for("it is held back", PATIENCE, || if held(&server) == 9 { Ok(()) } else { Err(server.log()) });
    expect(&server, &name("s9"), NOERROR, 2);
    expect(&server, &name("s9"), NXDOMAIN, 0);
    expect(&server, &name("s0"), NOERROR, 2);
}

#[test]
fn a_reload_brings_these_options_changes_them_and_takes_them_away() {
    let api = ToyApi::start();
    api.set(some(10));
    let mut server = Program::Podzone.start(&corefile(&api, ""));
    expect(&server, &name("s9"), NOERROR, 2);
    let file = snapshot_of(&server);
    reload(&mut server, &corefile(&api, &format!("{SNAPSHOT}\nhold_mass_removal 50% 1h")));
    wait_until_written(&server, &file);
    api.set(some(2));
    wait_for("it is held back", PATIENCE, || if held(&server) == 8 { Ok(()) } else { Err(server.log()) });
    // It is not listed again for that: what is held stays held, for less long.
    reload(&mut server, &corefile(&api, "snapshot {folder}/other.snapshot\nhold_mass_removal 50% 2h"));
    let other = server.folder().join("other.snapshot");
    wait_until_written(&server, &other);
    assert_eq!(held(&server), 8);
    reload(&mut server, &corefile(&api, "hold_mass_removal 10% 1s"));
    expect(&server, &name("s9"), NXDOMAIN, 0);
    api.set(some(10));
    expect(&server, &name("s9"), NOERROR, 2);
    reload(&mut server, &corefile(&api, ""));
    api.set(some(1));
    expect(&server, &name("s9"), NXDOMAIN, 0);
    assert_eq!(metric(&server, "podzone_holds_total", None), Some(2.0), "{}", server.log());
    std::fs::remove_file(&other).unwrap();
    assert!(server.stop().is_some_and(|status| status.success()));
    assert!(!other.exists(), "nobody keeps it any more");
}

fn reload(server: &mut Server, corefile: &str) {
    let done = |server: &Server| server.log().matches("Reloading complete").count();
    let before = done(server);
    server.rewrite_corefile(corefile);
    server.process().signal("USR1");
    wait_for("a reload", PATIENCE, || if done(server) > before { Ok(()) } else { Err(server.log()) });
}

#[test]
fn with_listen_when_synced_the_sockets_wait_however_long_it_takes() {
    let api = ToyApi::start();
    api.set([("web", 3)]);
    api.set_away(true);
    let mut server = Server::spawn(Program::Podzone, &corefile(&api, "listen_when_synced"), &[]);
    // Longer than the default `startup_timeout`.
    std::thread::sleep(Duration::from_secs(7));
    assert!(std::net::TcpStream::connect(server.addr()).is_err(), "{}", server.log());
    let (status, body) = ready(&server);
    assert!(status == 503 && body.contains("not listed"), "{status} {body}");
    api.set_away(false);
    server.wait_until_it_answers();
    assert_eq!(server.ask(&name("web"), A).data_of(A).len(), 3, "{}", server.log());
    assert!(server.stop().is_some_and(|status| status.success()));
}
