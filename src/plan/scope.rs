//! Which paths an order may change, and how much.
//!
//! Invariants: `deny` beats `allow`; an empty `allow` allows nothing; both sides of a rename are judged; a
//! glob that cannot be read makes every change a violation, never an allowed one.

use crate::model::order::{DiffBudget, Scope};
use crate::model::tree::Change;
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use std::collections::BTreeSet;

/// Most violations that are listed; the last one then says how many there are.
pub const VIOLATIONS_MAX: usize = 1000;

const SYMLINK: u32 = 0o120_000;

/// Which rule a change breaks.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Rule {
    /// A glob of `scope.deny` matches.
    Denied,
    /// No glob of `scope.allow` matches.
    NotAllowed,
    /// A symbolic link whose target is outside the tree, or cannot be told.
    LeavesTree,
    /// More paths than `diff_budget.max_files`.
    TooManyFiles,
    /// More lines than `diff_budget.max_loc`.
    TooManyLines,
    /// A glob of the scope cannot be read.
    InvalidGlob,
}

impl Rule {
    /// The word in files and in `--json`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Denied => "denied",
            Self::NotAllowed => "not-allowed",
            Self::LeavesTree => "leaves-tree",
            Self::TooManyFiles => "too-many-files",
            Self::TooManyLines => "too-many-lines",
            Self::InvalidGlob => "invalid-glob",
        }
    }

    /// The reverse of [`Rule::name`].
    pub fn parse(word: &str) -> Option<Self> {
        [
            Self::Denied,
            Self::NotAllowed,
            Self::LeavesTree,
            Self::TooManyFiles,
            Self::TooManyLines,
            Self::InvalidGlob,
        ]
        .into_iter()
        .find(|r| r.name() == word)
    }

    /// The rule is about how much was changed, not about where.
    pub const fn is_budget(self) -> bool {
        matches!(self, Self::TooManyFiles | Self::TooManyLines)
    }
}

/// One change that the order was not allowed to make.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    /// The path, or empty when the rule is about the whole change.
    pub path: String,
    /// The rule it breaks.
    pub rule: Rule,
    /// One sentence: what was found and what the order says.
    pub text: String,
}

/// Judges the changes of an order; an empty list means that they are within scope and budget. Without a
/// scope every path is allowed.
pub fn judge(scope: Option<&Scope>, budget: &DiffBudget, changes: &[Change]) -> Vec<Violation> {
    let mut found = Vec::new();
    if let Some(scope) = scope {
        judge_paths(scope, changes, &mut found);
    }
    judge_budget(budget, changes, &mut found);
    if found.len() > VIOLATIONS_MAX {
        let count = found.len();
        found.truncate(VIOLATIONS_MAX - 1);
        found.push(Violation {
            path: String::new(),
            rule: Rule::NotAllowed,
            text: format!("{count} violations in all; the first {} are listed", VIOLATIONS_MAX - 1),
        });
    }
    found
}

/// What is wrong with the globs of a scope: one sentence for each; empty when all are good.
pub fn check_globs(scope: &Scope) -> Vec<String> {
    let lists = [("scope.allow", &scope.allow), ("scope.deny", &scope.deny)];
    let mut found = Vec::new();
    for (key, globs) in lists {
        found
            .extend(globs.iter().filter_map(|g| glob_defect(g).map(|why| format!("{key}: {why}"))));
    }
    found
}

fn glob_defect(glob: &str) -> Option<String> {
    let why = if glob.trim().is_empty() {
        "is empty; write `**` for every path".to_owned()
    } else if glob.starts_with('/') {
        "begins with '/'; paths are relative to the repository".to_owned()
    } else if glob.split('/').any(|part| part == "." || part == "..") {
        "holds '.' or '..', which no repository path has".to_owned()
    } else if let Err(e) = build(glob) {
        e
    } else {
        return None;
    };
    Some(format!("{glob:?} {why}"))
}

fn build(glob: &str) -> Result<globset::Glob, String> {
    let glob = classes_without_slash(glob)?;
    let built = GlobBuilder::new(&glob).literal_separator(true).backslash_escape(true).build();
    built.map_err(|e| format!("is no glob: {}", e.kind()))
}

