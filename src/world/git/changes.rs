//! What changed between two commits.
//!
//! Invariants: the comparison runs in a git directory of our own that holds nothing but a pointer to the
//! objects, so that no configuration, attribute, replacement, graft or commit graph of the repository
//! bends it; attributes come from `base`, so that a job cannot declare its changes uncountable; every
//! record that is not understood is an error.

use super::child::{CONTENT_LIMIT, Call, file_fault, memory_file, refused};
use super::tree::Scratch;
use super::{Git, files};
use crate::model::tree::{Change, CommitId};
use crate::world::GitFault;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

const ACT: &str = "compare commits";
/// Mode of a symbolic link.
const SYMLINK: u32 = 0o120_000;

impl Git {
    pub(super) fn changes_between(
        &self,
        base: &CommitId,
        head: &CommitId,
    ) -> Result<Vec<Change>, GitFault> {
        let layout = self.layout(ACT)?;
        let scratch = Scratch::new(&self.root);
        make_view(&scratch.0, base)?;
        let call = || {
            Call::new(ACT, &scratch.0)
                .limit(CONTENT_LIMIT)
                .env("GIT_DIR", &scratch.0)
                .env("GIT_OBJECT_DIRECTORY", layout.common.join("objects"))
                .env("GIT_ATTR_SOURCE", base.as_str())
                .config("core.attributesFile", "/dev/null")
                .config("core.commitGraph", "false")
                .config("diff.renameLimit", "2000")
        };
        let out = call()
            .args(&["diff-tree", "-r", "-z", "-M", "--raw", "--numstat", "--no-abbrev"])
            .args(&["--no-ext-diff", "--no-textconv", "--ignore-submodules=none", "--no-relative"])
            .args(&[base.as_str(), head.as_str(), "--"])
            .ok()?;
        let mut records = parse(&out)?;
        let links: Vec<String> = records
            .iter()
            .filter(|r| r.change.new_mode == SYMLINK)
            .map(|r| r.new_oid.clone())
            .collect();
        if !links.is_empty() {
            let asked = memory_file(ACT, format!("{}\n", links.join("\n")).as_bytes())?;
            let answer = call().args(&["cat-file", "--batch"]).stdin(asked).ok()?;
            let mut targets = batch(&answer)?;
            for record in records.iter_mut().filter(|r| r.change.new_mode == SYMLINK) {
                record.change.link_target = targets.remove(0);
            }
        }
        Ok(records.into_iter().map(|r| r.change).collect())
    }
}

struct Record {
    change: Change,
    new_oid: String,
}

/// A git directory without a repository of its own.
fn make_view(dir: &Path, base: &CommitId) -> Result<(), GitFault> {
    // The length of an id tells the hash of the repository.
    let format = if base.as_str().len() == 64 {
        "\trepositoryformatversion = 1\n[extensions]\n\tobjectformat = sha256\n"
    } else {
        "\trepositoryformatversion = 0\n"
    };
    fs::create_dir(dir)
        .and_then(|()| fs::create_dir(dir.join("refs")))
        .and_then(|()| fs::create_dir(dir.join("objects")))
        .and_then(|()| files::write(&dir.join("HEAD"), "ref: refs/heads/none\n"))
        .and_then(|()| {
            files::write(&dir.join("config"), format!("[core]\n\tbare = true\n{format}"))
        })
        .map_err(|e| file_fault(ACT, dir, &e))
}

/// Reads `diff-tree -z --raw --numstat`: all raw records, then all counts, joined by their paths.
fn parse(out: &[u8]) -> Result<Vec<Record>, GitFault> {
    let odd = |what: &str| refused(ACT, format!("git printed a difference without {what}"));
    // Empty fields are kept here: a rename's count has an empty path before its two paths.
    let mut parts = out.split(|b| *b == 0).peekable();
    let mut records = Vec::new();
    let mut by_new: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
    while parts.peek().is_some_and(|p| p.starts_with(b":")) {
        let head = String::from_utf8_lossy(parts.next().unwrap_or_default()).into_owned();
        let words: Vec<&str> = head[1..].split(' ').collect();
        let [old_mode, new_mode, _, new_oid, status] = words[..] else {
            return Err(odd("its five fields"));
        };
        let mode = |t: &str| u32::from_str_radix(t, 8).map_err(|_| odd("a mode"));
        let (old_mode, new_mode) = (mode(old_mode)?, mode(new_mode)?);
        let first = parts.next().ok_or_else(|| odd("a path"))?;
        let renamed = status.starts_with(['R', 'C']);
        let second = if renamed { parts.next().ok_or_else(|| odd("a new path"))? } else { first };
        by_new.insert(second.to_vec(), records.len());
        let change = Change {
            old_path: (old_mode != 0).then(|| path_text(first)),
            new_path: (new_mode != 0).then(|| path_text(second)),
            added: 0,
            deleted: 0,
            binary: false,
            new_mode,
            old_mode,
            link_target: None,
        };
        records.push(Record { change, new_oid: new_oid.to_owned() });
    }
    while let Some(part) = parts.next() {
        if part.is_empty() && parts.peek().is_none() {
            break;
        }
        let mut cells = part.splitn(3, |b| *b == b'\t');
        let (Some(added), Some(deleted), Some(path)) = (cells.next(), cells.next(), cells.next())
        else {
            return Err(odd("its counts"));
        };
        let path = if path.is_empty() {
            let _old = parts.next();
            parts.next().ok_or_else(|| odd("a renamed path"))?
        } else {
            path
        };
        let at = by_new.get(path).ok_or_else(|| odd("a record for its counts"))?;
        let change = &mut records[*at].change;
        change.binary = added == b"-";
        if !change.binary {
            let number = |cell: &[u8]| std::str::from_utf8(cell).ok().and_then(|t| t.parse().ok());
            change.added = number(added).ok_or_else(|| odd("a number"))?;
            change.deleted = number(deleted).ok_or_else(|| odd("a number"))?;
        }
    }
    Ok(records)
}

