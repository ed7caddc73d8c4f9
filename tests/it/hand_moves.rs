//! What a person does with `mv`, `touch` and `rm` alone, and what the daemon makes of it: at once when
//! it is up, and when it is started afterwards.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use super::yard::Yard;
use std::fs;

/// An order that a person takes.
const MANUAL: &str = "workspace: none\n";

/// An order whose command ends when its pipe is opened, and says each time that it has begun.
const GATED: &str = "workspace: none\nrun: 'echo $$ >> begun; read line < gate'\n";

/// Plays a scene twice: the hand acts under a living daemon, and between two daemons. `before` prepares
/// the root under a daemon.
fn under_a_daemon_and_between_two(
    before: impl Fn(&Yard),
    hand: impl Fn(&Yard),
    after: impl Fn(&Yard),
) {
    for down in [false, true] {
        let mut yard = Yard::bare();
        yard.fifo("gate");
        yard.start();
        before(&yard);
        if down {
            yard.kill();
        }
        hand(&yard);
        if down {
            yard.start();
        }
        after(&yard);
    }
}

fn done(yard: &Yard) {
    yard.submit("A", "run: true\nworkspace: none\n");
    yard.until_in("done", "A");
}

fn failed(yard: &Yard) {
    yard.submit("A", "run: false\nworkspace: none\n");
    yard.until_in("failed", "A");
}

fn pending(yard: &Yard) {
    yard.submit("A", MANUAL);
    yard.until("the intake", || yard.events("A", "intake").len() == 1);
}

fn taken(yard: &Yard) {
    pending(yard);
    yard.ask("A.take", "");
    yard.answer("A", "take");
}

fn running(yard: &Yard) {
    yard.submit("A", GATED);
    yard.lines("begun", 1);
}

/// The ticket is where it was, with an explanation and one event.
#[track_caller]
fn put_back(yard: &Yard, from: &str, to: &str) {
    yard.until("the event", || {
        let events = yard.events("A", "put-back");
        events.len() == 1 && events[0]["from"] == from && events[0]["to"] == to
    });
    yard.until_in(to, "A");
    let why = yard.why(to, "A");
    assert!(why.contains(&format!("moved from {from}/")), "{why:?}\n{}", yard.sight());
    yard.settle_down("LATER");
    assert_eq!(yard.events("A", "put-back").len(), 1, "{}", yard.sight());
}

#[test]
fn a_dropped_order_is_claimed_run_and_settled() {
    let drop = |yard: &Yard| yard.submit("A", "workspace: none\nrun: echo hello\n");
    under_a_daemon_and_between_two(
        |_| {},
        drop,
        |yard| {
            yard.until_in("done", "A");
            assert_eq!(yard.text("_ctx/runs/A/1/01-run.log"), "hello\n");
            assert_eq!(yard.key("done", "A", "result"), "unverified");
            let log = yard.text("_ctx/runs/A/execution.log");
            assert!(log.contains("JOB_STARTED"), "{log}");
        },
    );
}

#[test]
fn an_order_written_in_place_is_taken_up_when_it_is_whole() {
    let mut yard = Yard::bare();
    yard.configure("settle = \"300ms\"\n");
    yard.start();
    let path = yard.path(Yard::ticket("pending", "A"));
    let mut file = fs::File::create(&path).unwrap();
    std::io::Write::write_all(&mut file, b"id: A\ntitle: T\nworkspace: none\n").unwrap();
    yard.settle_down("LATER");
    assert_eq!(yard.events("A", "intake").len(), 0, "a writer has it open");
    std::io::Write::write_all(&mut file, b"run: echo whole\n").unwrap();
    drop(file);
    yard.until_in("done", "A");
    assert_eq!(yard.text("_ctx/runs/A/1/01-run.log"), "whole\n");
    assert_eq!(yard.why("pending", "A"), "");
}

