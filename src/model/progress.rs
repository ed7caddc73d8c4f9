//! How far a job says it is: what it writes to `$JOBYARD_PROGRESS`.
//!
//! Invariants: the last whole line counts, so that a job may append or write anew; whatever a job writes is
//! either a progress from 0 to 100 or [`REFUSED`], never an error of whoever looks. It decides nothing.

use serde_json::Value;

/// What is shown when a job wrote something else.
pub const REFUSED: &str = "Progress must be between 0 and 100";

/// Most of the file's end that is looked at.
pub const PROGRESS_BYTES_MAX: usize = 64 << 10;

/// What a job says of itself.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Progress {
    /// From 0 to 100.
    pub percent: f64,
    /// A word of the job's own.
    pub status: Option<String>,
    /// For people.
    pub message: Option<String>,
    /// Whatever else it wants to say.
    pub metadata: Option<Value>,
}

impl Progress {
    /// One line for people.
    pub fn line(&self) -> String {
        let mut text = format!("{} %", self.percent);
        if let Some(status) = &self.status {
            text.push_str(&format!(" ({status})"));
        }
        if let Some(message) = &self.message {
            text.push_str(&format!(": {message}"));
        }
        text
    }
}

/// Reads `50`, `50 message`, or a JSON object with `progress`, `status`, `message`, `metadata`. `None` when
/// nothing was written yet.
pub fn parse_progress(bytes: &[u8]) -> Option<Result<Progress, &'static str>> {
    let text = String::from_utf8_lossy(bytes);
    let whole = text.rfind('\n').map_or(&*text, |end| &text[..end]);
    let line = whole.lines().rev().map(str::trim).find(|line| !line.is_empty())?;
    let one = parse_line(line);
    // An object that is spread over several lines.
    let read = one.or_else(|| parse_object(text.trim()));
    Some(read.ok_or(REFUSED))
}

fn parse_line(line: &str) -> Option<Progress> {
    if line.starts_with('{') {
        return parse_object(line);
    }
    let (number, message) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let percent = number.strip_suffix('%').unwrap_or(number).parse().ok();
    let message = Some(message.trim().to_owned()).filter(|m| !m.is_empty());
    Some(Progress { percent: within(percent?)?, message, ..Progress::default() })
}

fn parse_object(text: &str) -> Option<Progress> {
    let Ok(Value::Object(mut map)) = serde_json::from_str(text) else { return None };
    let percent = match map.get("progress")? {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    let mut word = |key: &str| match map.remove(key) {
        Some(Value::String(text)) if !text.is_empty() => Some(text),
        _ => None,
    };
    let (status, message) = (word("status"), word("message"));
    let metadata = map.remove("metadata").filter(|value| !value.is_null());
    Some(Progress { percent: within(percent?)?, status, message, metadata })
}

fn within(percent: f64) -> Option<f64> {
    (0.0..=100.0).contains(&percent).then_some(percent)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> String {
        match parse_progress(text.as_bytes()) {
            None => "nothing".to_owned(),
            Some(Ok(progress)) => progress.line(),
            Some(Err(text)) => text.to_owned(),
        }
    }

    #[test]
    fn the_three_forms_are_read() {
        assert_eq!(line("50\n"), "50 %");
        assert_eq!(line("50"), "50 %");
        assert_eq!(line("12.5% half way \n"), "12.5 %: half way");
        assert_eq!(line("0 begun\n"), "0 %: begun");
        let text = r#"{"progress": 100, "status": "ok", "message": "m", "metadata": {"a": 1}}"#;
        assert_eq!(line(text), "100 % (ok): m");
        let read = parse_progress(text.as_bytes()).unwrap().unwrap();
        assert_eq!(read.metadata, Some(serde_json::json!({"a": 1})));
        assert_eq!(line("{\n  \"progress\": 7\n}\n"), "7 %");
    }

    #[test]
    fn the_last_whole_line_counts() {
        assert_eq!(line("10 a\n20 b\n3"), "20 %: b");
        assert_eq!(line("10 a\r\n\n"), "10 %: a");
        assert_eq!(line(""), "nothing");
        assert_eq!(line("\n"), "nothing");
    }

    #[test]
    fn everything_else_is_refused_with_its_sentence() {
        for text in [
            "101",
            "-1",
            "150 much",
            "NaN",
            "inf",
            "half",
            "{}",
            "{\"progress\": 101}",
            "{\"progress\": \"x\"}",
            "{\"progress\": [1]}",
            "{\"progress\": 5",
            "\u{0}",
            "[50]",
        ] {
            assert_eq!(line(text), "Progress must be between 0 and 100", "{text:?}");
        }
        assert_eq!(parse_progress(b"\xff\xfe"), Some(Err(REFUSED)));
    }
}
