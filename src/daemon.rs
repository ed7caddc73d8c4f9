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
use crate::world::root_lock::RootLock;
use crate::world::store::errno;
use crate::world::wall::WallClock;
use crate::world::watch::{self, Hint, Place, Watch};
use crate::world::{ExecutorLink, Fault, World, ending, notify};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Access, AtFlags, CWD, accessat};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;
use signal_hook::low_level::pipe;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Look at everything again, whatever the events said.
const RESCAN_MS: u64 = 30 * 60 * 1000;

/// Pause after a disk fault: doubles from the first to the second, in milliseconds.
const PAUSE_MS: (u64, u64) = (1000, 60_000);

/// With `--drain`: faults in a row before giving up.
const DRAIN_FAULTS_MAX: u32 = 2;

/// How long an ending daemon waits for its executor to end, when nothing runs.
const GOODBYE_MS: u64 = 4000;

/// How long all of that may take after TERM.
const END_MS: u64 = 4500;

/// Takes what there is to say, a line at a time, with the order it is about.
pub type Talk = Box<dyn FnMut(Option<&OrderId>, &str)>;

/// What the command line asks of a daemon.
pub struct Start {
    /// What the engine is opened with, read again on HUP.
    pub options: Box<dyn FnMut() -> Result<Options, String>>,
    /// End when nothing is left to do.
    pub drain: bool,
    /// Written when ready, removed at the end.
    pub ready_file: Option<PathBuf>,
    /// Where talk goes.
    pub talk: Talk,
    /// The root's lock, which tells whoever looks what the daemon cannot do.
    pub lock: RootLock,
    /// It does so now.
    pub in_trouble: bool,
}

/// How a daemon ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ended {
    /// Asked to, or drained.
    Done,
    /// `--drain`, and the disk refuses.
    DiskRefuses,
}

/// Why a daemon could not go on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Failed {
    /// What it is opened with cannot be taken as it is.
    Options(String),
    /// Signals, or the ready file.
    Machine(String),
}

/// Signals, as flags that a handler raises and a pipe that wakes; and that the wall clock was set.
struct Signals {
    pipe: UnixStream,
    reloads: Arc<AtomicBool>,
    wall: WallClock,
}

impl Signals {
    /// The first TERM or INT is noticed between two steps, a second one by everything that waits.
    fn register() -> io::Result<Self> {
        let pair = || -> io::Result<_> {
            let (pipe, wake) = UnixStream::pair()?;
            pipe.set_nonblocking(true)?;
            wake.set_nonblocking(true)?;
            Ok((pipe, wake))
        };
        let ((pipe, wake), (ends, end)) = (pair()?, pair()?);
        let reloads = Arc::new(AtomicBool::new(false));
        for signal in [SIGTERM, SIGINT] {
            pipe::register(signal, end.try_clone()?)?;
            pipe::register(signal, wake.try_clone()?)?;
        }
        ending::listen(ends);
        flag::register(SIGHUP, Arc::clone(&reloads))?;
        pipe::register(SIGHUP, wake)?;
        Ok(Self { pipe, reloads, wall: WallClock::listen() })
    }

    fn drain(&mut self) {
        let mut bytes = [0; 64];
        while self.pipe.read(&mut bytes).is_ok_and(|n| n > 0) {}
        self.wall.heed();
    }
}

/// Runs a daemon until it is told to end. The caller holds the root lock.
pub fn run(world: RealWorld, mut start: Start) -> Result<Ended, Failed> {
    if let Some(path) = &start.ready_file {
        prove_writable(path).map_err(|e| not_ready(path, &e))?;
    }
    let mut signals =
        Signals::register().map_err(|e| Failed::Machine(format!("register signals: {e}")))?;
    notify::listen();
    let ended = live(world, &mut start, &mut signals);
    if let Some(path) = &start.ready_file {
        let _ = std::fs::remove_file(path);
    }
    ended
}

