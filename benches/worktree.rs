//! From drop to first instruction with a worktree, whole and of one directory in a hundred, and the making of
//! the latter alone, beside `git worktree add -b` alone, in turn.
//!
//! `cargo bench --bench worktree -- [FILES] [ROUNDS]`. It prints medians and their ratio, and asserts
//! nothing: a figure is no test. Needs git and a quiet machine.

#![allow(clippy::unwrap_used, reason = "a step that fails ends the measurement")]

use jobyard::model::tree::{CommitId, Cone};
use jobyard::world::git::{Bounds, Git};
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Bytes of one file of the repository, at least; up to four times as many.
const FILE_BYTES: usize = 1024;
/// One directory of the repository: a hundred files.
const SCOPE: &str = "d0/e7/**";

fn main() {
    let numbers: Vec<usize> = std::env::args().filter_map(|word| word.parse().ok()).collect();
    let files = numbers.first().copied().unwrap_or(10_000);
    let rounds = numbers.get(1).copied().unwrap_or(9);
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("repository");
    repository(&root, files);
    let gate = dir.path().join("gate");
    assert!(Command::new("mkfifo").arg(&gate).status().unwrap().success());
    let mut daemon = daemon(&root, &dir.path().join("ready"));
    let commit = CommitId::parse(&said(&root, &["rev-parse", "main"])).unwrap();
    let cone = Cone::of_globs(&[SCOPE.to_owned()]).unwrap();
    let [mut alone, mut ours, mut made, mut scoped] = [const { Vec::new() }; 4];
    for round in 0..=rounds {
        let plain = of_git(&root, &dir.path().join("beside"), round);
        let dropped = of_jobyard(&root, &gate, &format!("B-{round}"), "");
        let making = of_making(&root, &commit, &cone, round);
        let keys = format!("checkout: scope\nscope: {{allow: [{SCOPE}]}}\n");
        let narrow = of_jobyard(&root, &gate, &format!("S-{round}"), &keys);
        // The first round of each warms the caches.
        if round > 0 {
            alone.push(plain);
            ours.push(dropped);
            made.push(making);
            scoped.push(narrow);
        }
    }
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    let [alone, ours, made, scoped] = [alone, ours, made, scoped].map(median);
    println!("files {files}, rounds {rounds}, medians");
    println!("git worktree add -b             {:9.2} ms", ms(alone));
    let beside = [
        ("drop to first instruction", ours),
        ("making one of the scope alone", made),
        ("drop to first, of the scope", scoped),
    ];
    for (what, took) in beside {
        println!("{what:31} {:9.2} ms, ratio {:6.3}", ms(took), ms(took) / ms(alone));
    }
}

fn ms(span: Duration) -> f64 {
    span.as_secs_f64() * 1e3
}

fn median(mut spans: Vec<Duration>) -> Duration {
    spans.sort();
    spans[spans.len() / 2]
}

fn git(root: &Path, arguments: &[&str]) {
    let identity = ["-c", "user.name=b", "-c", "user.email=b@example.invalid"];
    let mut command = Command::new("git");
    command.arg("-C").arg(root).args(identity).args(arguments).stdout(Stdio::null());
    assert!(command.env("GIT_CONFIG_GLOBAL", "/dev/null").status().unwrap().success());
}

fn said(root: &Path, arguments: &[&str]) -> String {
    let out = Command::new("git").arg("-C").arg(root).args(arguments).output().unwrap();
    String::from_utf8(out.stdout).unwrap().trim().to_owned()
}

/// Files of 1 to 4 KiB, a hundred in a directory.
fn repository(root: &Path, files: usize) {
    fs::create_dir_all(root.join("_ctx/jobs/pending")).unwrap();
    fs::write(root.join("_ctx/jobyard.toml"), "").unwrap();
    for number in 0..files {
        let dir = root.join(format!("d{}/e{}", number / 10_000, number / 100));
        fs::create_dir_all(&dir).unwrap();
        let line = format!("line of file {number}\n");
        let text = line.repeat((FILE_BYTES + number * 37 % (3 * FILE_BYTES)) / line.len());
        fs::write(dir.join(format!("f{number}.txt")), text).unwrap();
    }
    git(root, &["init", "-q", "-b", "main"]);
    fs::write(root.join(".git/info/exclude"), "/_ctx\n/.worktrees\n").unwrap();
    git(root, &["add", "."]);
    git(root, &["commit", "-q", "-m", "all"]);
    git(root, &["gc", "-q"]);
}

fn daemon(root: &Path, ready: &Path) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_jobyard"));
    command.arg("daemon").arg("--root").arg(root).arg("--ready-file").arg(ready);
    command.env("GIT_CONFIG_GLOBAL", "/dev/null").stdin(Stdio::null()).stderr(Stdio::null());
    let daemon = command.spawn().unwrap();
    until(|| ready.exists());
    daemon
}

fn until(mut holds: impl FnMut() -> bool) {
    while !holds() {
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

fn of_git(root: &Path, beside: &Path, round: usize) -> Duration {
    let (beside, branch) = (beside.to_str().unwrap(), format!("alone-{round}"));
    let begun = Instant::now();
    git(root, &["worktree", "add", "-q", "-b", &branch, beside, "main"]);
    let took = begun.elapsed();
    git(root, &["worktree", "remove", "--force", beside]);
    took
}

/// What a claim asks of git for a worktree of the cone, and nothing else.
fn of_making(root: &Path, commit: &CommitId, cone: &Cone, round: usize) -> Duration {
    let git_of_root = Git::new(root.to_owned(), Bounds::default());
    let (path, branch) = (format!(".worktrees/M-{round}"), format!("made-{round}"));
    let begun = Instant::now();
    git_of_root.add(&path, &branch, commit, Some(cone)).unwrap();
    let took = begun.elapsed();
    git(root, &["worktree", "remove", "--force", &path]);
    took
}

fn of_jobyard(root: &Path, gate: &Path, id: &str, keys: &str) -> Duration {
    let text = format!("id: {id}\ntitle: t\n{keys}run: 'echo > {}'\n", gate.display());
    let hidden = root.join(format!("_ctx/jobs/pending/.{id}"));
    fs::write(&hidden, text).unwrap();
    let begun = Instant::now();
    fs::rename(&hidden, root.join(format!("_ctx/jobs/pending/{id}.yaml"))).unwrap();
    // Opening ends when the command opens its end.
    let mut opened = File::open(gate).unwrap();
    let took = begun.elapsed();
    opened.read_to_end(&mut Vec::new()).unwrap();
    until(|| root.join(format!("_ctx/jobs/done/{id}.yaml")).exists());
    git(root, &["worktree", "remove", "--force", &format!(".worktrees/{id}")]);
    took
}
