//! A root with a real executor in it, and one client.
//!
//! Invariants: every wait ends at a deadline; what a test leaves behind is killed with it.

pub(super) use crate::yard::{PATIENCE, lives, pause, until};
use jobyard::executor::{self, Link};
use jobyard::model::protocol::{
    CommandKey, End, FromExecutor, KnownCommand, StartCommand, ToExecutor,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process};
use std::collections::VecDeque;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Whether the executor may use control groups.
#[derive(Clone, Copy)]
pub(super) enum Groups {
    Wanted,
    Off,
}

/// A root, its executor and a client of it.
pub(super) struct Yard {
    pub(super) dir: TempDir,
    pub(super) executor: Child,
    link: Option<Link>,
    heard: VecDeque<FromExecutor>,
    token: String,
}

/// One line of shell as a command of its own.
pub(super) fn bash(number: u32, line: &str) -> StartCommand {
    StartCommand {
        key: key(number),
        argv: vec!["bash".into(), "-c".into(), line.into()],
        cwd: ".".into(),
        env: vec![("PATH".into(), std::env::var("PATH").unwrap())],
        pass: Vec::new(),
        log: format!("_ctx/runs/WO-1/1/{number:02}.log"),
        token: String::new(),
        timeout_ms: None,
        idle_timeout_ms: None,
        grace_ms: 10_000,
        log_bytes_max: 64 << 20,
    }
}

/// Identity of the command with this number.
pub(super) fn key(number: u32) -> CommandKey {
    CommandKey { id: "WO-1".into(), attempt: 1, number }
}

/// Starts an executor and waits until it can be connected to.
pub(super) fn launch(root: &Path, groups: Groups) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_jobyard"));
    command.arg("exec").arg("--root").arg(root).env("SECRET_TO_PASS", "passed");
    if matches!(groups, Groups::Off) {
        command.env("JOBYARD_EXEC_GROUPS", "off");
    }
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdout.take().unwrap().read_to_end(&mut Vec::new()).unwrap();
    child
}

impl Yard {
    pub(super) fn new() -> Self {
        Self::with(Groups::Wanted)
    }

    pub(super) fn with(groups: Groups) -> Self {
        let dir = TempDir::new().unwrap();
        let executor = launch(dir.path(), groups);
        let link = Some(Link::connect(dir.path()).unwrap());
        let token = dir.path().file_name().unwrap().to_str().unwrap().to_owned();
        let mut yard = Self { dir, executor, link, heard: VecDeque::new(), token };
        assert_eq!(yard.hello(), []);
        yard
    }

    pub(super) fn root(&self) -> &Path {
        self.dir.path()
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(super) fn token(&self) -> String {
        self.token.clone()
    }

    /// Sends a start without waiting for anything.
    pub(super) fn start(&mut self, mut start: StartCommand) {
        start.token = self.token();
        self.send(ToExecutor::Start(Box::new(start)));
    }

    /// Starts a command and waits until it has written a word to the file `ready`.
    pub(super) fn start_until_ready(&mut self, start: StartCommand) {
        self.start(start);
        let ready = self.path("ready");
        until("the command's readiness", || {
            fs::read_to_string(&ready).is_ok_and(|text| text.ends_with('\n'))
        });
    }

    pub(super) fn send(&mut self, message: ToExecutor) {
        self.link.as_mut().unwrap().send(&message).unwrap();
    }

    /// The next message that `wanted` turns into something; others are kept.
    pub(super) fn wait<T>(&mut self, wanted: impl Fn(&FromExecutor) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let found =
                self.heard.iter().enumerate().find_map(|(at, said)| Some((at, wanted(said)?)));
            if let Some((at, found)) = found {
                self.heard.remove(at);
                return found;
            }
            let link = self.link.as_mut().unwrap();
            assert!(!link.is_closed(), "closed; heard {:?}", self.heard);
            assert!(Instant::now() < deadline, "waited too long; heard {:?}", self.heard);
            let wait = Timespec { tv_sec: 1, tv_nsec: 0 };
            let _ = poll(&mut [PollFd::new(&link.fd(), PollFlags::IN)], Some(&wait));
            let _ = link.flush();
            self.heard.extend(link.receive());
        }
    }

    pub(super) fn hello(&mut self) -> Vec<KnownCommand> {
        self.wait(|said| match said {
            FromExecutor::Hello { commands, .. } => Some(commands.clone()),
            _ => None,
        })
    }

    pub(super) fn started(&mut self, number: u32) -> u32 {
        self.wait(|said| match said {
            FromExecutor::Started { key: said, pid, .. } if *said == key(number) => Some(*pid),
            _ => None,
        })
    }

    pub(super) fn ended(&mut self, number: u32) -> End {
        self.wait(|said| match said {
            FromExecutor::Ended { key: said, end } if *said == key(number) => Some(end.clone()),
            _ => None,
        })
    }

    pub(super) fn refused(&mut self, number: u32) -> String {
        self.wait(|said| match said {
            FromExecutor::Refused { key: said, reason } if *said == key(number) => {
                Some(reason.clone())
            }
            _ => None,
        })
    }

    /// Starts a command and waits for its end.
    pub(super) fn run(&mut self, start: StartCommand) -> End {
        let number = start.key.number;
        self.start(start);
        self.ended(number)
    }

    pub(super) fn log(&self, number: u32) -> String {
        fs::read_to_string(self.path(&format!("_ctx/runs/WO-1/1/{number:02}.log"))).unwrap()
    }

    /// Process ids that the command wrote, one a line, into a file of the root.
    pub(super) fn pids(&self, name: &str) -> Vec<u32> {
        let text = fs::read_to_string(self.path(name)).unwrap();
        text.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
    }

    /// Connects anew, as the next daemon would.
    pub(super) fn reconnect(&mut self) -> Vec<KnownCommand> {
        self.link = Some(Link::connect(self.root()).unwrap());
        self.heard.clear();
        self.hello()
    }

    /// Goes away without a word, as a killed daemon does.
    pub(super) fn disconnect(&mut self) {
        self.link = None;
    }

    pub(super) fn signal_executor(&self, signal: Signal) {
        let pid = Pid::from_raw(self.executor.id() as i32).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Waits for the executor's own end; its exit code.
    pub(super) fn executor_exit(&mut self) -> Option<i32> {
        let executor = &mut self.executor;
        let mut status = None;
        until("the executor's end", || {
            status = executor.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap().code()
    }
}

impl Drop for Yard {
    fn drop(&mut self) {
        for pid in executor::survivors(&self.token) {
            let _ = kill_process(Pid::from_raw(pid as i32).unwrap(), Signal::KILL);
        }
        if self.executor.try_wait().is_ok_and(|status| status.is_some()) {
            return;
        }
        self.signal_executor(Signal::TERM);
        let deadline = Instant::now() + PATIENCE;
        while self.executor.try_wait().is_ok_and(|status| status.is_none()) {
            if Instant::now() > deadline {
                let _ = self.executor.kill();
            }
            pause(Duration::from_millis(2));
        }
    }
}
