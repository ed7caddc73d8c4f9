//! Which channel a task goes to, and whether it may go now.
//!
//! Rules come before the hybrid strategy; a strategy that forces a channel comes before both. Hybrid: to
//! `metal` while fewer than its depth wait there, else to `cloud` while fewer than its depth wait there and
//! its budget has a token, which the task spends. Forced strategies ask neither depth nor budget.
//!
//! Invariants: exact integers; the same facts give the same choice; nothing here looks at a clock. What
//! runs already does not count as waiting, so one slot and a depth of two hold three tasks.

use crate::model::package::Strategy;
use crate::model::package::manifest::Task;
use crate::model::time::{Millis, Tick};
use globset::GlobMatcher;
use serde_json::Value;

/// Parts of a token: one a minute is one part a millisecond.
const TOKEN: u64 = 60_000;

/// A budget of starts: a bucket that is full at first and fills by the minute.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Budget {
    /// Most tokens.
    pub capacity: u32,
    /// Tokens that come in a minute.
    pub per_minute: u32,
    /// What is in it, in parts of a token.
    parts: u64,
    /// When that was so.
    at: Tick,
}

impl Budget {
    /// A full bucket.
    pub fn full(capacity: u32, per_minute: u32, now: Tick) -> Self {
        Self { capacity, per_minute, parts: u64::from(capacity) * TOKEN, at: now }
    }

    /// Adds what has come until `now`.
    pub fn refill(&mut self, now: Tick) {
        let passed = now.0.saturating_sub(self.at.0);
        let come = passed.saturating_mul(u64::from(self.per_minute));
        self.parts = self.parts.saturating_add(come).min(u64::from(self.capacity) * TOKEN);
        self.at = self.at.max(now);
    }

    /// There is a whole token.
    pub fn has_one(&self) -> bool {
        self.parts >= TOKEN
    }

    /// How long until there is one; `None`: never.
    pub fn wait(&self) -> Option<Millis> {
        if self.has_one() {
            return Some(Millis(0));
        }
        let possible = self.per_minute > 0 && self.capacity > 0;
        possible.then(|| Millis((TOKEN - self.parts).div_ceil(u64::from(self.per_minute))))
    }

    /// Takes one.
    pub fn spend(&mut self) {
        assert!(self.has_one(), "a token that is not there cannot be spent");
        self.parts -= TOKEN;
    }

    /// `1.0/2`: what is left of how much, to a tenth that is not more than there is.
    pub fn left(&self) -> String {
        let tenths = self.parts * 10 / TOKEN;
        format!("{}.{}/{}", tenths / 10, tenths % 10, self.capacity)
    }
}

/// What a channel holds now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Channel {
    /// Its name in the configuration; its queue is called `queue_<name>`.
    pub name: String,
    /// So many may wait there; further tasks go elsewhere.
    pub depth: u32,
    /// How many wait there.
    pub waiting: u32,
    /// Absent: without limit.
    pub budget: Option<Budget>,
}

impl Channel {
    /// Whether another task may go there now.
    fn takes(&self) -> bool {
        self.waiting < self.depth && self.budget.is_none_or(|budget| budget.has_one())
    }

    /// One more waits; what is left of the budget that it spent, for the log.
    fn enter(&mut self, spend: bool) -> String {
        self.waiting += 1;
        let Some(budget) = self.budget.as_mut().filter(|_| spend) else { return String::new() };
        budget.spend();
        format!(", Budget: {}", budget.left())
    }
}

/// A rule of the configuration or a workflow: which tasks go to a channel whatever there is room for.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Glob of task names; absent: every task.
    pub task: Option<GlobMatcher>,
    /// A key of `meta` and the text that it must have; absent: any.
    pub meta: Option<(String, String)>,
    /// The channel.
    pub channel: String,
    /// What the log says of it.
    pub text: String,
}

impl Rule {
    /// Whether it speaks of this task.
    pub fn matches(&self, task: &Task) -> bool {
        let named = self.task.as_ref().is_none_or(|glob| glob.is_match(&task.name));
        let meta = self.meta.as_ref().is_none_or(|(key, want)| {
            let text = match task.meta.get(key) {
                Some(Value::String(text)) => text.clone(),
                Some(Value::Null) | None => return false,
                Some(other) => other.to_string(),
            };
            text == *want
        });
        named && meta
    }
}

/// Where a task goes, decided once when it is read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Course {
    /// To this channel; with `free` at once, else when there is room.
    Fixed {
        /// The channel.
        channel: String,
        /// Whatever its depth and budget say.
        free: bool,
        /// What the log says.
        reason: String,
    },
    /// Where there is room.
    Hybrid,
}

/// The course of a task.
pub fn course(strategy: Strategy, rules: &[Rule], task: &Task) -> Course {
    let forced = |channel: &str| Course::Fixed {
        channel: channel.to_owned(),
        free: true,
        reason: format!("Strategy: {}", strategy.name()),
    };
    match strategy {
        Strategy::Metal => forced("metal"),
        Strategy::Cloud => forced("cloud"),
        Strategy::Hybrid => match rules.iter().find(|rule| rule.matches(task)) {
            Some(rule) => Course::Fixed {
                channel: rule.channel.clone(),
                free: false,
                reason: format!("Rule: {}", rule.text),
            },
            None => Course::Hybrid,
        },
    }
}

