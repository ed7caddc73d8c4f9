//! Orders with `checkout: scope`, from the drop to the verdict and beyond.

use super::super::yard::Yard;
use super::attacks::attack;
use super::{take, work};
use std::fs;

const SCOPE: &str = "checkout: scope\nscope: {allow: ['src/**']}\n";
const PASSES: &str = "verify: {commands: ['test -f src/a.txt']}\n";

/// A yard with files outside of `src/`.
fn wide() -> Yard {
    let yard = Yard::git();
    for name in ["other/o.txt", "other/deep/p.txt", "top.txt"] {
        yard.put(name, "one\n");
    }
    yard.run_git(".", &["add", "other", "top.txt"]);
    yard.run_git(".", &["commit", "-q", "-m", "wide"]);
    yard
}

#[test]
fn an_order_gets_the_directories_of_its_scope_and_passes() {
    let mut yard = wide();
    let config = yard.path(".git/config");
    let before = fs::read(&config).unwrap();
    yard.start();
    let run = "ls > ../../seen; echo x >> src/a.txt; git commit -qam work; git status --short >> ../../seen";
    yard.submit("A", &format!("{SCOPE}{PASSES}run: '{run}'\n"));
    yard.until_in("done", "A");
    assert_eq!(yard.key("done", "A", "result"), "pass");
    let seen = yard.text("seen");
    assert!(seen.contains("src\ntop.txt\n") && !seen.contains("other"), "{seen}");
    let claim = &yard.events("A", "claiming")[0];
    assert_eq!(claim["sealed"]["cone"], serde_json::json!(["src"]), "{claim}");
    assert_eq!(yard.run_git(".", &["show", "--format=", "--name-only", "feat/wo-A"]), "src/a.txt");
    assert_eq!(fs::read(&config).unwrap(), before);

    yard.submit("FULL", &format!("{PASSES}run: 'test -f other/o.txt'\n"));
    yard.until_in("done", "FULL");
    let claim = &yard.events("FULL", "claiming")[0];
    assert!(claim["sealed"].get("cone").is_none(), "{claim}");

    yard.run_git(".", &["merge", "-q", "--ff-only", "feat/wo-A"]);
    let (code, said) = yard.verb(&["gc", "A", "--apply"]);
    assert_eq!(code, 0, "{said}");
    assert!(!yard.path(".worktrees/A").exists());
}

#[test]
fn what_is_done_inside_and_outside_is_caught() {
    let mut yard = wide();
    yard.start();
    let made = "mkdir other; echo mine > other/o.txt";
    let seen = format!("{made}; git update-index --no-skip-worktree other/o.txt");
    let added = format!("{seen}; git commit -qam x");
    let staged = format!("{seen}; git add other/o.txt; rm -r other");
    for (id, script, reason) in [
        ("NEW", "echo x > other.txt; git add -A; git commit -qm x", "out-of-scope"),
        ("MADE", made, "dirty"),
        ("ADDED", added.as_str(), "out-of-scope"),
        ("STAGED", staged.as_str(), "dirty"),
        ("REMOVED", "git rm -q --sparse other/o.txt; git commit -qm x", "out-of-scope"),
        ("LOST", "rm src/a.txt", "dirty"),
        ("HIDDEN", "git update-index --skip-worktree src/a.txt; rm src/a.txt", "dirty"),
        ("MARKED", "git update-index --skip-worktree src/a.txt", "hidden-files"),
        ("UNMARKED", "git update-index --no-skip-worktree other/o.txt", "dirty"),
        ("BESIDE", "git update-index --skip-worktree top.txt; rm top.txt", "dirty"),
        (
            "NARROWED",
            "d=$(git rev-parse --git-dir); printf '/*\\n!/*/\\n' > $d/info/sparse-checkout; \
             git -c core.sparseCheckout=true -c core.sparseCheckoutCone=true read-tree -mu HEAD",
            "dirty",
        ),
    ] {
        let order = format!("{SCOPE}verify: {{commands: ['test -d .']}}\n");
        assert_eq!(attack(&yard, id, &order, script), reason, "{id}");
    }
    // The same is caught in a full checkout, as before.
    let script = "git update-index --skip-worktree other/o.txt; rm other/o.txt";
    assert_eq!(attack(&yard, "FULL", PASSES, script), "dirty");
}

#[test]
fn a_worktree_that_is_kept_is_judged_by_what_it_was_made_with() {
    let mut yard = wide();
    yard.start();
    yard.submit("A", &format!("{SCOPE}{PASSES}"));
    take(&yard, "A");
    work(&yard, "A", "echo x >> top.txt; git commit -qam x");
    yard.ask("A.finish", "");
    yard.until_in("failed", "A");
    // A person widens the scope and asks for everything: the worktree stays as it is.
    let ticket = yard.text(&Yard::ticket("failed", "A"));
    let wider = ticket.replace("checkout: scope", "checkout: full").replace("['src/**']", "['**']");
    yard.publish(&Yard::ticket("failed", "A"), &wider);
    assert_eq!(yard.verb(&["requeue", "A"]).0, 0, "{}", yard.sight());
    yard.kill();
    yard.start();
    yard.ask("A.take", "");
    assert_eq!(yard.answers("A", "take", 2)[1]["code"], 0, "{}", yard.sight());
    assert!(!yard.path(".worktrees/A/other").exists());
    assert_eq!(yard.events("A", "claiming")[1]["sealed"]["cone"], serde_json::json!(["src"]));

    // So is an order that goes on in it, after this one.
    yard.ask("A.finish", "");
    yard.until_in("done", "A");
    yard.submit("B", &format!("workspace: {{inherit: A}}\n{PASSES}run: 'test ! -e other'\n"));
    yard.until_in("done", "B");
    assert_eq!(yard.key("done", "B", "result"), "pass");
    let (code, said) = yard.verb(&["verify", "A"]);
    assert_eq!(code, 0, "{said}");
}

#[test]
fn an_automatic_retry_keeps_it() {
    let mut yard = wide();
    yard.start();
    let run = "test -e src/b.txt || { echo b > src/b.txt; git add .; git commit -qm b; exit 1; }";
    yard.submit("A", &format!("{SCOPE}{PASSES}retry: {{max: 1, backoff: 0s}}\nrun: '{run}'\n"));
    yard.until_in("done", "A");
    let claims = yard.events("A", "claiming");
    assert_eq!(claims.len(), 2);
    assert!(claims.iter().all(|c| c["sealed"]["cone"] == serde_json::json!(["src"])));
    assert_eq!(yard.key("done", "A", "result"), "pass");
}

#[test]
fn a_worktree_of_a_persons_making_is_whole() {
    let mut yard = wide();
    yard.run_git(".", &["worktree", "add", "-q", "-b", "feat/wo-A", ".worktrees/A"]);
    yard.start();
    yard.submit("A", &format!("{SCOPE}{PASSES}run: 'rm -r other'\n"));
    yard.until_in("failed", "A");
    assert_eq!(yard.events("A", "settled")[0]["reason"], "dirty", "{}", yard.sight());
    assert!(yard.events("A", "claiming")[0]["sealed"].get("cone").is_none());
}
