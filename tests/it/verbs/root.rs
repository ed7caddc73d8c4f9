//! A root in a temporary repository, the binary, and a daemon that can be frozen.

use jobyard::model::request::parse_request_name;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Longest wait for a condition.
const PATIENCE: Duration = Duration::from_secs(60);

/// A verb that has ended.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    /// It ended so.
    #[track_caller]
    pub(crate) fn ends(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:?}");
        self
    }

    /// Its one JSON object.
    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        assert_eq!(self.out.lines().count(), 1, "{self:?}");
        serde_json::from_str(&self.out).unwrap()
    }
}

/// A verb that runs.
pub(crate) struct Running {
    child: Child,
    files: TempDir,
}

impl Running {
    pub(crate) fn wait(mut self) -> Said {
        until("the verb ends", || self.child.try_wait().unwrap().is_some());
        let code = self.child.wait().unwrap().code().unwrap_or(-1);
        let read = |name: &str| {
            String::from_utf8_lossy(&fs::read(self.files.path().join(name)).unwrap()).into_owned()
        };
        Said { code, out: read("out"), err: read("err") }
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), signal)
            .unwrap();
    }
}

/// A root.
pub(crate) struct Root {
    dir: TempDir,
}

/// A daemon; killed when dropped.
pub(crate) struct Daemon {
    child: Child,
}

impl Root {
    /// A repository with one commit.
    pub(crate) fn new() -> Self {
        let root = Self { dir: TempDir::new().unwrap() };
        root.git(&["init", "-q"]);
        root.git(&["symbolic-ref", "HEAD", "refs/heads/main"]);
        fs::write(root.path("README"), "x\n").unwrap();
        root.git(&["add", "README"]);
        root.git(&["commit", "-q", "-m", "one"]);
        root.configured()
    }

    /// No repository.
    pub(crate) fn without_git() -> Self {
        Self { dir: TempDir::new().unwrap() }.configured()
    }

    fn configured(self) -> Self {
        fs::create_dir_all(self.path("_ctx/jobs/pending")).unwrap();
        fs::write(self.path("_ctx/jobyard.toml"), "settle = \"1ms\"\ngrace = \"1s\"\n").unwrap();
        self
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    pub(crate) fn git(&self, arguments: &[&str]) {
        let identity = ["-c", "user.name=t", "-c", "user.email=t@example.invalid"];
        let done = Command::new("git")
            .arg("-C")
            .arg(self.dir.path())
            .args(identity)
            .args(arguments)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .output()
            .unwrap();
        assert!(done.status.success(), "{arguments:?}: {done:?}");
    }

    /// A FIFO in the root: to git it is no file.
    pub(crate) fn fifo(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        path
    }

    /// Drops a ticket, whole.
    pub(crate) fn order(&self, id: &str, body: &str) {
        let text = format!("id: {id}\ntitle: t\n{body}\n");
        let hidden = self.path(&format!("_ctx/jobs/pending/.{id}.new"));
        fs::write(&hidden, text).unwrap();
        fs::rename(hidden, self.path(&format!("_ctx/jobs/pending/{id}.yaml"))).unwrap();
    }

    /// The directory an order lies in.
    pub(crate) fn state(&self, id: &str) -> &'static str {
        let states = ["pending", "running", "done", "failed"];
        let there = |s: &&str| self.path(&format!("_ctx/jobs/{s}/{id}.yaml")).exists();
        states.into_iter().find(there).unwrap_or("nowhere")
    }

    pub(crate) fn ticket(&self, id: &str) -> String {
        let path = format!("_ctx/jobs/{}/{id}.yaml", self.state(id));
        fs::read_to_string(self.path(&path)).unwrap()
    }

    pub(crate) fn has_lock(&self, id: &str) -> bool {
        self.path(&format!("_ctx/jobs/running/{id}.lock")).exists()
    }

