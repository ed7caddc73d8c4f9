//! A root with the real daemon on it, and the hands of a person.
//!
//! Invariants: every wait is for a condition and ends at a deadline; what a test leaves behind is ended
//! with it; nothing outside the test's own directory is touched.

use rustix::event::{Timespec, poll};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Longest wait for anything; far more than an overloaded machine needs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The states, as directories.
pub(crate) const STATES: [&str; 4] = ["pending", "running", "done", "failed"];

/// Waits until `done` holds, looking again and again.
#[track_caller]
pub(crate) fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "waited too long for: {what}");
        pause(Duration::from_millis(3));
    }
}

/// Lets others run for a moment.
pub(crate) fn pause(time: Duration) {
    let wait = Timespec { tv_sec: time.as_secs() as i64, tv_nsec: time.subsec_nanos().into() };
    let _ = poll(&mut [], Some(&wait));
}

/// Copies a program. Another process writes it, so that no child that another test begins meanwhile holds it
/// open for writing, which would keep it from being run.
pub(crate) fn copy_program(from: impl AsRef<Path>, to: impl AsRef<Path>) {
    let copied = Command::new("cp").arg(from.as_ref()).arg(to.as_ref()).status().unwrap();
    assert!(copied.success(), "{}", to.as_ref().display());
}

/// Whether a process runs, zombies excluded.
pub(crate) fn lives(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit(')').next().unwrap().trim_start().starts_with(['Z', 'X']))
}

/// A root, and the daemon on it while there is one.
pub(crate) struct Yard {
    dir: TempDir,
    /// The root, without symbolic links.
    pub(crate) root: PathBuf,
    /// The binary that is run.
    pub(crate) program: PathBuf,
    /// Variables of the daemon besides the test's own.
    pub(crate) env: Vec<(&'static str, String)>,
    /// Arguments of the daemon besides the root and the ready file.
    pub(crate) args: Vec<&'static str>,
    daemon: Option<Child>,
}

impl Yard {
    /// A root without git, for orders with `workspace: none`.
    pub(crate) fn bare() -> Self {
        let dir = TempDir::new().unwrap();
        let root = fs::canonicalize(dir.path()).unwrap().join("root");
        fs::create_dir_all(root.join("_ctx/jobs/pending")).unwrap();
        let program = PathBuf::from(env!("CARGO_BIN_EXE_jobyard"));
        let env = vec![("GIT_CONFIG_GLOBAL", "/dev/null".to_owned())];
        let yard = Self { dir, root, program, env, args: vec!["--slots", "4"], daemon: None };
        yard.configure("settle = \"20ms\"\ngrace = \"1s\"\n");
        yard
    }

    /// A root that is a git repository with one commit on `main`.
    pub(crate) fn git() -> Self {
        let yard = Self::bare();
        yard.run_git(".", &["init", "-q", "-b", "main"]);
        yard.run_git(".", &["config", "user.name", "t"]);
        yard.run_git(".", &["config", "user.email", "t@example.org"]);
        yard.put("src/a.txt", "one\n");
        yard.put(".gitignore", "*.tmp\n");
        yard.put(".git/info/exclude", "_ctx/\n.worktrees/\n*.gate\n*.said\n");
        yard.run_git(".", &["add", "."]);
        yard.run_git(".", &["commit", "-q", "-m", "one"]);
        yard
    }

    /// Writes `jobyard.toml`.
    pub(crate) fn configure(&self, text: &str) {
        self.put("_ctx/jobyard.toml", text);
    }

    /// A path below the root.
    pub(crate) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.root.join(name)
    }

