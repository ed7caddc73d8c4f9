//! Asking: how a verb has something done, with the daemon up, down or frozen.
//!
//! Invariants: whoever holds the root lock decides, so with no daemon the verb runs the same loop
//! itself; a request is whole and durable before it has its name; a `take` that was not granted in time is
//! withdrawn before that is said, so nobody becomes holder after being told to try again; nothing here
//! waits past the deadline.

pub(super) mod drive;
mod tail;

use super::{Failure, code, dirs, look};
use crate::executor::Link;
use crate::model::attempt::Claim;
use crate::model::id::OrderId;
use crate::model::paths;
use crate::model::protocol::FromExecutor;
use crate::model::request::{RequestBody, Verb};
use crate::world::World;
use crate::world::identity;
use crate::world::root_lock::{self, Role, Tried, try_lock};
use crate::world::stall;
use crate::world::store::{errno, publish};
use drive::{UnderWay, granted, world};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tail::Tail;

pub(super) use tail::Answer;

/// How long a verb waits unless told otherwise.
const WAIT: Duration = Duration::from_secs(10);

/// Between two looks whether the root lock is free, when a verb holds it: doubled from the first to the
/// second.
const LOCK_PAUSE: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(50));

/// The same when a daemon holds it: its answer wakes, its death does not.
const DEATH_PAUSE: Duration = Duration::from_millis(200);

/// How long the answer to a take that was granted is waited for past the deadline.
const GRANTED_PATIENCE: Duration = Duration::from_secs(2);

/// Something to be done about one order.
pub(super) struct Ask {
    /// Which order.
    pub(super) id: OrderId,
    /// What.
    pub(super) verb: Verb,
    /// The rest of the request.
    pub(super) body: RequestBody,
    /// How long to wait; `None`: 10 s, and with the daemon down as long as running checks may take.
    pub(super) wait: Option<Duration>,
}

/// What came of it.
pub(super) struct Done {
    /// The answer.
    pub(super) answer: Answer,
    /// The newest claim made meanwhile, with its attempt.
    pub(super) claim: Option<(u32, Claim)>,
}

enum Step {
    Answered(Answer),
    UnderWay(UnderWay),
    LookAgain,
    TimedOut,
}

struct Asking<'a> {
    root: &'a Path,
    ask: &'a Ask,
    /// Name of the request in `control/`.
    file: String,
    filed: bool,
    /// It is not ours that was filed, but the same asked before.
    joined: bool,
    tail: Tail,
    deadline: Instant,
    ended: Arc<AtomicBool>,
    holder: String,
}

/// Has it done. The error says how far it came; its code is 75 when it may be tried again.
pub(super) fn ask(root: &Path, ask: &Ask) -> Result<Done, Failure> {
    let hex = format!("{:016x}", identity::random_bits());
    let file = format!("{}.{}.{hex}", ask.id, ask.verb.name());
    let tail = Tail::note(root, &ask.id, &hex)?;
    let mut asking = Asking {
        root,
        ask,
        file,
        filed: false,
        joined: false,
        tail,
        deadline: Instant::now() + ask.wait.unwrap_or(WAIT),
        ended: signals()?,
        holder: String::new(),
    };
    let answer = match asking.run() {
        Ok(Some(answer)) => answer,
        Ok(None) => asking.give_up(None)?,
        Err(failure) => asking.give_up(Some(failure))?,
    };
    Ok(Done { answer, claim: asking.tail.claim })
}

/// Raised by INT, TERM and HUP: time is up then. A second one ends the process at once. What `nohup` or a
/// shell told us to ignore stays ignored.
fn signals() -> Result<Arc<AtomicBool>, Failure> {
    let flag = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|s| !is_ignored(*s)) {
        signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(&flag))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&flag)))
            .map_err(|e| Failure::new(code::FAILED, format!("register signals: {e}")))?;
    }
    Ok(flag)
}

fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    mask >> (signal - 1) & 1 == 1
}

