//! The daemon: waits for a hint, runs the loop, waits again.
//!
//! Invariants: it never polls; everything that can wake it is in [`wait`]; signals, events and messages
//! only mean "look again"; a disk fault throws the engine away and opens it anew after a pause; it
//! starts no command itself and ends none when it ends.

use crate::engine::{Engine, Options, Turn};
use crate::model::id::OrderId;
use crate::model::order::State;
use crate::model::protocol::ToExecutor;
use crate::model::time::Tick;
use crate::observe::Arrival;
use crate::world::real::RealWorld;
use crate::world::watch::{Hint, Place, Watch};
use crate::world::{ExecutorLink, Fault, World};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;
use signal_hook::low_level::pipe;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Look at everything again, whatever the events said.
const RESCAN_MS: u64 = 30 * 60 * 1000;

/// Pause after a disk fault: doubles from the first to the second, in milliseconds.
const PAUSE_MS: (u64, u64) = (1000, 60_000);

/// With `--drain`: faults in a row before giving up.
const DRAIN_FAULTS_MAX: u32 = 5;

/// How long an ending daemon waits for its executor to end, when nothing runs.
const GOODBYE_MS: u64 = 4000;

/// What the command line asks of a daemon.
pub struct Start {
    /// What the engine is opened with, read again on HUP.
    pub options: Box<dyn FnMut() -> Result<Options, String>>,
    /// End when nothing is left to do.
    pub drain: bool,
    /// Written when ready, removed at the end.
    pub ready_file: Option<PathBuf>,
    /// Where talk goes, a line at a time.
    pub talk: Box<dyn FnMut(&str)>,
}

/// How a daemon ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ended {
    /// Asked to, or drained.
    Done,
    /// `--drain`, and the disk refuses.
    DiskRefuses,
}

/// Signals, as flags that a handler raises and a pipe that wakes.
struct Signals {
    pipe: UnixStream,
    ends: Arc<AtomicBool>,
    reloads: Arc<AtomicBool>,
}

impl Signals {
    /// A second TERM or INT ends the process at once.
    fn register() -> io::Result<Self> {
        let (pipe, wake) = UnixStream::pair()?;
        pipe.set_nonblocking(true)?;
        wake.set_nonblocking(true)?;
        let (ends, reloads) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        for signal in [SIGTERM, SIGINT] {
            flag::register_conditional_shutdown(signal, 0, Arc::clone(&ends))?;
            flag::register(signal, Arc::clone(&ends))?;
            pipe::register(signal, wake.try_clone()?)?;
        }
        flag::register(SIGHUP, Arc::clone(&reloads))?;
        pipe::register(SIGHUP, wake)?;
        Ok(Self { pipe, ends, reloads })
    }

    fn drain(&mut self) {
        let mut bytes = [0; 64];
        while self.pipe.read(&mut bytes).is_ok_and(|n| n > 0) {}
    }

    fn ended(&self) -> bool {
        self.ends.load(Ordering::SeqCst)
    }
}

/// Runs a daemon until it is told to end. The caller holds the root lock.
pub fn run(mut world: RealWorld, mut start: Start) -> Result<Ended, String> {
    let mut signals = Signals::register().map_err(|e| format!("register signals: {e}"))?;
    let mut faults = 0;
    let mut ready = false;
    loop {
        let options = (start.options)()?;
        match session(world, options, &mut start, &mut signals, &mut ready) {
            Ok(ended) => {
                if let Some(path) = &start.ready_file {
                    let _ = std::fs::remove_file(path);
                }
                return Ok(ended);
            }
            Err(broken) => {
                world = broken.world;
                faults = if broken.lived { 1 } else { faults + 1 };
                (start.talk)(&format!("{}; trying again", broken.fault));
                if start.drain && faults > DRAIN_FAULTS_MAX {
                    say_goodbye(&mut world, false);
                    return Ok(Ended::DiskRefuses);
                }
                if faults > 1 {
                    pause(&mut signals, faults);
                }
                if signals.ended() {
                    say_goodbye(&mut world, false);
                    return Ok(Ended::Done);
                }
            }
        }
    }
}

