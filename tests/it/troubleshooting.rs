//! `docs/troubleshooting.md`: every message of the page, provoked with the real binary.
//!
//! Invariants: each heading has a recipe and each recipe a heading; each line of its block is printed, but
//! for what differs from run to run.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use crate::golden::normal::Normal;
use crate::pages::shell;
use crate::yard::Yard;
use std::collections::{BTreeMap, BTreeSet};

const PAGE: &str = include_str!("../../docs/troubleshooting.md");

/// What every recipe begins with: `order ID REST` drops a ticket, `daemon` starts one in the background.
const PRELUDE: &str = r#"
    order() { printf 'id: %s\ntitle: T\n%s\n' "$1" "$2" > .x && mv .x "_ctx/jobs/pending/$1.yaml"; }
    take() { jobyard take WO-1 --owner ann > /dev/null; }
    daemon() {
        jobyard daemon --ready-file ready.file > /dev/null & pid=$!
        until [ -e ready.file ]; do kill -0 $pid || return; done
    }
    checked="verify: {commands: ['test -s src/a.txt']}"
"#;

/// Heading and how it comes about.
const RECIPES: &[(&str, &str)] = &[
    ("No daemon runs", "order WO-1 'run: true'; jobyard why WO-1"),
    ("Nobody has taken it", "order WO-1; jobyard why WO-1"),
    ("It waits for another order", "order WO-1; order WO-2 'dependencies: [WO-1]'; jobyard take WO-2"),
    (
        "It can never start",
        "order WO-1; jobyard cancel WO-1; order WO-2 'dependencies: [WO-1]'; jobyard why WO-2",
    ),
    (
        "The daemon is frozen",
        "order WO-1; daemon; kill -STOP $pid; jobyard take WO-1 --wait 1; jobyard hold WO-1 --wait 1
         kill -CONT $pid; kill $pid; wait $pid",
    ),
    (
        "The daemon runs, and nothing starts",
        r#"daemon; executor=$(cat /proc/$pid/task/$pid/children); kill -STOP $executor
         until grep -q "State:.T" "/proc/${executor% }/status"; do :; done
         order WO-1 $'run: "true"\nnot_before: 2199-01-01'; jobyard why WO-1
         kill -CONT $executor; kill $pid; wait $pid"#,
    ),
    ("A daemon is there already", "daemon; jobyard daemon; kill $pid; wait $pid"),
    ("A ticket that is no work order", "order WO-1 'priority: urgentt'; jobyard daemon --drain"),
    (
        "A key that has no effect",
        r"printf 'id: WO-1\ntitle: T\nscop: {allow: [a]}\n' > x.yaml; jobyard submit x.yaml",
    ),
    (
        "An id that is used already",
        r"order WO-1; take; jobyard finish WO-1
         printf 'id: WO-1\ntitle: T\n' > x.yaml; jobyard submit x.yaml",
    ),
    ("One id in two states", "order WO-1; jobyard cancel WO-1; order WO-1 'x_other: 1'; jobyard lint"),
    (
        "State that git tracks",
        "order WO-1; git add -f _ctx/jobs/pending; git commit -qm state; jobyard lint",
    ),
    (
        "An epic or a DoD that is not there",
        r"order WO-1 $'epic_id: E-9\ndod_id: DOD-9'; jobyard lint",
    ),
    ("A configuration that contradicts itself", "echo 'slotz = 2' > _ctx/jobyard.toml; jobyard daemon"),
    ("Held by another", "order WO-1; take; jobyard take WO-1"),
    (
        "A lease without a sign of life",
        "echo 'stale_after = \"50ms\"' > _ctx/jobyard.toml; order WO-1; take
         until jobyard lint | grep stale-lease; do :; done",
    ),
    (
        "A lock that jobyard did not make",
        "order WO-1; echo WO-1 > _ctx/jobs/running/WO-1.lock; jobyard take WO-1",
    ),
    (
        "Files of somebody else",
        "order WO-1; chmod 755 .. ; cp \"$(command -v jobyard)\" ../mine
         $(test $(id -u) = 0 || echo sudo -n) setpriv --reuid=65534 --clear-groups ../mine take WO-1",
    ),
    (
        "Something in the way of a worktree",
        "order WO-1; mkdir -p .worktrees/WO-1; echo x > .worktrees/WO-1/x; take",
    ),
    ("The branch is used elsewhere", "order WO-1; git worktree add -q other -b feat/wo-WO-1; take"),
    ("A base that is no commit", "order WO-1 'base: nosuch'; take"),
    ("A repository without a commit", "rm -rf .git; git init -q; order WO-1; take"),
    (
        "Work that is not committed",
        "order WO-1 \"$checked\"; take; echo x > .worktrees/WO-1/x; echo y > .worktrees/WO-1/src/a.txt
         jobyard finish WO-1",
    ),
    (
        "A detached HEAD",
        "order WO-1 \"$checked\"; take; git -C .worktrees/WO-1 checkout -q --detach; jobyard finish WO-1",
    ),
    (
        "Outside its scope",
        r#"order WO-1 $'scope: {allow: [docs/**]}\n'"$checked"; take; cd .worktrees/WO-1
         echo y > src/a.txt; git commit -qam y; jobyard finish"#,
    ),
    ("Checks that prove nothing", "order WO-1 \"verify: {commands: ['true']}\"; take; jobyard finish WO-1"),
    ("Nothing was verified", "order WO-1; take; jobyard finish WO-1"),
    (
        "A move that was put back",
        "order WO-1; take; jobyard finish WO-1; mv _ctx/jobs/done/WO-1.yaml _ctx/jobs/pending/
         jobyard daemon --drain",
    ),
    ("No root", "cd /; jobyard list"),
    (
        "The disk is full",
        r#"mkdir small; printf 'id: NEW\ntitle: T\n' > new.yaml
         unshare -rm sh -c 'mount -t tmpfs -o size=1m tmpfs small && cp -r _ctx small/ && cd small &&
         { dd if=/dev/zero of=fill bs=4k 2> /dev/null; jobyard submit ../new.yaml; }'"#,
    ),
    (
        "Too few watches",
        "unshare -Ur sh -c 'echo 0 > /proc/sys/user/max_inotify_instances; jobyard daemon'",
    ),
];

