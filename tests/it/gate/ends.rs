//! How attempts end that never reach the checks, what follows, and that the run directory says so.

use super::super::yard::Yard;
use std::fs;

/// Everything a person sees who reads the files of an order.
fn read_all(yard: &Yard, id: &str) -> String {
    let mut all = yard.text(&format!("_ctx/runs/{id}/execution.log"));
    for entry in fs::read_dir(yard.path(format!("_ctx/runs/{id}/1"))).unwrap().flatten() {
        all.push_str(&fs::read_to_string(entry.path()).unwrap_or_default());
    }
    all
}

#[test]
fn each_end_has_its_word_and_leaves_no_process() {
    let mut yard = Yard::bare();
    yard.configure("settle = \"20ms\"\ngrace = \"1s\"\n[log]\nmax = \"64KiB\"\n");
    yard.start();
    let tree = "setsid -f sleep 1000; (setsid sleep 1001 &); sleep 1002";
    for (id, order, reason, said) in [
        ("EXIT", "run: 'exit 3'\n".to_owned(), "exit-3", "exit 3"),
        ("SIGNAL", "run: 'kill -9 $$'\n".to_owned(), "signal-9", "signal 9"),
        ("SECOND", "run: ['true', 'exit 4', 'exit 5']\n".to_owned(), "exit-4", "exit 4"),
        ("ABSENT", "run: no-such-program\n".to_owned(), "could-not-start", "no-such-program"),
        ("TIME", format!("timeout: 300ms\nrun: '{tree}'\n"), "timeout", "past its timeout"),
        ("IDLE", format!("idle_timeout: 300ms\nrun: '{tree}'\n"), "idle-timeout", "silent"),
        ("OUTPUT", "run: yes\n".to_owned(), "output-limit", "more than log.max"),
    ] {
        yard.submit(id, &format!("workspace: none\n{order}"));
        yard.until_in("failed", id);
        let settled = yard.events(id, "settled");
        let found = settled[0]["reason"].as_str().unwrap();
        assert_eq!(found, reason, "{id}: {}", yard.sight());
        let all = read_all(&yard, id);
        assert!(all.contains(said), "{id}: {all}");
        assert_eq!(yard.commands(), Vec::<u32>::new(), "{id}");
    }
    assert!(fs::metadata(yard.path("_ctx/runs/OUTPUT/1/01-run.log")).unwrap().len() < 70_000);
    assert!(!yard.path("_ctx/runs/SECOND/1/03-run-3.log").exists());
}

#[test]
fn cancel_ends_the_whole_tree() {
    let mut yard = Yard::bare();
    yard.start();
    let tree = "setsid -f sleep 1000; (setsid sleep 1001 &); echo > begun; sleep 1002";
    yard.submit("A", &format!("workspace: none\nrun: '{tree}'\n"));
    yard.lines("begun", 1);
    yard.until("the tree", || yard.commands().len() >= 3);
    yard.ask("A.cancel", "");
    assert_eq!(yard.answer("A", "cancel")["code"], 0);
    assert_eq!(yard.commands(), Vec::<u32>::new(), "{}", yard.sight());
    yard.until_in("failed", "A");
    assert_eq!(yard.key("failed", "A", "result"), "cancelled");
}