#[test]
fn touching_take_claims_for_the_file_owner() {
    let take = |yard: &Yard| {
        fs::create_dir_all(yard.path("_ctx/jobs/control")).unwrap();
        fs::write(yard.path("_ctx/jobs/control/A.take"), "").unwrap();
    };
    under_a_daemon_and_between_two(pending, take, |yard| {
        assert_eq!(yard.answer("A", "take")["code"], 0);
        yard.until_in("running", "A");
        let lock = yard.text("_ctx/jobs/running/A.lock");
        assert!(lock.starts_with("Locked by jobyard take at "), "{lock}");
        let uid = rustix::process::getuid().as_raw();
        assert!(lock.contains(&format!("\nMode: manual {uid} ")), "{lock}");
        assert!(!yard.path("_ctx/jobs/control/A.take").exists());
    });
}

#[test]
fn moving_pending_to_running_takes() {
    let mv = |yard: &Yard| yard.mv("A", "pending", "running");
    under_a_daemon_and_between_two(pending, mv, |yard| {
        yard.until("the lease", || {
            yard.text("_ctx/jobs/running/A.lock").contains("\nMode: manual ")
        });
        yard.settle_down("LATER");
        assert_eq!(yard.places("A"), ["running"]);
        assert_eq!(yard.events("A", "claiming").len(), 1, "{}", yard.sight());
    });
}

#[test]
fn a_taken_order_never_runs_its_commands() {
    let before = |yard: &Yard| {
        yard.submit("A", "workspace: none\nhold: true\nrun: echo > ran\n");
        yard.until("the intake", || yard.events("A", "intake").len() == 1);
        yard.submit("B", "workspace: none\ndependencies: [NONE]\nrun: echo > ran\n");
        yard.until("the intake", || yard.events("B", "intake").len() == 1);
    };
    let hand = |yard: &Yard| yard.ask("B.take", "{force: true, reason: I know better}");
    under_a_daemon_and_between_two(before, hand, |yard| {
        assert_eq!(yard.answer("B", "take")["code"], 0);
        yard.ask("A.take", "");
        assert_eq!(yard.answer("A", "take")["code"], 4);
        yard.settle_down("LATER");
        assert!(!yard.path("ran").exists());
    });
}

#[test]
fn a_take_by_hand_of_what_is_not_ready_is_put_back() {
    let held = |yard: &Yard| {
        yard.submit("A", "workspace: none\nhold: waits for Ann\n");
        yard.until("the intake", || yard.events("A", "intake").len() == 1);
    };
    let mv = |yard: &Yard| yard.mv("A", "pending", "running");
    under_a_daemon_and_between_two(held, mv, |yard| {
        put_back(yard, "running", "pending");
        assert!(yard.why("pending", "A").contains("waits for Ann"));
    });
}

#[test]
fn a_ticket_dropped_into_running_is_left_alone() {
    let drop = |yard: &Yard| {
        yard.publish(
            &Yard::ticket("running", "A"),
            "id: A\ntitle: T\nworkspace: none\nrun: true\n",
        );
    };
    let first = |yard: &Yard| yard.settle_down("FIRST");
    under_a_daemon_and_between_two(first, drop, |yard| {
        yard.settle_down("LATER");
        assert_eq!(yard.places("A"), ["running"]);
        assert!(!yard.path("_ctx/jobs/running/A.lock").exists());
        assert!(yard.ledger().iter().all(|line| line["id"] != "A"), "{}", yard.sight());
    });
}

#[test]
fn finish_settles_by_the_checks_whether_asked_or_moved() {
    for (check, state, result, code) in
        [("test -d _ctx", "done", "pass", 0), ("test -f none", "failed", "fail", 6)]
    {
        for moved in [false, true] {
            let before = |yard: &Yard| {
                yard.submit("A", &format!("workspace: none\nverify: {{commands: [{check}]}}\n"));
                yard.ask("A.take", "");
                yard.answer("A", "take");
            };
            let hand = |yard: &Yard| match moved {
                true => yard.mv("A", "running", "done"),
                false => yard.ask("A.finish", ""),
            };
            under_a_daemon_and_between_two(before, hand, |yard| {
                assert_eq!(yard.answer("A", "finish")["code"], code);
                yard.until_in(state, "A");
                assert_eq!(yard.key(state, "A", "result"), result);
                assert_eq!(yard.verdict("A", 1)["result"], result);
            });
        }
    }
}

