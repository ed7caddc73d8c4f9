//! What is promised of every refusal and every edit, whatever the file.

use jobyard::model::defect::Defect;
use std::collections::BTreeMap;

/// Longest message in bytes: it quotes a clipped word or two, never a whole file.
const MESSAGE_BYTES_MAX: usize = 2000;

/// Most defects told of one file.
const DEFECTS_MAX: usize = 21;

/// What refuses a file is there, bounded, can be shown on a terminal, and points into the file.
pub(super) fn refusal(input: &[u8], defects: &[Defect]) {
    assert!(!defects.is_empty(), "refused without a reason");
    told(input, defects);
}

/// The same for what is only said.
pub(super) fn told(input: &[u8], defects: &[Defect]) {
    assert!(defects.len() <= DEFECTS_MAX, "{} defects are told", defects.len());
    let text = String::from_utf8_lossy(input);
    for defect in defects {
        let message = &defect.message;
        assert!(!message.trim().is_empty(), "a defect without a message: {defect:?}");
        assert!(message.len() <= MESSAGE_BYTES_MAX, "a message of {} bytes", message.len());
        assert!(!message.contains(char::is_control), "control characters in {message:?}");
        let snippet = &defect.snippet;
        let shown = !snippet.replace('\n', "").contains(char::is_control);
        assert!(
            shown && snippet.lines().count() <= 2,
            "a snippet that cannot be shown: {snippet:?}"
        );
        inside(&text, defect);
    }
}

/// Lines and columns count from 1; both are 0 where the whole file is meant.
fn inside(text: &str, defect: &Defect) {
    let (line, column) = (defect.line as usize, defect.column as usize);
    if line == 0 {
        assert!(column == 0, "a column without a line: {defect:?}");
        return;
    }
    // A carriage return alone ends a line for YAML, not for editors and TOML.
    let text = text.trim_start_matches('\u{feff}').replace("\r\n", "\n");
    let found = if text.contains('\r') {
        line <= text.split(['\r', '\n']).count()
    } else {
        let found = text.split('\n').nth(line - 1);
        found.is_some_and(|found| (1..=found.chars().count() + 1).contains(&column))
    };
    assert!(found, "{line}:{column} is not in the file: {defect:?}");
}

/// Every line of `old` that is a comment and nothing else is still in `new`, and as often. `is_comment` tells
/// by its place a comment from a line of a text that looks like one.
pub(super) fn comments_stay(old: &str, new: &str, is_comment: impl Fn(usize) -> bool) {
    let mut wanted: BTreeMap<&str, usize> = BTreeMap::new();
    let mut at = 0;
    for line in old.split('\n') {
        let bare = line.trim();
        let start = at + line.len() - line.trim_start().len();
        if bare.starts_with('#') && wanted.len() < 20 && is_comment(start) {
            *wanted.entry(bare).or_default() += 1;
        }
        at += line.len() + 1;
    }
    for (comment, times) in wanted {
        let found = new.lines().filter(|line| line.contains(comment)).count();
        assert!(found >= times, "the comment {comment:?} stood {times} times, now {found}");
    }
}

/// An edit keeps the way lines end.
pub(super) fn line_ends_stay(old: &str, new: &str) {
    let all = old.matches('\n').count();
    let crlf = old.matches("\r\n").count();
    // A carriage return alone becomes half of a line end when a line is added behind it.
    let unsure = old.matches('\r').count() > crlf;
    if all > 0 && !unsure && (crlf == 0 || crlf == all) {
        let (all, now) = (new.matches('\n').count(), new.matches("\r\n").count());
        assert!(now == if crlf == 0 { 0 } else { all }, "the line ends are no longer the same");
    }
}
