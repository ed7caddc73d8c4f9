//! Messages to and from the executor, and lines of its journal.

use super::{Watch, owned};
use jobyard::model::protocol::{FromExecutor, JournalLine, ToExecutor};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;

pub(super) fn check(watch: &mut Watch, input: &[u8]) {
    reads_back::<ToExecutor>(watch, "ToExecutor", input);
    reads_back::<FromExecutor>(watch, "FromExecutor", input);
    reads_back::<JournalLine>(watch, "JournalLine", input);
}

fn reads_back<T>(watch: &mut Watch, name: &'static str, input: &[u8])
where
    T: Serialize + DeserializeOwned + PartialEq + Debug,
{
    let Ok(message) = watch.call(name, || serde_json::from_slice::<T>(input)) else { return };
    let line = serde_json::to_string(&message).unwrap_or_default();
    assert!(!line.contains('\n'), "a message of two lines");
    let again = serde_json::from_str::<T>(&line).ok();
    assert_eq!(again, Some(message), "written again it reads as another");
}

pub(super) fn words() -> Vec<String> {
    owned(&[
        "{\"type\":\"hello\",\"version\":1",
        "{\"type\":\"start\"",
        "{\"type\":\"stop\"",
        "{\"type\":\"sweep\"",
        "{\"type\":\"ack\"",
        "{\"type\":\"bye\"",
        "{\"type\":\"started\"",
        "{\"type\":\"ended\"",
        "{\"type\":\"refused\"",
        "{\"type\":\"swept\"",
        ",\"commands\":[",
        ",\"key\":{\"id\":\"WO-1\",\"attempt\":1,\"number\":1}",
        ",\"end\":{\"exit\":0,\"signal\":null",
        ",\"cause\":\"exited\"",
        ",\"pid\":",
        "null",
        "}",
        "]",
        "{",
        "[",
        "\"\"",
        "1e999",
        "\\ud800",
    ])
}