impl Asking<'_> {
    /// The answer; `None` when time is up.
    fn run(&mut self) -> Result<Option<Answer>, Failure> {
        let mut pause = LOCK_PAUSE.0;
        loop {
            let who =
                format!("pid {} ({} {})", std::process::id(), self.ask.verb.name(), self.ask.id);
            let tried = try_lock(self.root, Role::Verb, &who)
                .map_err(|e| Failure::of_disk("lock the root", &self.root.join(paths::OWN), &e))?;
            let step = match tried {
                Tried::Held(_lock) => {
                    self.holder.clear();
                    self.drive()?
                }
                Tried::Taken { role: Role::Daemon, text } => {
                    self.holder = text;
                    self.refuse_unknown()?;
                    self.file()?;
                    self.wait_for_answer(DEATH_PAUSE)?
                }
                Tried::Taken { text, .. } => {
                    self.holder = text;
                    let step = self.wait_for_answer(pause)?;
                    pause = (pause * 2).min(LOCK_PAUSE.1);
                    step
                }
            };
            match step {
                Step::Answered(answer) => return Ok(Some(answer)),
                Step::TimedOut => return Ok(None),
                Step::UnderWay(under_way) => self.wait_for_executor(&under_way)?,
                Step::LookAgain => {}
            }
        }
    }

    /// A frozen daemon cannot say that there is no such order; whoever looks can.
    fn refuse_unknown(&self) -> Result<(), Failure> {
        let found = root_lock::look(self.root).ok().flatten();
        if self.filed || !found.is_some_and(|f| f.frozen) {
            return Ok(());
        }
        let id = &self.ask.id;
        let view = look::seat(self.root.to_owned())?.look_at(&BTreeSet::from([id.clone()]))?;
        let ticket = view.index.tickets.get(id);
        match ticket.is_some_and(|t| !t.is_empty()) {
            true => Ok(()),
            false => Err(look::unknown(id)),
        }
    }

    /// Puts the request where whoever holds the root lock finds it.
    fn file(&mut self) -> Result<(), Failure> {
        if self.filed {
            return Ok(());
        }
        let path = Path::new(paths::CONTROL).join(&self.file);
        let mut world = world(self.root)?;
        let body = self.ask.body.render();
        let filed = dirs::make(&mut world, &paths::needed())
            .and_then(|_| publish(&mut world, &path, body.as_bytes(), 0o644))
            .and_then(|()| world.sync_dir(Path::new(paths::CONTROL)));
        // Where something failed the request may have its name all the same, and be carried out.
        self.filed = filed.is_ok() || !matches!(world.stat(&path), Ok(None));
        filed.map_err(|f| {
            let text = format!("the request could not be filed in {}", self.root.display());
            Failure::of_fault(&f, &text)
        })
    }

    fn answer(&mut self) -> Result<Option<Answer>, Failure> {
        self.tail.answer()
    }

    fn is_over(&self) -> bool {
        Instant::now() >= self.deadline || self.ended.load(Ordering::SeqCst)
    }

    fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// Waits for the answer of whoever holds the root lock, for at most `span`: then the lock is tried again.
    fn wait_for_answer(&mut self, span: Duration) -> Result<Step, Failure> {
        let until = Instant::now() + span;
        loop {
            if self.filed
                && let Some(answer) = self.answer()?
            {
                return Ok(Step::Answered(answer));
            }
            if self.is_over() {
                return Ok(Step::TimedOut);
            }
            let now = Instant::now();
            if now >= until {
                return Ok(Step::LookAgain);
            }
            let span = (until - now).min(self.left());
            match self.filed {
                true => self.wait_for_ledger(None, span)?,
                false => std::thread::park_timeout(span),
            }
        }
    }

    fn wait_for_ledger(
        &mut self,
        other: Option<std::os::fd::BorrowedFd<'_>>,
        span: Duration,
    ) -> Result<(), Failure> {
        let audit = self.root.join(paths::AUDIT);
        self.tail.wait(other, span).map_err(|e| Failure::of_disk("wait for the ledger", &audit, &e))
    }

    /// The root lock is free meanwhile; a daemon that comes carries on by itself.
    fn wait_for_executor(&mut self, under_way: &UnderWay) -> Result<(), Failure> {
        if self.ask.wait.is_none() {
            self.deadline = Instant::now() + under_way.allowed;
        }
        let mut link = loop {
            match Link::connect(self.root) {
                Ok(link) => break link,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock && !self.is_over() => {
                    std::thread::park_timeout(LOCK_PAUSE.1.min(self.left()));
                }
                Err(_) => return Ok(()),
            }
        };
        loop {
            let heard = link.receive();
            if heard.iter().any(|m| is_end(m, under_way)) {
                return Ok(());
            }
            if self.is_over() || link.is_closed() || self.answer()?.is_some() {
                // Not at once again, in case the executor comes and goes.
                std::thread::park_timeout(LOCK_PAUSE.0);
                return Ok(());
            }
            let span = self.left().min(Duration::from_secs(1));
            self.wait_for_ledger(Some(link.fd()), span)?;
        }
    }

    /// Time is up, or something failed: a take is withdrawn, all else stays filed.
    fn give_up(&mut self, cause: Option<Failure>) -> Result<Answer, Failure> {
        let why = match (&cause, self.ended.load(Ordering::SeqCst)) {
            (Some(failure), _) => failure.text.clone(),
            (None, true) => "interrupted".to_owned(),
            (None, false) if self.holder.is_empty() => "it takes longer than --wait".to_owned(),
            (None, false) => {
                let stall = root_lock::look(self.root).ok().flatten();
                let stall = stall.and_then(|found| stall::look(self.root, &found));
                let stall = stall.map_or_else(String::new, |stall| format!(": {}", stall.text));
                format!("no answer within --wait; the root is held by {}{stall}", self.holder)
            }
        };
        let exit = cause.as_ref().map_or(code::AGAIN, |f| f.code);
        let (id, verb) = (&self.ask.id, self.ask.verb.name());
        if !self.filed {
            let text = format!("{verb} {id}: not filed: {why}; try again");
            return Err(cause.unwrap_or_else(|| Failure::new(exit, text)));
        }
        if self.ask.verb != Verb::Take {
            let text = format!(
                "{verb} {id}: filed; {why}; it is carried out when the root is free; \
                 `jobyard why {id}` tells"
            );
            return Err(Failure::new(exit, text));
        }
        if self.withdraw()? {
            let again = if cause.is_none() { "; try again" } else { "" };
            let text = format!("take {id}: withdrawn, you do not hold it: {why}{again}");
            return Err(Failure::new(exit, text));
        }
        self.too_late_to_withdraw(&why)
    }

    /// Takes the request back. `false`: it was consumed before.
    fn withdraw(&self) -> Result<bool, Failure> {
        let from = Path::new(paths::CONTROL).join(&self.file);
        let to = PathBuf::from(paths::ANSWERED).join(format!("{}.withdrawn", self.file));
        let mut world = world(self.root)?;
        let renamed = world.rename(&from, &to).and_then(|()| {
            // A power cut could bring the name back, and then nobody waits for it.
            world.sync_dir(Path::new(paths::CONTROL))
        });
        match renamed {
            Ok(()) => Ok(true),
            Err(fault) if fault.errno == errno::ENOENT => Ok(false),
            Err(fault) => {
                let text = format!(
                    "take {}: withdraw the request: {fault}; remove {} by hand, else it is \
                     granted later",
                    self.ask.id,
                    self.root.join(from).display()
                );
                Err(Failure::new(code::FAILED, text))
            }
        }
    }

    /// It was granted or refused in the last moment; the answer is on its way, or already certain.
    fn too_late_to_withdraw(&mut self, why: &str) -> Result<Answer, Failure> {
        let until = Instant::now() + GRANTED_PATIENCE;
        loop {
            if let Some(answer) = self.answer()? {
                return Ok(answer);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            self.wait_for_ledger(None, left)?;
        }
        let id = &self.ask.id;
        match granted(self.root, id, &self.file) {
            Some(attempt) => Ok(Answer {
                code: code::DONE,
                text: format!("{id} is taken"),
                attempt: Some(attempt),
            }),
            None => {
                let text = format!("take {id}: not granted: {why}; `jobyard why {id}` tells more");
                Err(Failure::new(code::AGAIN, text))
            }
        }
    }
}

/// Whether a message of the executor says that there is nothing more to wait for.
fn is_end(message: &FromExecutor, under_way: &UnderWay) -> bool {
    match message {
        FromExecutor::Hello { commands, .. } => {
            !commands.iter().any(|c| c.key == under_way.key && c.end.is_none())
        }
        FromExecutor::Ended { key, .. } => *key == under_way.key,
        _ => false,
    }
}
