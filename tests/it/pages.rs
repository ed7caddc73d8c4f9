//! The commands that pages tell people to type: taken from the page, and run as a shell runs them.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use crate::yard::Yard;
use std::path::Path;
use std::process::{Command, Stdio};

/// The `sh` blocks of a page as lists of commands; a here-document belongs to its command.
pub(crate) fn commands(page: &str) -> Vec<Vec<String>> {
    let blocks = page.split("```sh\n").skip(1).filter_map(|rest| rest.split_once("```"));
    blocks.map(|(block, _)| split(block)).collect()
}

fn split(block: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut lines = block.lines();
    while let Some(line) = lines.next() {
        let mut command = format!("{line}\n");
        if let Some((_, end)) = line.split_once("<<'") {
            let end = end.split('\'').next().unwrap();
            for line in lines.by_ref() {
                command.push_str(&format!("{line}\n"));
                if line == end {
                    break;
                }
            }
        }
        let empty = command.trim().is_empty() || command.starts_with('#');
        found.extend((!empty).then_some(command));
    }
    found
}

/// Runs commands in one shell in the root of a yard: each with what it printed, both streams, and its code.
pub(crate) fn shell(yard: &Yard, commands: &[String]) -> Vec<(String, String, i32)> {
    const MARK: &str = "\u{1}end ";
    let mut script = String::from("exec 2>&1\n");
    for command in commands {
        script.push_str(&format!("{command}printf '{MARK}%d\\n' $?\n"));
    }
    let program = Path::new(env!("CARGO_BIN_EXE_jobyard")).parent().unwrap();
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
    let scratch = yard.beside("scratch");
    std::fs::create_dir_all(&scratch).unwrap();
    let mut bash = Command::new("timeout");
    bash.args(["-s", "KILL", "120", "bash", "-c", &script]).current_dir(&yard.root);
    bash.env("PATH", path).env("TMPDIR", scratch).env("GIT_CONFIG_GLOBAL", "/dev/null");
    bash.env_remove("JOBYARD_ROOT").env_remove("COLUMNS").env("TZ", "UTC").stdin(Stdio::null());
    let out = bash.output().unwrap();
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let mut parts = text.split(MARK);
    let mut said = parts.next().unwrap_or_default().to_owned();
    let mut ran = Vec::new();
    for (command, part) in commands.iter().zip(parts) {
        let (code, next) = part.split_once('\n').unwrap();
        ran.push((command.trim_end().to_owned(), said, code.parse().unwrap()));
        said = next.to_owned();
    }
    assert_eq!(ran.len(), commands.len(), "the shell ended early: {text}");
    ran
}

#[test]
fn commands_are_taken_whole() {
    let page = "a\n```sh\none # x\n\n# talk\ntwo <<'END'\nbody\nEND\nthree\n```\n```\nno\n```\n";
    assert_eq!(commands(page), [["one # x\n", "two <<'END'\nbody\nEND\n", "three\n"]]);
}
