//! Files that are no work orders, in every way a file can be wrong: each is told why, once, and disturbs
//! nothing else.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use super::yard::Yard;
use jobyard::model::order::State;
use jobyard::world::watch::{Hint, Place, Watch};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Contents that are refused, by the id of the ticket: what the explanation says.
const CONTENTS: [(&str, &str, &str); 18] = [
    ("EMPTY", "", "empty"),
    ("DOUBLE", "id: DOUBLE\ntitle: T\nrun: a\nrun: b\n", "line 3"),
    ("TWO", "id: TWO\ntitle: T\n---\nid: TWO\n", "document"),
    ("TAB", "id: TAB\ntitle: T\nverify:\n\tcommands: [a]\n", "tab"),
    ("NUL", "id: NUL\ntitle: \"a\0b\"\n", "NUL"),
    ("LIST", "- id: LIST\n", "map"),
    ("OTHER", "id: ANOTHER\ntitle: T\n", "ANOTHER"),
    ("NAMELESS", "title: T\n", "id"),
    ("TITLELESS", "id: TITLELESS\n", "title"),
    ("COLON", "id: COLON\ntitle: T\nrun: [echo a: b]\n", "quote"),
    ("TYPE", "id: TYPE\ntitle: T\nretry: often\n", "retry"),
    ("WORD", "id: WORD\ntitle: T\npriority: hihg\n", "high"),
    ("HOLE", "id: HOLE\ntitle: T\nrun: 'echo {{item}}'\n", "{{item}}"),
    ("SELF", "id: SELF\ntitle: T\ndependencies: [SELF]\n", "itself"),
    ("VERSION", "id: VERSION\ntitle: T\nversion: 2\n", "version"),
    ("TIME", "id: TIME\ntitle: T\ntimeout: soon\n", "timeout"),
    ("OPEN", "id: OPEN\ntitle: \"T\n", ":"),
    ("TAG", "id: TAG\ntitle: !!python/object/apply:os.system [\"touch pwned\"]\n", "title"),
];

fn pending(yard: &Yard, name: impl AsRef<OsStr>) -> PathBuf {
    yard.path("_ctx/jobs/pending").join(name.as_ref())
}

/// Anchors that repeat each other: a few lines that mean millions of values.
fn bomb() -> String {
    let mut text = "id: BOMB\ntitle: T\nx_a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for n in 1..10 {
        let before = format!("*a{}, ", n - 1).repeat(10);
        text.push_str(&format!("x_a{n}: &a{n} [{}]\n", before.trim_end_matches(", ")));
    }
    text
}

fn deep() -> String {
    format!("id: DEEP\ntitle: T\nx_deep: {}{}\n", "[".repeat(10_000), "]".repeat(10_000))
}

/// Puts every kind of wrong file into `pending/`; names and what the explanation beside each says.
fn drop_everything(yard: &Yard) -> Vec<(String, &'static str)> {
    let mut dropped = Vec::new();
    for (id, text, said) in CONTENTS {
        yard.publish(&Yard::ticket("pending", id), text);
        dropped.push((format!("{id}.yaml"), said));
    }
    yard.publish(&Yard::ticket("pending", "BOMB"), &bomb());
    yard.publish(&Yard::ticket("pending", "DEEP"), &deep());
    fs::write(pending(yard, "LATIN.yaml"), b"id: LATIN\ntitle: caf\xe9\n").unwrap();
    fs::create_dir(pending(yard, "DIR.yaml")).unwrap();
    symlink("/etc/hostname", pending(yard, "LINK.yaml")).unwrap();
    symlink("nowhere", pending(yard, "DANGLING.yaml")).unwrap();
    yard.fifo("_ctx/jobs/pending/FIFO.yaml");
    yard.put("twin.yaml", "id: HARD\ntitle: T\nrun: touch pwned\nworkspace: none\n");
    fs::hard_link(yard.path("twin.yaml"), pending(yard, "HARD.yaml")).unwrap();
    File::create(pending(yard, "GIANT.yaml")).unwrap().set_len(1 << 30).unwrap();
    let valid = "title: T\nrun: touch pwned\nworkspace: none\n";
    for name in ["SHORT.yml", "a b.yaml", "new\nline.yaml", "x..y.yaml", "-dash.yaml", "ü.yaml"] {
        let stem = name.rsplit_once('.').unwrap().0;
        fs::write(pending(yard, name), format!("id: {stem:?}\n{valid}")).unwrap();
    }
    fs::write(pending(yard, OsStr::from_bytes(b"caf\xe9.yaml")), valid).unwrap();
    fs::write(pending(yard, "y".repeat(250) + ".yaml"), valid).unwrap();
    fs::write(pending(yard, ".hidden.yaml"), format!("id: .hidden\n{valid}")).unwrap();
    yard.publish(
        &Yard::ticket("pending", "RING-1"),
        "id: RING-1\ntitle: T\ndependencies: [RING-2]\n",
    );
    yard.publish(
        &Yard::ticket("pending", "RING-2"),
        "id: RING-2\ntitle: T\ndependencies: [RING-1]\n",
    );
    let more = [
        ("BOMB.yaml", "alias"),
        ("DEEP.yaml", "nested"),
        ("LATIN.yaml", "UTF-8"),
        ("DIR.yaml", "directory"),
        ("LINK.yaml", "symbolic link"),
        ("DANGLING.yaml", "symbolic link"),
        ("FIFO.yaml", "FIFO"),
        ("HARD.yaml", "hard link"),
        ("GIANT.yaml", "1 MiB"),
        ("SHORT.yml", ".yaml"),
        ("a b.yaml", "id"),
        ("new\nline.yaml", "id"),
        ("x..y.yaml", ".."),
        ("-dash.yaml", "id"),
        ("ü.yaml", "id"),
        ("RING-1.yaml", "RING-2"),
        ("RING-2.yaml", "RING-1"),
    ];
    dropped.extend(more.map(|(name, said)| (name.to_owned(), said)));
    dropped
}