#[test]
fn finish_without_checks_is_unverified() {
    let mv = |yard: &Yard| yard.mv("A", "running", "done");
    under_a_daemon_and_between_two(taken, mv, |yard| {
        assert_eq!(yard.answer("A", "finish")["code"], 0);
        yard.until_in("done", "A");
        assert_eq!(yard.key("done", "A", "result"), "unverified");
    });
}

#[test]
fn running_moved_to_done_while_its_commands_run_is_put_back() {
    let mv = |yard: &Yard| yard.mv("A", "running", "done");
    under_a_daemon_and_between_two(running, mv, |yard| {
        put_back(yard, "done", "running");
        yard.open_gate("gate");
        yard.until_in("done", "A");
        assert_eq!(yard.lines("begun", 1).len(), 1);
        assert_eq!(yard.events("A", "claiming").len(), 1);
    });
}

#[test]
fn finish_while_commands_run_is_refused_and_with_stop_carried_out() {
    let ask = |yard: &Yard| yard.ask("A.finish", "");
    under_a_daemon_and_between_two(running, ask, |yard| {
        assert_eq!(yard.answer("A", "finish")["code"], 4);
        let why = yard.text("_ctx/jobs/control/A.finish.why");
        assert!(why.contains("finish --stop"), "{why}");
        assert_eq!(yard.places("A"), ["running"]);
        fs::remove_file(yard.path("_ctx/jobs/control/A.finish")).unwrap();
        yard.ask("A.finish", "stop: true\n");
        yard.answers("A", "finish", 2);
        yard.until_in("done", "A");
        yard.until("the end of the command", || yard.commands().is_empty());
    });
}

#[test]
fn cancel_ends_the_command_whether_asked_or_moved() {
    for moved in [false, true] {
        let hand = |yard: &Yard| match moved {
            true => yard.mv("A", "running", "failed"),
            false => yard.ask("A.cancel", "no longer wanted"),
        };
        under_a_daemon_and_between_two(running, hand, |yard| {
            assert_eq!(yard.answer("A", "cancel")["code"], 0);
            yard.until_in("failed", "A");
            assert_eq!(yard.key("failed", "A", "result"), "cancelled");
            assert_eq!(yard.commands(), Vec::<u32>::new());
            assert_eq!(yard.lines("begun", 1).len(), 1);
            let settled = yard.events("A", "settled");
            assert_eq!(settled.len(), 1, "{}", yard.sight());
            let reason = if moved { "cancelled" } else { "no longer wanted" };
            assert_eq!(settled[0]["reason"], reason);
        });
    }
}

#[test]
fn cancel_of_a_pending_order_fails_it_as_attempt_nought() {
    for moved in [false, true] {
        let hand = |yard: &Yard| match moved {
            true => yard.mv("A", "pending", "failed"),
            false => yard.ask("A.cancel", ""),
        };
        under_a_daemon_and_between_two(pending, hand, |yard| {
            yard.until_in("failed", "A");
            yard.until("the stamp", || yard.key("failed", "A", "result") == "cancelled");
            assert_eq!(yard.events("A", "settled").len(), 1, "{}", yard.sight());
            assert_eq!(yard.events("A", "claiming").len(), 0);
            yard.settle_down("LATER");
            assert_eq!(yard.places("A"), ["failed"]);
        });
    }
}

#[test]
fn requeue_makes_the_next_attempt_whether_asked_or_moved() {
    let before = |yard: &Yard| {
        yard.submit("A", "workspace: none\nrun: echo again >> ran; test -e well\n");
        yard.until_in("failed", "A");
        yard.put("well", "");
    };
    for moved in [false, true] {
        let hand = |yard: &Yard| match moved {
            true => yard.mv("A", "failed", "pending"),
            false => yard.ask("A.requeue", "mended"),
        };
        under_a_daemon_and_between_two(before, hand, |yard| {
            yard.until_in("done", "A");
            assert_eq!(yard.text("ran"), "again\nagain\n");
            assert!(yard.path("_ctx/runs/A/1/01-run.log").exists());
            assert!(yard.path("_ctx/runs/A/2/01-run.log").exists());
            assert_eq!(yard.events("A", "requeued").len(), 1, "{}", yard.sight());
            assert!(yard.text(&Yard::ticket("done", "A")).contains("attempt: 2"));
        });
    }
}