/// One engine after the other, until the daemon ends.
fn live(mut world: RealWorld, start: &mut Start, signals: &mut Signals) -> Result<Ended, Failed> {
    let mut faults = 0;
    let mut ready = false;
    loop {
        let options = (start.options)().map_err(Failed::Options)?;
        let began = world.tick().0;
        let broken = match session(world, options, start, signals, &mut ready) {
            Ok(ended) => return ended,
            Err(broken) => broken,
        };
        world = broken.world;
        let fault = broken.fault;
        if ending::told().is_some() {
            if fault.errno != errno::EINTR {
                (start.talk)(None, &fault.to_string());
            }
            say_goodbye(&mut world, false);
            return Ok(Ended::Done);
        }
        if fault.errno == errno::ESTALE {
            say_goodbye(&mut world, false);
            return Err(Failed::Machine(format!(
                "{fault}: it was removed or replaced while it was served, and nothing was answered \
                 since; put _ctx/audit back if you can, look at `jobyard list` and `jobyard lint`, then \
                 start the daemon again"
            )));
        }
        if !ready && watch::is_limit(&fault) {
            say_goodbye(&mut world, false);
            return Err(Failed::Machine(format!(
                "{fault}: nothing would be noticed; raise the limit (`jobyard doctor` shows it), or end \
                 other watchers, and start the daemon again"
            )));
        }
        if fault.errno == errno::ENOENT && broken.lived {
            // A directory was taken away: opening makes it again, the disk refuses nothing.
            (start.talk)(None, &format!("{fault}; looking again"));
            continue;
        }
        // An engine that worked for long met something new; else it is the same refusal still.
        let lasted = world.tick().0.saturating_sub(began) > PAUSE_MS.1;
        faults = if lasted { 1 } else { faults + 1 };
        (start.talk)(None, &format!("{fault}; trying again"));
        start.lock.say(Some(&fault.to_string()));
        start.in_trouble = true;
        notify::tell(&format!("STATUS={fault}; trying again"));
        if start.drain && faults > DRAIN_FAULTS_MAX {
            say_goodbye(&mut world, false);
            return Ok(Ended::DiskRefuses);
        }
        pause(signals, faults);
        if ending::told().is_some() {
            say_goodbye(&mut world, false);
            return Ok(Ended::Done);
        }
    }
}

/// Waits longer from fault to fault; a signal ends the wait.
fn pause(signals: &mut Signals, faults: u32) {
    let ms = (PAUSE_MS.0 << (faults - 1).min(6)).min(PAUSE_MS.1);
    let until = Instant::now() + Duration::from_millis(ms);
    loop {
        notify::alive();
        let left = until.saturating_duration_since(Instant::now());
        let wait = notify::alive_in().map_or(left, |alive| left.min(alive));
        let mut fds = [PollFd::new(&signals.pipe, PollFlags::IN)];
        let woken = poll(&mut fds, Some(&timespec(millis(wait)))) != Ok(0);
        if woken || left.is_zero() {
            break;
        }
    }
    signals.drain();
}

