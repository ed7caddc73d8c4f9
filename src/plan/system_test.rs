//! The planner of the workflow `system_test`: tasks that try channels, routing and budgets.
//!
//! Invariant: the same mode, count, seed and scale give the same manifest, to the byte.

use crate::model::event::sha256_hex;
use serde_json::{Value, json};

/// One kind of manifest.
#[derive(Debug)]
pub struct Mode {
    /// Its word.
    pub name: &'static str,
    /// What its tasks do.
    pub text: &'static str,
    /// How many there are when nobody says.
    pub count: u32,
    /// What its tasks are called in logs, before their number.
    label: &'static str,
    task: Kind,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Echo,
    /// Milliseconds from, to.
    Sleep(u64, u64),
    Crud,
    /// With a pause of so many milliseconds between two statements.
    SlowCrud(u64, u64),
}

const fn mode(
    name: &'static str,
    count: u32,
    label: &'static str,
    task: Kind,
    text: &'static str,
) -> Mode {
    Mode { name, text, count, label, task }
}

/// All modes.
pub const MODES: [Mode; 6] = [
    mode("debug", 5, "Task", Kind::Echo, "say something"),
    mode("sleep", 5, "Task", Kind::Sleep(1_000, 5_000), "sleep for 1 to 5 seconds"),
    mode("crud", 5, "Task", Kind::Crud, "write, read, change and delete rows of a database"),
    mode(
        "crud_latency",
        5,
        "Task",
        Kind::SlowCrud(50, 500),
        "the same with pauses of 50 to 500 ms",
    ),
    mode(
        "stress_supervisor",
        10,
        "Job",
        Kind::Sleep(90_000, 150_000),
        "sleep for 90 to 150 seconds: queues fill and spill",
    ),
    mode("demo", 5, "Job", Kind::Sleep(30_000, 30_000), "sleep for 30 seconds each"),
];

/// The mode of this name.
pub fn named(name: &str) -> Option<&'static Mode> {
    MODES.iter().find(|mode| mode.name == name)
}

/// `Stress supervisor - 10 tasks`, of the mode `stress_supervisor`.
pub fn title(mode: &str, tasks: u64) -> String {
    let words = mode.replace('_', " ");
    let mut letters = words.chars();
    let first = letters.next().map(|c| c.to_ascii_uppercase());
    let words: String = first.into_iter().chain(letters).collect();
    format!("{words} - {tasks} {}", if tasks == 1 { "task" } else { "tasks" })
}

impl Mode {
    /// Line `number`, from 1, of its manifest. Times are multiplied by `scale` thousandths.
    pub fn line(&self, number: u32, seed: u64, scale: u64) -> String {
        let between = |from: u64, to: u64| {
            let drawn = draw(&format!("{} {seed} {number}", self.name));
            let ms = from + drawn % (to - from + 1);
            seconds(ms.saturating_mul(scale) / 1000)
        };
        let label = format!("{}-{number:02}", self.label);
        let (task, args, kwargs, text) = match self.task {
            Kind::Echo => (
                "system_test.echo",
                json!([format!("Hello from {label}")]),
                json!({}),
                "Says hello".to_owned(),
            ),
            Kind::Sleep(from, to) => {
                let time = between(from, to);
                ("system_test.sleep", json!([time]), json!({}), format!("Sleeps for {time} s"))
            }
            Kind::Crud => {
                ("system_test.crud", json!([]), json!({"rows": 10}), "Works on 10 rows".to_owned())
            }
            Kind::SlowCrud(from, to) => {
                let time = between(from, to);
                let text = format!("Works on 10 rows, pausing for {time} s");
                ("system_test.crud", json!([]), json!({"rows": 10, "pause": time}), text)
            }
        };
        let meta = json!({"id": label, "mode": self.name});
        json!({"task": task, "args": args, "kwargs": kwargs, "meta": meta, "description": text})
            .to_string()
    }
}

/// Seconds as JSON has them, whole ones without a point.
fn seconds(ms: u64) -> Value {
    if ms.is_multiple_of(1000) {
        (ms / 1000).into()
    } else {
        format!("{}.{:03}", ms / 1000, ms % 1000).parse().map_or(Value::Null, |n: f64| n.into())
    }
}

/// A number that a text decides.
fn draw(text: &str) -> u64 {
    u64::from_str_radix(&sha256_hex(text.as_bytes())[..15], 16).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::package::manifest::parse_line;

    #[test]
    fn every_mode_gives_tasks_that_are_understood() {
        for mode in &MODES {
            for number in 1..=mode.count {
                let task = parse_line(mode.line(number, 1, 1000).as_bytes()).unwrap();
                assert_eq!(task.label(), format!("{}-{number:02}", mode.label));
                assert_eq!(task.warnings().count(), 0);
            }
            assert_eq!(mode.line(1, 1, 1000), mode.line(1, 1, 1000));
        }
    }

    #[test]
    fn times_lie_where_the_mode_says_and_follow_the_scale() {
        let stress = named("stress_supervisor").unwrap();
        let slept = |number, scale| {
            let task = parse_line(stress.line(number, 7, scale).as_bytes()).unwrap();
            task.args[0].as_f64().unwrap()
        };
        let all: Vec<f64> = (1..=100).map(|n| slept(n, 1000)).collect();
        assert!(all.iter().all(|s| (90.0..=150.0).contains(s)), "{all:?}");
        assert!(all.iter().any(|s| *s < 100.0) && all.iter().any(|s| *s > 140.0), "{all:?}");
        assert!((slept(3, 10) - slept(3, 1000) / 100.0).abs() < 0.002);
        let demo = named("demo").unwrap();
        assert!(demo.line(1, 1, 1000).contains("\"args\":[30]"));
        assert!(demo.line(1, 1, 10).contains("\"args\":[0.3]"));
        assert_eq!(title("demo", 5), "Demo - 5 tasks");
        assert_eq!(title("stress_supervisor", 1), "Stress supervisor - 1 task");
    }
}
