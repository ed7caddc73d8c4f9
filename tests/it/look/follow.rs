//! `wait` and `logs`: what goes on while one looks.

use super::{say, verb};
use crate::yard::{PATIENCE, Yard, pause};
use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// The exit code of a child that must end.
#[track_caller]
fn ended(mut child: Child) -> i32 {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code().unwrap();
        }
        if Instant::now() > deadline {
            child.kill().unwrap();
            panic!("the verb does not end");
        }
        pause(Duration::from_millis(3));
    }
}

fn begin(yard: &Yard, args: &[&str]) -> Child {
    verb(yard, args).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
}

#[test]
fn wait_ends_when_all_are_settled() {
    let mut yard = Yard::bare();
    yard.fifo("gate");
    yard.submit("WO-1", "run: cat gate\nworkspace: none\n");
    yard.submit("WO-2", "run: 'true'\nworkspace: none\n");
    yard.submit("WO-3", "run: 'false'\nworkspace: none\n");
    yard.submit("WO-4", "hold: x\n");
    let both = begin(&yard, &["wait", "WO-1", "WO-2"]);
    let bad = begin(&yard, &["wait", "WO-3", "--json"]);
    let mut gone = begin(&yard, &["wait", "WO-4"]);
    yard.start();
    assert_eq!(ended(bad), 1);
    yard.until("WO-4 seen", || !yard.events("WO-4", "intake").is_empty());
    assert_eq!(gone.try_wait().unwrap(), None);
    std::fs::remove_file(yard.path(Yard::ticket("pending", "WO-4"))).unwrap();
    assert_eq!(ended(gone), 1);
    yard.until_in("running", "WO-1");
    assert_eq!(say(&yard, &["wait", "WO-1", "WO-2", "--timeout", "50ms"]).code, 75);
    yard.open_gate("gate");
    assert_eq!(ended(both), 0);
    let json = say(&yard, &["wait", "WO-1", "WO-3", "--json"]);
    assert_eq!(json.code, 1);
    let json = json.json();
    assert_eq!(json["schema"], "jobyard.wait.v1");
    assert_eq!(json["orders"][1]["result"], "fail");
}

#[test]
fn a_file_moved_by_hand_ends_no_wait() {
    let yard = Yard::bare();
    yard.submit("WO-1", "run: 'true'\nworkspace: none\n");
    std::fs::create_dir_all(yard.path("_ctx/jobs/done")).unwrap();
    yard.mv("WO-1", "pending", "done");
    assert_eq!(say(&yard, &["wait", "WO-1", "--timeout", "50ms"]).code, 75);
}

#[test]
fn logs_print_what_commands_wrote() {
    let yard = Yard::bare();
    let run = "run: ['printf \"a\\nb\\nc\\n\"', 'echo second']\nworkspace: none\n";
    yard.submit("WO-1", run);
    assert_eq!(yard.drain(), 0);
    let said = say(&yard, &["logs", "WO-1"]);
    assert_eq!(
        (said.code, said.out.as_str()),
        (
            0,
            "==> attempt 1, 01-run-1.log <==\na\nb\nc\n\n==> attempt 1, 02-run-2.log <==\nsecond\n"
        )
    );
    let logs = |args: &[&str]| say(&yard, &[&["logs", "WO-1"], args].concat()).out;
    assert_eq!(logs(&["--command", "1"]), "a\nb\nc\n");
    assert_eq!(logs(&["--command", "1", "--tail", "2"]), "b\nc\n");
    assert_eq!(logs(&["--command", "1", "--tail", "0"]), "");
    assert_eq!(logs(&["--command", "1", "--tail", "9"]), "a\nb\nc\n");
    assert_eq!(logs(&["-f", "--command", "2"]), "second\n");
    let json = say(&yard, &["logs", "WO-1", "--json"]).json();
    assert_eq!(json["logs"][0]["bytes"], 6);
    assert!(json["logs"][1]["end"].as_str().unwrap().starts_with("exit 0"));
}

