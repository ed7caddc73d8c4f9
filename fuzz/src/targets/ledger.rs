//! Lines of the ledger, and the attempts they add up to.
//!
//! Chance never meets a hash: each line is tried as it is, and once more with the hash that its bytes have.

use super::{Watch, owned};
use jobyard::model::attempt::Attempt;
use jobyard::model::event::{Event, GENESIS, Link, sha256_hex};
use jobyard::model::id::OrderId;

/// Most lines of one input that are read.
const LINES_MAX: usize = 64;

pub(super) fn check(watch: &mut Watch, input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let mut attempt: Option<Attempt> = None;
    for line in text.split('\n').take(LINES_MAX) {
        let as_it_is = watch.call("Link::parse", || Link::parse(line));
        let mended = mended(line);
        let Ok(link) = watch.call("Link::parse", || Link::parse(&mended)) else { continue };
        if let Ok(found) = as_it_is {
            assert_eq!(found.line, link.line, "its own hash makes another line of it");
        }
        let (sealed, hash) = link.line.seal(&link.prev);
        let again = Link::parse(&sealed);
        assert_eq!(again, Ok(Link { hash, ..link.clone() }), "written again it reads as another");
        attempt = fold(attempt, &link);
    }
}

/// The line with the hash of what stands before it.
fn mended(line: &str) -> String {
    let head = line.split(",\"hash\":\"").next().unwrap_or_default();
    let head = head.strip_suffix('}').unwrap_or(head);
    let prev = if head.contains(",\"prev\":") { "" } else { &format!(",\"prev\":\"{GENESIS}\"") };
    let head = format!("{head}{prev}");
    format!("{head},\"hash\":\"{}\"}}", sha256_hex(head.as_bytes()))
}

/// An attempt from its lines, whole in the checkpoint of the next segment.
fn fold(attempt: Option<Attempt>, link: &Link) -> Option<Attempt> {
    let line = &link.line;
    let mut attempt = match (&line.event, line.id.as_deref().map(OrderId::parse)) {
        (Event::Claiming(claim), Some(Ok(id))) => {
            Attempt::begin(&id, line.attempt.unwrap_or(1), line.time, (**claim).clone())
        }
        _ => attempt?,
    };
    attempt.apply(line.time, &line.event, line.seq, &link.hash);
    let (over, checks) = (attempt.run_is_over(), attempt.checks().len());
    let kept = serde_json::to_string(&attempt).unwrap_or_default();
    let again = serde_json::from_str::<Attempt>(&kept).ok();
    let facts = again.as_ref().map(|again| (again.run_is_over(), again.checks().len()));
    assert_eq!(facts, Some((over, checks)), "kept in a checkpoint it differs");
    assert_eq!(again.as_ref(), Some(&attempt), "kept in a checkpoint it differs");
    Some(attempt)
}

pub(super) fn words() -> Vec<String> {
    let events = [
        "checkpoint",
        "adoption-over",
        "intake",
        "withdrawn",
        "adopted",
        "claiming",
        "claimed",
        "released",
        "started",
        "ended",
        "gate",
        "verdict",
        "settled",
        "request",
        "answer",
        "put-back",
        "moved-aside",
        "requeued",
        "held",
        "unheld",
        "epic",
    ];
    let mut words: Vec<String> = events.iter().map(|e| format!("\"event\":\"{e}\"")).collect();
    words.extend(owned(&[
        "{\"seq\":1,\"time\":\"2026-01-31T18:00:00.000Z\",\"id\":\"WO-1\"",
        ",\"attempt\":1",
        ",\"prev\":\"",
        ",\"hash\":\"",
        "\"}",
        ",\"state\":\"done\"",
        ",\"result\":\"pass\"",
        ",\"reason\":\"\"",
        ",\"number\":1",
        ",\"kind\":",
        "null",
        "\\ud800",
        "1e999",
        "18446744073709551615",
        "\n",
    ]));
    words
}
