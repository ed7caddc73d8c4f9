//! The directories that a worktree holds when it does not hold everything.
//!
//! Invariants: git's cone: a directory is held with all beneath it, and so are the files that lie directly in
//! the directories on the way to it, the top included; whatever the globs that made it match lies in it; it
//! is told by its list of directories alone, never by what a worktree says of itself.
//!
//! Whether a path may be changed is not decided here: that is the scope's, and narrower.

/// Some directories of a tree. Never the whole tree.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cone {
    /// Without a slash at the end, sorted, none beneath another.
    dirs: Vec<String>,
}

impl Cone {
    /// The directories that these globs reach; `None`: everything.
    pub fn of_globs(globs: &[String]) -> Option<Self> {
        if globs.is_empty() {
            return None;
        }
        let mut dirs = Vec::new();
        for glob in globs {
            match literal_part(glob) {
                Part::Dir(dir) => dirs.push(dir),
                Part::Top => {}
                Part::Everything => return None,
            }
        }
        Some(Self::of_dirs(dirs))
    }

    /// These directories.
    pub fn of_dirs(mut dirs: Vec<String>) -> Self {
        dirs.sort_by(|a, b| a.split('/').cmp(b.split('/')));
        dirs.dedup_by(|next, kept| is_beneath(next.as_bytes(), kept.as_bytes()));
        Self { dirs }
    }

    /// The directories.
    pub fn dirs(&self) -> &[String] {
        &self.dirs
    }

    /// Is a file at this path, in git's own bytes, one of those that the worktree holds?
    pub fn holds(&self, path: &[u8]) -> bool {
        let parent = path.iter().rposition(|b| *b == b'/').map_or(&[][..], |at| &path[..at]);
        let dirs = || self.dirs.iter().map(String::as_bytes);
        parent.is_empty() || dirs().any(|dir| is_beneath(path, dir) || is_beneath(dir, parent))
    }

    /// The cone as git's file `info/sparse-checkout` has it.
    pub fn patterns(&self) -> String {
        let mut above: Vec<&str> = Vec::new();
        for dir in &self.dirs {
            above.extend(dir.match_indices('/').map(|(at, _)| &dir[..at]));
        }
        above.sort_unstable();
        above.dedup();
        let mut text = String::from("/*\n!/*/\n");
        for dir in above {
            let dir = escaped(dir);
            text.push_str(&format!("/{dir}/\n!/{dir}/*/\n"));
        }
        for dir in &self.dirs {
            text.push_str(&format!("/{}/\n", escaped(dir)));
        }
        text
    }
}

/// What a glob needs.
enum Part {
    /// This directory.
    Dir(String),
    /// Files of the top only.
    Top,
    /// More than directories can say.
    Everything,
}

/// The components before the first one that holds a wildcard: what the glob matches lies there. A glob
/// without wildcards names a file or a directory: its own name will do for both, because the files beside it
/// are in the cone.
fn literal_part(glob: &str) -> Part {
    let wild = glob.find(['*', '?', '[', '{', '\\']);
    let literal = match wild {
        // `*` and its like stay within a directory.
        Some(_) if !glob.contains('/') && !glob.contains("**") => return Part::Top,
        Some(at) => glob[..at].rfind('/').map_or("", |slash| &glob[..slash]),
        None => glob,
    };
    let parts: Vec<&str> = literal.split('/').filter(|part| !part.is_empty()).collect();
    let odd = |part: &&&str| matches!(**part, "." | "..") || part.contains(char::is_control);
    if parts.is_empty() || parts.iter().find(odd).is_some() {
        return Part::Everything;
    }
    Part::Dir(parts.join("/"))
}

/// Is `path` this directory, or beneath it?
fn is_beneath(path: &[u8], dir: &[u8]) -> bool {
    path.strip_prefix(dir).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
}

/// A directory's name in a pattern.
fn escaped(dir: &str) -> String {
    let mut text = String::with_capacity(dir.len());
    for c in dir.chars() {
        if matches!(c, '*' | '?' | '[' | '\\') {
            text.push('\\');
        }
        text.push(c);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cone(globs: &[&str]) -> Option<Cone> {
        Cone::of_globs(&globs.iter().map(|g| (*g).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn the_directories_are_what_stands_before_the_first_wildcard() {
        let cases: [(&[&str], Option<&[&str]>); 18] = [
            (&[], None),
            (&["**"], None),
            (&["**/x.yml"], None),
            (&["src/a/**", "**/x"], None),
            (&["{src,docs}/**"], None),
            (&["a**"], None),
            (&["../x/**"], None),
            (&["a\nb/**"], None),
            (&["*.md"], Some(&[])),
            (&["*.{rs,toml}", "[ab]?"], Some(&[])),
            (&["src/a/**"], Some(&["src/a"])),
            (&["src/a/*.rs", "src/ab/x[0-9]/y"], Some(&["src/a", "src/ab"])),
            (&["src/**", "src/a/**", "src-b/**"], Some(&["src", "src-b"])),
            (&["src/{a,b}/**", "*.md"], Some(&["src"])),
            (&["src/a\\[b/c"], Some(&["src"])),
            (&["docs/guide.md"], Some(&["docs/guide.md"])),
            (&["src/", "src//a/"], Some(&["src"])),
            (&["README.md"], Some(&["README.md"])),
        ];
        for (globs, want) in cases {
            let found = cone(globs).map(|cone| cone.dirs().join(" "));
            assert_eq!(found, want.map(|dirs| dirs.join(" ")), "{globs:?}");
        }
    }

    #[test]
    fn a_cone_holds_its_directories_and_the_files_on_the_way() {
        let cone = cone(&["src/a/**", "docs/x/y.md"]).unwrap();
        for held in ["top", "src/f", "src/a/f", "src/a/b/c", "docs/f", "docs/x/y.md", "docs/x/z"] {
            assert!(cone.holds(held.as_bytes()), "{held}");
        }
        for not in ["src/ab/f", "src/b/f", "docs/z/f", "other/f", "docs/x/z/f"] {
            assert!(!cone.holds(not.as_bytes()), "{not}");
        }
        assert!(!cone.holds(b"\xff/f"));
        let top = Cone::of_dirs(Vec::new());
        assert!(top.holds(b"f") && !top.holds(b"a/f"));
    }

    #[test]
    fn the_patterns_are_those_of_git() {
        let of = |globs: &[&str]| cone(globs).unwrap().patterns();
        assert_eq!(of(&["*.md"]), "/*\n!/*/\n");
        let want = "/*\n!/*/\n/a/\n!/a/*/\n/a/b/\n!/a/b/*/\n/a/b/c/\n/a/d/\n/z]/\n";
        assert_eq!(of(&["a/d/**", "a/b/c/*", "z]/**"]), want);
    }
}
