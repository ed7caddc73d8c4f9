//! The Debian package: what it brings, and that it starts nothing.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use std::process::Command;

const SOURCE: &str = env!("CARGO_MANIFEST_DIR");

fn out(program: &str, arguments: &[&str]) -> String {
    let done = Command::new(program).args(arguments).current_dir(SOURCE).output().unwrap();
    assert!(done.status.success(), "{program} {arguments:?}: {done:?}");
    String::from_utf8(done.stdout).unwrap()
}

#[test]
fn it_brings_units_pages_completions_and_schemas() {
    let dir = tempfile::tempdir().unwrap();
    let made = out("packaging/deb", &[env!("CARGO_BIN_EXE_jobyard"), dir.path().to_str().unwrap()]);
    let list = out("dpkg-deb", &["--contents", made.trim()]);
    let mut wanted: Vec<String> = [
        "./usr/bin/jobyard",
        "./usr/lib/systemd/system/jobyard@.service",
        "./usr/lib/systemd/system/jobyard-daemon@.service",
        "./usr/lib/systemd/system/jobyard-exec@.service",
        "./usr/lib/systemd/user/jobyard@.service",
        "./usr/lib/sysusers.d/jobyard.conf",
        "./usr/lib/tmpfiles.d/jobyard.conf",
        "./usr/share/bash-completion/completions/jobyard",
        "./usr/share/zsh/vendor-completions/_jobyard",
        "./usr/share/fish/vendor_completions.d/jobyard.fish",
        "./usr/share/man/man1/jobyard.1.gz",
        "./usr/share/doc/jobyard/README.md",
        "./usr/share/doc/jobyard/copyright",
        "./usr/share/jobyard/schema/work-order.schema.json",
    ]
    .map(str::to_owned)
    .into();
    let verbs = crate::golden::verbs();
    wanted.extend(verbs.iter().map(|verb| format!("./usr/share/man/man1/jobyard-{verb}.1.gz")));
    for file in wanted {
        assert!(list.lines().any(|line| line.ends_with(&format!(" {file}"))), "{file}: {list}");
    }
    let begun: Vec<&str> = list.lines().filter(|line| line.contains("/etc/")).collect();
    assert!(begun.is_empty(), "what is enabled lies in /etc: {begun:?}");
    let first = out("dpkg-deb", &["--info", made.trim(), "postinst"]);
    for word in ["enable", "systemctl start", "--now"] {
        assert!(!first.contains(word), "{word}: {first}");
    }
}
