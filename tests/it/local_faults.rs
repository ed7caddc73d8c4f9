//! What stands in the way of one order stops no other: planted directories, links and FIFOs; and what the
//! daemon says and does when the disk itself refuses.
//!
//! Nothing here waits for a clock: every wait is for a condition.

use super::yard::{Yard, signal, until};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::process::Signal;
use std::fs;
use std::mem::MaybeUninit;
use std::os::unix::fs::symlink;
use std::process::Command;

/// What a command can put where a file of jobyard should be.
const PLANTS: [(&str, &str); 3] =
    [("dir", "mkdir \"$1\""), ("fifo", "mkfifo \"$1\""), ("link", "ln -s /nowhere \"$1\"")];

fn looks(yard: &Yard, id: &str) {
    for words in [&["status"][..], &["list"], &["show", id], &["why", id]] {
        let (code, said) = yard.verb(words);
        assert_eq!(code, 0, "{words:?}: {said}");
    }
    let (code, said) = yard.verb(&["logs", id]);
    assert!(code == 0 || code == 3, "logs: {code}: {said}");
    let (code, said) = yard.verb(&["lint"]);
    assert!(code == 0 || code == 7, "lint: {code}: {said}");
}

#[test]
fn what_a_job_plants_in_its_run_directory_stops_neither_it_nor_others() {
    let mut yard = Yard::bare();
    yard.start();
    let names = ["verdict.json", "order.yaml", "../execution.log", "02-check.log"];
    let mut ids = Vec::new();
    for (kind, make) in PLANTS {
        for (n, name) in names.into_iter().enumerate() {
            let id = format!("{kind}-{n}");
            let plant = make.replace("$1", &format!("$JOBYARD_RUN_DIR/{name}"));
            // A file that is there already is taken away first.
            let run = format!("rm -f $JOBYARD_RUN_DIR/{name}; {plant}");
            let rest =
                format!("run: '{run}'\nworkspace: none\nverify: {{commands: ['test -d .']}}\n");
            yard.submit(&id, &rest);
            ids.push((id, name));
        }
    }
    for (id, name) in &ids {
        yard.until(&format!("the end of {id}"), || {
            ["done", "failed"].iter().any(|s| yard.places(id) == [*s])
        });
        let verdict = yard.verdict(id, 1);
        let good = verdict["result"] == "pass";
        assert_eq!(good, *name != "order.yaml", "{id} {name}: {verdict}");
        let log = yard.text(&format!("_ctx/runs/{id}/execution.log"));
        assert!(log.contains("JOB_COMPLETED"), "{id}: {log}");
        looks(&yard, id);
    }
    assert!(yard.path("_ctx/runs/dir-0/1/verdict.json.aside-1").is_dir());
    assert!(yard.said().contains("verdict.json.aside-1"), "{}", yard.said());
    assert!(!yard.said().contains("trying again"), "{}", yard.said());
    yard.settle_down("LAST");
}

#[test]
fn a_run_directory_that_is_replaced_stops_neither_it_nor_others() {
    let mut yard = Yard::bare();
    yard.start();
    let beside = yard.beside("away");
    fs::create_dir(&beside).unwrap();
    let rest = format!(
        "run: 'mv $JOBYARD_RUN_DIR {0}/was; ln -s {0} $JOBYARD_RUN_DIR; read x < go.gate'\n\
         workspace: none\nverify: {{commands: ['test -d .']}}\n",
        beside.display()
    );
    yard.fifo("go.gate");
    yard.submit("A", &rest);
    yard.until("the link", || yard.path("_ctx/runs/A/1").is_symlink());
    looks(&yard, "A");
    yard.settle_down("B");
    looks(&yard, "B");
    yard.open_gate("go.gate");
    // How it ends depends on whether its check began before the directory was put right.
    yard.until("the end of A", || ["done", "failed"].iter().any(|s| yard.places("A") == [*s]));
    assert!(yard.verdict("A", 1)["result"].is_string());
    assert!(yard.path("_ctx/runs/A/1.aside-1").is_symlink(), "{}", yard.sight());
    assert!(!beside.join("verdict.json").exists(), "written through the link");
    yard.settle_down("LAST");
    assert!(!yard.said().contains("trying again"), "{}", yard.said());
}

