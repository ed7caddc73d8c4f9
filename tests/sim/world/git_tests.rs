//! The simulated git: worktrees are made, repaired, refused and removed as the trait promises.

use super::{Deeds, Fuse, Head, Machine, Shared, SimWorld};
use jobyard::model::tree::{CommitId, WorktreeMade};
use jobyard::world::World;
use std::path::Path;

const ME: u32 = 1000;
const AT: &str = ".worktrees/WO-1";
const BRANCH: &str = "feat/wo-WO-1";

fn world(seed: u64) -> (Shared, SimWorld, CommitId) {
    let m = Machine::shared(seed, ME);
    let mut w = SimWorld::new(&m, ME);
    let base = w.git_base(None).unwrap();
    (m, w, base)
}

fn made(branch_created: bool, worktree_created: bool) -> WorktreeMade {
    WorktreeMade { branch_created, worktree_created, moved_aside: None }
}

#[test]
fn a_worktree_is_made_once_and_then_reused() {
    let (_, mut w, base) = world(1);
    assert_eq!(w.git_branch(BRANCH), Ok(None));
    assert_eq!(w.git_worktree(AT, BRANCH), Ok(false));
    assert_eq!(w.git_add(AT, BRANCH, &base, None), Ok(made(true, true)));
    assert_eq!(w.git_worktree(AT, BRANCH), Ok(true));
    assert_eq!(w.git_worktree(AT, "main"), Ok(false));
    assert_eq!(w.git_add(AT, BRANCH, &base, None), Ok(made(false, false)));
    let facts = w.git_tree(AT, b"none", None).unwrap();
    assert_eq!((facts.exists, facts.branch.as_deref()), (true, Some(BRANCH)));
    assert_eq!(facts.head, Some(base));
}

#[test]
fn a_crash_at_any_step_of_making_is_repaired_by_the_next_call() {
    let mut n = 0;
    loop {
        n += 1;
        let (m, mut w, base) = world(1);
        w.fuse = Fuse::crash_at(n);
        if w.git_add(AT, BRANCH, &base, None).is_ok() {
            break;
        }
        let mut next = SimWorld::new(&m, ME);
        assert_eq!(next.git_worktree(AT, BRANCH), Ok(false));
        next.git_add(AT, BRANCH, &base, None).unwrap();
        assert_eq!(next.git_worktree(AT, BRANCH), Ok(true), "crash at {n}");
    }
    assert!(n > 4);
}

#[test]
fn a_half_made_worktree_that_breaks_the_others_is_mended_by_the_next_add() {
    let (m, mut w, base) = world(1);
    m.borrow_mut().git.half_breaks_all = true;
    w.fuse = Fuse::crash_at(3);
    w.git_add(AT, BRANCH, &base, None).unwrap_err();
    let mut next = SimWorld::new(&m, ME);
    assert!(m.borrow().git.worktrees[AT].breaks_all);
    assert!(next.git_branch("main").unwrap().is_some());
    next.git_add(".worktrees/WO-2", "feat/wo-WO-2", &base, None).unwrap();
    assert!(!m.borrow().git.worktrees[AT].breaks_all && !m.borrow().git.worktrees[AT].complete);
    next.git_add(AT, BRANCH, &base, None).unwrap();
    assert_eq!(next.git_worktree(AT, BRANCH), Ok(true));
}

#[test]
fn what_stands_in_the_way_is_moved_aside_unless_empty() {
    let (m, mut w, base) = world(1);
    m.borrow_mut().hand(ME).mkdir(AT).unwrap();
    assert_eq!(w.git_add(AT, BRANCH, &base, None).unwrap().moved_aside, None);
    let (m, mut w, base) = world(1);
    m.borrow_mut().hand(ME).mkdir(AT).unwrap();
    m.borrow_mut().hand(ME).write(&format!("{AT}/mine"), b"keep").unwrap();
    let aside = w.git_add(AT, BRANCH, &base, None).unwrap().moved_aside.unwrap();
    assert_eq!(m.borrow().disk.peek(&Path::new(&aside).join("mine")), Some(&b"keep"[..]));
}

#[test]
fn a_worktree_whose_directory_is_gone_is_made_again() {
    let (m, mut w, base) = world(1);
    w.git_add(AT, BRANCH, &base, None).unwrap();
    m.borrow_mut().hand(ME).rm_all(AT).unwrap();
    assert_eq!(w.git_worktree(AT, BRANCH), Ok(false));
    assert!(!w.git_tree(AT, b"none", None).unwrap().exists);
    assert_eq!(w.git_add(AT, BRANCH, &base, None), Ok(made(false, true)));
    assert_eq!(w.git_worktree(AT, BRANCH), Ok(true));
}