/// Refuses a ready file that could not be written later, and takes away one that an earlier daemon left.
/// Makes none itself: whoever waits for it would take that for readiness.
fn prove_writable(path: &Path) -> io::Result<()> {
    match std::fs::metadata(path) {
        Ok(found) if found.is_dir() => return Err(io::ErrorKind::IsADirectory.into()),
        Ok(found) if found.is_file() => std::fs::remove_file(path)?,
        // A FIFO or a terminal is somebody's: opening it to see could wait for the other side.
        Ok(_) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Ok(accessat(CWD, dir, Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS)?)
}

fn not_ready(path: &Path, error: &io::Error) -> Failed {
    let hint = "name a file in a directory that is there and can be written";
    Failed::Machine(format!("write the ready file {}: {error}; {hint}", path.display()))
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

/// One life of an engine: how the daemon ended, or the fault that ended the engine.
fn session(
    mut world: RealWorld,
    options: Options,
    start: &mut Start,
    signals: &mut Signals,
    ready: &mut bool,
) -> Result<Result<Ended, Failed>, Box<Broken>> {
    world.forget_directories();
    let root = world.root_path().to_owned();
    let mut engine = Engine::open(world, options).map_err(|(w, f)| broken(w, f, false))?;
    engine.told_to_end = Some(|| {
        // Asked after each round: a long turn goes on, and whoever watches knows.
        notify::alive();
        ending::told().is_some()
    });
    let mut watch = match Watch::arm(&root) {
        Ok(watch) => watch,
        Err(fault) => return Err(broken(engine.world, fault, false)),
    };
    if let Err(fault) = engine.rescan() {
        return Err(broken(engine.world, fault, false));
    }
    let (mut lived, mut status) = (false, notify::Status::default());
    let mut rescan_at = engine.world.tick().0 + RESCAN_MS;
    loop {
        // Before the turn: what was put down after HUP had been sent is judged by the new configuration.
        reload(&mut engine, start, signals);
        let turn = match engine.turn() {
            Ok(turn) => turn,
            Err(fault) => return Err(broken(engine.world, fault, lived)),
        };
        lived = true;
        say_notes(&mut engine, start);
        if !std::mem::replace(ready, true)
            && let Err(failed) = be_ready(start.ready_file.as_deref())
        {
            return Ok(Err(failed));
        }
        if ending::told().is_some() || (start.drain && engine.is_drained()) {
            if let Err(fault) = engine.finish() {
                return Err(broken(engine.world, fault, lived));
            }
            let idle = engine.is_idle();
            say_goodbye(&mut engine.world, idle);
            return Ok(Ok(Ended::Done));
        }
        notify::alive();
        let again = status.say(|| sight(&engine)).map_or(u64::MAX, millis);
        let due = timeout(&engine, &turn, rescan_at).min(again);
        let rescan = match wait(&mut engine, &mut watch, signals, due) {
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
            match Watch::arm(&root) {
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
        notify::reloading();
        match (start.options)() {
            Ok(options) => engine.reload(options),
            Err(text) => (start.talk)(None, &format!("configuration kept as it was: {text}")),
        }
        notify::tell("READY=1");
    }
}

/// Waits until anything happens that can matter. Whether everything has to be looked at again.
fn wait(
    engine: &mut Engine<RealWorld>,
    watch: &mut Watch,
    signals: &mut Signals,
    timeout: u64,
) -> io::Result<bool> {
    {
        let socket = engine.world.executor_socket();
        let watched = watch.fd();
        let mut fds = vec![
            PollFd::new(&watched, PollFlags::IN),
            PollFd::from_borrowed_fd(signals.pipe.as_fd(), PollFlags::IN),
        ];
        fds.extend(signals.wall.fd().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
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
                Some(id) => engine.told(id, state, arrival),
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
    let alive = notify::alive_in().map(millis);
    wall.into_iter().chain(alive).chain(steady).fold(rescan, u64::min)
}

fn timespec(ms: u64) -> Timespec {
    let seconds = i64::try_from(ms / 1000).unwrap_or(i64::MAX);
    Timespec { tv_sec: seconds, tv_nsec: i64::try_from(ms % 1000 * 1_000_000).unwrap_or(0) }
}

/// Rounded up, so that what is due then is due.
fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

/// Says what the engine has to say, each line with the order that it begins with.
fn say_notes(engine: &mut Engine<RealWorld>, start: &mut Start) {
    if std::mem::take(&mut start.in_trouble) {
        start.lock.say(None);
    }
    for note in engine.notes() {
        let id = note.split_once(": ").and_then(|(id, _)| OrderId::parse(id).ok());
        let id = id.filter(|id| engine.index.tickets.contains_key(id));
        (start.talk)(id.as_ref(), &note);
    }
}

/// Whoever waits for this daemon learns that it serves the root.
fn be_ready(file: Option<&Path>) -> Result<(), Failed> {
    if let Some(path) = file {
        std::fs::write(path, "ready\n").map_err(|error| not_ready(path, &error))?;
    }
    notify::tell("READY=1");
    Ok(())
}

/// The root in one line.
fn sight(engine: &Engine<RealWorld>) -> String {
    let places = engine.index.tickets.values().filter(|t| t.place(State::Pending).is_some());
    let executor = if engine.executor_up() { "" } else { ", no executor" };
    format!("{} running, {} pending{executor}", engine.running(), places.count())
}

/// Tells the executor that this daemon ends; an idle one ends too, and that is waited for, also when it
/// was only just started.
fn say_goodbye(world: &mut RealWorld, idle: bool) {
    notify::tell("STOPPING=1\nSTATUS=ending; commands go on");
    if world.executors_are_supplied {
        return;
    }
    let spent = ending::told().map_or(0, |told| told.elapsed().as_millis());
    let spent = u64::try_from(spent).unwrap_or(END_MS);
    let until = world.tick().0 + GOODBYE_MS.min(END_MS.saturating_sub(spent));
    let mut told = false;
    while world.tick().0 < until && !ending::at_once() {
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
    while told && idle && world.tick().0 < until && !ending::at_once() && held() {
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
