//! "A day" of `docs/operations.md`: its commands, block by block, beside a daemon and without one.

use crate::pages::{commands, shell};
use crate::yard::Yard;

const PAGE: &str = include_str!("../../docs/operations.md");

/// Runs a block; what it printed.
#[track_caller]
fn typed(yard: &Yard, block: &[String]) -> String {
    let mut text = String::new();
    for (command, said, code) in shell(yard, block) {
        assert_eq!(code, 0, "{command}: {said}");
        text.push_str(&said);
    }
    text
}

#[test]
fn a_day_goes_as_the_page_says() {
    let (day, _) = PAGE.split_once("## Under systemd").unwrap();
    let blocks = commands(day);
    let [look, stuck, failed, clean, backup, restore, growth] = blocks.as_slice() else {
        panic!("{} blocks: each needs its part here", blocks.len());
    };
    let mut yard = Yard::git();
    yard.fifo("stuck.gate");
    yard.start();
    yard.submit("WO-7", "workspace: none\nrun: [echo begun, cat stuck.gate]\n");
    let work = "run: echo x > src/b.txt && git add . && git commit -qm x\n";
    yard.submit("WO-8", &format!("{work}verify: {{commands: ['false']}}\n"));
    yard.submit("WO-9", &format!("{work}verify: {{commands: ['test -s src/b.txt']}}\n"));
    yard.until_in("failed", "WO-8");
    yard.until_in("done", "WO-9");
    yard.until("the command that hangs", || {
        yard.verb(&["why", "WO-7"]).1.contains("cat stuck.gate")
    });
    let said = typed(&yard, look);
    assert!(said.contains("WO-8  failed") && said.contains("up (pid"), "{said}");
    let said = typed(&yard, stuck);
    assert!(said.contains("run 2/2: cat stuck.gate") && said.contains("begun"), "{said}");
    yard.open_gate("stuck.gate");
    yard.until_in("done", "WO-7");
    let said = typed(&yard, failed);
    assert!(said.contains("checks-failed") && said.contains("WO-8 is pending again"), "{said}");
    yard.until_in("failed", "WO-8");
    let said = typed(&yard, clean);
    assert!(said.contains("removed .worktrees/WO-9 and feat/wo-WO-9"), "{said}");
    assert!(yard.path(".worktrees/WO-8").exists(), "what is not merged stays");
    assert_eq!(yard.term(), Some(0));
    typed(&yard, backup);
    std::fs::remove_dir_all(yard.path("_ctx")).unwrap();
    std::fs::remove_dir_all(yard.path(".worktrees")).unwrap();
    let said = typed(&yard, restore);
    assert!(said.contains("the ledger is whole") && said.contains("no findings"), "{said}");
    let said = typed(&yard, growth);
    assert!(said.contains("the ledger is whole"), "{said}");
    yard.start();
    yard.settle_down("WO-10");
}