/// The glob with classes that never match `/`: a negated one gets it as a member, a range over it is an
/// error. (The matcher itself lets a class cross a directory.)
fn classes_without_slash(glob: &str) -> Result<String, String> {
    let mut out = String::with_capacity(glob.len() + 1);
    let mut rest = glob;
    while let Some(at) = rest.find(['[', '\\']) {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let length = if rest.starts_with('[') { class_length(rest) } else { None };
        let Some(length) = length else {
            // An escaped character, or a bracket that the matcher will complain about.
            let taken: usize = rest.chars().take(2).map(char::len_utf8).sum();
            out.push_str(&rest[..taken]);
            rest = &rest[taken..];
            continue;
        };
        let (class, after) = rest.split_at(length);
        let inner = &class[1..length - 1];
        let (negated, members) = match inner.strip_prefix(['!', '^']) {
            Some(members) => (true, members),
            None => (false, inner),
        };
        if negated && members.starts_with(']') {
            return Err(format!("has the class {class}, which may match '/': write it otherwise"));
        }
        if !negated && spans_slash(members) {
            return Err(format!("has the class {class}, which matches '/', as none does"));
        }
        out.push_str(if negated { "[!/" } else { "[" });
        out.push_str(members);
        out.push(']');
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

/// Bytes from `[` to the `]` that closes it; a `]` that comes first is a member.
fn class_length(text: &str) -> Option<usize> {
    let negation = usize::from(text[1..].starts_with(['!', '^']));
    let first = 1 + negation + usize::from(text[1 + negation..].starts_with(']'));
    text[first..].find(']').map(|n| first + n + 1)
}

fn spans_slash(members: &str) -> bool {
    let all: Vec<char> = members.chars().collect();
    all.contains(&'/') || all.windows(3).any(|w| w[1] == '-' && w[0] <= '/' && '/' <= w[2])
}

/// The globs of a list, matched together. A glob without wildcards names a file, or a directory with all
/// beneath it; one that ends in `/` a directory.
struct Globs<'a> {
    set: GlobSet,
    source: Vec<&'a str>,
}

impl<'a> Globs<'a> {
    fn new(globs: &'a [String]) -> Result<Self, String> {
        let mut set = GlobSetBuilder::new();
        let mut source = Vec::new();
        for glob in globs {
            if let Some(why) = glob_defect(glob) {
                return Err(why);
            }
            let stem = glob.trim_end_matches('/');
            let mut forms = Vec::new();
            if stem.len() == glob.len() {
                forms.push(glob.clone());
            }
            if stem.len() < glob.len() || !glob.contains(['*', '?', '[', '{', '\\']) {
                forms.push(format!("{stem}/**"));
            }
            for form in forms {
                set.add(build(&form).map_err(|e| format!("{glob:?} {e}"))?);
                source.push(glob.as_str());
            }
        }
        let set = set.build().map_err(|e| format!("the globs are too large: {e}"))?;
        Ok(Self { set, source })
    }

    /// The first glob that matches.
    fn matching(&self, path: &str) -> Option<&'a str> {
        self.set.matches(path).into_iter().min().and_then(|n| self.source.get(n).copied())
    }
}

fn judge_paths(scope: &Scope, changes: &[Change], found: &mut Vec<Violation>) {
    let (allow, deny) = match (Globs::new(&scope.allow), Globs::new(&scope.deny)) {
        (Ok(allow), Ok(deny)) => (allow, deny),
        (Err(why), _) | (_, Err(why)) => {
            if !changes.is_empty() {
                let text = format!("no change can be allowed: {why}");
                found.push(Violation { path: String::new(), rule: Rule::InvalidGlob, text });
            }
            return;
        }
    };
    let mut judged = BTreeSet::new();
    for change in changes {
        for path in sides(change).filter(|p| judged.insert(*p)) {
            if let Some(glob) = deny.matching(path) {
                let text = format!("{path:?} is denied by {glob:?}");
                found.push(Violation { path: path.to_owned(), rule: Rule::Denied, text });
            } else if allow.matching(path).is_none() {
                let text = if scope.allow.is_empty() {
                    format!("{path:?} was changed, and the scope allows nothing")
                } else {
                    format!("{path:?} matches no glob of scope.allow")
                };
                found.push(Violation { path: path.to_owned(), rule: Rule::NotAllowed, text });
            }
        }
        found.extend(judge_link(change));
    }
}

/// Both paths of a change; one when they are the same.
fn sides(change: &Change) -> impl Iterator<Item = &str> {
    let old = change.old_path.as_deref();
    let new = change.new_path.as_deref();
    old.into_iter().chain(new.filter(|n| Some(*n) != old))
}

fn judge_link(change: &Change) -> Option<Violation> {
    let path = change.new_path.as_deref().filter(|_| change.new_mode == SYMLINK)?;
    let text = match change.link_target.as_deref() {
        None => format!("symbolic link {path:?}: its target cannot be read"),
        Some(target) if leaves(path, target) => {
            format!("symbolic link {path:?} leaves the tree: it points to {target:?}")
        }
        Some(_) => return None,
    };
    Some(Violation { path: path.to_owned(), rule: Rule::LeavesTree, text })
}

