//! What the README shows is what a newcomer sees.

mod support;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use support::process::{Process, Scratch};

/// The fenced blocks of a text in one language, in order.
fn blocks(text: &str, language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    text.split(&fence).skip(1).filter_map(|rest| rest.split_once("```")).map(|(block, _)| block.to_owned()).collect()
}

/// Record lines, white space made one, sorted; comments and empty lines left out.
fn records(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = text
        .lines()
        .filter(|line| !line.starts_with(';') && !line.trim().is_empty())
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    lines.sort();
    lines
}

#[test]
fn the_sample_cluster_answers_as_the_readme_shows() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = std::fs::read_to_string(root.join("README.md")).expect("README.md");
    let commands = blocks(&readme, "sh");
    let run = commands.iter().find(|block| block.contains("cargo run")).expect("a command that runs it");
    let dig = commands.iter().find(|block| block.starts_with("dig ")).expect("a dig line");
    let shown = records(blocks(&readme, "text").first().expect("dig's answer"));

    let (_, arguments) = run.trim().split_once(" -- ").expect("arguments of podzone");
    let mut command = Command::new(env!("CARGO_BIN_EXE_podzone"));
    command.args(arguments.split_whitespace()).current_dir(root);
    let scratch = Scratch::new();
    let _podzone = Process::spawn("podzone", command, &scratch.path().join("log"));
    let words: Vec<&str> = dig.split_whitespace().collect();
    support::wait_for("podzone answers as the README shows", Duration::from_secs(20), || {
        let output = Command::new("dig")
            .args(&words[1..])
            .args(["+noall", "+answer", "+additional", "+time=1", "+tries=1"])
            .output()
            .map_err(|error| format!("dig: {error}"))?;
        let answered = records(&String::from_utf8_lossy(&output.stdout));
        if answered == shown { Ok(()) } else { Err(format!("{answered:#?}")) }
    });
}

/// Commands of podzone itself, which end by themselves, do as the text around them says.
#[test]
fn the_commands_of_the_readme_succeed() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = std::fs::read_to_string(root.join("README.md")).expect("README.md");
    let blocks = blocks(&readme, "sh");
    let commands: Vec<&str> =
        blocks.iter().flat_map(|block| block.lines()).filter_map(|line| line.strip_prefix("podzone ")).collect();
    for name in ["check", "fmt"] {
        assert!(commands.iter().any(|command| command.split(' ').next() == Some(name)), "no podzone {name}");
    }
    for command in commands {
        let mut podzone = Command::new(env!("CARGO_BIN_EXE_podzone"));
        let output = podzone.args(command.split_whitespace()).current_dir(root).output().expect("podzone runs");
        let told = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "podzone {command}: {told}");
    }
}
