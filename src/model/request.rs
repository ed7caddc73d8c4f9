//! Requests: what a file in `control/` is called and what it says.
//!
//! Invariant: a name that is accepted always holds a valid id and a known verb. Whether the request
//! can be granted is not judged here.

use super::defect::{Defect, INVALID_REQUEST};
use super::edit::quoted;
use super::id::OrderId;
use super::parse::nearest;
use super::parse::reader::Reader;
use super::strict::source::Source;
use super::strict::{Tree, clip};

/// Largest request in bytes.
pub const REQUEST_BYTES_MAX: usize = 64 << 10;

/// Longest reason: it is written into the ticket, whose room for it is looked at before a claim.
pub const REASON_BYTES_MAX: usize = 2000;

/// Keys of a request that is a map.
const KEYS: [&str; 6] = ["reason", "as", "force", "skip_verification", "takeover", "stop"];

/// What a person asks for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Verb {
    /// Claim a pending order for a person.
    Take,
    /// Run the checks and settle.
    Finish,
    /// Stop and settle as failed.
    Cancel,
    /// Make the next attempt possible.
    Requeue,
    /// Keep it pending.
    Hold,
    /// Undo a hold.
    Unhold,
}

impl Verb {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Take, Self::Finish, Self::Cancel, Self::Requeue, Self::Hold, Self::Unhold];

    /// The word in file names and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Take => "take",
            Self::Finish => "finish",
            Self::Cancel => "cancel",
            Self::Requeue => "requeue",
            Self::Hold => "hold",
            Self::Unhold => "unhold",
        }
    }

    /// The reverse of [`Verb::name`].
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|verb| verb.name() == text)
    }
}

/// What a request says beyond its name.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RequestBody {
    /// Why, for the record.
    pub reason: Option<String>,
    /// `as`: a label for the owner; never compared.
    pub as_: Option<String>,
    /// Skip the dependency test of a take.
    pub force: bool,
    /// Settle without running the checks.
    pub skip_verification: bool,
    /// Take over a lease whose holder is unknown or silent.
    pub takeover: bool,
    /// End `run` first.
    pub stop: bool,
}

impl RequestBody {
    /// The text of the file: a map of what differs from nothing.
    pub fn render(&self) -> String {
        let mut text = String::new();
        for (key, value) in [("reason", &self.reason), ("as", &self.as_)] {
            if let Some(value) = value {
                text.push_str(&format!("{key}: {}\n", quoted(value)));
            }
        }
        let flags = [
            ("force", self.force),
            ("skip_verification", self.skip_verification),
            ("takeover", self.takeover),
            ("stop", self.stop),
        ];
        for (key, _) in flags.into_iter().filter(|(_, set)| *set) {
            text.push_str(&format!("{key}: true\n"));
        }
        text
    }
}

/// Splits `<id>.<verb>` or `<id>.<verb>.<16 hex digits>`, from the end, for ids hold dots too.
pub fn parse_request_name(file_name: &str) -> Option<(OrderId, Verb, Option<String>)> {
    let (head, last) = file_name.rsplit_once('.')?;
    if let Some(verb) = Verb::parse(last) {
        return Some((OrderId::parse(head).ok()?, verb, None));
    }
    if last.len() != 16 || !last.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let (id, verb) = head.rsplit_once('.')?;
    Some((OrderId::parse(id).ok()?, Verb::parse(verb)?, Some(last.to_owned())))
}

/// Reads a request: nothing, plain text (the reason), or a map of `reason`, `as`, `force`,
/// `skip_verification`, `takeover` and `stop`. Text counts as a map when it is one and its first key
/// is a single word; a sentence with a colon in it stays text.
pub fn parse_request(bytes: &[u8]) -> Result<RequestBody, Defect> {
    let body = read_body(bytes)?;
    match body.reason.as_ref().map(String::len).filter(|len| *len > REASON_BYTES_MAX) {
        None => Ok(body),
        Some(len) => {
            let text = format!(
                "the reason is {len} bytes long; at most {REASON_BYTES_MAX} go into a ticket"
            );
            Err(Defect::whole(INVALID_REQUEST, text))
        }
    }
}

fn read_body(bytes: &[u8]) -> Result<RequestBody, Defect> {
    let source = Source::decode(bytes, REQUEST_BYTES_MAX, INVALID_REQUEST)?;
    let text = source.text.trim_start_matches('\u{feff}').trim();
    if text.is_empty() {
        return Ok(RequestBody::default());
    }
    let plain = || RequestBody { reason: Some(text.to_owned()), ..RequestBody::default() };
    let meant_as_map = begins_like_map(text);
    let tree = match Tree::read(source) {
        Ok(tree) => tree,
        Err(defects) if meant_as_map => {
            let first = defects.into_iter().next();
            return Err(first.unwrap_or_else(|| Defect::whole(INVALID_REQUEST, "not valid YAML")));
        }
        Err(_) => return Ok(plain()),
    };
    if tree.map(tree.root()).is_none() || !meant_as_map {
        return Ok(plain());
    }
    let mut reader = Reader::new(source, &tree);
    let body = read_map(&mut reader);
    reader.defects.into_iter().next().map_or(Ok(body), Err)
}