/// Largest memory of a process so far, in kilobytes.
fn high_water(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

fn explained(yard: &Yard, dropped: &[(String, &'static str)]) {
    yard.settle_down("GOOD");
    for (name, said) in dropped {
        let why = pending(yard, format!("{name}.why"));
        let text = || fs::read_to_string(&why).unwrap_or_default();
        yard.until(&format!("the explanation of {name:?}"), || !text().is_empty());
        assert!(text().contains(said), "{name:?} should say {said:?}: {}", text());
        assert!(pending(yard, name).symlink_metadata().is_ok(), "{name:?} was moved");
    }
    assert!(!pending(yard, ".hidden.yaml.why").exists());
    assert!(!yard.path("pwned").exists());
    let hostname = fs::read_to_string("/etc/hostname").unwrap_or_default();
    let link = fs::read_to_string(pending(yard, "LINK.yaml.why")).unwrap();
    assert!(hostname.trim().is_empty() || !link.contains(hostname.trim()), "{link}");
    let all = ["GIANT.yaml", "RING-1.yaml", "RING-2.yaml", "caf\\xE9", "yyyy", "new\\nline"];
    yard.until("the words", || all.iter().all(|name| yard.said().contains(name)));
    let said = yard.said();
    for name in ["EMPTY", "DIR", "FIFO", "GIANT", "DOUBLE", "RING-1"] {
        let about = said.lines().filter(|line| line.contains(&format!("{name}.yaml"))).count();
        assert_eq!(about, 1, "{name}: {said}");
    }
    for name in ["new\\nline.yaml", "caf\\xE9", "yyyy"] {
        assert_eq!(said.lines().filter(|line| line.contains(name)).count(), 1, "{name}: {said}");
    }
    assert!(!said.contains("new\nline"), "{said}");
}

#[test]
fn each_is_told_why_and_nothing_else_is_disturbed() {
    let mut yard = Yard::bare();
    yard.start();
    yard.settle_down("FIRST");
    let before = high_water(yard.daemon_pid());
    let dropped = drop_everything(&yard);
    explained(&yard, &dropped);
    let more = high_water(yard.daemon_pid()) - before;
    assert!(more < 16 << 10, "{more} kB more");
}

#[test]
fn the_same_files_are_told_why_at_the_start() {
    let mut yard = Yard::bare();
    let dropped = drop_everything(&yard);
    yard.start();
    explained(&yard, &dropped);
    assert!(high_water(yard.daemon_pid()) < 64 << 10);
    assert!(yard.term() == Some(0));
    let before = yard.said().lines().count();
    yard.start();
    yard.settle_down("LATER");
    for (name, _) in dropped {
        assert!(pending(&yard, format!("{name}.why")).exists(), "{name:?}");
    }
    let again = yard.said().lines().skip(before).filter(|l| l.contains("EMPTY.yaml")).count();
    assert!(again <= 1, "{}", yard.said());
}

#[test]
fn what_is_mended_is_taken_up_and_what_is_removed_is_forgotten() {
    let mut yard = Yard::bare();
    yard.start();
    let wrong = "id: A\ntitle: T\nrun: a\nrun: b\nworkspace: none\n";
    yard.publish(&Yard::ticket("pending", "A"), wrong);
    yard.publish("_ctx/jobs/pending/B.yml", "id: B\ntitle: T\nrun: true\nworkspace: none\n");
    fs::write(pending(&yard, "c d.yaml"), "title: T\n").unwrap();
    yard.publish(&Yard::ticket("pending", "E"), wrong);
    for (id, upstream) in [("R1", "R2"), ("R2", "R3"), ("R3", "R1")] {
        let text =
            format!("id: {id}\ntitle: T\nrun: true\nworkspace: none\ndependencies: [{upstream}]\n");
        yard.publish(&Yard::ticket("pending", id), &text);
    }
    let names = ["A.yaml", "B.yml", "c d.yaml", "E.yaml", "R1.yaml", "R2.yaml", "R3.yaml"];
    let why = |name: &str| pending(&yard, format!("{name}.why"));
    yard.until("the explanations", || names.iter().all(|name| why(name).exists()));
    fs::write(pending(&yard, "A.yaml"), wrong.replace("run: b\n", "")).unwrap();
    fs::rename(pending(&yard, "B.yml"), pending(&yard, "B.yaml")).unwrap();
    fs::remove_file(pending(&yard, "c d.yaml")).unwrap();
    fs::remove_file(pending(&yard, "E.yaml")).unwrap();
    yard.submit("R2", "run: true\nworkspace: none\n");
    yard.until("the end of A", || yard.places("A") == ["failed"]);
    for id in ["B", "R1", "R2", "R3"] {
        yard.until_in("done", id);
    }
    yard.until("no explanations", || !names.iter().any(|name| why(name).exists()));
}

#[test]
fn two_files_of_one_id_are_a_finding_and_never_chosen_between() {
    let mut yard = Yard::bare();
    yard.start();
    yard.settle_down("A");
    let settled = yard.text(&Yard::ticket("done", "A"));
    yard.submit("A", "run: touch pwned\nworkspace: none\n");
    yard.settle_down("LATER");
    assert_eq!(yard.places("A"), ["pending", "done"]);
    assert_eq!(yard.text(&Yard::ticket("done", "A")), settled);
    let why = yard.why("pending", "A");
    assert!(why.contains("done"), "{why:?}\n{}", yard.sight());
    fs::remove_file(yard.path(Yard::ticket("done", "A"))).unwrap();
    yard.until_in("done", "A");
    assert!(yard.path("pwned").exists());
    assert_eq!(yard.why("pending", "A"), "");
}

#[test]
fn requests_of_the_wrong_kind_are_refused_or_ignored() {
    let mut yard = Yard::bare();
    yard.start();
    yard.submit("A", "workspace: none\n");
    let control = |name: &str| yard.path("_ctx/jobs/control").join(name);
    fs::create_dir(control("A.take")).unwrap();
    yard.fifo("_ctx/jobs/control/A.hold");
    symlink("/etc/hostname", control("A.cancel")).unwrap();
    File::create(control("A.requeue")).unwrap().set_len(1 << 30).unwrap();
    fs::write(control("A.finish"), b"reason: \xff\n").unwrap();
    fs::write(control("A.dance"), "").unwrap();
    fs::write(control("NOBODY.take"), "").unwrap();
    fs::write(control(" .take"), "").unwrap();
    for verb in ["take", "hold", "cancel", "requeue", "finish"] {
        yard.until(verb, || !yard.text(&format!("_ctx/jobs/control/A.{verb}.why")).is_empty());
    }
    yard.until("the unknown id", || control("NOBODY.take.why").exists());
    yard.settle_down("GOOD");
    assert_eq!(yard.places("A"), ["pending"]);
    assert_eq!(yard.events("A", "claiming").len(), 0);
}

#[test]
fn wrong_files_in_the_other_states_disturb_nothing() {
    let mut yard = Yard::bare();
    for state in ["running", "done", "failed"] {
        let dir = yard.path(format!("_ctx/jobs/{state}"));
        fs::create_dir_all(&dir).unwrap();
        let name = |name: &str| dir.join(name);
        fs::create_dir(name("DIR.yaml")).unwrap();
        symlink("/etc/hostname", name("LINK.yaml")).unwrap();
        yard.fifo(&format!("_ctx/jobs/{state}/FIFO.yaml"));
        File::create(name("GIANT.yaml")).unwrap().set_len(1 << 30).unwrap();
        fs::write(name("BROKEN.yaml"), "id: [\n").unwrap();
        fs::write(name("notes.txt"), "mine").unwrap();
        fs::write(name(".gitkeep"), "").unwrap();
    }
    fs::create_dir(yard.path("_ctx/jobs/running/DIR.lock")).unwrap();
    yard.fifo("_ctx/jobs/running/FIFO.lock");
    fs::write(yard.path("_ctx/jobs/running/BARE.lock"), "BARE\n").unwrap();
    let count = |yard: &Yard| {
        let out = Command::new("find").arg(yard.path("_ctx/jobs")).output().unwrap();
        let text = String::from_utf8(out.stdout).unwrap();
        text.lines().filter(|l| Path::new(l).file_name().unwrap() != "FIRST.yaml").count()
    };
    yard.start();
    yard.settle_down("FIRST");
    let before = count(&yard);
    yard.kill();
    yard.start();
    yard.submit("BARE", "run: true\nworkspace: none\n");
    yard.submit("NEXT", "run: true\nworkspace: none\n");
    yard.until_in("done", "NEXT");
    assert_eq!(yard.places("BARE"), ["pending"], "an unknown lock is never trusted nor stolen");
    fs::remove_file(yard.path(Yard::ticket("pending", "BARE"))).unwrap();
    fs::remove_file(yard.path(Yard::ticket("done", "NEXT"))).unwrap();
    yard.settle_down("LAST");
    fs::remove_file(yard.path(Yard::ticket("done", "LAST"))).unwrap();
    assert!(count(&yard) <= before + 1, "{}", yard.sight());
    assert_eq!(yard.text("_ctx/jobs/running/BARE.lock"), "BARE\n");
}

#[test]
fn a_file_that_is_swapped_again_and_again_ends_as_what_it_is() {
    let mut yard = Yard::bare();
    yard.start();
    for n in 0..100 {
        let text = match n % 3 {
            0 => "id: A\ntitle: T\nhold: true\nworkspace: none\nrun: echo never >> ran\n",
            1 => "id: [\n",
            _ => "id: A\ntitle: T\nworkspace: none\nhold: later\n",
        };
        if n % 2 == 0 {
            yard.publish(&Yard::ticket("pending", "A"), text);
        } else {
            fs::write(pending(&yard, "A.yaml"), text).unwrap();
        }
    }
    yard.settle_down("GOOD");
    yard.submit("A", "workspace: none\nrun: echo last >> ran\n");
    yard.until_in("done", "A");
    assert_eq!(yard.text("ran"), "last\n");
    assert_eq!(yard.why("pending", "A"), "");
}

#[test]
fn a_file_whose_mode_changes_is_looked_at_again() {
    let mut yard = Yard::bare();
    yard.start();
    yard.kill();
    yard.submit("A", "run: true\nworkspace: none\n");
    let mut watch = Watch::arm(&yard.root).unwrap();
    fs::set_permissions(pending(&yard, "A.yaml"), fs::Permissions::from_mode(0o600)).unwrap();
    let place = Place::State(State::Pending);
    let is_it =
        |hint| matches!(hint, Hint::Name { place: p, name, .. } if p == place && name == b"A.yaml");
    assert!(watch.hints().unwrap().into_iter().any(is_it));
}

#[test]
fn a_ticket_with_two_names_is_taken_up_when_the_other_one_goes() {
    let mut yard = Yard::bare();
    yard.put("mine.yaml", "id: A\ntitle: a\nrun: 'true'\nworkspace: none\n");
    fs::hard_link(yard.path("mine.yaml"), yard.path("_ctx/jobs/pending/A.yaml")).unwrap();
    yard.start();
    yard.until("the explanation", || yard.path("_ctx/jobs/pending/A.yaml.why").exists());
    assert!(yard.why("pending", "A").contains("has 2 names"), "{}", yard.sight());
    fs::remove_file(yard.path("mine.yaml")).unwrap();
    // The kernel tells of a change of the name that is left.
    let left = yard.path("_ctx/jobs/pending/A.yaml");
    fs::set_permissions(left, fs::Permissions::from_mode(0o600)).unwrap();
    yard.until_in("done", "A");
}
