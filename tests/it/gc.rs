//! `gc`: kept worktrees go when they are merged and clean; no commit and no file of a person's is lost.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use crate::yard::Yard;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;

/// Numbers that look random, the same in every run (xorshift).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

fn gc(yard: &Yard, args: &[&str]) -> Value {
    let (code, said) = yard.verb(&[&["gc", "--json"], args].concat());
    assert_eq!(code, 0, "{said}");
    serde_json::from_str(said.lines().next().unwrap()).unwrap()
}

/// The fate of an order's worktree.
fn fate(json: &Value, id: &str) -> String {
    let trees = json["worktrees"].as_array().unwrap();
    let found = trees.iter().find(|t| t["id"] == id);
    found.map_or_else(|| "none".to_owned(), |t| t["fate"].as_str().unwrap().to_owned())
}

/// Takes an order, leaves a commit and finishes it.
fn finished(yard: &Yard, id: &str) {
    yard.put(&Yard::ticket("pending", id), &format!("id: {id}\ntitle: T\n"));
    assert_eq!(yard.verb(&["take", id]).0, 0);
    commit(yard, id, "work");
    assert_eq!(yard.verb(&["finish", id]).0, 0);
}

fn tree(id: &str) -> String {
    format!(".worktrees/{id}")
}

fn commit(yard: &Yard, id: &str, text: &str) -> String {
    yard.put(&format!("{}/{id}.txt", tree(id)), text);
    yard.run_git(&tree(id), &["add", "."]);
    yard.run_git(&tree(id), &["commit", "-q", "--allow-empty", "-m", text]);
    yard.run_git(&tree(id), &["rev-parse", "HEAD"])
}

fn merge(yard: &Yard, id: &str) {
    yard.run_git(".", &["merge", "-q", "--no-edit", &format!("feat/wo-{id}")]);
}

#[test]
fn only_what_is_merged_and_clean_goes_and_only_when_told_to() {
    let yard = Yard::git();
    for id in ["MERGED", "AHEAD", "DIRTY"] {
        finished(&yard, id);
    }
    yard.put(&Yard::ticket("pending", "HELD"), "id: HELD\ntitle: T\n");
    assert_eq!(yard.verb(&["take", "HELD"]).0, 0);
    merge(&yard, "MERGED");
    merge(&yard, "DIRTY");
    yard.put(".worktrees/DIRTY/notes", "mine\n");
    yard.run_git(".", &["worktree", "add", "-q", ".worktrees/GHOST", "-b", "ghost"]);
    yard.run_git(".", &["worktree", "add", "-q", "../elsewhere", "-b", "elsewhere"]);

    let dry = gc(&yard, &[]);
    let fates: Vec<_> =
        ["MERGED", "AHEAD", "DIRTY", "HELD", "GHOST"].map(|id| fate(&dry, id)).into();
    assert_eq!(fates, ["would-go", "stays", "stays", "stays", "stays"], "{dry}");
    assert!(yard.path(tree("MERGED")).exists());

    let (code, said) = yard.verb(&["gc", "AHEAD", "--apply"]);
    assert!(code == 4 && said.contains(".worktrees/AHEAD stays"), "{code}: {said}");
    let (code, said) = yard.verb(&["gc", "--apply"]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("removed .worktrees/MERGED\n"), "{said}");
    assert!(said.contains(".worktrees/AHEAD stays: commits of feat/wo-AHEAD are not"), "{said}");
    assert!(said.contains(".worktrees/DIRTY stays: it has 1 uncommitted file(s)"), "{said}");
    assert!(said.contains(".worktrees/HELD stays: its order is running"), "{said}");
    assert!(!yard.path(tree("MERGED")).exists());
    for id in ["AHEAD", "DIRTY", "HELD", "GHOST"] {
        assert!(yard.path(tree(id)).is_dir(), "{id}");
    }
    assert!(yard.beside("elsewhere").is_dir());
    assert_eq!(yard.text(".worktrees/DIRTY/notes"), "mine\n");
    yard.run_git(".", &["rev-parse", "--verify", "-q", "feat/wo-MERGED"]);
    let (code, said) = yard.verb(&["lint"]);
    assert!(code == 7 && said.contains("worktree-without-order"), "{said}");
    yard.run_git(".", &["fsck", "--strict"]);
}