#[test]
fn logs_follow_an_order_that_starts_later() {
    let mut yard = Yard::bare();
    yard.fifo("gate");
    yard.submit("WO-1", "run: ['echo one; cat gate', echo two]\nworkspace: none\n");
    let mut child = begin(&yard, &["logs", "-f", "WO-1"]);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    yard.start();
    assert_eq!(lines.next().unwrap(), "==> attempt 1, 01-run-1.log <==");
    assert_eq!(lines.next().unwrap(), "one");
    yard.open_gate("gate");
    let rest: Vec<String> = lines.collect();
    assert_eq!(rest, ["go", "", "==> attempt 1, 02-run-2.log <==", "two"]);
    assert_eq!(ended(child), 0);
}

#[test]
fn logs_say_which_attempts_there_are_and_read_only_files() {
    let yard = Yard::bare();
    yard.submit("A", "run: [echo one, echo two]\nworkspace: none\n");
    assert_eq!(yard.drain(), 0);
    let said = say(&yard, &["logs", "A", "--attempt", "9"]);
    assert!(said.code == 3 && said.err.contains("no attempt 9; there are: 1"), "{}", said.err);
    let said = say(&yard, &["logs", "A", "--command", "7"]);
    assert!(said.code == 3 && said.err.contains("no log of command 7"), "{}", said.err);
    yard.fifo("_ctx/runs/A/1/03-pipe.log");
    let link = yard.path("_ctx/runs/A/1/00-link.log");
    std::os::unix::fs::symlink("/etc/passwd", link).unwrap();
    let said = say(&yard, &["logs", "A"]);
    assert!(said.code == 0 && said.out.contains("one") && said.out.contains("two"), "{}", said.err);
    for name in ["00-link.log", "03-pipe.log"] {
        assert!(said.err.contains(name) && said.err.contains("no regular file"), "{}", said.err);
    }
}

