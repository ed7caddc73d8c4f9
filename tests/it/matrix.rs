//! Every verb in every bad situation: its exit code and a piece of what it says, as one table.
//!
//! Invariants: a refused call changes nothing; no call panics, and none is silent about a failure. A new verb
//! gets a row (`every_verb_has_a_row`).

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

mod configuration;
mod disk;
mod interrupts;

use crate::golden::scene::{Said, Scene};
use crate::golden::verbs;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A call and what becomes of it: the code, then a piece of what is said. `-`: it does not apply.
struct Row {
    /// The call; `ID` is replaced by an id that is right for it, or by an unknown one.
    call: &'static str,
    /// The id that is right.
    id: &'static str,
    /// The id is unknown.
    unknown: &'static str,
    /// There is no root where it is called.
    rootless: &'static str,
    /// The root belongs to somebody else, who lets it be read.
    foreign: &'static str,
    /// The root belongs to somebody else, who does not.
    closed: &'static str,
    /// What it writes to is full; when the reader is gone it ends as always.
    full: &'static str,
}

const fn row(
    call: &'static str,
    id: &'static str,
    [unknown, rootless, foreign, closed, full]: [&'static str; 5],
) -> Row {
    Row { call, id, unknown, rootless, foreign, closed, full }
}

const NOT_FOUND: &str = "3 no _ctx/ in";
const LOCKED: &str = "1 Permission denied (os error 13); run this as the user whose files they are";
const LEDGER: &str = "1 the ledger cannot be read on; run this as the user whose files they are";
const CONFIG: &str =
    "1 jobyard.toml: it cannot be read: look at _ctx/jobyard.toml: Permission denied";
const NO_ORDER: &str = "3 no work order NOPE; `jobyard list` shows those there are";
const NO_SUCH: &str = "3 there is no such work order";
const FULL: &str = "1 write to stdout: No space left on device";

const ROWS: &[Row] = &[
    row("init", "", ["-", "-", "1 run init again; run this as the user whose", CONFIG, FULL]),
    row("daemon --drain", "", ["-", NOT_FOUND, LOCKED, LOCKED, "-"]),
    row(
        "submit new.yaml",
        "",
        ["-", NOT_FOUND, "1 nothing was submitted; run this as", CONFIG, "-"],
    ),
    row(
        "add --id NEW -- true",
        "",
        ["-", NOT_FOUND, "1 dubious ownership", "1 dubious ownership", "-"],
    ),
    row(
        "plan system_test --mode debug",
        "",
        ["-", NOT_FOUND, "1 nothing was planned; run this as the user", CONFIG, FULL],
    ),
    row("edit ID --set title=x", "WO-09", [NO_ORDER, NOT_FOUND, "1 run this as", CONFIG, "-"]),
    row("groups", "", ["-", NOT_FOUND, "0", LOCKED, FULL]),
    row("take ID", "WO-09", [NO_SUCH, NOT_FOUND, LOCKED, LEDGER, "-"]),
    row("finish ID", "WO-07", [NO_SUCH, NOT_FOUND, LOCKED, LEDGER, "-"]),
    row("verify ID", "WO-07", [NO_ORDER, NOT_FOUND, "4 only the holder", LOCKED, FULL]),
    row("import older", "", ["-", NOT_FOUND, "0", CONFIG, FULL]),
    row("cancel ID", "WO-07", [NO_SUCH, NOT_FOUND, LOCKED, LEDGER, "-"]),
    row("requeue ID", "WO-02", [NO_SUCH, NOT_FOUND, LOCKED, LEDGER, "-"]),
    row("hold ID", "WO-09", [NO_SUCH, NOT_FOUND, LOCKED, LEDGER, "-"]),
    row("unhold ID", "WO-05", [NO_SUCH, NOT_FOUND, LOCKED, LEDGER, "-"]),
    row("heartbeat ID", "WO-07", ["3 NOPE is not held", NOT_FOUND, "5 holds it", CONFIG, FULL]),
    row("list", "", ["-", NOT_FOUND, "0", LOCKED, FULL]),
    row("status", "", ["-", NOT_FOUND, "0", LOCKED, FULL]),
    row("show ID", "WO-01", [NO_ORDER, NOT_FOUND, "0", LOCKED, FULL]),
    row("why ID", "WO-03", [NO_ORDER, NOT_FOUND, "0", LOCKED, FULL]),
    row("impact ID", "WO-07", [NO_ORDER, NOT_FOUND, "0", LOCKED, FULL]),
    row("deps ID", "WO-08", [NO_ORDER, NOT_FOUND, "0", LOCKED, FULL]),
    row("stats", "", ["-", NOT_FOUND, "0", LOCKED, FULL]),
    row("wait ID", "WO-01", [NO_ORDER, NOT_FOUND, "0", LOCKED, FULL]),
    row("logs ID", "WO-04", [NO_ORDER, NOT_FOUND, "0", LOCKED, FULL]),
    row("logs -f ID", "WO-04", [NO_ORDER, NOT_FOUND, "0", LOCKED, FULL]),
    row("lint", "", ["-", NOT_FOUND, "7", LOCKED, FULL]),
    row("reconcile", "", ["-", NOT_FOUND, "7", LOCKED, FULL]),
    row("doctor", "", ["-", NOT_FOUND, "7", LOCKED, FULL]),
    row(
        "gc ID",
        "WO-01",
        ["3 there is no worktree .worktrees/NOPE", NOT_FOUND, "1 ownership", LOCKED, FULL],
    ),
    row("fmt --check new.yaml", "", ["-", "3 read new.yaml: No such file", "0", "0", "-"]),
    // It also shows what was refused.
    row("audit show ID", "WO-01", ["-", NOT_FOUND, "0", LOCKED, FULL]),
    row("schema", "", ["-", "0", "0", "0", FULL]),
    row("config", "", ["-", NOT_FOUND, "0", CONFIG, FULL]),
    row("completions bash", "", ["-", "0", "0", "0", FULL]),
    row("man take", "", ["-", "0", "0", "0", FULL]),
    row("demo --dry-run", "", ["-", "0", "0", "0", FULL]),
];

/// A tree, a directory without one, and who calls.
struct Stage {
    scene: Scene,
    program: PathBuf,
    bare: tempfile::TempDir,
}

impl Stage {
    fn new() -> Self {
        let scene = Scene::new();
        fs::write(scene.root().join("new.yaml"), "id: NEW\ntitle: T\n").unwrap();
        let bare = tempfile::TempDir::new().unwrap();
        // Where others may run it.
        let program = bare.path().join("jobyard");
        crate::yard::copy_program(env!("CARGO_BIN_EXE_jobyard"), &program);
        for dir in [bare.path(), scene.root().parent().unwrap()] {
            fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).unwrap();
        }
        Self { scene, program, bare }
    }

    /// A call, ready to be run in a directory, behind `prefix`.
    fn command(&self, prefix: &[&str], dir: &Path, call: &str) -> Command {
        let mut command = Command::new("timeout");
        command.args(["-s", "KILL", "60"]).args(prefix).arg(&self.program);
        command.args(call.split_whitespace()).current_dir(dir).stdin(Stdio::null());
        command.env("GIT_CONFIG_GLOBAL", "/dev/null").env_remove("JOBYARD_ROOT");
        command
    }

    fn run(&self, prefix: &[&str], dir: &Path, call: &str) -> Said {
        Said::of(&self.command(prefix, dir, call).output().unwrap())
    }

    /// Every file of the tree with its size and time.
    fn sight(&self) -> String {
        let mut find = Command::new("find");
        find.arg(self.scene.root()).args(["-printf", "%p %s %T@ %m\\n"]);
        let out = String::from_utf8(find.output().unwrap().stdout).unwrap();
        // Whoever tries the root lock writes who it is.
        let mut lines: Vec<&str> = out.lines().filter(|line| !line.contains("root.lock")).collect();
        lines.sort_unstable();
        lines.join("\n")
    }
}