#[test]
fn what_is_not_merged_goes_once_its_commits_are_saved() {
    let yard = Yard::git();
    finished(&yard, "A");
    let tip = yard.run_git(".", &["rev-parse", "feat/wo-A"]);
    let (code, said) = yard.verb(&["gc", "A", "--bundle", "--apply"]);
    assert_eq!(code, 0, "{said}");
    let file = format!("_ctx/runs/A/kept-{}.bundle", &tip[..12]);
    assert!(said.contains(&format!("; its commits are in {file}")), "{said}");
    assert!(!yard.path(tree("A")).exists());
    assert_eq!(yard.run_git(".", &["branch", "--list", "feat/wo-A"]), "");
    let bundle = yard.path(&file).to_string_lossy().into_owned();
    yard.run_git(".", &["fetch", "-q", &bundle, "feat/wo-A:saved"]);
    assert_eq!(yard.run_git(".", &["rev-parse", "saved"]), tip);
    assert_eq!(yard.verb(&["gc", "--bundle"]).0, 2);
    assert_eq!(yard.verb(&["gc", "A"]).0, 3);
    let (code, said) = yard.verb(&["gc"]);
    assert!(code == 0 && said == "no kept worktrees\n", "{code} {said:?}");
}

#[test]
fn a_failed_order_that_is_begun_again_finds_its_work() {
    let mut yard = Yard::git();
    yard.start();
    yard.submit("A", "run: [echo x > src/b.txt; git add .; git commit -qm b, 'false']\n");
    yard.until_in("failed", "A");
    let tip = yard.run_git(".", &["rev-parse", "feat/wo-A"]);
    merge(&yard, "A");
    assert_eq!(fate(&gc(&yard, &["--apply"]), "A"), "gone");
    assert_eq!(yard.verb(&["requeue", "A"]).0, 0);
    yard.until("its second end", || yard.events("A", "settled").len() == 2);
    yard.run_git(".", &["merge-base", "--is-ancestor", &tip, "feat/wo-A"]);
}

/// One order's way, and what must not be lost of it.
struct Way {
    id: String,
    commits: Vec<String>,
    dirty: Vec<String>,
    taken: bool,
    settled: bool,
}

impl Way {
    fn step(&mut self, yard: &Yard, numbers: &mut Numbers) {
        let id = self.id.clone();
        let here = yard.path(tree(&id)).is_dir();
        match numbers.below(7) {
            0 if !self.taken => {
                yard.put(&Yard::ticket("pending", &id), &format!("id: {id}\ntitle: T\n"));
                assert_eq!(yard.verb(&["take", &id]).0, 0);
                self.taken = true;
            }
            1 | 2 if here => {
                let text = format!("{}", numbers.below(1 << 40));
                self.commits.push(commit(yard, &id, &text));
                self.dirty.clear();
            }
            3 if here => {
                let name = format!("{}/dirty-{}", tree(&id), numbers.below(1 << 40));
                yard.put(&name, "mine\n");
                self.dirty.push(name);
            }
            4 if here => merge(yard, &id),
            5 if self.taken && !self.settled => {
                self.settled = yard.verb(&["finish", &id]).0 == 0;
            }
            _ => {
                gc(
                    yard,
                    if numbers.below(2) == 0 { &["--apply"] } else { &["--apply", "--branches"] },
                );
            }
        }
    }

    fn nothing_is_lost(&self, yard: &Yard, kept: &BTreeSet<String>) {
        for name in &self.dirty {
            assert_eq!(yard.text(name), "mine\n", "{name}");
        }
        for commit in &self.commits {
            assert!(kept.contains(commit), "{}: {commit} is on no branch", self.id);
        }
    }
}

/// Sixty orders in three repositories, some steps each, mixed with one another; with `JOBYARD_ROUNDS=10`
/// there are two hundred.
#[test]
fn random_ways_lose_no_commit_and_no_file() {
    let rounds = std::env::var("JOBYARD_ROUNDS").map_or(3, |n| n.parse().unwrap());
    for seed in 1..=rounds {
        let yard = Yard::git();
        let mut numbers = Numbers(u64::wrapping_mul(seed, 0x9e37_79b9_7f4a_7c15));
        yard.run_git(".", &["worktree", "add", "-q", ".worktrees/bystander", "-b", "bystander"]);
        yard.put(".worktrees/bystander/mine", "mine\n");
        let way = |n| Way {
            id: format!("W-{n}"),
            commits: Vec::new(),
            dirty: Vec::new(),
            taken: false,
            settled: false,
        };
        let mut ways: Vec<Way> = (0..20).map(way).collect();
        for _ in 0..6 {
            for way in &mut ways {
                way.step(&yard, &mut numbers);
            }
        }
        let all = yard.run_git(".", &["rev-list", "--all"]);
        let kept: BTreeSet<String> = all.lines().map(str::to_owned).collect();
        ways.iter().for_each(|way| way.nothing_is_lost(&yard, &kept));
        assert_eq!(yard.text(".worktrees/bystander/mine"), "mine\n", "seed {seed}");
        yard.run_git(".", &["fsck", "--strict"]);
        assert_eq!(
            fs::read_dir(yard.path(".worktrees"))
                .unwrap()
                .flatten()
                .filter(|e| e.file_name().to_string_lossy().starts_with(".trash"))
                .count(),
            0
        );
    }
}