/// Whether text looks like a map of request keys: a known key or a lone word before the first colon.
fn begins_like_map(text: &str) -> bool {
    let lines = text.lines().map(str::trim_start);
    let first = lines.into_iter().find(|line| !line.is_empty() && !line.starts_with(['#', '-']));
    let Some(first) = first else { return false };
    if first.starts_with('{') {
        return true;
    }
    let key = first.split(':').next().unwrap_or("").trim_matches(['"', '\'', ' ']);
    let word =
        !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphabetic() || b == b'_' || b == b'-');
    let rest = &first[first.find(':').map_or(first.len(), |n| n + 1)..];
    word && first.contains(':') && (rest.is_empty() || rest.starts_with([' ', '\t']))
}

fn read_map(reader: &mut Reader<'_>) -> RequestBody {
    let mut body = RequestBody::default();
    let root = reader.tree.root();
    for (key, value) in reader.entries(root, "", "") {
        let value = *value;
        match reader.key(*key) {
            "reason" => body.reason = reader.text(value, "reason"),
            "as" => body.as_ = reader.text(value, "as"),
            "force" => body.force = reader.flag(value, "force"),
            "skip_verification" => {
                body.skip_verification = reader.flag(value, "skip_verification");
            }
            "takeover" => body.takeover = reader.flag(value, "takeover"),
            "stop" => body.stop = reader.flag(value, "stop"),
            word => {
                let near =
                    nearest(word, &KEYS).map_or_else(String::new, |n| format!("; nearest: `{n}`"));
                let message = format!(
                    "`{}` is no key of a request{near}; known: {}. If this is the reason, write \
                     `reason: '…'`",
                    clip(word),
                    KEYS.join(", ")
                );
                reader.fail(*key, message);
            }
        }
    }
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_split_from_the_end() {
        let check = |name: &str, want: Option<(&str, Verb, Option<&str>)>| {
            let found = parse_request_name(name);
            let found = found.as_ref().map(|(id, verb, hex)| (id.as_str(), *verb, hex.as_deref()));
            assert_eq!(found, want, "{name}");
        };
        check("WO-1.take", Some(("WO-1", Verb::Take, None)));
        check("WO-0012.1.finish", Some(("WO-0012.1", Verb::Finish, None)));
        check("a.take.take", Some(("a.take", Verb::Take, None)));
        check("a.hold.0123456789abcdef", Some(("a", Verb::Hold, Some("0123456789abcdef"))));
        check("a.b.unhold.0123456789abcdef", Some(("a.b", Verb::Unhold, Some("0123456789abcdef"))));
        for bad in
            ["take", ".take", "a.tak", "a.take.why", "a.take.0123", "a", "../x.take", ".a.take"]
        {
            check(bad, None);
        }
        for verb in Verb::ALL {
            assert_eq!(Verb::parse(verb.name()), Some(verb));
        }
    }

    #[test]
    fn text_is_the_reason() {
        let check = |text: &str, reason: Option<&str>| {
            let body = parse_request(text.as_bytes()).unwrap();
            let want = RequestBody { reason: reason.map(str::to_owned), ..RequestBody::default() };
            assert_eq!(body, want, "{text:?}");
        };
        check("", None);
        check(" \n", None);
        check("waits for Ann\n", Some("waits for Ann"));
        check("Blocked because: see WO-2\n", Some("Blocked because: see WO-2"));
        check("- one\n- two\n", Some("- one\n- two"));
        check("it's \"quoted\n", Some("it's \"quoted"));
        check("see https://example.org/x\n", Some("see https://example.org/x"));
        check("http://example.org\n", Some("http://example.org"));
    }

    #[test]
    fn a_map_has_known_keys_only() {
        let body = parse_request(
            b"reason: 'a: b'\nas: ann\nforce: true\nskip_verification: yes\ntakeover: false\nstop: on\n",
        );
        let want = RequestBody {
            reason: Some("a: b".to_owned()),
            as_: Some("ann".to_owned()),
            force: true,
            skip_verification: true,
            takeover: false,
            stop: true,
        };
        assert_eq!(body, Ok(want));
        assert_eq!(parse_request(b"{\"stop\": true}").map(|b| b.stop), Ok(true));
        let check = |text: &str, part: &str| {
            let defect = parse_request(text.as_bytes()).expect_err(text);
            assert_eq!(defect.code, INVALID_REQUEST);
            assert!(defect.to_string().contains(part), "{text:?} gave {defect}");
        };
        check("reson: x\n", "nearest: `reason`");
        check("cancelled: x\n", "1:1: `cancelled` is no key");
        check("force: maybe\n", "1:8: `force`: expected true or false");
        check("reason: a: b\n", "put a text that holds");
        check("stop: true\nstop: true\n", "stands twice");
        check("reason: [a]\n", "expected text");
        check(&"x".repeat(REQUEST_BYTES_MAX + 1), "at most 65536");
        assert!(parse_request(b"\xff").is_err());
        assert!(parse_request(b"a\0b").is_err());
    }

    #[test]
    fn a_request_reads_back_as_it_was_meant() {
        for reason in [
            "plain",
            "a: b # c",
            "it's \"so\"\nand \\ so",
            "{x}",
            "- a",
            "ü ✓ \u{7f}\u{85}\u{1}\u{feff}",
            "yes",
            "",
            "a\u{fffe}\u{ffff}\u{2028}",
            "12",
        ] {
            let body = RequestBody {
                reason: Some(reason.to_owned()),
                as_: Some("ann: x".to_owned()),
                force: true,
                skip_verification: true,
                takeover: true,
                stop: true,
            };
            assert_eq!(parse_request(body.render().as_bytes()), Ok(body), "{reason:?}");
        }
        let nothing = RequestBody::default();
        assert_eq!(parse_request(nothing.render().as_bytes()), Ok(nothing));
    }
}