    /// A path beside the root.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file below the root, directories included.
    pub(crate) fn put(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// A file below the root as text; empty when there is none.
    pub(crate) fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// Runs git in a directory below the root; what it printed.
    pub(crate) fn run_git(&self, dir: &str, args: &[&str]) -> String {
        let mut command = Command::new("git");
        command.args(args).current_dir(self.path(dir)).env("GIT_CONFIG_GLOBAL", "/dev/null");
        let out = command.output().unwrap();
        let said = String::from_utf8_lossy(&out.stderr);
        assert!(out.status.success(), "git {args:?} in {dir}: {said}");
        String::from_utf8_lossy(&out.stdout).trim().to_owned()
    }

    /// Starts the daemon and waits until it is ready.
    pub(crate) fn start(&mut self) {
        let ready = self.beside("ready");
        let _ = fs::remove_file(&ready);
        self.daemon = Some(self.spawn(&["--ready-file", ready.to_str().unwrap()]));
        let daemon = self.daemon.as_mut().unwrap();
        until("the daemon's readiness", || {
            assert_eq!(daemon.try_wait().unwrap(), None, "the daemon has ended");
            ready.exists()
        });
    }

    fn spawn(&self, more: &[&str]) -> Child {
        let said = fs::File::options().create(true).append(true).open(self.beside("daemon.err"));
        let mut command = Command::new(&self.program);
        command.arg("daemon").arg("--root").arg(&self.root).args(&self.args).args(more);
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(said.unwrap());
        command.spawn().unwrap()
    }

    /// Runs a daemon until it is drained; its exit code.
    pub(crate) fn drain(&self) -> i32 {
        let mut daemon = self.spawn(&["--drain"]);
        let mut status = None;
        until("the end of --drain", || {
            status = daemon.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap().code().unwrap()
    }

    /// There is a daemon.
    pub(crate) fn is_up(&self) -> bool {
        self.daemon.is_some()
    }

    /// Process id of the daemon.
    pub(crate) fn daemon_pid(&self) -> u32 {
        self.daemon.as_ref().unwrap().id()
    }

    /// Kills the daemon as a crash would.
    pub(crate) fn kill(&mut self) {
        let mut daemon = self.daemon.take().unwrap();
        daemon.kill().unwrap();
        daemon.wait().unwrap();
    }

    /// Ends the daemon in order; its exit code.
    pub(crate) fn term(&mut self) -> Option<i32> {
        let mut daemon = self.daemon.take().unwrap();
        signal(daemon.id(), Signal::TERM);
        daemon.wait().unwrap().code()
    }

    /// The daemon's stderr since the beginning.
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(self.beside("daemon.err")).unwrap_or_default()
    }

    /// Runs a verb on the root; its exit code and all it said. A verb that hangs fails the test.
    pub(crate) fn verb(&self, args: &[&str]) -> (i32, String) {
        let mut command = Command::new("timeout");
        command.args(["-s", "KILL", "15"]).arg(&self.program).args(args);
        command.arg("--root").arg(&self.root).env("GIT_CONFIG_GLOBAL", "/dev/null");
        let out = command.stdin(Stdio::null()).output().unwrap();
        let said = [out.stdout, out.stderr].concat();
        (out.status.code().unwrap(), String::from_utf8_lossy(&said).into_owned())
    }

    /// Where a ticket lies, relative to the root.
    pub(crate) fn ticket(state: &str, id: &str) -> String {
        format!("_ctx/jobs/{state}/{id}.yaml")
    }

    /// Renames a work order into `pending/`: `id` and `title` are added.
    pub(crate) fn submit(&self, id: &str, rest: &str) {
        self.publish(&Self::ticket("pending", id), &format!("id: {id}\ntitle: T\n{rest}"));
    }

    /// Renames a file with this content to its name.
    pub(crate) fn publish(&self, name: &str, text: &str) {
        let temp = self.beside("published");
        fs::write(&temp, text).unwrap();
        fs::rename(temp, self.path(name)).unwrap();
    }

    /// Puts a request into `control/`.
    pub(crate) fn ask(&self, request: &str, text: &str) {
        fs::create_dir_all(self.path("_ctx/jobs/control")).unwrap();
        self.publish(&format!("_ctx/jobs/control/{request}"), text);
    }

    /// `mv`, as a person types it.
    pub(crate) fn mv(&self, id: &str, from: &str, to: &str) {
        let (from, to) = (Self::ticket(from, id), Self::ticket(to, id));
        fs::rename(self.path(from), self.path(to)).unwrap();
    }

    /// The states in which a ticket lies.
    pub(crate) fn places(&self, id: &str) -> Vec<&'static str> {
        let here = |state: &&str| self.path(Self::ticket(state, id)).exists();
        STATES.into_iter().filter(here).collect()
    }

    /// Waits until a ticket lies in this state and nowhere else, without a lease unless it runs.
    #[track_caller]
    pub(crate) fn until_in(&self, state: &str, id: &str) {
        self.until(&format!("{id} in {state}/"), || {
            let leased = self.path(format!("_ctx/jobs/running/{id}.lock")).exists();
            self.places(id) == [state] && leased == (state == "running")
        });
    }

    /// Waits for a condition; at the deadline it shows what the root looks like.
    #[track_caller]
    pub(crate) fn until(&self, what: &str, mut done: impl FnMut() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !done() {
            if Instant::now() > deadline {
                panic!("waited too long for: {what}\n{}", self.sight());
            }
            pause(Duration::from_millis(3));
        }
    }

    /// What there is to see, for a test that failed.
    pub(crate) fn sight(&self) -> String {
        let mut find = Command::new("find");
        find.arg(self.path("_ctx")).args(["!", "-type", "d", "-printf", "%P %s\\n"]);
        let list = find.output().unwrap();
        let ledger: Vec<String> = self.ledger().iter().map(Value::to_string).collect();
        let (said, ledger) = (self.said(), ledger.join("\n"));
        format!("{}\nledger:\n{ledger}\nsaid:\n{said}", String::from_utf8_lossy(&list.stdout))
    }

    /// A key of the ticket's top level, as its line has it; empty when there is none.
    pub(crate) fn key(&self, state: &str, id: &str, key: &str) -> String {
        let text = self.text(&Self::ticket(state, id));
        let value = text.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix(':'));
        value.unwrap_or_default().trim().to_owned()
    }

