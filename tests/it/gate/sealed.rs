//! What was sealed at the claim and lies where a job can reach it: the copy with `env`, the ignore rules,
//! git's settings; and where HEAD is while the checks run.

use super::super::yard::Yard;
use super::attacks::{PASSES, attack};
use super::{sentences, take};
use std::fs;
use std::os::unix::fs::PermissionsExt;

/// Passes only without the value that the order gives it.
const STRICT: &str = "env: {STRICT: '1'}\nverify: {commands: ['test -z \"$STRICT\"']}\n";

#[test]
fn a_job_cannot_take_env_from_its_checks() {
    let mut yard = Yard::git();
    yard.start();
    let edits = |id: &str| format!("echo \"# x\" >> $JOBYARD_ROOT/_ctx/jobs/running/{id}.yaml");
    assert_eq!(attack(&yard, "TICKET", STRICT, &edits("TICKET")), "checks-failed");
    let copy = yard.path("_ctx/runs/TICKET/1/order.yaml");
    assert_eq!(fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!fs::read_to_string(&copy).unwrap().ends_with("# x\n"));
    // The ticket first: a stamp over an unedited one would put the copy back.
    let removes = format!("{}; rm $JOBYARD_RUN_DIR/order.yaml", edits("REMOVED"));
    assert_eq!(attack(&yard, "REMOVED", STRICT, &removes), "sealed-changed");
    let changes = format!("echo >> $JOBYARD_RUN_DIR/order.yaml; {}", edits("CHANGED"));
    assert_eq!(attack(&yard, "CHANGED", STRICT, &changes), "sealed-changed");
    let planted = format!(
        "{}; rm $JOBYARD_RUN_DIR/order.yaml; mkdir $JOBYARD_RUN_DIR/order.yaml",
        edits("PLANTED")
    );
    assert_eq!(attack(&yard, "PLANTED", STRICT, &planted), "sealed-changed");
    assert!(sentences(&yard.verdict("PLANTED", 1)).contains("_ctx/runs/PLANTED/1/order.yaml"));
}

#[test]
fn a_command_is_not_run_without_its_env() {
    let mut yard = Yard::git();
    yard.start();
    let ticket = "$JOBYARD_ROOT/_ctx/jobs/running/A.yaml";
    let first = format!("echo \"# x\" >> {ticket}; rm $JOBYARD_RUN_DIR/order.yaml");
    let run = format!("run: ['{first}', 'echo ran > $JOBYARD_ROOT/ran.said']\n");
    yard.submit("A", &format!("{STRICT}{run}"));
    yard.until_in("failed", "A");
    assert_eq!(yard.events("A", "settled")[0]["reason"], "sealed-changed");
    assert_eq!(yard.text("ran.said"), "");
    assert!(yard.text("_ctx/runs/A/execution.log").contains("sealed order was changed"));

    yard.submit("B", STRICT);
    take(&yard, "B");
    yard.until("the copy of B", || yard.path("_ctx/runs/B/1/order.yaml").exists());
    yard.until("the stamp of B", || yard.key("running", "B", "status") == "running");
    fs::remove_file(yard.path("_ctx/runs/B/1/order.yaml")).unwrap();
    yard.ask("B.finish", "");
    assert_eq!(yard.answer("B", "finish")["code"], 6);
    assert_eq!(yard.verdict("B", 1)["reason"], "sealed-changed");
}

#[test]
fn the_sealed_order_is_kept_whoever_edits_the_ticket_first() {
    let mut yard = Yard::git();
    yard.start();
    let script = "t=$JOBYARD_ROOT/_ctx/jobs/running/A.yaml; echo \"# mine\" >> $t; \
                  until grep -q \"attempt: 1\" $t; do sleep 0.01; done";
    let order = format!("{PASSES}run: '{script}'\n");
    yard.submit("A", &order);
    yard.until_in("done", "A");
    assert_eq!(yard.text("_ctx/runs/A/1/order.yaml"), format!("id: A\ntitle: T\n{order}"));
    assert!(yard.text("_ctx/jobs/done/A.yaml").contains("# mine"));
    let removes = "until [ -e $JOBYARD_RUN_DIR/order.yaml ]; do sleep 0.01; done; \
                   rm $JOBYARD_RUN_DIR/order.yaml";
    assert_eq!(attack(&yard, "REMOVED", PASSES, removes), "sealed-changed");
}

#[test]
fn ignore_rules_and_settings_of_git_count_as_they_were_at_the_claim() {
    let mut yard = Yard::git();
    yard.start();
    let common = "c=$(git rev-parse --git-common-dir)";
    for (id, script) in [
        ("RULES", "echo u > unt; echo unt >> $JOBYARD_RUN_DIR/excludes".to_owned()),
        ("GONE", "rm $JOBYARD_RUN_DIR/excludes".to_owned()),
        ("PIPE", "rm $JOBYARD_RUN_DIR/excludes; mkfifo $JOBYARD_RUN_DIR/excludes".to_owned()),
        (
            "FILTER",
            format!(
                "{common}; echo \"src/a.txt filter=hide\" > $c/info/attributes; git config \
                 filter.hide.clean \"echo ran > $JOBYARD_ROOT/ran.said; echo one\"; echo evil > src/a.txt"
            ),
        ),
        ("CONFIG", "git config core.autocrlf input".to_owned()),
        ("ALTERNATE", format!("{common}; echo /nowhere > $c/objects/info/alternates")),
    ] {
        assert_eq!(attack(&yard, id, PASSES, &script), "sealed-changed", "{id}");
        let common = yard.path(".git");
        let _ = fs::remove_file(common.join("info/attributes"));
        let _ = fs::remove_file(common.join("objects/info/alternates"));
    }
    assert_eq!(yard.text("ran.said"), "", "a filter ran at the gate");
}

#[test]
fn a_branch_that_moves_between_checks_does_not_pass() {
    let mut yard = Yard::git();
    yard.start();
    let checks = "verify: {commands: ['git commit -q --allow-empty -m x', 'test -f src/a.txt', \
                  'git reset -q --hard HEAD~1']}\n";
    yard.submit("A", &format!("run: 'true'\n{checks}"));
    yard.until_in("failed", "A");
    let verdict = yard.verdict("A", 1);
    assert_eq!(verdict["reason"], "moved-during-checks", "{verdict}");
    assert!(sentences(&verdict).contains("check-2 began at"), "{verdict}");
}

#[test]
fn a_pipe_that_git_would_wait_on_is_named_and_stops_nobody() {
    let mut yard = Yard::git();
    yard.start();
    let began = std::time::Instant::now();
    assert_eq!(attack(&yard, "A", PASSES, "mkfifo src/.gitignore"), "git");
    assert!(sentences(&yard.verdict("A", 1)).contains("src/.gitignore"));
    assert!(began.elapsed() < std::time::Duration::from_secs(15), "far below the bound of git");
    yard.settle_down("NEXT");
}