#[test]
fn removal_refuses_what_would_be_lost() {
    for deeds in [
        Deeds { dirty: true, ..Deeds::default() },
        Deeds { untracked: true, ..Deeds::default() },
        Deeds { commit: Some("x".to_owned()), ..Deeds::default() },
    ] {
        let (m, mut w, base) = world(1);
        let made = w.git_add(AT, BRANCH, &base, None).unwrap();
        m.borrow_mut().git.work(AT, &deeds);
        assert!(w.git_remove(AT, BRANCH, &base, &made).is_err(), "{deeds:?}");
        assert_eq!(w.git_worktree(AT, BRANCH), Ok(true));
    }
}

#[test]
fn removal_takes_only_what_was_created_and_can_be_repeated() {
    let (m, mut w, base) = world(1);
    m.borrow_mut().git.branches.insert(BRANCH.to_owned(), m_branch(&base));
    let made = w.git_add(AT, BRANCH, &base, None).unwrap();
    assert_eq!((made.branch_created, made.worktree_created), (false, true));
    w.git_remove(AT, BRANCH, &base, &made).unwrap();
    assert!(w.git_branch(BRANCH).unwrap().is_some());
    assert_eq!(w.stat(Path::new(AT)), Ok(None));
    for n in 1..4 {
        let (m, mut w, base) = world(1);
        let made = w.git_add(AT, BRANCH, &base, None).unwrap();
        let seen = w.fuse.changes_seen();
        w.fuse = std::mem::take(&mut w.fuse).on_change(seen + n, super::Blow::Crash);
        w.git_remove(AT, BRANCH, &base, &made).unwrap_err();
        let mut next = SimWorld::new(&m, ME);
        next.git_remove(AT, BRANCH, &base, &made).unwrap();
        assert_eq!(next.git_branch(BRANCH), Ok(None), "crash at {n}");
        assert_eq!(next.stat(Path::new(AT)), Ok(None));
    }
}

fn m_branch(base: &CommitId) -> super::Branch {
    super::Branch { at: base.clone(), durable: Some(base.clone()) }
}

#[test]
fn commits_move_the_branch_and_show_as_changes() {
    let (m, mut w, base) = world(1);
    w.git_add(AT, BRANCH, &base, None).unwrap();
    let work = |path: &str| Deeds { commit: Some(path.to_owned()), ..Deeds::default() };
    m.borrow_mut().git.work(AT, &work("one"));
    m.borrow_mut().git.work(AT, &work("two"));
    let head = w.git_tree(AT, b"none", None).unwrap().head.unwrap();
    assert_eq!(w.git_branch(BRANCH), Ok(Some(head.clone())));
    let changes = w.git_changes(AT, &base, &head).unwrap();
    let paths: Vec<_> = changes.iter().map(|c| c.new_path.as_deref().unwrap()).collect();
    assert_eq!(paths, ["one", "two"]);
    let tip = m.borrow_mut().git.commit_on("main", "other").unwrap();
    assert_eq!(w.git_base(None), Ok(tip.clone()));
    assert_eq!(w.git_base(Some(BRANCH)), Ok(head));
    assert_eq!(w.git_base(Some(base.as_str())), Ok(base));
    assert!(w.git_base(Some("nowhere")).is_err());
    m.borrow_mut().git.worktrees.get_mut(AT).unwrap().head = Head::Commit(tip);
    assert_eq!(w.git_tree(AT, b"none", None).unwrap().branch, None);
}

#[test]
fn a_synced_branch_survives_a_power_cut_and_another_may_not() {
    let (mut lost, mut kept, mut half) = (0, 0, 0);
    for seed in 0..200 {
        let (m, mut w, base) = world(seed);
        w.git_add(AT, BRANCH, &base, None).unwrap();
        w.git_add(".worktrees/WO-2", "feat/wo-WO-2", &base, None).unwrap();
        let deeds = Deeds { commit: Some("x".to_owned()), ..Deeds::default() };
        m.borrow_mut().git.work(AT, &deeds);
        let head = w.git_branch(BRANCH).unwrap().unwrap();
        w.git_sync(BRANCH, &head, None).unwrap();
        m.borrow_mut().power_cut();
        let mut next = SimWorld::new(&m, ME);
        assert_eq!(next.git_branch(BRANCH), Ok(Some(head)));
        match next.git_branch("feat/wo-WO-2").unwrap() {
            Some(_) => kept += 1,
            None => lost += 1,
        }
        half += u32::from(m.borrow().git.worktrees.values().any(|t| !t.complete));
        next.git_add(AT, BRANCH, &base, None).unwrap();
        assert_eq!(next.git_worktree(AT, BRANCH), Ok(true), "repaired by name");
    }
    assert!(lost > 20 && kept > 20 && half > 20, "{lost} {kept} {half}");
}

#[test]
fn without_a_repository_every_call_fails() {
    let (m, mut w, base) = world(1);
    m.borrow_mut().git.absent = true;
    assert!(w.git_base(None).is_err());
    assert!(w.git_add(AT, BRANCH, &base, None).is_err());
    assert!(w.git_tree(AT, b"none", None).is_err());
}
