//! An automatic retry runs what was sealed, or waits for a person.

use super::two_attempts;
use crate::yard::Yard;

const CHECK: &str = "scope: {allow: [docs/**]}\nverify: {commands: ['test -f docs/done']}\n";

#[test]
fn an_order_that_its_job_edited_waits_for_a_person() {
    let mut yard = Yard::git();
    yard.start();
    let first = "echo x > other; git add -A; git commit -qm x; sed -i '/^scope/d; \
                 s/^verify.*/verify: {commands: [\"test -d .\"]}/' \
                 $JOBYARD_ROOT/_ctx/jobs/running/A.yaml";
    yard.submit("A", &two_attempts(first, "exit 0", CHECK));
    yard.until("the hold", || !yard.events("A", "held").is_empty());
    yard.until_in("pending", "A");
    let text = yard.text(&Yard::ticket("pending", "A"));
    assert!(text.contains("hold: ") && text.contains("test -d ."), "{text}");
    assert!(!text.contains("retries: 1"), "{text}");
    let (_, said) = yard.verb(&["why", "A"]);
    assert!(said.contains("edited while attempt 1 ran") && said.contains("unhold"), "{said}");
    let log = yard.text("_ctx/runs/A/execution.log");
    assert!(log.contains("| HELD            | its ticket was edited"), "{log}");
    yard.settle_down("B");
    assert_eq!(yard.places("A"), ["pending"], "it is not tried again by itself");
    assert_eq!(yard.verb(&["unhold", "A"]).0, 0);
    yard.until_in("done", "A");
}

#[test]
fn a_hold_of_an_edited_order_outlives_the_daemon() {
    let mut yard = Yard::git();
    yard.start();
    let first = "sed -i '/^verify/d' $JOBYARD_ROOT/_ctx/jobs/running/A.yaml";
    yard.submit("A", &two_attempts(first, "exit 0", CHECK));
    yard.until("the hold", || !yard.events("A", "held").is_empty());
    yard.kill();
    yard.start();
    yard.settle_down("B");
    yard.until_in("pending", "A");
    assert_eq!(yard.events("A", "held").len(), 1);
    assert!(yard.text(&Yard::ticket("pending", "A")).contains("hold: "));
}

#[test]
fn edits_that_decide_nothing_do_not_stop_a_retry() {
    let mut yard = Yard::git();
    yard.start();
    let first = "until grep -q attempt $JOBYARD_ROOT/_ctx/jobs/running/A.yaml; do sleep 0.01; \
                 done; echo 'priority: P0 # now' >> $JOBYARD_ROOT/_ctx/jobs/running/A.yaml";
    yard.submit("A", &two_attempts(first, "exit 0", "verify: {commands: ['test -d src']}\n"));
    yard.until_in("done", "A");
    assert_eq!(yard.key("done", "A", "priority"), "P0 # now");
    assert_eq!(yard.events("A", "held").len(), 0);
}

#[test]
fn a_catalogue_that_the_job_edited_stops_its_retry() {
    let mut yard = Yard::git();
    let dod = |check: &str| format!("- id: D\n  required_checks: ['{check}']\n");
    yard.put("_ctx/dod/d.yaml", &dod("test -f none"));
    yard.put("weaker.gate", &dod("test -d src"));
    yard.start();
    let first = "cp $JOBYARD_ROOT/weaker.gate $JOBYARD_ROOT/_ctx/dod/d.yaml";
    yard.submit("A", &two_attempts(first, "exit 0", "dod_id: D\n"));
    yard.until("the hold", || !yard.events("A", "held").is_empty());
    let reason = yard.events("A", "held")[0]["reason"].clone();
    assert!(reason.as_str().unwrap().starts_with("the DoD entry D was edited"), "{reason}");
    yard.until_in("pending", "A");
}

#[test]
fn a_filter_that_the_job_set_up_stops_its_retry() {
    let mut yard = Yard::git();
    yard.start();
    let first = "git config filter.f.clean true; git config filter.f.smudge cat";
    yard.submit("A", &two_attempts(first, "exit 0", CHECK));
    yard.until("the hold", || !yard.events("A", "held").is_empty());
    let reason = yard.events("A", "held")[0]["reason"].clone();
    assert!(reason.as_str().unwrap().starts_with("git's setting of filters"), "{reason}");
    yard.until_in("pending", "A");
}

#[test]
fn a_requeue_is_a_persons_word_for_the_order_as_it_is_now() {
    let mut yard = Yard::git();
    yard.start();
    yard.submit("A", &format!("{CHECK}run: 'exit 1'\n"));
    yard.until_in("failed", "A");
    assert_eq!(yard.key("failed", "A", "result"), "fail");
    let path = Yard::ticket("failed", "A");
    let text = yard.text(&path).replace("exit 1", "sleep 0.3").replace("docs/done", "src/a.txt");
    yard.publish(&path, &text);
    assert_eq!(yard.verb(&["requeue", "A"]).0, 0);
    yard.until("the running stamp", || {
        let running = yard.text(&Yard::ticket("running", "A"));
        running.contains("attempt: 2") && !running.contains("result:")
    });
    yard.until_in("done", "A");
    assert_eq!(yard.key("done", "A", "result"), "pass");
}

#[test]
fn the_last_failed_verdict_is_counted() {
    let mut yard = Yard::git();
    yard.start();
    yard.submit("A", &format!("{CHECK}run: 'true'\nretry: {{max: 1, backoff: 1ms}}\n"));
    yard.until_in("failed", "A");
    let text = yard.text(&Yard::ticket("failed", "A"));
    assert!(text.contains("verify_fails: 2") && text.contains("retries: 1"), "{text}");
}