/// Reads the answers of `cat-file --batch`, in order; `None` for an object that is missing.
fn batch(out: &[u8]) -> Result<Vec<Option<String>>, GitFault> {
    let odd = || refused(ACT, "git printed an object that cannot be read");
    let mut found = Vec::new();
    let mut rest = out;
    while !rest.is_empty() {
        let end = rest.iter().position(|b| *b == b'\n').ok_or_else(odd)?;
        let head = String::from_utf8_lossy(&rest[..end]).into_owned();
        rest = &rest[end + 1..];
        if head.ends_with(" missing") {
            found.push(None);
            continue;
        }
        let size: usize = head.rsplit(' ').next().and_then(|t| t.parse().ok()).ok_or_else(odd)?;
        let content = rest.get(..size).ok_or_else(odd)?;
        found.push(Some(path_text(content)));
        rest = rest.get(size + 1..).ok_or_else(odd)?;
    }
    Ok(found)
}

/// A path as unambiguous text; see the invariants of [`crate::model::tree`].
pub(super) fn path_text(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(&chunk.valid().replace('\\', "\\\\"));
        for byte in chunk.invalid() {
            // Writing to a String cannot fail.
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_and_counts_are_joined() {
        let (z, o) = ("0".repeat(40), "1".repeat(40));
        let text = format!(
            ":100644 000000 {o} {z} D\0gone\0:000000 120000 {z} {o} A\0link\0\
             :100644 100755 {o} {o} R090\0a b\0dir/c\td\0:160000 160000 {o} {o} M\0sub\0\
             0\t5\tgone\x001\t0\tlink\x003\t2\t\0a b\0dir/c\td\0-\t-\tsub\0"
        );
        let all = parse(text.as_bytes()).unwrap();
        let c: Vec<&Change> = all.iter().map(|r| &r.change).collect();
        assert_eq!((c[0].old_path.as_deref(), c[0].new_path.as_deref()), (Some("gone"), None));
        assert_eq!((c[0].deleted, c[0].new_mode), (5, 0));
        assert_eq!((c[1].old_path.as_deref(), c[1].new_mode), (None, SYMLINK));
        assert_eq!(c[2].old_path.as_deref(), Some("a b"));
        assert_eq!(c[2].new_path.as_deref(), Some("dir/c\td"));
        assert_eq!((c[2].added, c[2].deleted, c[2].new_mode), (3, 2, 0o100_755));
        assert!(c[3].binary);
        assert!(parse(b"").unwrap().is_empty());
        for bad in [&b":1 2\0x\0"[..], b"1\t2\tnobody\0", b"x\0", b":z 1 2 3 M\0p\0"] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn two_paths_never_have_one_text() {
        let cases: [(&[u8], &str); 4] = [
            (b"a/\xc3\xa9", "a/\u{e9}"),
            (b"a\xff", "a\\xff"),
            (b"a\\xff", "a\\\\xff"),
            (b"\xe2\x82", "\\xe2\\x82"),
        ];
        for (bytes, text) in cases {
            assert_eq!(path_text(bytes), text);
        }
    }

    #[test]
    fn batch_answers_hold_any_bytes() {
        let out = b"aa blob 3\na\nb\nbb missing\ncc blob 0\n\n";
        let want = vec![Some("a\nb".to_owned()), None, Some(String::new())];
        assert_eq!(batch(out), Ok(want));
        assert!(batch(b"aa blob 9\nx\n").is_err());
    }
}