#[test]
fn retries_wait_longer_each_time_and_end_in_failed() {
    let mut yard = Yard::bare();
    yard.start();
    let retry = "retry: {max: 2, backoff: {start: 200ms, factor: 2}}\n";
    yard.submit(
        "A",
        &format!("workspace: none\n{retry}run: 'echo $JOBYARD_ATTEMPT >> said; false'\n"),
    );
    yard.until_in("failed", "A");
    assert_eq!(yard.lines("said", 3), ["1", "2", "3"]);
    let time = |line: &serde_json::Value| {
        let text = line["time"].as_str().unwrap();
        jobyard::model::time::Moment::parse(text).unwrap().0
    };
    let (starts, settled) = (yard.events("A", "started"), yard.events("A", "settled"));
    let states: Vec<_> = settled.iter().map(|line| line["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["pending", "pending", "failed"]);
    assert!(time(&starts[1]) - time(&settled[0]) >= 200, "{}", yard.sight());
    assert!(time(&starts[2]) - time(&settled[1]) >= 400, "{}", yard.sight());
    for attempt in 1..=3 {
        assert!(yard.path(format!("_ctx/runs/A/{attempt}/01-run.log")).exists());
    }
}

#[test]
fn back_off_waits_in_pending_without_a_slot_and_outlives_the_daemon() {
    let mut yard = Yard::bare();
    yard.args = vec!["--slots", "1"];
    yard.start();
    yard.submit(
        "A",
        "workspace: none\nretry: {max: 1, backoff: 1h}\nrun: 'echo x >> said; false'\n",
    );
    yard.until("the back-off", || yard.events("A", "settled").len() == 1);
    yard.until_in("pending", "A");
    let ticket = yard.text(&Yard::ticket("pending", "A"));
    assert!(ticket.contains("retry_at:"), "{ticket}");
    yard.settle_down("B");
    yard.kill();
    yard.start();
    yard.settle_down("C");
    assert_eq!((yard.places("A"), yard.lines("said", 1).len()), (vec!["pending"], 1));
    yard.ask("A.cancel", "");
    yard.until_in("failed", "A");
}

#[test]
fn failed_checks_are_tried_again_and_a_manual_failure_is_not() {
    let mut yard = Yard::bare();
    yard.start();
    let order = "workspace: none\nretry: {max: 1, backoff: 1ms}\n\
                 verify: {commands: ['test -f well']}\n";
    yard.submit("A", &format!("{order}run: 'test $JOBYARD_ATTEMPT = 1 || echo > well'\n"));
    yard.until_in("done", "A");
    assert_eq!(yard.verdict("A", 1)["result"], "fail");
    assert_eq!(yard.verdict("A", 2)["result"], "pass");
    fs::remove_file(yard.path("well")).unwrap();
    yard.submit("B", order);
    super::take(&yard, "B");
    yard.ask("B.finish", "");
    assert_eq!(yard.answer("B", "finish")["code"], 6);
    yard.until_in("failed", "B");
}

#[test]
fn leftovers_of_a_command_are_ended_before_the_next() {
    let mut yard = Yard::bare();
    yard.start();
    let first = "setsid -f sleep 1000; sleep 1001 & echo $! > child";
    yard.submit("A", &format!("workspace: none\nrun: ['{first}', '! kill -0 $(cat child)']\n"));
    yard.until_in("done", "A");
    assert_eq!(yard.commands(), Vec::<u32>::new());
    let log = yard.text("_ctx/runs/A/execution.log");
    assert!(log.contains("left-over processes ended"), "{log}");
}

#[test]
fn a_command_is_not_hit_by_the_kill_of_the_one_before() {
    let mut yard = Yard::bare();
    yard.configure("settle = \"20ms\"\ngrace = \"100ms\"\n");
    yard.start();
    let stubborn = "(trap \"\" TERM; echo > begun; while :; do sleep 1000; done) & \
                    until [ -e begun ]; do sleep 0.01; done";
    yard.submit("A", &format!("workspace: none\nrun: ['{stubborn}', 'echo second > said']\n"));
    yard.until_in("done", "A");
    assert_eq!(yard.lines("said", 1), ["second"]);
    assert_eq!(yard.commands(), Vec::<u32>::new());
}

#[test]
fn drain_works_until_only_people_could_go_on() {
    let yard = Yard::bare();
    yard.submit("GOOD", "workspace: none\nrun: true\n");
    yard.submit("AFTER", "workspace: none\nrun: true\ndependencies: [GOOD]\n");
    yard.submit("AGAIN", "workspace: none\nrun: false\nretry: {max: 1, backoff: 100ms}\n");
    yard.submit("MANUAL", "workspace: none\n");
    yard.submit("HELD", "workspace: none\nrun: true\nhold: true\n");
    yard.submit("LATER", "workspace: none\nrun: true\nnot_before: 2999-01-01\n");
    yard.submit("BEHIND", "workspace: none\nrun: true\ndependencies: [NOBODY]\n");
    yard.publish(&Yard::ticket("pending", "WRONG"), "id: [\n");
    assert_eq!(yard.drain(), 0);
    assert_eq!(yard.executor_pid(), None);
    for id in ["GOOD", "AFTER"] {
        assert_eq!(yard.places(id), ["done"]);
    }
    assert_eq!(yard.places("AGAIN"), ["failed"]);
    assert!(yard.path("_ctx/runs/AGAIN/2").exists());
    for id in ["MANUAL", "HELD", "LATER", "BEHIND", "WRONG"] {
        assert_eq!(yard.places(id), ["pending"]);
    }
    assert_eq!(yard.drain(), 0);
}

#[test]
fn a_check_that_could_not_run_says_why() {
    let mut yard = Yard::bare();
    yard.configure("settle = \"20ms\"\ngrace = \"1s\"\n[log]\nmax = \"64KiB\"\n");
    yard.start();
    for (id, check, said) in [
        ("ABSENT", "no-such-program", "could not be started: "),
        ("INNER", "no-such-program; exit $?", "was not found"),
        ("OUTPUT", "yes", "wrote more than log.max"),
        ("SIGNAL", "kill -9 $$", "was ended by signal 9"),
    ] {
        yard.submit(
            id,
            &format!("workspace: none\nrun: true\nverify: {{commands: ['{check}']}}\n"),
        );
        yard.until_in("failed", id);
        let sentences = yard.verdict(id, 1)["sentences"].to_string();
        let whole = sentences.contains(said) && sentences.contains(check);
        assert!(whole, "{id}: {sentences}");
    }
}