#[test]
fn what_stands_where_a_pending_order_will_run_is_moved_aside() {
    let yard = Yard::bare();
    fs::create_dir_all(yard.path("_ctx/runs")).unwrap();
    let away = yard.beside("away");
    fs::create_dir(&away).unwrap();
    symlink(&away, yard.path("_ctx/runs/L")).unwrap();
    symlink("/nowhere", yard.path("_ctx/runs/N")).unwrap();
    yard.fifo("_ctx/runs/F");
    fs::write(yard.path("_ctx/runs/X"), "mine").unwrap();
    for id in ["L", "N", "F", "X", "Z"] {
        yard.submit(id, "run: true\nworkspace: none\nverify: {commands: ['test -d .']}\n");
    }
    looks(&yard, "L");
    assert_eq!(yard.drain(), 0, "{}", yard.said());
    for id in ["L", "N", "F", "X", "Z"] {
        assert_eq!(yard.places(id), ["done"], "{}", yard.sight());
        assert!(yard.path(format!("_ctx/runs/{id}/1/verdict.json")).is_file());
    }
    assert_eq!(fs::read_dir(&away).unwrap().count(), 0, "written through the link");
    assert_eq!(yard.text("_ctx/runs/.X.aside-1"), "mine");
    looks(&yard, "L");
}

#[test]
fn an_order_that_cannot_go_on_is_set_aside_and_taken_up_when_it_is_cleared() {
    let mut yard = Yard::bare();
    fs::create_dir_all(yard.path("_ctx/runs")).unwrap();
    // Its run directory cannot be made, and no name is left to move the obstacle to.
    fs::write(yard.path("_ctx/runs/A"), "mine").unwrap();
    for n in 1..1000 {
        fs::write(yard.path(format!("_ctx/runs/.A.aside-{n}")), "").unwrap();
    }
    yard.start();
    yard.submit("A", "run: true\nworkspace: none\n");
    yard.until("the explanation", || yard.why("pending", "A").contains("obstructed"));
    yard.settle_down("B");
    yard.ask("A.hold", "later");
    yard.until("the hold", || yard.events("A", "held").len() == 1);
    yard.ask("A.unhold", "");
    yard.until("its end", || yard.events("A", "unheld").len() == 1);
    yard.settle_down("B2");
    looks(&yard, "A");
    let (code, lint) = yard.verb(&["lint"]);
    assert!(code == 7 && lint.contains("obstructed") && lint.contains("_ctx/runs/A"), "{lint}");
    let (_, why) = yard.verb(&["why", "A"]);
    assert!(why.contains("obstructed"), "{why}");
    assert_eq!(yard.term(), Some(0));
    assert_eq!(yard.drain(), 0);
    assert_eq!(yard.places("A"), ["pending"]);
    let told = yard.said().lines().filter(|l| l.contains("obstructed")).count();
    assert!(told <= 4, "{}", yard.said());
    assert!(!yard.said().contains("trying again"), "{}", yard.said());
    yard.start();
    // It has tried by itself, before anything is cleared: else it would claim what is to be replaced.
    yard.until("it is set aside again", || {
        yard.said().lines().filter(|l| l.contains("obstructed")).count() > told
    });
    yard.settle_down("C");
    assert_eq!(yard.text("_ctx/runs/A"), "mine");
    fs::remove_file(yard.path("_ctx/runs/A")).unwrap();
    yard.submit("A", "run: true\nworkspace: none\n");
    yard.until_in("done", "A");
    assert_eq!(yard.why("pending", "A"), "");
}