#[test]
fn hold_and_unhold_by_touch() {
    let hold = |yard: &Yard| yard.ask("A.hold", "waits for Ann\n");
    under_a_daemon_and_between_two(pending, hold, |yard| {
        assert_eq!(yard.answer("A", "hold")["code"], 0);
        yard.ask("A.take", "");
        let refused = yard.answer("A", "take");
        assert!(refused["text"].as_str().unwrap().contains("waits for Ann"), "{refused}");
        fs::remove_file(yard.path("_ctx/jobs/control/A.take")).unwrap();
        yard.ask("A.unhold", "");
        assert_eq!(yard.answer("A", "unhold")["code"], 0);
        yard.ask("A.take", "");
        assert_eq!(yard.answers("A", "take", 2)[1]["code"], 0);
        yard.until_in("running", "A");
    });
}

#[test]
fn a_hold_with_an_empty_reason_holds() {
    let hold = |yard: &Yard| yard.ask("A.hold", "reason: ''\n");
    under_a_daemon_and_between_two(pending, hold, |yard| {
        assert_eq!(yard.answer("A", "hold")["text"], "A is held: no reason given");
        yard.ask("A.take", "");
        assert_eq!(yard.answer("A", "take")["code"], 4);
    });
}

#[test]
fn a_hold_outlives_the_text_that_an_editor_had_before() {
    let held = |yard: &Yard| {
        pending(yard);
        let before = yard.text(&Yard::ticket("pending", "A"));
        yard.ask("A.hold", "waits for Ann\n");
        assert_eq!(yard.answer("A", "hold")["code"], 0);
        fs::write(yard.path("before.yaml"), before).unwrap();
    };
    let over = |yard: &Yard| {
        fs::rename(yard.path("before.yaml"), yard.path(Yard::ticket("pending", "A"))).unwrap();
        yard.ask("A.take", "");
    };
    let anew = |yard: &Yard| {
        let ticket = yard.path(Yard::ticket("pending", "A"));
        fs::rename(&ticket, yard.path("_ctx/jobs/pending/A.yaml~")).unwrap();
        yard.until("it is away", || !yard.is_up() || yard.events("A", "withdrawn").len() == 1);
        fs::copy(yard.path("before.yaml"), ticket).unwrap();
        yard.ask("A.take", "");
    };
    let still_held = |yard: &Yard| {
        let refused = yard.answer("A", "take");
        assert!(refused["text"].as_str().unwrap().contains("waits for Ann"), "{refused}");
        let (_, why) = yard.verb(&["why", "A"]);
        assert!(why.contains("held: waits for Ann"), "{why}");
        assert!(yard.text(&Yard::ticket("pending", "A")).contains("hold: waits for Ann"));
        fs::remove_file(yard.path("_ctx/jobs/control/A.take")).unwrap();
        yard.ask("A.unhold", "");
        assert_eq!(yard.answer("A", "unhold")["code"], 0);
        yard.ask("A.take", "");
        yard.until_in("running", "A");
    };
    under_a_daemon_and_between_two(held, over, still_held);
    under_a_daemon_and_between_two(held, anew, still_held);
}

#[test]
fn a_deleted_pending_ticket_is_withdrawn() {
    let rm = |yard: &Yard| fs::remove_file(yard.path(Yard::ticket("pending", "A"))).unwrap();
    under_a_daemon_and_between_two(pending, rm, |yard| {
        yard.until("the event", || yard.events("A", "withdrawn").len() == 1);
        yard.submit("A", "run: true\nworkspace: none\n");
        yard.until_in("done", "A");
        assert_eq!(yard.events("A", "intake").len(), 2, "{}", yard.sight());
    });
}