    /// Requests that wait in `control/`.
    pub(crate) fn requests(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.path("_ctx/jobs/control")) else { return Vec::new() };
        let names = entries.map(|e| e.unwrap().file_name().into_string().unwrap());
        names.filter(|n| parse_request_name(n).is_some()).collect()
    }

    /// Every file below `_ctx`, with its content.
    pub(crate) fn snapshot(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut found = Vec::new();
        let mut todo = vec![self.path("_ctx"), self.path(".worktrees"), self.path(".git")];
        while let Some(dir) = todo.pop() {
            let Ok(entries) = fs::read_dir(&dir) else { continue };
            for entry in entries.map(Result::unwrap) {
                match entry.file_type().unwrap().is_dir() {
                    true => {
                        found.push((entry.path(), Vec::new()));
                        todo.push(entry.path());
                    }
                    false => found.push((entry.path(), fs::read(entry.path()).unwrap())),
                }
            }
        }
        found.retain(|(path, _)| !path.ends_with("root.lock"));
        found.sort();
        found
    }

    fn command(&self, arguments: &[&str], dir: &Path) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_jobyard"));
        command.args(arguments).current_dir(dir).env_remove("JOBYARD_ROOT");
        command.env("GIT_CONFIG_GLOBAL", "/dev/null").stdin(Stdio::null());
        command
    }

    /// Starts a verb in the root.
    pub(crate) fn begin(&self, arguments: &[&str]) -> Running {
        self.begin_in("", arguments, Stdio::null())
    }

    pub(crate) fn begin_in(&self, dir: &str, arguments: &[&str], stdin: Stdio) -> Running {
        Self::spawn(self.command(arguments, &self.path(dir)), stdin)
    }

    /// Starts a verb in the root with more variables.
    pub(crate) fn begin_with(&self, env: &[(&str, &str)], arguments: &[&str]) -> Running {
        let mut command = self.command(arguments, self.dir.path());
        command.envs(env.iter().copied());
        Self::spawn(command, Stdio::null())
    }

    fn spawn(mut command: Command, stdin: Stdio) -> Running {
        let files = TempDir::new().unwrap();
        let open = |name: &str| File::create(files.path().join(name)).unwrap();
        let child = command.stdin(stdin).stdout(open("out")).stderr(open("err")).spawn().unwrap();
        Running { child, files }
    }

    /// Runs a verb in the root.
    pub(crate) fn run(&self, arguments: &[&str]) -> Said {
        self.begin(arguments).wait()
    }

    pub(crate) fn run_in(&self, dir: &str, arguments: &[&str]) -> Said {
        self.begin_in(dir, arguments, Stdio::null()).wait()
    }

    /// Starts a daemon and waits until it is ready.
    pub(crate) fn daemon(&self) -> Daemon {
        let ready = self.path("ready");
        let _ = fs::remove_file(&ready);
        let log = File::create(self.path("daemon.log")).unwrap();
        let mut command = self.command(&["daemon", "--ready-file", "ready"], self.dir.path());
        let mut child = command.stdout(Stdio::null()).stderr(log).spawn().unwrap();
        until("the daemon is ready", || {
            assert!(child.try_wait().unwrap().is_none(), "the daemon has ended");
            ready.exists()
        });
        Daemon { child }
    }
}

impl Daemon {
    pub(crate) fn freeze(&self) {
        self.signal(rustix::process::Signal::STOP);
        let stat = format!("/proc/{}/stat", self.child.id());
        until("the daemon is frozen", || fs::read_to_string(&stat).unwrap().contains(") T "));
    }

    pub(crate) fn thaw(&self) {
        self.signal(rustix::process::Signal::CONT);
    }

    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn signal(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), signal)
            .unwrap();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            let pid = rustix::process::Pid::from_child(&self.child);
            for signal in [rustix::process::Signal::CONT, rustix::process::Signal::TERM] {
                let _ = rustix::process::kill_process(pid, signal);
            }
            let _ = self.child.wait();
        }
    }
}

/// Waits for a condition.
#[track_caller]
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "waited too long until {what}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}
