//! Ignore rules outside the `.gitignore` files: reading them to be sealed, and adding our own once.
//!
//! Invariants: what is in `info/exclude` stays as it is; lines are only appended, and only missing ones.

use super::child::{file_fault, line, refused};
use super::layout::Layout;
use super::{Git, STATE_PATHS, files};
use crate::world::GitFault;
use rustix::fs::OFlags;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Largest file of ignore rules.
pub(super) const RULES_BYTES_MAX: u64 = 1 << 20;

impl Git {
    pub(super) fn exclude_rules(&self) -> Result<Vec<u8>, GitFault> {
        let act = "read ignore rules";
        let layout = self.layout(act)?;
        let answer = Self::reading(act, &layout)
            .args(&["config", "--type=path", "--get", "core.excludesFile"])
            .run()?;
        let users = match answer.status.code() {
            Some(0) => Some(layout.top.join(line(&answer.stdout))),
            Some(1) => default_file("ignore"),
            _ => return Err(answer.fault()),
        };
        let mut rules = Vec::new();
        // The later rule wins in git: the repository's file comes after the user's.
        for file in users.into_iter().chain([layout.common.join("info/exclude")]) {
            let bytes = read_rules(&file).map_err(|e| file_fault(act, &file, &e))?;
            if bytes.len() as u64 > RULES_BYTES_MAX {
                return Err(refused(act, format!("{} is larger than 1 MiB", file.display())));
            }
            rules.extend_from_slice(bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes));
            if rules.last().is_some_and(|b| *b != b'\n') {
                rules.push(b'\n');
            }
        }
        Ok(rules)
    }
}

/// Where git looks without a setting.
pub(super) fn default_file(name: &str) -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    set("XDG_CONFIG_HOME")
        .or_else(|| set("HOME").map(|home| home.join(".config")))
        .map(|dir| dir.join("git").join(name))
}

/// At most one byte more than the bound; a missing file, or no file at all, has no rules.
pub(super) fn read_rules(file: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    match fs::metadata(file) {
        Ok(meta) if meta.is_file() => {}
        Ok(_) => return Ok(bytes),
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(bytes),
        Err(e) => return Err(e),
    }
    File::open(file)?.take(RULES_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The repository's own file of rules.
struct Rules {
    file: PathBuf,
    there: String,
    /// Lines for the state directories that are not in it.
    missing: Vec<String>,
}

fn rules(root: &Path) -> io::Result<Rules> {
    let Some(layout) = Layout::discover(root)? else {
        return Err(io::Error::new(
            io::ErrorKind::NotFound,
            format!("{} is not in a git repository", root.display()),
        ));
    };
    let file = layout.common.join("info/exclude");
    let bytes = read_rules(&file)?;
    let there = String::from_utf8_lossy(&bytes).into_owned();
    let missing: Vec<String> = lines(&layout)?
        .into_iter()
        .filter(|want| {
            !there.lines().any(|l| l.trim_end().trim_end_matches('/') == want.trim_end_matches('/'))
        })
        .collect();
    Ok(Rules { file, there, missing })
}

/// Whether lines for the state directories are missing.
pub(super) fn lacks(root: &Path) -> io::Result<bool> {
    rules(root).map(|rules| !rules.missing.is_empty())
}

/// Appends the missing lines for the state directories; `true` when there were any.
pub(super) fn ensure(root: &Path) -> io::Result<bool> {
    let Rules { file, there, missing } = rules(root)?;
    if missing.is_empty() {
        return Ok(false);
    }
    let mut text = String::new();
    if !there.is_empty() && !there.ends_with('\n') {
        text.push('\n');
    }
    for want in missing {
        text.push_str(&want);
        text.push('\n');
    }
    file.parent().map_or(Ok(()), fs::create_dir_all)?;
    let out = files::open(&file, OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE)?;
    files::write_all(&out, text.as_bytes())?;
    files::sync(&file)?;
    Ok(true)
}

/// The rules, anchored at the top of the checkout.
fn lines(layout: &Layout) -> io::Result<Vec<String>> {
    let prefix = layout.prefix().to_str().ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidInput, "the path of the root is not UTF-8")
    })?;
    let mut escaped = String::from("/");
    for c in prefix.chars() {
        if matches!(c, '*' | '?' | '[' | '\\' | '!' | '#' | ' ') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    if !prefix.is_empty() {
        escaped.push('/');
    }
    let slash = |path: &str| if path.starts_with('.') { "/" } else { "" };
    Ok(STATE_PATHS.iter().map(|path| format!("{escaped}{path}{}", slash(path))).collect())
}
