//! `podzone check` and `podzone fmt` as they are called.

use std::path::Path;
use std::process::{Command, Output};

use crate::support::process::Scratch;

const BAD: &str = "\
.:53 {
    bufsize 1
    dnstap
    kuberentes cluster.local
    forward . 127.0.0.1 {
        polcy random
    }
}
tls://a_b.example {
    errors
}
";

fn podzone(folder: &Path, words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_podzone")).args(words).current_dir(folder).output().expect("podzone runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

/// A folder with a Corefile.
fn folder(corefile: &str) -> Scratch {
    let scratch = Scratch::new();
    std::fs::write(scratch.path().join("Corefile"), corefile).unwrap();
    scratch
}

#[test]
fn check_tells_all_errors_with_their_places_and_hints() {
    let scratch = folder(BAD);
    let output = podzone(scratch.path(), &["check"]);
    assert_eq!(output.status.code(), Some(1));
    let told = text(&output.stdout);
    for expected in [
        "Corefile:4 - Error during parsing: Unknown directive 'kuberentes'\n --> Corefile:4:5\n",
        "  = help: did you mean 'kubernetes'?\n",
        "plugin/bufsize: plugin/bufsize: Corefile:2 - Error during parsing: Wrong argument count",
        "plugin/forward: Corefile:6 - Error during parsing: unknown property 'polcy'\n --> Corefile:6:9\n",
        "  = help: did you mean 'policy'?\n",
        "Corefile:3 - Error during parsing: directive 'dnstap' is not served by podzone\n",
        "  = help: write log instead, which has a format of your own",
        "Corefile:9 - Error during parsing: transport tls:// is not served by podzone\n",
        "\nCorefile: 5 errors\n",
    ] {
        assert!(told.contains(expected), "{expected}\n--\n{told}");
    }
    // Serving begins with the same words.
    let output = podzone(scratch.path(), &["-conf", "Corefile"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stderr).trim_end(), told.split("\n\nCorefile: 5 errors").next().unwrap());
}

#[test]
fn check_tells_programs_in_json() {
    let scratch = folder(BAD);
    let output = podzone(scratch.path(), &["check", "--format", "json", "-conf", "Corefile"]);
    assert_eq!(output.status.code(), Some(1));
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(found["file"], "Corefile");
    let errors = found["errors"].as_array().unwrap();
    assert_eq!(errors.len(), 5, "{found}");
    assert_eq!(
        errors[0],
        serde_json::json!({
            "file": "Corefile", "line": 4, "column": 5,
            "message": "Corefile:4 - Error during parsing: Unknown directive 'kuberentes'",
            "hint": "did you mean 'kubernetes'?",
        })
    );
    for error in errors {
        assert!(error["line"].is_u64() && error["column"].is_u64() && error["hint"].is_string(), "{error}");
    }

    std::fs::write(scratch.path().join("Corefile"), "a_b {\n    errors\n}\n").unwrap();
    let output = podzone(scratch.path(), &["check", "-format=json"]);
    assert_eq!(output.status.code(), Some(0));
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(found["errors"], serde_json::json!([]));
    let warning = &found["warnings"][0];
    assert_eq!((&warning["line"], &warning["column"]), (&1.into(), &1.into()), "{found}");
    assert!(warning["message"].as_str().unwrap().contains("RFC1035 preferred syntax"), "{found}");

    let output = podzone(scratch.path(), &["check"]);
    assert_eq!(output.status.code(), Some(0));
    let told = text(&output.stdout);
    assert!(told.starts_with("warning: Corefile:1: Domain \"a_b.\" does not follow"), "{told}");
    assert!(told.contains("\n --> Corefile:1:1\n") && told.ends_with("\nCorefile: 1 warning\n"), "{told}");
}

#[test]
fn check_takes_ports_pipes_and_files_that_are_not_there() {
    let scratch = folder("a {\n    errors\n}\na:1053 {\n    errors\n}\n");
    assert_eq!(podzone(scratch.path(), &["check"]).status.code(), Some(0));
    for port in [["-dns.port", "1053"], ["-p", "1053"]] {
        let output = podzone(scratch.path(), &["check", port[0], port[1]]);
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output.stdout).contains("cannot serve dns://a.:1053 - it is already defined"));
    }
    let output = podzone(scratch.path(), &["check", "-conf", "nothing", "-format", "json"]);
    assert_eq!(output.status.code(), Some(1));
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(
        (&found["errors"][0]["file"], &found["errors"][0]["line"]),
        (&"nothing".into(), &serde_json::Value::Null)
    );
    let piped = Command::new("sh")
        .args(["-c", "echo '. { errors }' | \"$0\" check -conf stdin", env!("CARGO_BIN_EXE_podzone")])
        .output()
        .unwrap();
    assert_eq!(piped.status.code(), Some(1));
    assert!(text(&piped.stdout).contains("Unexpected '}' because no matching opening brace"));
}