#[test]
fn explanations_that_cannot_be_written_stop_nothing() {
    let mut yard = Yard::bare();
    for name in ["pending/BAD.yaml.why", "pending/x y.yaml.why", "control/A.finish.why"] {
        fs::create_dir_all(yard.path(format!("_ctx/jobs/{name}/full"))).unwrap();
    }
    yard.start();
    yard.submit("BAD", "run: a\nrun: b\n");
    fs::write(yard.path("_ctx/jobs/pending/x y.yaml"), "title: T\n").unwrap();
    yard.submit("A", "workspace: none\n");
    yard.ask("A.finish", "");
    yard.until("the words", || yard.said().contains("A: finish refused"));
    yard.settle_down("LAST");
    looks(&yard, "A");
    yard.submit("BAD", "run: true\nworkspace: none\n");
    yard.until("the end of BAD", || yard.places("BAD") == ["done"]);
    fs::remove_file(yard.path("_ctx/jobs/control/A.finish")).unwrap();
    yard.settle_down("LATER");
    assert!(!yard.said().contains("trying again"), "{}", yard.said());
    assert_eq!(yard.term(), Some(0));
    assert_eq!(yard.drain(), 0);
}

#[test]
fn a_backlog_that_is_a_link_stops_nothing() {
    let mut yard = Yard::bare();
    fs::create_dir_all(yard.path("_ctx/backlog")).unwrap();
    symlink("/nowhere", yard.path("_ctx/backlog/backlog.yaml")).unwrap();
    yard.start();
    yard.submit("A", "run: true\nworkspace: none\nepic_id: E\n");
    yard.until_in("done", "A");
    assert!(!yard.said().contains("trying again"), "{}", yard.said());
}

#[test]
fn a_ready_file_that_cannot_be_written_is_refused_with_its_path() {
    let yard = Yard::bare();
    let missing = yard.beside("missing/ready");
    let here = yard.root.clone();
    for path in [&missing, &here] {
        let (code, said) =
            yard.verb(&["daemon", "--drain", "--ready-file", path.to_str().unwrap()]);
        assert_eq!(code, 1, "{said}");
        assert!(said.contains(path.to_str().unwrap()), "{said}");
    }
}

#[test]
fn a_ready_file_appears_once_and_only_when_the_daemon_is_ready() {
    let mut yard = Yard::bare();
    let watch = inotify::init(CreateFlags::NONBLOCK).unwrap();
    let made = WatchFlags::CREATE | WatchFlags::MOVED_TO;
    let all = made | WatchFlags::DELETE | WatchFlags::MOVED_FROM;
    inotify::add_watch(&watch, yard.beside(""), all).unwrap();
    yard.start();
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut reader = inotify::Reader::new(&watch, &mut buffer);
    let mut seen = 0;
    while let Ok(event) = reader.next() {
        let ready = event.file_name().is_some_and(|name| name.to_bytes() == b"ready");
        seen += usize::from(ready && !event.events().contains(ReadFlags::DELETE));
    }
    assert_eq!(seen, 1, "whoever waits for the file takes each of them for readiness");
}

/// A repository whose checkout does not end.
pub(crate) fn slow_git() -> Yard {
    let yard = Yard::git();
    let hook = yard.path(".git/hooks/post-checkout");
    fs::create_dir_all(hook.parent().unwrap()).unwrap();
    yard.put("hook.said", "");
    let said = yard.path("hook.said");
    fs::write(&hook, format!("#!/bin/sh\necho $$ >> {}\nexec sleep 600\n", said.display()))
        .unwrap();
    let made = Command::new("chmod").arg("+x").arg(&hook).status().unwrap();
    assert!(made.success());
    yard
}

#[test]
fn term_ends_the_daemon_while_git_works_and_the_claim_is_undone_by_the_next_start() {
    for twice in [false, true] {
        let mut yard = slow_git();
        yard.start();
        yard.submit("A", "run: true\nverify: {commands: ['test -f src/a.txt']}\n");
        let hook = yard.lines("hook.said", 1)[0].parse().unwrap();
        if twice {
            signal(yard.daemon_pid(), Signal::TERM);
        }
        let begun = std::time::Instant::now();
        assert_eq!(yard.term(), Some(0));
        assert!(begun.elapsed().as_secs() < 5, "{:?}", begun.elapsed());
        until("the end of git", || !super::yard::lives(hook));
        assert!(!yard.beside("ready").exists(), "the ready file stays");
        assert!(!yard.said().contains("trying again"), "{}", yard.said());
        fs::remove_file(yard.path(".git/hooks/post-checkout")).unwrap();
        assert_eq!(yard.drain(), 0);
        assert_eq!(yard.places("A"), ["done"], "{}", yard.sight());
    }
}

