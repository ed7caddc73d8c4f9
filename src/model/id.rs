//! The identity of a work order.
//!
//! Invariant: an [`OrderId`] is always safe as a file name, inside a git ref and on a command line.

use std::fmt;

/// Longest id in bytes; leaves room for `.yaml`, `.lock` and a request's suffix in a 255-byte name.
pub const ID_BYTES_MAX: usize = 128;

/// A valid work-order id: `[A-Za-z0-9][A-Za-z0-9._-]*`, at most [`ID_BYTES_MAX`] bytes, without `..`,
/// not ending in `.` or `.lock` (git refuses such refs).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OrderId(Box<str>);

impl OrderId {
    /// Accepts `text` if it is a valid id; the error says which rule it breaks.
    pub fn parse(text: &str) -> Result<Self, String> {
        let ok = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        let rule = if text.is_empty() {
            "is empty"
        } else if text.len() > ID_BYTES_MAX {
            "is longer than 128 bytes"
        } else if !text.as_bytes()[0].is_ascii_alphanumeric() {
            "must begin with a letter or a digit"
        } else if !text.bytes().all(ok) {
            "may hold only letters, digits, '.', '_' and '-'"
        } else if text.contains("..") {
            "must not contain '..'"
        } else if text.ends_with('.') || text.ends_with(".lock") {
            "must not end in '.' or '.lock', which git refuses in a branch name"
        } else {
            return Ok(Self(text.into()));
        };
        Err(format!("id {:?} {rule}", text.chars().take(140).collect::<String>()))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The branch of the order: `feat/wo-<id>`.
    pub fn branch(&self) -> String {
        format!("feat/wo-{}", self.0)
    }

    /// The worktree of the order, relative to the root: `.worktrees/<id>`.
    pub fn worktree(&self) -> String {
        format!(".worktrees/{}", self.0)
    }
}

impl fmt::Display for OrderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for OrderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_met_in_practice_are_accepted() {
        for id in ["WO-0013", "WO-0012.1", "WO-P2.1", "WO-0018A", "WO-0020-formatter", "a", "0_x.y"]
        {
            assert_eq!(OrderId::parse(id).map(|found| found.to_string()), Ok(id.to_owned()));
        }
        assert!(OrderId::parse(&"x".repeat(ID_BYTES_MAX)).is_ok());
    }

    #[test]
    fn ids_that_are_unsafe_somewhere_are_refused_with_the_rule() {
        let check = |id: &str, rule: &str| {
            let error = OrderId::parse(id).expect_err(id);
            assert!(error.contains(rule), "{id:?} gave {error}");
        };
        check("", "is empty");
        check(&"x".repeat(ID_BYTES_MAX + 1), "longer than 128 bytes");
        check("-a", "must begin with");
        check(".a", "must begin with");
        check("é", "must begin with");
        check("a b", "may hold only");
        check("a/b", "may hold only");
        check("a\n", "may hold only");
        check("a..b", "'..'");
        check("a.", "must not end");
        check("a.lock", "must not end");
    }
}