fn pause(signals: &mut Signals, faults: u32) {
    let ms = (PAUSE_MS.0 << (faults - 2).min(6)).min(PAUSE_MS.1);
    let mut fds = [PollFd::new(&signals.pipe, PollFlags::IN)];
    let _ = poll(&mut fds, Some(&timespec(ms)));
    signals.drain();
}

/// An engine that a disk fault has ended.
struct Broken {
    world: RealWorld,
    fault: Fault,
    /// It had worked before.
    lived: bool,
}

fn broken(world: RealWorld, fault: Fault, lived: bool) -> Box<Broken> {
    Box::new(Broken { world, fault, lived })
}

/// One life of an engine. The error says whether it had worked before the fault.
fn session(
    world: RealWorld,
    options: Options,
    start: &mut Start,
    signals: &mut Signals,
    ready: &mut bool,
) -> Result<Ended, Box<Broken>> {
    let mut world = world;
    world.forget_directories();
    let root = world.root_path().to_owned();
    let mut engine = Engine::open(world, options).map_err(|(w, f)| broken(w, f, false))?;
    let mut watch = match arm(&root) {
        Ok(watch) => watch,
        Err(fault) => return Err(broken(engine.world, fault, false)),
    };
    if let Err(fault) = engine.rescan() {
        return Err(broken(engine.world, fault, false));
    }
    let mut lived = false;
    let mut rescan_at = engine.world.tick().0 + RESCAN_MS;
    loop {
        let turn = match engine.turn() {
            Ok(turn) => turn,
            Err(fault) => return Err(broken(engine.world, fault, lived)),
        };
        for note in engine.notes() {
            (start.talk)(&note);
        }
        if !*ready {
            *ready = true;
            if let Some(path) = &start.ready_file {
                let _ = std::fs::write(path, "ready\n");
            }
        }
        lived = true;
        if signals.ended() || (start.drain && engine.is_drained()) {
            if let Err(fault) = engine.finish() {
                return Err(broken(engine.world, fault, lived));
            }
            let idle = engine.is_idle();
            say_goodbye(&mut engine.world, idle);
            return Ok(Ended::Done);
        }
        reload(&mut engine, start, signals);
        let waited = wait(&mut engine, &mut watch, signals, turn, rescan_at);
        let rescan = match waited {
            Ok(rescan) => rescan || engine.world.tick().0 >= rescan_at,
            Err(error) => {
                let errno = error.raw_os_error().unwrap_or(5);
                let fault = Fault { act: "wait", path: PathBuf::new(), errno };
                return Err(broken(engine.world, fault, lived));
            }
        };
        if rescan {
            rescan_at = engine.world.tick().0 + RESCAN_MS;
            engine.world.forget_directories();
            match arm(&root) {
                Ok(fresh) => watch = fresh,
                Err(fault) => return Err(broken(engine.world, fault, lived)),
            }
            if let Err(fault) = engine.rescan() {
                return Err(broken(engine.world, fault, lived));
            }
        }
    }
}

/// Takes over a new configuration when HUP has asked for it.
fn reload(engine: &mut Engine<RealWorld>, start: &mut Start, signals: &Signals) {
    if signals.reloads.swap(false, Ordering::SeqCst) {
        match (start.options)() {
            Ok(options) => engine.reload(options),
            Err(text) => (start.talk)(&format!("configuration kept as it was: {text}")),
        }
    }
}

fn arm(root: &std::path::Path) -> Result<Watch, Fault> {
    Watch::arm(root).map_err(|e| Fault {
        act: "watch",
        path: PathBuf::from("_ctx/jobs"),
        errno: e.raw_os_error().unwrap_or(5),
    })
}