#[test]
fn a_claim_that_git_refuses_is_counted_found_and_a_reason() {
    let yard = Yard::bare();
    yard.submit("A", "run: true\n");
    assert_eq!(yard.drain(), 0);
    let (_, status) = yard.verb(&["status", "--json"]);
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    assert_eq!(status["counts"]["refused"], 1, "{status}");
    let (code, lint) = yard.verb(&["lint"]);
    assert!(code == 7 && lint.contains("cannot-claim"), "{lint}");
    let (_, why) = yard.verb(&["why", "A", "--json"]);
    let why: serde_json::Value = serde_json::from_str(&why).unwrap();
    let said = why["waits"][0]["text"].as_str().unwrap();
    assert!(why["waits"][0]["kind"] == "refused" && said.contains("git"), "{why}");
}

#[test]
fn an_unknown_lock_over_an_open_attempt_is_taken_over_and_kept() {
    for live in [true, false] {
        for how in ["cancel", "requeue", "take"] {
            let mut yard = Yard::bare();
            yard.start();
            yard.submit("A", "workspace: none\n");
            let (code, said) = yard.verb(&["take", "A"]);
            assert_eq!(code, 0, "{said}");
            yard.publish("_ctx/jobs/running/A.lock", "id-only A\n");
            yard.settle_down("B");
            if !live {
                assert_eq!(yard.term(), Some(0));
            }
            let (code, said) = yard.verb(&[how, "A", "--takeover", "--reason", "gone"]);
            assert_eq!(code, 0, "{how}: {said}\n{}", yard.sight());
            yard.until_in(end_of(how), "A");
            assert_eq!(yard.text("_ctx/runs/A/1/lock"), "id-only A\n", "{how}");
            let (code, said) = yard.verb(&["lint"]);
            assert_eq!(code, 0, "{how}: {said}");
        }
    }
}

/// Where an order lies after this takeover.
fn end_of(how: &str) -> &'static str {
    match how {
        "cancel" => "failed",
        "requeue" => "pending",
        _ => "running",
    }
}

#[test]
fn an_unknown_lock_without_an_attempt_is_taken_over_and_kept() {
    for how in ["cancel", "requeue", "take"] {
        let mut yard = Yard::bare();
        yard.start();
        yard.submit("A", "workspace: none\n");
        yard.settle_down("B");
        yard.publish("_ctx/jobs/running/A.lock", "id-only A\n");
        let (code, said) = yard.verb(&[how, "A", "--takeover", "--reason", "gone"]);
        assert_eq!(code, 0, "{how}: {said}\n{}", yard.sight());
        yard.until_in(end_of(how), "A");
        let (code, said) = yard.verb(&["lint"]);
        assert_eq!(code, 0, "{how}: {said}");
    }
}

#[test]
fn a_forced_take_is_in_the_ledger_and_in_the_log_with_its_reason() {
    let mut yard = Yard::bare();
    yard.start();
    yard.submit("A", "workspace: none\ndependencies: [NOBODY]\n");
    let (code, said) = yard.verb(&["take", "A", "--force", "--reason", "it is urgent"]);
    assert_eq!(code, 0, "{said}");
    assert_eq!(yard.events("A", "claiming")[0]["forced"], "it is urgent", "{}", yard.sight());
    let log = || yard.text("_ctx/runs/A/execution.log");
    yard.until("the log", || log().contains("forced: it is urgent"));
}

#[test]
fn only_the_path_of_a_ticket_stands_for_its_id() {
    let yard = Yard::bare();
    yard.submit("pwn", "workspace: none\n");
    for text in ["a;touch /tmp/pwn", "../pwn", "/tmp/pwn", "x/pwn.yaml"] {
        let (code, said) = yard.verb(&["cancel", text]);
        assert_eq!(code, 2, "{text}: {said}");
    }
    assert_eq!(yard.places("pwn"), ["pending"]);
    let (code, said) = yard.verb(&["cancel", "_ctx/jobs/pending/pwn.yaml"]);
    assert_eq!(code, 0, "{said}");
}