/// The headings of the page with the lines of their blocks.
fn messages() -> BTreeMap<&'static str, Vec<&'static str>> {
    let parts = PAGE.split("\n### ").skip(1);
    let message = |part: &'static str| {
        let (head, rest) = part.split_once('\n').unwrap();
        let block = rest.split_once("```text\n").unwrap_or_else(|| panic!("{head}: no message")).1;
        (head, block.split("```").next().unwrap().lines().collect())
    };
    parts.map(message).collect()
}

/// What a recipe prints on a root of its own.
fn provoked(recipe: &str) -> String {
    let yard = Yard::git();
    let commands =
        [PRELUDE, "jobyard init > /dev/null\n", &format!("{recipe}\n")].map(str::to_owned);
    let ran = shell(&yard, &commands);
    Normal::of(&yard.root).text(ran.last().unwrap().1.clone())
}

#[test]
fn every_message_of_the_page_is_printed() {
    let messages = messages();
    let headings: BTreeSet<&str> = messages.keys().copied().collect();
    let recipes: BTreeSet<&str> = RECIPES.iter().map(|(head, _)| *head).collect();
    assert_eq!(headings, recipes, "each heading needs a recipe in tests/it/troubleshooting.rs");
    let mut wrong = Vec::new();
    for (head, recipe) in RECIPES {
        let printed = provoked(recipe);
        let missing = messages[head].iter().filter(|line| !printed.lines().any(|l| l == **line));
        let missing: Vec<&str> = missing.copied().collect();
        if !missing.is_empty() {
            wrong.push(format!("{head}: not printed:\n{}\nbut:\n{printed}", missing.join("\n")));
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}
