//! Kept worktrees: which may go.
//!
//! Invariants: a pure function of facts; only the worktree of a settled order goes, when it is on its order's
//! branch and clean, nobody works in it or will, and its commits are in the base or saved elsewhere. Nothing
//! is removed here.

use crate::model::order::State;
use crate::model::tree::TreeFacts;

/// What is known of a worktree below the directory of worktrees.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    /// Where its order's ticket lies; `None`: nowhere, or in more than one state.
    pub state: Option<State>,
    /// Its order has a lock or an open attempt.
    pub held: bool,
    /// Orders that are pending or running and inherit it.
    pub heirs: Vec<String>,
    /// Branch of its order.
    pub branch: String,
    /// What git says of it.
    pub facts: TreeFacts,
    /// The reason of a person's lock on it.
    pub locked: Option<String>,
    /// Every commit of its branch is in the base.
    pub merged: bool,
}

/// Why it stays; `None`: it may go. `saved`: its commits are saved before it goes.
pub fn stays(kept: &Kept, saved: bool) -> Option<String> {
    let facts = &kept.facts;
    let dirty = facts.changed.iter().chain(&facts.untracked).chain(&facts.hidden);
    let mut dirty = dirty.peekable();
    Some(match kept.state {
        None => "its order has no ticket, or more than one; `jobyard lint` tells".to_owned(),
        Some(state @ (State::Pending | State::Running)) => {
            format!("its order is {}", state.name())
        }
        _ if kept.held => "its order has a lock: somebody holds it, or just let it go".to_owned(),
        _ if !kept.heirs.is_empty() => format!("{} goes on in it", kept.heirs.join(", ")),
        _ if kept.locked.is_some() => {
            let reason = kept.locked.clone().unwrap_or_default();
            format!("git's lock is on it: {reason}")
        }
        _ if !facts.exists => "git does not know it as a whole worktree".to_owned(),
        _ if facts.branch.as_deref() != Some(kept.branch.as_str()) => {
            format!("it is not on {}", kept.branch)
        }
        _ if dirty.peek().is_some() => {
            let first = dirty.peek().map(|d| d.as_str()).unwrap_or_default().to_owned();
            format!("it has {} uncommitted file(s), such as {first:?}", dirty.count())
        }
        _ if !kept.merged && !saved => {
            format!("commits of {} are not in the base; `--bundle` saves them first", kept.branch)
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clean() -> Kept {
        let branch = "feat/wo-A".to_owned();
        let facts =
            TreeFacts { exists: true, branch: Some(branch.clone()), ..TreeFacts::default() };
        Kept { state: Some(State::Done), branch, facts, merged: true, ..Kept::default() }
    }

    #[test]
    fn only_what_is_settled_merged_and_clean_goes() {
        assert_eq!(stays(&clean(), false), None);
        let failed = Kept { state: Some(State::Failed), ..clean() };
        assert_eq!(stays(&failed, false), None);
        type Spoiled = (fn(&mut Kept), &'static str);
        let spoil: [Spoiled; 11] = [
            (|k| k.state = None, "no ticket"),
            (|k| k.state = Some(State::Pending), "is pending"),
            (|k| k.state = Some(State::Running), "is running"),
            (|k| k.held = true, "a lock"),
            (|k| k.heirs = vec!["B".to_owned()], "B goes on in it"),
            (|k| k.locked = Some("mine".to_owned()), "git's lock is on it: mine"),
            (|k| k.facts.exists = false, "does not know it"),
            (|k| k.facts.branch = None, "not on feat/wo-A"),
            (|k| k.facts.changed = vec!["a".to_owned()], "1 uncommitted file(s), such as \"a\""),
            (|k| k.facts.untracked = vec!["b".to_owned()], "\"b\""),
            (|k| k.facts.hidden = vec!["c".to_owned()], "\"c\""),
        ];
        for (spoil, why) in spoil {
            let mut kept = clean();
            spoil(&mut kept);
            for saved in [false, true] {
                let said = stays(&kept, saved).unwrap_or_default();
                assert!(said.contains(why), "{said:?} does not say {why:?}");
            }
        }
    }

    #[test]
    fn commits_that_are_nowhere_else_are_saved_first() {
        let kept = Kept { merged: false, ..clean() };
        assert!(stays(&kept, false).is_some_and(|why| why.contains("not in the base")));
        assert_eq!(stays(&kept, true), None);
    }
}
