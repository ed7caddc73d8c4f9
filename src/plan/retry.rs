//! What follows a failed attempt: another one after a back-off, or `failed/`.
//!
//! Invariants: `cancelled` is never retried; only attempts whose `run` the daemon ran are; the number
//! of retries is bounded by the sealed policy.

use crate::model::attempt::{Attempt, CommandEnd};
use crate::model::event::sha256_hex;
use crate::model::order::{Retry, RetryOn};
use crate::model::protocol::{Cause, End};
use crate::model::time::{Millis, Moment};

/// Which kind of end this is, and the machine word for it. `None`: it ended well.
pub fn failure(end: &CommandEnd) -> Option<(RetryOn, String)> {
    let end = match end {
        CommandEnd::Lost => return Some((RetryOn::Lost, "lost".to_owned())),
        CommandEnd::Seen(end) => end,
    };
    match end.cause {
        Cause::Exited => exited(end),
        Cause::Timeout => Some((RetryOn::Timeout, "timeout".to_owned())),
        Cause::IdleTimeout => Some((RetryOn::Timeout, "idle-timeout".to_owned())),
        Cause::OutputLimit => Some((RetryOn::OutputLimit, "output-limit".to_owned())),
        Cause::Stopped | Cause::Shutdown => Some((RetryOn::Stopped, "stopped".to_owned())),
        Cause::SealedChanged => Some((RetryOn::Fail, "sealed-changed".to_owned())),
        Cause::CouldNotStart => Some((RetryOn::Fail, "could-not-start".to_owned())),
    }
}

fn exited(end: &End) -> Option<(RetryOn, String)> {
    match (end.exit, end.signal) {
        (Some(0), _) => None,
        (Some(status), _) => Some((RetryOn::Fail, format!("exit-{status}"))),
        (None, Some(signal)) => Some((RetryOn::Fail, format!("signal-{signal}"))),
        (None, None) => Some((RetryOn::Lost, "lost".to_owned())),
    }
}

/// When the attempt is tried again, if it is.
pub fn retry_at(attempt: &Attempt, kind: RetryOn, now: Moment) -> Option<Moment> {
    let sealed = &attempt.claim.sealed;
    let retry = sealed.retry();
    if !attempt.is_process() || sealed.retries >= retry.max || !retry.on.contains(&kind) {
        return None;
    }
    let verdicts = sealed.verify_fails + u32::from(kind == RetryOn::VerifyFail);
    if retry.max_fail_verify.is_some_and(|max| verdicts >= max) {
        return None;
    }
    Some(now.after(delay(&retry, sealed.retries, &attempt.claim.token)))
}

/// Delay before retry number `retries + 1`: `start × factor^retries`, at most `cap`; a share of up to
/// `jitter_percent` is taken off, decided by the attempt's token, so that a replay gives the same.
pub fn delay(retry: &Retry, retries: u32, token: &str) -> Millis {
    let mut delay = u128::from(retry.start.0);
    for _ in 0..retries.min(200) {
        delay = (delay * u128::from(retry.factor_percent) / 100).min(u128::from(retry.cap.0));
    }
    let delay = u64::try_from(delay.min(u128::from(retry.cap.0))).unwrap_or(retry.cap.0);
    let share = u64::from(retry.jitter_percent.min(100));
    let digest = sha256_hex(token.as_bytes());
    let luck = u64::from_str_radix(&digest[..4], 16).unwrap_or(0) % 101;
    Millis(delay - delay / 100 * (share * luck / 100))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_the_cap() {
        let retry = Retry {
            start: Millis(1000),
            factor_percent: 200,
            cap: Millis(5000),
            ..Retry::default()
        };
        let delays: Vec<_> = (0..5).map(|n| delay(&retry, n, "t").0).collect();
        assert_eq!(delays, [1000, 2000, 4000, 5000, 5000]);
        assert_eq!(delay(&retry, u32::MAX, "t").0, 5000);
    }

    #[test]
    fn jitter_only_shortens_and_is_repeatable() {
        let retry = Retry { start: Millis(10_000), jitter_percent: 50, ..Retry::default() };
        for token in ["a", "b", "c", "d"] {
            let d = delay(&retry, 0, token).0;
            assert!((5_000..=10_000).contains(&d), "{d}");
            assert_eq!(d, delay(&retry, 0, token).0);
        }
    }
}
