//! Which required artifacts are there.

use globset::GlobBuilder;

/// The globs that match none of the files. A glob that cannot be read matches nothing.
pub fn unmatched(globs: &[String], files: &[String]) -> Vec<String> {
    let matched = |glob: &&String| {
        let built = GlobBuilder::new(glob).literal_separator(true).build();
        let found = built.map(|g| g.compile_matcher());
        !found.is_ok_and(|m| files.iter().any(|f| m.is_match(f)))
    };
    globs.iter().filter(matched).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stays_in_its_directory() {
        let files = ["out/report.md".to_owned(), "a/b/c.txt".to_owned()];
        let globs = ["out/*.md", "*.txt", "**/*.txt", "["].map(str::to_owned);
        assert_eq!(unmatched(&globs, &files), ["*.txt", "["]);
    }
}
