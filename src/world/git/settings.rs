//! What lies outside the tree and decides how git reads it: filters, line ends, attributes, borrowed objects.
//!
//! Invariants: nothing that a setting names is run; the text is the same as long as the settings are,
//! whichever worktree asks. It is compared with the one sealed at the claim, never interpreted.

use super::child::{Call, fields, file_fault, line, refused};
use super::excludes::{RULES_BYTES_MAX, default_file, read_rules};
use super::{Git, Place};
use crate::world::GitFault;
use std::fs;
use std::path::Path;

const ACT: &str = "read settings";
/// Settings that change what counts as the content of a file.
const KEYS: &str = r"^(filter\..*|core\.(autocrlf|eol|attributesfile|checkroundtripencoding))$";

impl Git {
    pub(super) fn settings_text(&self, path: Option<&str>) -> Result<Vec<u8>, GitFault> {
        let layout = self.layout(ACT)?;
        // A worktree that is not there has no settings of its own; that it is missing is said elsewhere.
        let entry = match path {
            None => None,
            Some(path) => {
                let place = Place::check(&layout, path, ACT)?.path;
                let real = fs::symlink_metadata(&place).is_ok_and(|m| m.is_dir());
                let entry = layout.entry(&place, ACT)?.filter(|e| real && !e.half_made());
                entry.map(|entry| (entry, place))
            }
        };
        let call = || match &entry {
            Some((entry, place)) => Self::inside(ACT, &layout, entry, place),
            None => Self::reading(ACT, &layout),
        };
        let answer = call().args(&["config", "-z", "--get-regexp", KEYS]).run()?;
        let mut text = match answer.status.code() {
            Some(0 | 1) => answer.stdout,
            _ => return Err(answer.fault()),
        };
        // Only a setting of its own is worth asking git for the path it stands for.
        let named = fields(&text).any(|f| f.starts_with(b"core.attributesfile\n"));
        let users = if named {
            let asked = ["config", "--type=path", "--get", "core.attributesFile"];
            Some(layout.top.join(line(&call().args(&asked).ok()?)))
        } else {
            default_file("attributes")
        };
        let common = &layout.common;
        let own = [common.join("info/attributes"), common.join("objects/info/alternates")];
        for file in users.into_iter().chain(own) {
            add_file(&mut text, &file)?;
        }
        Ok(text)
    }
}

/// The content of a file that may be missing, apart from what comes before and after.
fn add_file(text: &mut Vec<u8>, file: &Path) -> Result<(), GitFault> {
    let bytes = read_rules(file).map_err(|e| file_fault(ACT, file, &e))?;
    if bytes.len() as u64 > RULES_BYTES_MAX {
        return Err(refused(ACT, format!("{} is larger than 1 MiB", file.display())));
    }
    text.extend_from_slice(format!("\0{}\0", bytes.len()).as_bytes());
    text.extend_from_slice(&bytes);
    Ok(())
}

/// Whether a submodule has filters or attributes in its own repository: nothing sealed them.
pub(super) fn has_filters(call: Call, git_dir: &Path) -> Result<bool, GitFault> {
    let answer = call.args(&["config", "-z", "--show-scope", "--get-regexp", KEYS]).run()?;
    let own = |f: &[u8]| f == b"local" || f == b"worktree";
    if fields(&answer.stdout).step_by(2).any(own) {
        return Ok(true);
    }
    let file = git_dir.join("info/attributes");
    let bytes = read_rules(&file).map_err(|e| file_fault(ACT, &file, &e))?;
    Ok(bytes.split(|b| *b == b'\n').any(|l| !l.trim_ascii().is_empty() && !l.starts_with(b"#")))
}
