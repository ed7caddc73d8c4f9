//! What people copy, delete and replace under jobyard: nothing counts as run that did not run, and nobody
//! serves a root beside another.
//!
//! Nothing here waits for a clock: every wait is for a condition.

use super::yard::{Yard, until};
use std::fs;

/// An order whose command goes on until `end` is there, and whose ticket was deleted.
fn without_ticket(yard: &Yard, id: &str) {
    let run = "run: 'touch began; until [ -e end ]; do sleep 0.01; done'\nworkspace: none\n";
    yard.submit(id, run);
    yard.until("the command", || yard.path("began").exists());
    fs::remove_file(yard.path(Yard::ticket("running", id))).unwrap();
}

#[test]
fn the_copy_of_a_settled_ticket_under_another_id_is_a_new_order() {
    let mut yard = Yard::bare();
    yard.submit(
        "ONE",
        "run: 'echo ONE >> ran'\nworkspace: none\nverify: {commands: ['test -d .']}\n",
    );
    yard.submit("BAD", "run: 'echo BAD >> ran; exit 1'\nworkspace: none\n");
    assert_eq!(yard.drain(), 0, "{}", yard.said());
    let copy = |from: &str, id: &str, to: &str| {
        let text = yard.text(&Yard::ticket(from, id));
        let text = text.replacen(&format!("id: {id}\n"), &format!("id: {to}\n"), 1);
        text.replace(&format!("echo {id}"), &format!("echo {to}"))
    };
    let (one, bad) = (copy("done", "ONE", "TWO"), copy("failed", "BAD", "WORSE"));
    yard.publish(&Yard::ticket("done", "FOUR"), &copy("done", "ONE", "FOUR"));
    yard.publish(&Yard::ticket("pending", "TWO"), &one);
    yard.publish(&Yard::ticket("pending", "WORSE"), &bad);
    yard.submit("AFTER", "run: 'echo AFTER >> ran'\nworkspace: none\ndependencies: [FOUR]\n");
    yard.start();
    yard.until_in("done", "TWO");
    yard.until_in("failed", "WORSE");
    yard.settle_down("LAST");
    let mut ran: Vec<String> = yard.text("ran").lines().map(str::to_owned).collect();
    ran.sort_unstable();
    assert_eq!(ran, ["BAD", "ONE", "TWO", "WORSE"]);
    assert_eq!(yard.places("AFTER"), ["pending"], "nothing vouches for FOUR");
    let (code, lint) = yard.verb(&["lint"]);
    assert!(code == 7 && lint.contains("FOUR"), "{lint}");
    let (code, said) = yard.verb(&["audit", "verify"]);
    assert!(code == 0 || !said.contains("TWO"), "{said}");
}

#[test]
fn a_settlement_of_another_root_settles_nothing_here() {
    let there = Yard::bare();
    there.submit("DONE", "run: 'true'\nworkspace: none\n");
    there.submit("FAILED", "run: 'false'\nworkspace: none\n");
    assert_eq!(there.drain(), 0);
    let mut here = Yard::bare();
    here.start();
    here.settle_down("A");
    for (state, id) in [("done", "DONE"), ("failed", "FAILED")] {
        here.publish(&Yard::ticket("pending", id), &there.text(&Yard::ticket(state, id)));
        let why = || here.why("pending", id);
        here.until("the explanation", || why().contains("does not have: remove `x_jobyard`"));
        assert_eq!(here.places(id), ["pending"]);
    }
    let text = there.text(&Yard::ticket("done", "DONE"));
    let bare = text.split("x_jobyard:").next().unwrap();
    here.publish(&Yard::ticket("pending", "DONE"), bare);
    here.until_in("done", "DONE");
    assert_eq!(here.events("DONE", "started").len(), 1);
}

#[test]
fn what_a_power_cut_left_in_the_directory_made_ahead_is_no_other_orders() {
    let mut yard = Yard::bare();
    yard.put("_ctx/runs/.jobyard/spare/1/order.yaml", "id: LOST\n");
    yard.start();
    yard.submit("A", "run: 'true'\nworkspace: none\nverify: {commands: ['test -d .']}\n");
    yard.until_in("done", "A");
    assert!(yard.text("_ctx/runs/A/1/order.yaml").contains("id: A\n"), "{}", yard.sight());
    assert_eq!(yard.text("_ctx/runs/.jobyard/spare.aside-1/1/order.yaml"), "id: LOST\n");
    assert!(yard.said().contains("_ctx/runs/.jobyard/spare.aside-1"), "{}", yard.said());
}

