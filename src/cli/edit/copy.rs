//! A private copy of a ticket, and the person's editor on it.
//!
//! Invariants: nobody else can read the copy, for a ticket holds the values of `env`; it stays until it is
//! said that it may go; the editor's line is given to a shell as the user wrote it, the file as an argument.

use crate::cli::{Failure, code};
use crate::model::id::OrderId;
use crate::model::parse::ORDER_BYTES_MAX;
use crate::world::identity::random_bits;
use signal_hook::consts::{SIGINT, SIGQUIT};
use signal_hook::flag;
use std::fs::{self, DirBuilder, File};
use std::io::{self, IsTerminal, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Editors that are tried when no variable names one.
const USUAL: [&str; 3] = ["editor", "nano", "vi"];

/// The copy, in a directory of its own.
pub(super) struct Copy {
    /// The file.
    pub(super) path: PathBuf,
}

impl Copy {
    /// A new one with these bytes.
    pub(super) fn make(id: &OrderId, bytes: &[u8]) -> Result<Self, Failure> {
        let dir = std::env::temp_dir().join(format!("jobyard-{:016x}", random_bits()));
        let path = dir.join(format!("{id}.yaml"));
        let made = DirBuilder::new().mode(0o700).create(&dir).and_then(|()| {
            let options = File::options().write(true).create_new(true).mode(0o600).open(&path);
            options?.write_all(bytes)
        });
        made.map_err(|e| failed("write a copy", &path, &e))?;
        Ok(Self { path })
    }

    /// What it says now.
    pub(super) fn read(&self) -> Result<Vec<u8>, Failure> {
        let mut bytes = Vec::new();
        let flags = libc::O_NONBLOCK | libc::O_NOFOLLOW;
        let opened = File::options().read(true).custom_flags(flags).open(&self.path);
        let read = opened.and_then(|file| {
            if !file.metadata()?.is_file() {
                return Err(io::Error::other("it is no regular file any more"));
            }
            file.take(ORDER_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)
        });
        read.map_err(|e| failed("read the copy", &self.path, &e))?;
        Ok(bytes)
    }

    /// Has it edited, until the editor ends.
    pub(super) fn edit(&self, editor: &str) -> Result<(), Failure> {
        // The keys that end a command are the editor's business while it runs.
        let pressed = Arc::new(AtomicBool::new(false));
        let kept = [SIGINT, SIGQUIT].map(|signal| flag::register(signal, Arc::clone(&pressed)));
        let line = format!("{editor} \"$@\"");
        let ended = Command::new("sh").arg("-c").arg(line).arg(editor).arg(&self.path).status();
        for id in kept.into_iter().flatten() {
            signal_hook::low_level::unregister(id);
        }
        let ended = ended.map_err(|e| failed("run the editor on", &self.path, &e))?;
        if ended.success() {
            return Ok(());
        }
        let text = format!(
            "the editor `{editor}` ended with {ended}: nothing was changed; what it wrote is in {}",
            self.path.display()
        );
        Err(Failure::new(code::FAILED, text))
    }

    /// It has served.
    pub(super) fn remove(self) {
        if let Some(dir) = self.path.parent() {
            // Also what an editor left beside it; a rest in the directory for such things does no harm.
            let _ = fs::remove_dir_all(dir);
        }
    }
}

fn failed(what: &str, path: &Path, error: &io::Error) -> Failure {
    Failure::new(code::FAILED, format!("{what} {}: {error}; nothing was changed", path.display()))
}

/// `VISUAL`, else `EDITOR`, else a usual one where somebody can use it.
pub(super) fn editor() -> Result<String, Failure> {
    let named = |name| std::env::var(name).ok().filter(|text| !text.trim().is_empty());
    if let Some(editor) = named("VISUAL").or_else(|| named("EDITOR")) {
        return Ok(editor);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let there =
        |program: &&&str| std::env::split_paths(&path).any(|dir| dir.join(program).is_file());
    let usual = USUAL.iter().find(there).filter(|_| io::stdin().is_terminal());
    usual.map(|program| (*program).to_owned()).ok_or_else(|| {
        let text = "no editor: name one with VISUAL or EDITOR, or use --set KEY=VALUE";
        Failure::new(code::USAGE, text)
    })
}
