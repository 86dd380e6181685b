//! A folder of manifests in which things are wrong.

use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::support::dns::{A, NOERROR, NXDOMAIN};
use super::support::process::Scratch;
use super::support::server::{Program, Server};
use super::support::wait_for;

const SEEN_WITHIN: Duration = Duration::from_secs(30);

pub const COREFILE: &str = "cluster.local {\n errors\n kubernetes {\n  manifests FOLDER\n }\n}\n";

pub fn service(name: &str, address: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: a}}\n\
         spec: {{clusterIP: {address}, ports: [{{port: 80}}]}}\n"
    )
}

fn put(folder: &Path, file: &str, text: &str) {
    std::fs::write(folder.join(file), text).unwrap();
}

fn expect(server: &Server, name: &str, rcode: u16, data: &[&str]) {
    wait_for(&format!("{name} is {data:?}"), SEEN_WITHIN, || {
        let answer = server.ask(&format!("{name}.a.svc.cluster.local."), A);
        if answer.rcode == rcode && answer.data_of(A) == data { Ok(()) } else { Err(answer.to_string()) }
    });
}

fn logged(server: &Server, text: &str) {
    wait_for(text, SEEN_WITHIN, || if server.log().contains(text) { Ok(()) } else { Err(server.log()) });
}

#[test]
fn what_is_wrong_in_a_folder_takes_nothing_from_what_is_right() {
    let scratch = Scratch::new();
    let folder = scratch.path().join("manifests");
    std::fs::create_dir(&folder).unwrap();
    put(&folder, "web.yaml", &service("web", "10.96.0.1"));
    put(&folder, "broken.yaml", "a: [");
    // Without a block on the disk.
    File::create(folder.join("large.yaml")).unwrap().set_len(100 << 20).unwrap();
    let pipe = folder.join("pipe.yaml");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    std::os::unix::fs::symlink("/dev/zero", folder.join("zero.yaml")).unwrap();
    std::os::unix::fs::symlink("loop.yaml", folder.join("loop.yaml")).unwrap();
    std::fs::create_dir(folder.join("folder.yaml")).unwrap();
    std::fs::write(folder.join("binary.yaml"), [0xff, 0xfe, 0]).unwrap();

    let corefile = COREFILE.replace("FOLDER", &folder.to_string_lossy());
    let server = Program::Podzone.start(&corefile);
    expect(&server, "web", NOERROR, &["10.96.0.1"]);
    expect(&server, "never", NXDOMAIN, &[]);
    for line in [
        "broken.yaml: line 1: ",
        "large.yaml: larger than 16 MiB; it is left out",
        "pipe.yaml: not a file; it is left out",
        "zero.yaml: not a file; it is left out",
        "loop.yaml: ",
        "folder.yaml: not a file; it is left out",
        "binary.yaml: not UTF-8 text (at byte 0); it is left out",
    ] {
        let count = server.log().matches(line).count();
        assert_eq!(count, 1, "{line}\n{}", server.log());
    }

    // A file that breaks keeps what it said.
    put(&folder, "web.yaml", "kind: [");
    logged(&server, "what it said before stays");
    expect(&server, "web", NOERROR, &["10.96.0.1"]);
    put(&folder, "web.yaml", &service("web", "10.96.0.2"));
    expect(&server, "web", NOERROR, &["10.96.0.2"]);

    // A folder that is emptied holds nothing; one that is gone is an accident.
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        std::fs::remove_file(&path).or_else(|_| std::fs::remove_dir(&path)).unwrap();
    }
    expect(&server, "web", NXDOMAIN, &[]);
    put(&folder, "again.yaml", &service("again", "10.96.0.3"));
    expect(&server, "again", NOERROR, &["10.96.0.3"]);
    std::fs::remove_dir_all(&folder).unwrap();
    logged(&server, "what is known is still served");
    expect(&server, "again", NOERROR, &["10.96.0.3"]);
    assert!(!server.log().contains("panicked"), "{}", server.log());
}