#[test]
fn a_settled_ticket_and_an_open_attempt_are_not_submitted_over() {
    let mut yard = Yard::bare();
    yard.submit("A", "run: 'true'\nworkspace: none\n");
    assert_eq!(yard.drain(), 0);
    let draft = yard.beside("draft.yaml");
    fs::rename(yard.path(Yard::ticket("done", "A")), &draft).unwrap();
    let (code, said) = yard.verb(&["submit", draft.to_str().unwrap()]);
    assert!(code == 4 && said.contains("settlement of an earlier run"), "{code} {said}");
    yard.start();
    without_ticket(&yard, "B");
    fs::write(&draft, "id: B\ntitle: T\nrun: echo other\nworkspace: none\n").unwrap();
    let (code, said) = yard.verb(&["submit", draft.to_str().unwrap()]);
    assert!(code == 4 && said.contains("B.lock exists"), "{code} {said}");
    fs::write(yard.path("end"), "").unwrap();
}

#[test]
fn an_order_whose_ticket_was_deleted_is_cancelled() {
    let mut yard = Yard::bare();
    yard.start();
    without_ticket(&yard, "A");
    let (code, said) = yard.verb(&["finish", "A"]);
    assert!(code == 4 && said.contains("as running/A.yaml"), "{code} {said}");
    assert!(said.contains("_ctx/runs/A/1/order.yaml"), "{said}");
    let (code, said) = yard.verb(&["cancel", "A"]);
    assert_eq!(code, 0, "{said}");
    assert_eq!(yard.events("A", "settled")[0]["result"], "cancelled");
    assert!(!yard.path("_ctx/jobs/running/A.lock").exists());
    until("its processes", || yard.commands().is_empty());
}

#[test]
fn who_deletes_the_lock_file_does_not_let_a_second_daemon_in() {
    let mut yard = Yard::bare();
    yard.start();
    yard.settle_down("A");
    fs::remove_file(yard.path("_ctx/runs/.jobyard/root.lock")).unwrap();
    let (code, said) = yard.verb(&["status"]);
    assert!(code == 0 && said.contains("daemon   up"), "{code} {said}");
    let (code, said) = yard.verb(&["daemon"]);
    assert!(code == 5 || code == 75, "{code} {said}");
    yard.settle_down("B");
    assert_eq!(yard.verb(&["audit", "verify"]).0, 0);
}

#[test]
fn a_daemon_whose_ledger_is_taken_away_answers_nothing_more_and_says_so() {
    let mut yard = Yard::bare();
    yard.start();
    yard.settle_down("A");
    fs::remove_dir_all(yard.path("_ctx/audit")).unwrap();
    yard.submit("B", "run: 'true'\nworkspace: none\n");
    yard.until("the end", || yard.said().contains("was removed or replaced while it was served"));
    assert_eq!(yard.places("B"), ["running"], "{}", yard.sight());
}

#[test]
fn a_verdict_that_a_job_wrote_is_moved_aside() {
    let mut yard = Yard::bare();
    yard.start();
    yard.submit("A", "run: 'echo pass > $JOBYARD_RUN_DIR/verdict.json; exit 3'\nworkspace: none\n");
    yard.until_in("failed", "A");
    assert!(!yard.path("_ctx/runs/A/1/verdict.json").exists());
    assert!(yard.text("_ctx/runs/A/1/end.txt").contains("exit-3"));
    assert_eq!(yard.verb(&["audit", "verify"]).0, 0);
}

#[test]
fn an_order_without_room_for_its_settlement_is_not_begun() {
    let mut yard = Yard::bare();
    yard.start();
    let body = "run: 'echo A >> ran'\nworkspace: none\n";
    yard.submit("A", &format!("{body}# {}\n", "x".repeat((1 << 20) - 400)));
    yard.until("the explanation", || yard.why("pending", "A").contains("how it ends"));
    let why = yard.why("pending", "A");
    assert!(why.contains("bytes"), "{why}");
    yard.submit("B", &format!("{body}# {}\n", "x".repeat((1 << 20) - 20_000)));
    yard.until_in("done", "B");
    yard.submit("C", "workspace: none\n");
    let (code, said) = yard.verb(&["hold", "C", "--reason", &"r".repeat(3000)]);
    assert!(code == 2 && said.contains("at most 2000"), "{code} {said}");
    assert_eq!(yard.text("ran"), "A\n", "only B ran");
}
