//! Planted secrets: they reach the commands they are meant for and appear nowhere else.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use super::yard::Yard;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// In `env` of an order; its ticket and the sealed copies hold it.
const ORDER: &str = "canary-of-the-order-5f1e";
/// In the environment of the daemon, passed on by name.
const PASSED: &str = "canary-of-the-daemon-7a2b";
/// In the configuration of the repository.
const REMOTE: &str = "canary-of-the-remote-9c3d";

/// The files below a directory that hold a text.
fn holding(dir: &Path, text: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap().flatten() {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            holding(&entry.path(), text, found);
        } else if kind.is_file() {
            let bytes = fs::read(entry.path()).unwrap();
            if bytes.windows(text.len()).any(|part| part == text.as_bytes()) {
                found.push(entry.path());
            }
        }
    }
}

/// A repository with a credential, a daemon with a secret, and a `git` that writes down its arguments.
fn planted() -> Yard {
    let mut yard = Yard::git();
    let remote = format!("https://somebody:{REMOTE}@example.invalid/x.git");
    yard.run_git(".", &["config", "remote.origin.url", &remote]);
    yard.run_git(".", &["config", "http.extraHeader", &format!("Authorization: Bearer {REMOTE}")]);
    yard.configure("settle = \"20ms\"\ngrace = \"100ms\"\n[env]\npass = [\"SECRET_TOKEN\"]\n");
    yard.env.push(("SECRET_TOKEN", PASSED.to_owned()));
    let tools = yard.beside("tools");
    fs::create_dir(&tools).unwrap();
    let arguments = yard.beside("git-arguments");
    let script =
        format!("#!/bin/bash\necho \"$@\" >> {}\nPATH={{}} exec git \"$@\"\n", arguments.display());
    let path = std::env::var("PATH").unwrap();
    fs::write(tools.join("git"), script.replace("{}", &path)).unwrap();
    fs::set_permissions(tools.join("git"), fs::Permissions::from_mode(0o755)).unwrap();
    yard.env.push(("PATH", format!("{}:{path}", tools.display())));
    yard
}

#[test]
fn secrets_reach_their_commands_and_nothing_else() {
    let mut yard = planted();
    yard.start();
    let env = format!("env: {{TOKEN: {ORDER}}}\n");
    let run = "run: 'bash -c \"test -n \\\"$TOKEN\\\" && test -n \\\"$SECRET_TOKEN\\\"\"'\n";
    let checks = "verify: {commands: ['test -n \"$TOKEN\"']}\n";
    yard.submit("GOOD", &format!("{env}{run}{checks}"));
    yard.until_in("done", "GOOD");
    assert_eq!(yard.key("done", "GOOD", "result"), "pass", "{}", yard.sight());
    let wrongs = [
        ("FAILS", format!("{env}run: 'exit 3'\n"), "failed"),
        ("ABSENT", format!("{env}run: no-such-program\n"), "failed"),
        ("TIME", format!("{env}timeout: 200ms\nrun: sleep 1000\n"), "failed"),
        (
            "CHECK",
            format!("{env}run: true\nverify: {{commands: ['test -z \"$TOKEN\"']}}\n"),
            "failed",
        ),
        ("DIRTY", format!("{env}run: 'echo > new'\n"), "failed"),
        ("BASE", format!("{env}base: no-such-branch\nrun: true\n"), "pending"),
        ("TWICE", format!("env: {{TOKEN: {ORDER}, TOKEN: {ORDER}}}\nrun: true\n"), "pending"),
        ("TYPE", format!("env: {{TOKEN: [{ORDER}]}}\nrun: true\n"), "pending"),
        ("NAME", format!("env: {{'A B': {ORDER}}}\nrun: true\n"), "pending"),
        ("OPEN", format!("env: {{TOKEN: \"{ORDER}}}\nrun: true\n"), "pending"),
        ("HOLE", format!("env: {{TOKEN: '{{{{x}}}}{ORDER}'}}\nrun: true\n"), "pending"),
    ];
    for (id, order, state) in &wrongs {
        yard.submit(id, order);
        if *state == "pending" {
            yard.until(id, || !yard.why("pending", id).is_empty());
        } else {
            yard.until_in(state, id);
        }
    }
    yard.kill();
    yard.start();
    yard.settle_down("LAST");
    assert_eq!(yard.term(), Some(0));

    let mut found = Vec::new();
    let dir = yard.root.parent().unwrap().to_owned();
    holding(&dir, ORDER, &mut found);
    let is_ticket = |path: &PathBuf| path.extension().is_some_and(|e| e == "yaml");
    assert!(found.len() >= 2 * 5, "the search finds tickets and sealed copies: {found:?}");
    found.retain(|path| !is_ticket(path));
    assert_eq!(found, Vec::<PathBuf>::new(), "value of `env`");
    holding(&dir, PASSED, &mut found);
    assert_eq!(found, Vec::<PathBuf>::new(), "value of the daemon's environment");
    holding(&dir, REMOTE, &mut found);
    assert_eq!(found, [yard.path(".git/config")], "credential of the repository");
    assert!(fs::read_to_string(yard.beside("git-arguments")).unwrap().contains("worktree add"));
}
