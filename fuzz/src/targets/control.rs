//! Requests: the first line of an input is the name of the file, the rest what it says.

use super::promises::refusal;
use super::{Watch, owned};
use jobyard::model::id::ID_BYTES_MAX;
use jobyard::model::request::{REASON_BYTES_MAX, Verb, parse_request, parse_request_name};

pub(super) fn check(watch: &mut Watch, input: &[u8]) {
    let end = input.iter().position(|b| *b == b'\n').unwrap_or(input.len());
    // What is not text is replaced, as it is where directories are listed.
    let name = String::from_utf8_lossy(&input[..end]);
    let body = input.get(end + 1..).unwrap_or_default();
    named(watch, &name);
    let said = match watch.call("parse_request", || parse_request(body)) {
        Ok(said) => said,
        Err(defect) => return refusal(body, &[defect]),
    };
    let length = said.reason.as_ref().map_or(0, String::len);
    assert!(length <= REASON_BYTES_MAX, "a reason of {length} bytes");
    let text = said.render();
    assert_eq!(
        parse_request(text.as_bytes()),
        Ok(said),
        "written again it reads as another: {text}"
    );
}

fn named(watch: &mut Watch, name: &str) {
    let found = watch.call("parse_request_name", || parse_request_name(name));
    let Some((id, verb, digits)) = found else { return };
    let id = id.as_str();
    let safe = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    assert!(!id.is_empty() && id.len() <= ID_BYTES_MAX && id.chars().all(safe), "the id {id:?}");
    assert!(!id.starts_with(['.', '-']) && !id.contains(".."), "the id {id:?}");
    let digits = digits.map_or_else(String::new, |digits| format!(".{digits}"));
    assert_eq!(format!("{id}.{}{digits}", verb.name()), name);
}

pub(super) fn words() -> Vec<String> {
    let mut words: Vec<String> = Verb::ALL.iter().map(|verb| format!(".{}", verb.name())).collect();
    words.extend(owned(&[
        ".0123456789abcdef",
        "WO-1",
        "\n",
        "reason: ",
        "as: ",
        "force: true\n",
        "stop: yes\n",
        "skip_verification: on\n",
        "takeover: off\n",
        "{\"reason\": \"",
        "'",
        "\"",
        "- ",
        "# ",
        ": ",
        "\u{feff}",
        "\\e",
        "\\u0085",
        "|\n ",
        "~",
    ]));
    words
}
