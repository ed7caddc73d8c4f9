//! What is wrong with a file a person wrote, and where.

use std::fmt;

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