    /// The explanation beside a ticket; empty when there is none.
    pub(crate) fn why(&self, state: &str, id: &str) -> String {
        self.text(&format!("{}.why", Self::ticket(state, id)))
    }

    /// The whole lines of the ledger.
    pub(crate) fn ledger(&self) -> Vec<Value> {
        let dir = fs::read_dir(self.path("_ctx/audit")).into_iter().flatten().flatten();
        let mut segments: Vec<PathBuf> = dir.map(|e| e.path()).collect();
        segments.sort();
        let texts = segments.iter().map(|s| fs::read_to_string(s).unwrap_or_default());
        let text: String = texts.collect();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// The lines of an order with this event.
    pub(crate) fn events(&self, id: &str, event: &str) -> Vec<Value> {
        let mut lines = self.ledger();
        lines.retain(|line| line["id"] == id && line["event"] == event);
        lines
    }

    /// The newest answer to a verb of an order, once there is one.
    #[track_caller]
    pub(crate) fn answer(&self, id: &str, verb: &str) -> Value {
        self.answers(id, verb, 1).pop().unwrap()
    }

    /// The answers to a verb of an order, once there are so many.
    #[track_caller]
    pub(crate) fn answers(&self, id: &str, verb: &str, count: usize) -> Vec<Value> {
        let mut found = Vec::new();
        self.until(&format!("answer {count} to {verb} of {id}"), || {
            found = self.events(id, "answer");
            found.retain(|line| line["verb"] == verb);
            found.len() >= count
        });
        found
    }

    /// `verdict.json` of an attempt.
    pub(crate) fn verdict(&self, id: &str, attempt: u32) -> Value {
        let text = self.text(&format!("_ctx/runs/{id}/{attempt}/verdict.json"));
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{id}: {e}\n{}", self.sight()))
    }

    /// A named pipe below the root.
    pub(crate) fn fifo(&self, name: &str) {
        let made = Command::new("mkfifo").arg(self.path(name)).status().unwrap();
        assert!(made.success());
    }

    /// Lets the command go on that reads from the pipe, once it reads.
    #[track_caller]
    pub(crate) fn open_gate(&self, name: &str) {
        let path = self.path(name);
        let nonblocking = rustix::fs::OFlags::NONBLOCK.bits() as i32;
        let mut gate = None;
        self.until(&format!("a reader of {name}"), || {
            gate = fs::File::options().write(true).custom_flags(nonblocking).open(&path).ok();
            gate.is_some()
        });
        gate.unwrap().write_all(b"go\n").unwrap();
    }

    /// Waits for whole lines in a file that commands append to.
    #[track_caller]
    pub(crate) fn lines(&self, name: &str, count: usize) -> Vec<String> {
        self.until(&format!("{count} lines in {name}"), || {
            self.text(name).matches('\n').count() >= count
        });
        self.text(name).lines().map(str::to_owned).collect()
    }

    /// Waits until the daemon has seen everything that was done so far: a new order has run.
    #[track_caller]
    pub(crate) fn settle_down(&self, id: &str) {
        self.submit(id, "run: true\nworkspace: none\n");
        self.until_in("done", id);
    }

    /// Living processes by their directory in `/proc`.
    fn processes(wanted: impl Fn(&Path) -> bool) -> Vec<u32> {
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let Ok(pid) = entry.file_name().to_string_lossy().parse::<u32>() else { continue };
            if wanted(&entry.path()) && lives(pid) {
                found.push(pid);
            }
        }
        found
    }

    /// The executor's process id, while it lives.
    pub(crate) fn executor_pid(&self) -> Option<u32> {
        let words = format!("\0exec\0--root\0{}\0", self.root.display());
        let is_executor = |process: &Path| {
            fs::read(process.join("cmdline")).is_ok_and(|line| line.ends_with(words.as_bytes()))
        };
        Self::processes(is_executor).first().copied()
    }

    /// Processes that commands of this root have left: by their environment, or by where they work.
    pub(crate) fn commands(&self) -> Vec<u32> {
        let mark = format!("JOBYARD_ROOT={}\0", self.root.display());
        Self::processes(|process| {
            let environ = fs::read(process.join("environ")).unwrap_or_default();
            environ.windows(mark.len()).any(|part| part == mark.as_bytes())
                || fs::read_link(process.join("cwd")).is_ok_and(|dir| dir.starts_with(&self.root))
        })
    }
}

/// Sends a signal to a process of this test.
pub(crate) fn signal(pid: u32, signal: Signal) {
    let _ = kill_process(Pid::from_raw(pid as i32).unwrap(), signal);
}

impl Drop for Yard {
    fn drop(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
        let deadline = Instant::now() + PATIENCE;
        while let Some(executor) = self.executor_pid() {
            let late = Instant::now() + PATIENCE / 2 > deadline;
            signal(executor, if late { Signal::KILL } else { Signal::TERM });
            pause(Duration::from_millis(5));
            if Instant::now() > deadline {
                break;
            }
        }
        for pid in self.commands() {
            signal(pid, Signal::KILL);
        }
    }
}