/// Whether a call ended as its cell says.
fn check(place: &str, call: &str, want: &str, said: &Said, wrong: &mut Vec<String>) {
    let (code, piece) = want.split_once(' ').unwrap_or((want, ""));
    let text = format!("{}{}", said.out, said.err);
    let silent = said.code != 0 && text.is_empty();
    if said.code.to_string() != code || !text.contains(piece) || silent || text.contains("panicked")
    {
        wrong.push(format!("{place}: `{call}`: wanted {want}, got {} {text}", said.code));
    }
}

#[track_caller]
fn none(wrong: &[String]) {
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// Runs what is not to change anything.
#[track_caller]
fn all(
    stage: &Stage,
    place: &str,
    prefix: &[&str],
    dir: &Path,
    id: Option<&str>,
    cell: fn(&Row) -> &str,
) {
    let before = stage.sight();
    let mut wrong = Vec::new();
    for row in ROWS.iter().filter(|row| cell(row) != "-") {
        let call = row.call.replace("ID", id.unwrap_or(row.id));
        let said = stage.run(prefix, dir, &call);
        check(place, &call, cell(row), &said, &mut wrong);
    }
    none(&wrong);
    assert_eq!(before, stage.sight(), "{place}: something was changed");
}

#[test]
fn unknown_ids_are_not_found() {
    let stage = Stage::new();
    let root = stage.scene.root();
    let mut wrong = Vec::new();
    // Twice: what was asked about it and refused does not make it known.
    for row in ROWS.iter().chain(ROWS).filter(|row| row.unknown != "-") {
        let call = row.call.replace("ID", "NOPE");
        let said = stage.run(&[], root, &call);
        check("unknown id", &call, row.unknown, &said, &mut wrong);
    }
    none(&wrong);
}

#[test]
fn a_missing_root_is_said_with_what_to_do() {
    let stage = Stage::new();
    all(&stage, "no root", &[], stage.bare.path(), None, |row| row.rootless);
    let mut wrong = Vec::new();
    for row in ROWS.iter().filter(|row| row.rootless == NOT_FOUND) {
        let call = format!("--root /nonexistent {}", row.call.replace("ID", row.id));
        let said = stage.run(&[], stage.bare.path(), &call);
        check("root named", &call, "3 open root /nonexistent: No such file", &said, &mut wrong);
    }
    none(&wrong);
}

#[test]
fn a_root_is_the_named_one_and_never_made_by_naming_it() {
    let stage = Stage::new();
    let (root, bare) = (stage.scene.root().display(), stage.bare.path());
    let mut wrong = Vec::new();
    for row in ROWS.iter().filter(|r| r.rootless == NOT_FOUND && !r.call.starts_with("daemon")) {
        let call = format!("--root {} {}", bare.display(), row.call.replace("ID", row.id));
        let want = "3 is no root: it has no _ctx/; `jobyard init --root";
        check("a directory", &call, want, &stage.run(&[], bare, &call), &mut wrong);
    }
    none(&wrong);
    assert!(!bare.join("_ctx").exists());
    // The flag, then the variable, then the nearest; an inner root is one of its own.
    let inner = stage.scene.root().join("inner/below");
    fs::create_dir_all(inner.join("../_ctx")).unwrap();
    let shown = |call: &str, variable: Option<&str>| {
        let mut command = stage.command(&[], &inner, call);
        command.envs(variable.map(|v| ("JOBYARD_ROOT", v)));
        let said = Said::of(&command.output().unwrap());
        said.out.lines().next().unwrap_or_default().replace("root     ", "")
    };
    let nearest = stage.scene.root().join("inner").display().to_string();
    assert_eq!(shown("status", None), nearest);
    assert_eq!(shown("status", Some("")), nearest);
    assert_eq!(shown("status", Some(&root.to_string())), root.to_string());
    assert_eq!(shown("status --root ..", Some(&root.to_string())), nearest);
    assert_eq!(shown("status --root ..", Some("/nonexistent")), nearest);
}

/// Whoever has no right to anything here. Becoming another user needs root, by `sudo` for everybody else.
fn nobody() -> &'static [&'static str] {
    const SUDO: [&str; 6] =
        ["sudo", "-n", "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    if rustix::process::geteuid().is_root() { &SUDO[2..] } else { &SUDO }
}

#[test]
fn a_root_of_somebody_else_may_be_looked_at_and_not_changed() {
    let prefix = nobody();
    let stage = Stage::new();
    all(&stage, "foreign", prefix, stage.scene.root(), None, |row| row.foreign);
    let own = stage.scene.root().join("_ctx");
    fs::set_permissions(&own, fs::Permissions::from_mode(0o000)).unwrap();
    all(&stage, "closed", prefix, stage.scene.root(), None, |row| row.closed);
    fs::set_permissions(&own, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_full_device_is_a_failure_and_a_reader_that_goes_is_none() {
    let stage = Stage::new();
    let root = stage.scene.root();
    let mut wrong = Vec::new();
    for row in ROWS.iter().filter(|row| row.full != "-") {
        let call = row.call.replace("ID", row.id);
        let full = File::options().write(true).open("/dev/full").unwrap();
        let said = Said::of(&stage.command(&[], root, &call).stdout(full).output().unwrap());
        check("/dev/full", &call, row.full, &said, &mut wrong);
        let whole = stage.run(&[], root, &call);
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let gone = Said::of(&stage.command(&[], root, &call).stdout(writer).output().unwrap());
        if (gone.code, &gone.err) != (whole.code, &whole.err) {
            wrong.push(format!("reader gone: `{call}`: {} {}", gone.code, gone.err));
        }
    }
    none(&wrong);
}

#[test]
fn every_verb_has_a_row() {
    let mut rows: BTreeMap<&str, usize> = BTreeMap::new();
    for row in ROWS {
        *rows.entry(row.call.split(' ').next().unwrap()).or_default() += 1;
    }
    for verb in verbs() {
        assert!(
            rows.contains_key(verb.as_str()),
            "`{verb}` has no row: write one in ROWS of tests/it/matrix.rs: what it does about an unknown id, \
             without a root, in a root that is somebody else's, and when it cannot write"
        );
    }
}
