//! What is wrong with a file a person wrote, and where.
//!
//! Invariant: the text of a [`Defect`] never holds values of `env` or credentials. Whether a defect
//! refuses the file or only warns is said by where it is returned, not by the value itself.

use std::fmt;

/// The file cannot be taken as it is: syntax, type or value.
pub const INVALID_TICKET: &str = "invalid-ticket";
/// `id` differs from the file name.
pub const ID_MISMATCH: &str = "id-mismatch";
/// A key that looks like a misspelt known one (warning).
pub const UNKNOWN_KEY: &str = "unknown-key";
/// `status` holds a word that names no directory (warning).
pub const UNKNOWN_STATUS: &str = "unknown-status";
/// `scope` allows nothing (warning).
pub const EMPTY_SCOPE: &str = "empty-scope";
/// Keys of a full work order that are absent (warning).
pub const MISSING_KEY: &str = "missing-key";
/// A key whose value is not read, or that changes nothing as it stands (warning).
pub const IGNORED_KEY: &str = "ignored-key";
/// An edit that would change more than it should.
pub const CANNOT_EDIT: &str = "cannot-edit";
/// The configuration cannot be taken as it is.
pub const INVALID_CONFIG: &str = "invalid-config";
/// A DoD catalogue file cannot be taken as it is.
pub const INVALID_DOD: &str = "invalid-dod";
/// The backlog cannot be taken as it is.
pub const INVALID_BACKLOG: &str = "invalid-backlog";
/// A request file cannot be taken as it is.
pub const INVALID_REQUEST: &str = "invalid-request";
/// The `work_order.yaml` of a package cannot be taken as it is.
pub const INVALID_PACKAGE: &str = "invalid-package";

/// One thing wrong in one file. `line` and `column` count from 1; 0 means the whole file.
/// The text never holds values of `env` or credentials.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Defect {
    /// Stable finding code, such as `invalid-ticket` or `unknown-key`.
    pub code: &'static str,
    /// Line, from 1; 0 for the whole file.
    pub line: u32,
    /// Column in characters, from 1; 0 for the whole line.
    pub column: u32,
    /// What was found, what was expected and what to do.
    pub message: String,
    /// The source line with a caret below, or empty.
    pub snippet: String,
}

impl Defect {
    /// A defect of the whole file.
    pub fn whole(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, line: 0, column: 0, message: message.into(), snippet: String::new() }
    }
}

impl fmt::Display for Defect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, "{}:{}: ", self.line, self.column)?;
        }
        f.write_str(&self.message)?;
        if !self.snippet.is_empty() {
            write!(f, "\n{}", self.snippet)?;
        }
        Ok(())
    }
}