#[test]
fn all_orders_are_followed_also_those_that_start_later() {
    let mut yard = Yard::bare();
    yard.fifo("gate");
    yard.submit("WO-1", "run: [echo one; cat gate, echo last]\nworkspace: none\n");
    yard.start();
    yard.until_in("running", "WO-1");
    let mut all = begin(&yard, &["logs", "-f"]);
    let mut of_all = BufReader::new(all.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut next = |want: &str| loop {
        let line = of_all.next().expect("the follower goes on");
        if line == want {
            return;
        }
    };
    next("one");
    for id in ["WO-2", "WO-3"] {
        let run = format!("run: echo from {id}; test $JOBYARD_ATTEMPT = 2\nworkspace: none\n");
        yard.submit(id, &format!("{run}retry: {{max: 1, backoff: {{start: 1ms}}}}\n"));
        for attempt in [1, 2] {
            next(&format!("==> {id}, attempt {attempt}, 01-run.log <=="));
            next(&format!("from {id}"));
        }
    }
    let mut named = begin(&yard, &["logs", "-f", "WO-1", "WO-3"]);
    yard.open_gate("gate");
    next("last");
    all.kill().unwrap();
    all.wait().unwrap();
    let out = named.stdout.take().unwrap();
    assert_eq!(ended(named), 0);
    let lines: Vec<String> = BufReader::new(out).lines().map(Result::unwrap).collect();
    for want in ["one", "from WO-3", "last"] {
        assert!(lines.iter().any(|line| line == want), "{want}: {lines:?}");
    }
    assert!(!lines.iter().any(|line| line.contains("WO-2")), "{lines:?}");
}

#[test]
fn status_goes_on_telling_what_changes() {
    let mut yard = Yard::bare();
    let mut watch = begin(&yard, &["status", "--watch", "--json"]);
    let lines = BufReader::new(watch.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut seen = lines.map(|line| serde_json::from_str::<serde_json::Value>(&line).unwrap());
    let mut until = |state: &str, up: bool| loop {
        let told = seen.next().expect("it goes on");
        assert_eq!(told["schema"], "jobyard.status.v1");
        if told["counts"][state] == 1 && told["daemon"]["up"] == up {
            return;
        }
    };
    yard.fifo("gate");
    yard.submit("WO-1", "run: cat gate\nworkspace: none\n");
    until("pending", false);
    yard.start();
    until("running", true);
    yard.open_gate("gate");
    until("done", true);
    watch.kill().unwrap();
    watch.wait().unwrap();
    let shown = say(&yard, &["status", "--watch", "--timeout", "1ms"]);
    assert_eq!((shown.code, shown.out), (0, say(&yard, &["status"]).out));
}

#[test]
fn status_tells_of_a_daemon_that_comes_where_nothing_else_happens() {
    let mut yard = Yard::bare();
    yard.start();
    yard.kill();
    let mut watch = begin(&yard, &["status", "--watch", "--json", "--timeout", "25s"]);
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.next().unwrap().contains("\"up\":false"));
    yard.start();
    assert!(lines.any(|line| line.contains("\"up\":true")), "within the time of the watch");
    watch.kill().unwrap();
    watch.wait().unwrap();
}

#[test]
fn wait_knows_groups_and_shows_a_person_what_goes_on() {
    let mut yard = Yard::bare();
    yard.fifo("gate");
    yard.submit("WO-1", "run: cat gate\nworkspace: none\ngroup: g\n");
    yard.submit("WO-2", "run: 'true'\nworkspace: none\nhold: x\n");
    assert_eq!(say(&yard, &["wait"]).code, 2);
    let nobody = say(&yard, &["wait", "--group", "none"]);
    assert!(nobody.code == 0 && nobody.err.contains("no order of the group none"), "{nobody:?}");
    yard.start();
    yard.until_in("running", "WO-1");
    let said = say(&yard, &["wait", "--all", "--timeout", "1ms"]);
    assert!(said.code == 75 && said.err.contains("not settled yet: WO-1, WO-2"), "{said:?}");
    // A terminal of 60 columns, made by `script`.
    let line = format!(
        "stty cols 60; {} --root {} wait --group g --timeout 1ms",
        env!("CARGO_BIN_EXE_jobyard"),
        yard.root.display()
    );
    let script = std::process::Command::new("script")
        .args(["-qec", &line, "/dev/null"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let shown = String::from_utf8_lossy(&script.stdout).into_owned();
    assert_eq!(script.status.code(), Some(75), "{shown}");
    assert!(shown.contains("0 of 1 settled, 0 pending | WO-1 run 1/1: cat gate"), "{shown:?}");
    yard.open_gate("gate");
    assert_eq!(say(&yard, &["wait", "--group", "g"]).code, 0);
}

#[test]
fn every_line_of_every_order_is_printed_once() {
    let mut yard = Yard::bare();
    let mut all = begin(&yard, &["logs", "-f"]);
    let lines = BufReader::new(all.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut lines = lines.filter(|line| !line.is_empty() && !line.starts_with("==>"));
    yard.submit("FIRST", "run: echo begun\nworkspace: none\n");
    yard.start();
    assert_eq!(lines.next().unwrap(), "begun");
    for id in 0..40 {
        let run = "run: [echo $JOBYARD_ID 1, echo $JOBYARD_ID 2, echo $JOBYARD_ID 3]";
        yard.submit(&format!("O-{id}"), &format!("{run}\nworkspace: none\n"));
    }
    let mut seen: Vec<String> = (0..120).map(|_| lines.next().unwrap()).collect();
    yard.submit("LAST", "run: echo ended\nworkspace: none\n");
    assert_eq!(lines.next().unwrap(), "ended", "nothing is printed again");
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 120);
    // What is over is watched no longer: the four states, the ledger, the runs, and nothing of 42 orders.
    let dir = format!("/proc/{}/fdinfo", all.id());
    let watches = || {
        let infos = std::fs::read_dir(&dir).unwrap().map(|e| e.unwrap().path());
        let texts = infos.filter_map(|info| std::fs::read_to_string(info).ok());
        texts.map(|text| text.matches("inotify wd").count()).sum::<usize>()
    };
    yard.until("LAST is forgotten", || watches() == 6);
    all.kill().unwrap();
    all.wait().unwrap();
}