#[test]
fn fmt_prints_writes_or_only_looks() {
    let (uneven, even) =
        (".  {\n\n errors # e\n  import   *.conf\n\n}\n", ". {\n    errors # e\n    import *.conf\n}\n");
    let scratch = folder(uneven);
    let path = scratch.path().join("Corefile");
    let read = || std::fs::read_to_string(&path).unwrap();

    let printed = podzone(scratch.path(), &["fmt"]);
    assert_eq!((printed.status.code(), text(&printed.stdout)), (Some(0), even.to_owned()));
    let looked = podzone(scratch.path(), &["fmt", "-check"]);
    assert_eq!((looked.status.code(), text(&looked.stdout)), (Some(1), String::new()));
    assert!(text(&looked.stderr).contains("Corefile is not formatted"));
    assert_eq!(read(), uneven);

    // The file behind a link is written, and keeps its permissions.
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
    let link = scratch.path().join("link");
    std::os::unix::fs::symlink("Corefile", &link).unwrap();
    let written = podzone(scratch.path(), &["fmt", "-conf", "link", "-w"]);
    assert_eq!((written.status.code(), text(&written.stdout)), (Some(0), String::new()));
    assert_eq!(read(), even);
    assert!(link.is_symlink());
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
    assert_eq!(podzone(scratch.path(), &["fmt", "--check"]).status.code(), Some(0));
    assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 2);

    std::fs::write(&path, ". {\n log \"a\n}\n").unwrap();
    let refused = podzone(scratch.path(), &["fmt", "-write"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("this quote is never closed"), "{}", text(&refused.stderr));
    assert_eq!(podzone(scratch.path(), &["fmt", "-conf", "nothing"]).status.code(), Some(1));
}

/// The directives that a program lists, a line each.
fn directives(program: &Path) -> Vec<String> {
    let output = Command::new(program).arg("-plugins").output().expect("it runs");
    text(&output.stdout).lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

#[test]
fn every_directive_of_coredns_is_served_or_refused_by_name_with_what_to_do_instead() {
    let served = directives(Path::new(env!("CARGO_BIN_EXE_podzone")));
    let mut others = directives(&crate::support::peers::binary("coredns"));
    assert!(served.iter().all(|name| others.contains(name)), "{served:?}\n{others:?}");
    others.retain(|name| !served.contains(name));
    assert!(!others.is_empty());
    let scratch = folder(&format!(". {{\n{}\n}}\n", others.join("\n")));
    let output = podzone(scratch.path(), &["check", "-format", "json"]);
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let errors = found["errors"].as_array().unwrap();
    assert_eq!(errors.len(), others.len(), "{found}");
    for (number, (name, error)) in others.iter().zip(errors).enumerate() {
        let line = number + 2;
        let message = format!("Corefile:{line} - Error during parsing: directive '{name}' is not served by podzone");
        assert_eq!((&error["message"], &error["line"]), (&message.into(), &line.into()));
        assert!(error["hint"].is_string(), "{error}");
    }
}