#[test]
fn other_moves_are_put_back() {
    type Scene = fn(&Yard);
    let rows: [(Scene, &str, &str); 8] = [
        (pending, "pending", "done"),
        (done, "done", "pending"),
        (done, "done", "failed"),
        (done, "done", "running"),
        (failed, "failed", "done"),
        (failed, "failed", "running"),
        (taken, "running", "pending"),
        (running, "running", "pending"),
    ];
    for (before, from, to) in rows {
        let mv = |yard: &Yard| yard.mv("A", from, to);
        under_a_daemon_and_between_two(before, mv, |yard| put_back(yard, to, from));
    }
}

#[test]
fn the_explanation_of_a_move_goes_when_everything_is_looked_at_anew() {
    let mut yard = Yard::bare();
    yard.start();
    yard.settle_down("A");
    yard.mv("A", "done", "pending");
    yard.until("the explanation", || !yard.why("done", "A").is_empty());
    // Somebody else's file of that kind is none of ours.
    yard.put("_ctx/jobs/done/mine.yaml.why", "notes\n");
    yard.kill();
    assert!(yard.why("done", "A").starts_with("not done: moved from pending/"));
    yard.start();
    yard.settle_down("B");
    assert_eq!((yard.why("done", "A").as_str(), yard.places("A")), ("", vec!["done"]));
    assert_eq!(yard.text("_ctx/jobs/done/mine.yaml.why"), "notes\n");
}

#[test]
fn settled_tickets_from_before_the_first_start_are_adopted() {
    let mut yard = Yard::bare();
    yard.put(&Yard::ticket("done", "OLD"), "id: OLD\ntitle: T\n");
    yard.put(&Yard::ticket("failed", "WORSE"), "id: WORSE\ntitle: T\n");
    yard.submit("NEXT", "run: true\nworkspace: none\ndependencies: [OLD]\n");
    yard.start();
    yard.until_in("done", "NEXT");
    assert_eq!(yard.events("OLD", "adopted").len(), 1);
    assert_eq!(yard.events("WORSE", "adopted").len(), 1);
    assert_eq!((yard.places("OLD"), yard.places("WORSE")), (vec!["done"], vec!["failed"]));
}

#[test]
fn a_hand_made_ticket_in_done_counts_as_nothing() {
    let drop = |yard: &Yard| {
        yard.publish(&Yard::ticket("done", "A"), "id: A\ntitle: T\nresult: pass\n");
        yard.submit("B", "run: true\nworkspace: none\ndependencies: [A]\n");
    };
    under_a_daemon_and_between_two(
        |yard| yard.settle_down("FIRST"),
        drop,
        |yard| {
            yard.settle_down("LATER");
            assert_eq!(yard.places("B"), ["pending"]);
            assert_eq!(yard.events("A", "adopted").len(), 0, "{}", yard.sight());
        },
    );
}

#[test]
fn a_running_order_made_pending_while_its_command_outlives_the_daemon_runs_once() {
    let mut yard = Yard::bare();
    yard.fifo("gate");
    yard.start();
    running(&yard);
    yard.kill();
    yard.mv("A", "running", "pending");
    yard.start();
    put_back(&yard, "pending", "running");
    assert_eq!(yard.commands().len(), 1, "{}", yard.sight());
    yard.open_gate("gate");
    yard.until_in("done", "A");
    assert_eq!(yard.lines("begun", 1).len(), 1);
    assert_eq!(yard.events("A", "claiming").len(), 1);
    assert_eq!(yard.events("A", "started").len(), 1);
}

#[test]
fn a_refused_request_that_is_taken_back_leaves_no_explanation_also_between_two_daemons() {
    let why = |yard: &Yard| yard.path("_ctx/jobs/control/A.requeue.why");
    let refused = |yard: &Yard| {
        pending(yard);
        yard.ask("A.requeue", "");
        yard.until("the refusal", || why(yard).exists());
    };
    let back = |yard: &Yard| fs::remove_file(yard.path("_ctx/jobs/control/A.requeue")).unwrap();
    under_a_daemon_and_between_two(refused, back, |yard| {
        yard.until("no explanation", || !why(yard).exists());
    });
}