/// Sends a task on its course: the place of its channel in `channels`, and why it goes there. `None`: not
/// now. What waits and what is spent is counted in `channels`.
pub fn send(course: &Course, channels: &mut [Channel]) -> Option<(usize, String)> {
    let place = |name: &str, channels: &[Channel]| channels.iter().position(|c| c.name == name);
    match course {
        Course::Fixed { channel, free, reason } => {
            let at = place(channel, channels)?;
            if !free && !channels[at].takes() {
                return None;
            }
            let left = channels[at].enter(!free);
            Some((at, format!("{reason}{left}")))
        }
        Course::Hybrid => {
            let metal = place("metal", channels)?;
            if channels[metal].takes() {
                channels[metal].enter(true);
                return Some((metal, "Hybrid: Metal available".to_owned()));
            }
            let cloud = place("cloud", channels).filter(|at| channels[*at].takes())?;
            let left = channels[cloud].enter(true);
            Some((cloud, format!("Hybrid: Metal full{left}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use globset::Glob;

    /// The channels as older tools had them.
    fn channels(metal_depth: u32) -> Vec<Channel> {
        let channel = |name: &str, depth, budget| Channel {
            name: name.to_owned(),
            depth,
            waiting: 0,
            budget,
        };
        let budget = Budget::full(2, 5, Tick(0));
        vec![channel("metal", metal_depth, None), channel("cloud", 10, Some(budget))]
    }

    /// What `count` tasks without a rule do, all at once: queue and reason each.
    fn sent(channels: &mut [Channel], count: usize) -> Vec<String> {
        let send = |_| send(&Course::Hybrid, channels);
        let sent: Vec<_> = (0..count).map_while(send).collect();
        sent.into_iter().map(|(at, why)| format!("{at} {why}")).collect()
    }

    const METAL: &str = "0 Hybrid: Metal available";

    #[test]
    fn hybrid_fills_metal_and_spills_within_its_budget() {
        let mut both = channels(2);
        let first = sent(&mut both, 10);
        let cloud = |left: &str| format!("1 Hybrid: Metal full, Budget: {left}/2");
        assert_eq!(first, [METAL.to_owned(), METAL.to_owned(), cloud("1.0"), cloud("0.0")]);
        // One of metal's begins to run: a third fits.
        both[0].waiting -= 1;
        assert_eq!(sent(&mut both, 10), [METAL]);
        let budget = both[1].budget.as_mut().unwrap();
        assert_eq!(budget.wait(), Some(Millis(12_000)));
        budget.refill(Tick(11_999));
        assert_eq!(sent(&mut both, 10), [""; 0]);
        both[1].budget.as_mut().unwrap().refill(Tick(12_000));
        assert_eq!(sent(&mut both, 10), [cloud("0.0")]);
    }

    #[test]
    fn a_depth_of_one_sends_the_second_task_to_cloud() {
        let first = sent(&mut channels(1), 2);
        assert_eq!(first, [METAL, "1 Hybrid: Metal full, Budget: 1.0/2"]);
    }

    #[test]
    fn cloud_has_a_depth_too() {
        let mut both = channels(0);
        both[1].budget = None;
        assert_eq!(sent(&mut both, 20).len(), 10);
    }

    #[test]
    fn a_bucket_holds_no_more_than_it_can_and_goes_back_with_no_clock() {
        let mut budget = Budget::full(2, 5, Tick(100_000));
        budget.refill(Tick(1_000_000));
        assert_eq!(budget.left(), "2.0/2");
        budget.spend();
        budget.refill(Tick(0));
        assert_eq!(budget.left(), "1.0/2");
        budget.refill(Tick(1_000_000 + 7_200));
        assert_eq!(budget.left(), "1.6/2");
        let mut never = Budget::full(1, 0, Tick(0));
        never.spend();
        assert_eq!(never.wait(), None);
    }

    #[test]
    fn a_forced_strategy_asks_nobody() {
        let task = crate::model::package::manifest::parse_line(br#"{"task": "a"}"#).unwrap();
        let mut both = channels(0);
        let forced = course(Strategy::Metal, &[], &task);
        for _ in 0..3 {
            let sent = send(&forced, &mut both);
            assert_eq!(sent, Some((0, "Strategy: force_metal".to_owned())));
        }
        let cloud = course(Strategy::Cloud, &[], &task);
        for _ in 0..12 {
            let sent = send(&cloud, &mut both);
            assert_eq!(sent, Some((1, "Strategy: force_cloud".to_owned())));
        }
        assert_eq!((both[0].waiting, both[1].waiting), (3, 12));
        assert_eq!(both[1].budget.unwrap().left(), "2.0/2");
    }

    #[test]
    fn a_rule_comes_before_hybrid_and_keeps_to_depth_and_budget() {
        let rule = Rule {
            task: Some(Glob::new("image.*").unwrap().compile_matcher()),
            meta: Some(("size".to_owned(), "7".to_owned())),
            channel: "cloud".to_owned(),
            text: "image.*".to_owned(),
        };
        let read =
            |text: &str| crate::model::package::manifest::parse_line(text.as_bytes()).unwrap();
        let rules = [rule];
        let large = read(r#"{"task": "image.scale", "meta": {"size": 7}}"#);
        let small = read(r#"{"task": "image.scale", "meta": {"size": "8"}}"#);
        let other = read(r#"{"task": "text.scale", "meta": {"size": "7"}}"#);
        assert_eq!(course(Strategy::Hybrid, &rules, &small), Course::Hybrid);
        assert_eq!(course(Strategy::Hybrid, &rules, &other), Course::Hybrid);
        let ruled = course(Strategy::Hybrid, &rules, &large);
        let mut both = channels(2);
        assert_eq!(send(&ruled, &mut both), Some((1, "Rule: image.*, Budget: 1.0/2".to_owned())));
        assert_eq!(send(&ruled, &mut both), Some((1, "Rule: image.*, Budget: 0.0/2".to_owned())));
        assert_eq!(send(&ruled, &mut both), None);
        assert_eq!(course(Strategy::Metal, &rules, &large), course(Strategy::Metal, &[], &large));
    }
}
