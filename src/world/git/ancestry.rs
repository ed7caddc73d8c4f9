//! Where two lines of commits met.
//!
//! It only reads. Grafts and replacement refs count as little as everywhere else ([`super::child`]).

use super::child::{line, refused};
use super::{CommitId, Git, GitFault};

impl Git {
    /// The best common ancestor of two commits; `None` when their histories have nothing in common.
    pub fn merge_base(&self, a: &CommitId, b: &CommitId) -> Result<Option<CommitId>, GitFault> {
        let act = "find the merge base";
        let layout = self.layout(act)?;
        let call = Self::reading(act, &layout).args(&["merge-base", a.as_str(), b.as_str()]);
        let answer = call.run()?;
        // It ends with 1 and says nothing when there is none.
        if answer.status.code() == Some(1) && answer.stdout.is_empty() {
            return Ok(None);
        }
        let text = line(&answer.stdout);
        match CommitId::parse(&text).filter(|_| answer.status.success()) {
            Some(commit) => Ok(Some(commit)),
            None => Err(refused(act, format!("git answered {text:?} for {a} and {b}"))),
        }
    }
}
