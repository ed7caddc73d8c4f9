//! The known word nearest to what a person wrote.

/// Longest word that is compared; keys people write are far shorter.
const WORD_CHARS_MAX: usize = 40;

/// The word of `known` that `word` most likely meant: equal but for case, `-` and `_`, or at most two
/// single-letter slips away (one in words of up to four letters). Ties go to the earlier one.
pub fn nearest(word: &str, known: &[&str]) -> Option<String> {
    if word.is_empty() || word.len() > WORD_CHARS_MAX {
        return None;
    }
    let folded = fold(word);
    let letters = letters(word);
    let mut best: Option<(usize, &str)> = None;
    for candidate in known {
        let slips = if candidate.len().min(word.len()) <= 4 { 1 } else { 2 };
        let bound = best.map_or(slips, |(d, _)| slips.min(d.saturating_sub(1)));
        if best.is_some_and(|(d, _)| d == 0) || folded.len().abs_diff(candidate.len()) > bound {
            continue;
        }
        // A slip takes a letter away and puts another in at most.
        if (letters ^ self::letters(candidate)).count_ones() as usize > 2 * bound {
            continue;
        }
        let distance = distance(&folded, &fold(candidate));
        if distance <= bound {
            best = Some((distance, candidate));
        }
    }
    best.map(|(_, found)| found.to_owned())
}

fn fold(word: &str) -> Vec<u8> {
    word.bytes().map(folded).collect()
}

fn folded(byte: u8) -> u8 {
    if byte == b'-' { b'_' } else { byte.to_ascii_lowercase() }
}

/// The letters of a word as a set, so that most pairs need no closer look: a file may have thousands of keys.
fn letters(word: &str) -> u64 {
    word.bytes().map(|byte| 1 << (folded(byte) & 63)).fold(0, |set, letter: u64| set | letter)
}

/// Insertions, deletions, replacements and swaps of neighbours that turn `a` into `b`.
fn distance(a: &[u8], b: &[u8]) -> usize {
    let width = b.len() + 1;
    let mut before: Vec<usize> = vec![0; width];
    let mut last: Vec<usize> = (0..width).collect();
    let mut row: Vec<usize> = vec![0; width];
    for i in 1..=a.len() {
        row[0] = i;
        for j in 1..width {
            let same = usize::from(a[i - 1] != b[j - 1]);
            let mut least = (last[j] + 1).min(row[j - 1] + 1).min(last[j - 1] + same);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(before[j - 2] + 1);
            }
            row[j] = least;
        }
        std::mem::swap(&mut before, &mut last);
        std::mem::swap(&mut last, &mut row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_slips_but_not_other_words() {
        let known = ["id", "title", "run", "base", "env", "priority", "timeout", "not_before"];
        let check = |word: &str, want: Option<&str>| {
            assert_eq!(nearest(word, &known).as_deref(), want, "{word}");
        };
        check("titel", Some("title"));
        check("Title", Some("title"));
        check("not-before", Some("not_before"));
        check("priorty", Some("priority"));
        check("tmeot", Some("timeout"));
        check("evn", Some("env"));
        check("name", None);
        check("date", None);
        check("risks", None);
        check("", None);
        check(&"x".repeat(5000), None);
    }
}