/// Waits until anything happens that can matter. Whether everything has to be looked at again.
fn wait(
    engine: &mut Engine<RealWorld>,
    watch: &mut Watch,
    signals: &mut Signals,
    turn: Turn,
    rescan_at: u64,
) -> io::Result<bool> {
    let timeout = timeout(engine, &turn, rescan_at);
    {
        let socket = engine.world.executor_socket();
        let watched = watch.fd();
        let mut fds = vec![
            PollFd::new(&watched, PollFlags::IN),
            PollFd::from_borrowed_fd(signals.pipe.as_fd(), PollFlags::IN),
        ];
        if let Some((fd, full)) = socket {
            let want = if full { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
            fds.push(PollFd::from_borrowed_fd(fd, want));
        }
        if let Some(starting) = engine.world.executor_starting() {
            fds.push(PollFd::from_borrowed_fd(starting, PollFlags::IN));
        }
        match poll(&mut fds, Some(&timespec(timeout))) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    engine.world.flush_executor();
    signals.drain();
    let mut rescan = false;
    for hint in watch.hints()? {
        rescan |= take_hint(engine, hint);
    }
    Ok(rescan)
}

fn take_hint(engine: &mut Engine<RealWorld>, hint: Hint) -> bool {
    let Hint::Name { place, name, renamed } = hint else { return true };
    let arrival = if renamed { Arrival::Renamed } else { Arrival::Unsure };
    let Ok(name) = String::from_utf8(name) else { return false };
    match place {
        Place::Control => engine.hint_request(name, arrival),
        Place::Own | Place::Jobs => {}
        Place::State(state) => {
            let stem = name.strip_suffix(".yaml").or_else(|| name.strip_suffix(".lock"));
            match stem.and_then(|s| OrderId::parse(s).ok()) {
                Some(id) => engine.hint(id, arrival),
                None if state == State::Pending && !name.ends_with(".why") => engine.hint_stray(),
                None => {}
            }
        }
    }
    false
}

/// Milliseconds until something is due by a clock.
fn timeout(engine: &Engine<RealWorld>, turn: &Turn, rescan_at: u64) -> u64 {
    let tick = engine.world.tick();
    let until = |at: Tick| at.0.saturating_sub(tick.0);
    let wall = turn
        .wake_at
        .map(|at| u64::try_from(at.0.saturating_sub(engine.world.now().0)).unwrap_or(0));
    let steady = turn.look_at.map(until);
    let rescan = rescan_at.saturating_sub(tick.0);
    wall.into_iter().chain(steady).fold(rescan, u64::min)
}

fn timespec(ms: u64) -> Timespec {
    let seconds = i64::try_from(ms / 1000).unwrap_or(i64::MAX);
    Timespec { tv_sec: seconds, tv_nsec: i64::try_from(ms % 1000 * 1_000_000).unwrap_or(0) }
}

/// Tells the executor that this daemon ends; an idle one ends too, and that is waited for, also when it
/// was only just started.
fn say_goodbye(world: &mut RealWorld, idle: bool) {
    let until = world.tick().0 + GOODBYE_MS;
    let mut told = false;
    while world.tick().0 < until {
        match world.executor() {
            ExecutorLink::Dead => break,
            ExecutorLink::Up if !told => {
                told = world.send(&ToExecutor::Bye).is_ok();
                world.flush_executor();
                if !idle {
                    break;
                }
            }
            _ => {}
        }
        wait_for_executor(world, until.saturating_sub(world.tick().0));
        world.receive();
        if told && world.executor_has_gone() {
            break;
        }
    }
    // Its socket closes a moment before it ends; the lock of its life is the last thing to go.
    let held = || crate::executor::is_locked(world.root_path()).unwrap_or(false);
    while told && idle && world.tick().0 < until && held() {
        let _ = poll(&mut [], Some(&timespec(2)));
    }
}

fn wait_for_executor(world: &RealWorld, ms: u64) {
    let socket = world.executor_socket().map(|(fd, _)| fd);
    match socket.or_else(|| world.executor_starting()) {
        Some(fd) => {
            let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::IN)];
            let _ = poll(&mut fds, Some(&timespec(ms)));
        }
        None => {
            let _ = poll(&mut [], Some(&timespec(ms.min(10))));
        }
    }
}
