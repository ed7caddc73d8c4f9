//! Changes of an input that chance rarely makes: known words put in, stretches repeated many times.
//!
//! Invariants: the result is no longer than allowed; the same seed gives the same result.

/// A small generator of numbers (xorshift).
struct Chance(u32);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        usize::try_from(self.0).unwrap_or(0) % bound.max(1)
    }
}

/// Changes `data[..size]` in place and gives its new size; `None`: this time the fuzzer's own way.
pub(crate) fn mutate(
    data: &mut [u8],
    size: usize,
    max_size: usize,
    seed: u32,
    words: &[String],
) -> Option<usize> {
    let max_size = max_size.min(data.len());
    let mut chance = Chance(seed | 1);
    chance.below(2);
    let old = data.get(..size)?.to_vec();
    let new = match chance.below(16) {
        0..=2 if !words.is_empty() => put_in(&old, &words[chance.below(words.len())], &mut chance),
        3 | 4 => repeated(&old, max_size, &mut chance)?,
        5 => moved_line(&old, &mut chance)?,
        _ => return None,
    };
    let length = new.len().min(max_size);
    data[..length].copy_from_slice(&new[..length]);
    Some(length)
}

/// A word in place of some bytes, or between two.
fn put_in(old: &[u8], word: &str, chance: &mut Chance) -> Vec<u8> {
    let at = chance.below(old.len() + 1);
    let over = [0, 0, 1, word.len()][chance.below(4)].min(old.len() - at);
    [&old[..at], word.as_bytes(), &old[at + over..]].concat()
}

/// A line, or some bytes, many times: what takes the square of its length shows itself.
fn repeated(old: &[u8], max_size: usize, chance: &mut Chance) -> Option<Vec<u8>> {
    let (start, end) = if chance.below(2) == 0 {
        line_around(old, chance.below(old.len()))
    } else {
        let start = chance.below(old.len());
        (start, (start + 1 + chance.below(8)).min(old.len()))
    };
    let stretch = old.get(start..end).filter(|s| !s.is_empty())?;
    let room = max_size.saturating_sub(old.len()) / stretch.len();
    let times = room >> chance.below(8);
    Some([&old[..end], &stretch.repeat(times), &old[end..]].concat())
}

/// A line of the input once more, elsewhere.
fn moved_line(old: &[u8], chance: &mut Chance) -> Option<Vec<u8>> {
    let (start, end) = line_around(old, chance.below(old.len()));
    let line = old.get(start..end)?;
    let (at, _) = line_around(old, chance.below(old.len()));
    Some([&old[..at], line, &old[at..]].concat())
}

/// Start of the line and of the next one.
fn line_around(text: &[u8], at: usize) -> (usize, usize) {
    let start = text[..at].iter().rposition(|b| *b == b'\n').map_or(0, |n| n + 1);
    let end = text[at..].iter().position(|b| *b == b'\n').map_or(text.len(), |n| at + n + 1);
    (start, end)
}

#[test]
fn a_change_keeps_to_the_room_there_is() {
    let words = ["title".to_owned(), "x".repeat(90)];
    let (mut changed, mut grown) = (0, 0);
    for seed in 0..2000 {
        for size in [0_usize, 1, 40] {
            let mut data = vec![0; 64];
            data[..size].copy_from_slice(&b"id: a\ntitle: b\nrun: c\nenv: {A: 1}\n# end\n"[..size]);
            if let Some(new) = mutate(&mut data, size, 64, seed, &words) {
                assert!(new <= 64, "{seed}");
                changed += 1;
                grown += usize::from(new == 64);
            }
        }
    }
    assert!(changed > 1000 && grown > 100, "{changed} {grown}");
}
