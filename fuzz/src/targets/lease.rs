//! Lock files: a lease of ours, or something foreign that is never trusted.

use super::{Watch, owned};
use jiff::tz::TimeZone;
use jobyard::model::lease::LeaseBody;
use jobyard::model::time::Moment;

/// Longest first line that is kept of a foreign lock, in characters.
const FIRST_CHARS_MAX: usize = 120;

pub(super) fn check(watch: &mut Watch, input: &[u8]) {
    let body = watch.call("LeaseBody::parse", || LeaseBody::parse(input));
    let said = body.describe();
    let lease = match &body {
        LeaseBody::Foreign(first) => {
            assert!(first.chars().count() <= FIRST_CHARS_MAX, "a long first line");
            assert!(!said.contains(char::is_control), "control characters in {said:?}");
            return;
        }
        LeaseBody::Ours(lease) => lease,
    };
    assert!(!said.contains(char::is_control), "control characters in {said:?}");
    let text = lease.render(Moment(0), &TimeZone::UTC);
    assert_eq!(LeaseBody::parse(text.as_bytes()), body, "written again it reads as another");
    for cut in [1, 2, text.len() / 2].map(|n| text.len() - n) {
        let torn = LeaseBody::parse(&text.as_bytes()[..cut]);
        assert!(matches!(torn, LeaseBody::Foreign(_)), "torn at {cut} it is still taken for ours");
    }
}

pub(super) fn words() -> Vec<String> {
    owned(&[
        "Locked by jobyard daemon at ",
        "Locked by jobyard take at ",
        "\nPID: ",
        "\nUser: ",
        "\nHostname: ",
        "\nAttempt: ",
        "\nMode: process",
        "\nMode: manual 1000 ann",
        "\nBoot: ",
        "\nStart: ",
        "\nInstance: 0123456789abcdef\n",
        "\n",
        "\r\n",
        "4294967296",
        "+1",
        "\u{85}",
        "\u{1b}[31m",
        "in the ledger",
    ])
}
