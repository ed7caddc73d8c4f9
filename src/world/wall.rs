//! Being told that the wall clock was set, or that the machine woke from sleep: the times that orders name
//! are due sooner or later then than a wait had counted on.
//!
//! Invariants: it sets no clock and decides nothing; being told means "look at the clock again". Where the
//! kernel gives no such timer, the next look that comes anyway has to do.

use rustix::io::{Errno, read};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Seconds since 1970 at which the timer would fire by itself: the last that the kernel can count to.
const NEVER: i64 = i64::MAX / 1_000_000_000;

/// A timer that never fires, and becomes readable when the wall clock is set.
pub struct WallClock(Option<OwnedFd>);

impl WallClock {
    /// Begins to listen.
    pub fn listen() -> Self {
        Self(Self::timer().ok())
    }

    fn timer() -> Result<OwnedFd, Errno> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Realtime, flags)?;
        let at = |tv_sec| Timespec { tv_sec, tv_nsec: 0 };
        let never = Itimerspec { it_interval: at(0), it_value: at(NEVER) };
        let flags = TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET;
        timerfd_settime(&timer, flags, &never)?;
        Ok(timer)
    }

    /// Readable once the clock was set.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.0.as_ref().map(AsFd::as_fd)
    }

    /// Takes the news, so that the next are noticed too.
    pub fn heed(&self) {
        if let Some(timer) = &self.0 {
            // Refused as cancelled when the clock was set, and as too early when it was not.
            let _ = read(timer, &mut [0_u8; 8]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{PollFd, PollFlags, poll};

    #[test]
    fn nothing_is_told_while_nobody_sets_the_clock() {
        let clock = WallClock::listen();
        let fd = clock.fd().expect("the kernel has such timers");
        clock.heed();
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        let ready = poll(&mut [PollFd::from_borrowed_fd(fd, PollFlags::IN)], Some(&now));
        assert_eq!(ready, Ok(0));
    }
}