/// Does a link at `path` with this target lead out of the tree, by its text?
fn leaves(path: &str, target: &str) -> bool {
    if target.starts_with('/') {
        return true;
    }
    let mut depth = path.split('/').count() - 1;
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." if depth == 0 => return true,
            ".." => depth -= 1,
            _ => depth += 1,
        }
    }
    false
}

fn judge_budget(budget: &DiffBudget, changes: &[Change], found: &mut Vec<Violation>) {
    let paths: BTreeSet<&str> = changes.iter().flat_map(sides).collect();
    let files = paths.len() as u64;
    if let Some(max) = budget.max_files.filter(|max| files > *max) {
        let text = format!("{files} files were touched, diff_budget.max_files is {max}");
        found.push(Violation { path: String::new(), rule: Rule::TooManyFiles, text });
    }
    let lines =
        changes.iter().fold(0_u64, |sum, c| sum.saturating_add(c.added).saturating_add(c.deleted));
    if let Some(max) = budget.max_loc.filter(|max| lines > *max) {
        let text = format!("{lines} lines were added or deleted, diff_budget.max_loc is {max}");
        found.push(Violation { path: String::new(), rule: Rule::TooManyLines, text });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(old: Option<&str>, new: Option<&str>) -> Change {
        Change {
            old_path: old.map(str::to_owned),
            new_path: new.map(str::to_owned),
            added: 3,
            deleted: 2,
            binary: false,
            new_mode: if new.is_some() { 0o100_644 } else { 0 },
            old_mode: if old.is_some() { 0o100_644 } else { 0 },
            link_target: None,
        }
    }

    fn scope(allow: &[&str], deny: &[&str]) -> Scope {
        let own = |l: &[&str]| l.iter().map(|s| (*s).to_owned()).collect();
        Scope { allow: own(allow), deny: own(deny) }
    }

    fn rules(scope: &Scope, path: &str) -> Vec<&'static str> {
        let changes = [change(Some(path), Some(path))];
        judge(Some(scope), &DiffBudget::default(), &changes).iter().map(|v| v.rule.name()).collect()
    }

    #[test]
    fn globs_decide_path_by_path() {
        type Case = (
            &'static [&'static str],
            &'static [&'static str],
            &'static str,
            &'static [&'static str],
        );
        let cases: [Case; 28] = [
            (&["src/*"], &[], "src/a.rs", &[]),
            (&["src/*"], &[], "src/a/b.rs", &["not-allowed"]),
            (&["src/**"], &[], "src/a/b.rs", &[]),
            (&["**/production.*"], &[], "production.yml", &[]),
            (&["**/production.*"], &[], "a/b/production.yml", &[]),
            (&["**"], &["**/production.*"], "production.yml", &["denied"]),
            (&["**"], &["src/secret/**"], "src/secret/k", &["denied"]),
            (&["src/secret/k"], &["src/**"], "src/secret/k", &["denied"]),
            (&[], &[], "a", &["not-allowed"]),
            (&[], &["b"], "a", &["not-allowed"]),
            (&["*"], &[], "a", &[]),
            (&["*"], &[], ".hidden", &[]),
            (&["*"], &[], "a/b", &["not-allowed"]),
            (&["src/"], &[], "src/a/b", &[]),
            (&["src"], &[], "src/a/b", &[]),
            (&["src"], &[], "srcx", &["not-allowed"]),
            (&["**"], &["secrets"], "secrets/a", &["denied"]),
            (&["**"], &["vendor/sub"], "vendor/sub", &["denied"]),
            (&["*.{rs,toml}"], &[], "Cargo.toml", &[]),
            (&["*.RS"], &[], "a.rs", &["not-allowed"]),
            (&["a?c"], &[], "a/c", &["not-allowed"]),
            (&["a[!x]c"], &[], "a/c", &["not-allowed"]),
            (&["a[!x]c"], &[], "abc", &[]),
            (&["a[^x]c"], &[], "a/c", &["not-allowed"]),
            (&["a[!x-]c"], &[], "a-c", &["not-allowed"]),
            (&["a\\[b"], &[], "a[b", &[]),
            (&["a[]b]c"], &[], "a]c", &[]),
            (&["a[0-9]"], &[], "a5", &[]),
        ];
        for (allow, deny, path, want) in cases {
            assert_eq!(rules(&scope(allow, deny), path), want, "{allow:?} {deny:?} {path}");
        }
    }

    #[test]
    fn without_a_scope_every_path_is_allowed() {
        let mut link = change(None, Some("l"));
        (link.new_mode, link.link_target) = (SYMLINK, Some("/etc".to_owned()));
        let changes = [change(None, Some("a")), link];
        assert_eq!(judge(None, &DiffBudget::default(), &changes), []);
    }

    #[test]
    fn both_sides_of_a_rename_and_deletions_are_judged() {
        let scope = scope(&["src/**"], &[]);
        let paths = |c: Change| -> Vec<String> {
            let all = judge(Some(&scope), &DiffBudget::default(), &[c]);
            all.into_iter().map(|v| v.path).collect()
        };
        assert_eq!(paths(change(Some("a"), Some("src/a"))), ["a"]);
        assert_eq!(paths(change(Some("src/a"), Some("b"))), ["b"]);
        assert_eq!(paths(change(Some("x"), Some("y"))), ["x", "y"]);
        assert_eq!(paths(change(Some("x"), None)), ["x"]);
        assert_eq!(paths(change(Some("src/a"), None)), [""; 0]);
    }

    #[test]
    fn links_that_leave_the_tree_are_violations() {
        let cases = [
            ("l", "a", false),
            ("l", "./a/../b", false),
            ("l", "..", true),
            ("l", "/etc/passwd", true),
            ("a/l", "../b", false),
            ("a/l", "../../b", true),
            ("a/b/l", "../x/../../c", false),
            ("a/l", "x/../../../a/x", true),
            ("l", "...", false),
            ("l", "", false),
        ];
        for (path, target, out) in cases {
            assert_eq!(leaves(path, target), out, "{path} -> {target}");
            let mut c = change(None, Some(path));
            (c.new_mode, c.link_target) = (SYMLINK, Some(target.to_owned()));
            let found = judge(Some(&scope(&["**"], &[])), &DiffBudget::default(), &[c]);
            assert_eq!(found.len(), usize::from(out), "{path} -> {target}");
        }
        let mut unread = change(None, Some("l"));
        unread.new_mode = SYMLINK;
        let found = judge(Some(&scope(&["**"], &[])), &DiffBudget::default(), &[unread]);
        assert_eq!(found[0].rule, Rule::LeavesTree);
    }

    #[test]
    fn the_budget_counts_touched_paths_and_lines() {
        let changes = [change(Some("a"), Some("b")), change(None, Some("c"))];
        let cases = [
            (None, None, &[][..]),
            (Some(3), Some(10), &[]),
            (Some(2), Some(10), &["too-many-files"]),
            (Some(3), Some(9), &["too-many-lines"]),
            (Some(0), Some(0), &["too-many-files", "too-many-lines"]),
        ];
        for (max_files, max_loc, want) in cases {
            let found = judge(None, &DiffBudget { max_files, max_loc }, &changes);
            let names: Vec<&str> = found.iter().map(|v| v.rule.name()).collect();
            assert_eq!(names, want, "{max_files:?} {max_loc:?}");
            assert!(found.iter().all(|v| v.rule.is_budget()));
        }
        let mut huge = change(None, Some("h"));
        (huge.added, huge.deleted) = (u64::MAX, u64::MAX);
        let budget = DiffBudget { max_files: None, max_loc: Some(u64::MAX - 1) };
        assert_eq!(judge(None, &budget, &[huge]).len(), 1);
    }

    #[test]
    fn bad_globs_are_named_and_fail_closed() {
        for bad in [
            "", " ", "/src/**", "../x", "a/./b", "a[", "a{b", "[z-a]", "a[+-9]b", "a[/]b",
            "a[!]x]b",
        ] {
            let with = scope(&["**"], &[bad]);
            let said = check_globs(&with);
            assert_eq!(said.len(), 1, "{bad:?}");
            assert!(said[0].starts_with("scope.deny: "), "{said:?}");
            assert_eq!(rules(&with, "a"), ["invalid-glob"], "{bad:?}");
            assert_eq!(judge(Some(&with), &DiffBudget::default(), &[]), []);
        }
        assert!(check_globs(&scope(&["src/**", "a b", "x/"], &["*"])).is_empty());
    }

    #[test]
    fn the_list_is_bounded_and_says_so() {
        let changes: Vec<Change> =
            (0..1500).map(|n| change(None, Some(&format!("f{n}")))).collect();
        let found = judge(Some(&scope(&[], &[])), &DiffBudget::default(), &changes);
        assert_eq!(found.len(), VIOLATIONS_MAX);
        assert!(found[VIOLATIONS_MAX - 1].text.starts_with("1500 violations"));
    }
}
