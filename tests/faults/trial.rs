//! One trial: a fresh root, a scenario, one fault, the start after it.
//!
//! Invariants: a trial shares nothing with others; every step has a bound, past which all its processes are
//! killed and the trial is broken; nothing of it is left when it is dropped.
//! What must hold afterwards is the judge's business.

use crate::disk::Disk;
use crate::trace::{Course, Fault, Run, follow};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;
use tempfile::TempDir;

/// Longest time of a step; a verb waits 10 s at most, and a dozen trials may share a processor.
const STEP_TIME: Duration = Duration::from_secs(60);

/// A script of this directory, and what is promised of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scenario {
    /// Its file without `.sh`.
    pub(crate) name: &'static str,
    /// Calls of git and of verbs count as well as the daemon's.
    pub(crate) kids: bool,
    /// Orders may be begun again, as another attempt.
    pub(crate) again: bool,
    /// An order may be left waiting for one that failed.
    pub(crate) waits: bool,
    /// Where every order ends when only the daemon is struck; empty: that hangs on the crash before it.
    pub(crate) ends: &'static str,
}

/// A root and what belongs to it.
pub(crate) struct Stage {
    /// Dropped, and so unmounted, before the directory is removed.
    disk: Option<Disk>,
    dir: TempDir,
    scenario: Scenario,
    tag: String,
    work: &'static str,
}

impl Stage {
    /// A root made by the scenario, with its orders submitted. `fs`: on a file system of its own.
    pub(crate) fn new(scenario: Scenario, fs: Option<&str>, work: &'static str) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let dir = TempDir::with_prefix("faults-").expect("a directory for a trial");
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let tag = format!("{}-{n}", std::process::id());
        fs::create_dir(dir.path().join("root")).expect("a root");
        let disk = fs.map(|fs| Disk::mount(fs, dir.path()));
        let stage = Self { dir, scenario, tag, disk, work };
        for step in ["setup", "submit"] {
            let out = stage.step(step);
            let said = String::from_utf8_lossy(&out.stderr);
            assert!(out.status.success(), "{} {step}: {said}", scenario.name);
        }
        stage.disk.iter().for_each(Disk::sync);
        stage
    }

    /// The root.
    pub(crate) fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    /// What the commands of the orders wrote.
    pub(crate) fn effects(&self) -> String {
        fs::read_to_string(self.dir.path().join("effects")).unwrap_or_default()
    }

    /// The orders that were accepted.
    pub(crate) fn submitted(&self) -> Vec<String> {
        let list = fs::read_to_string(self.dir.path().join("submitted")).unwrap_or_default();
        list.lines().map(str::to_owned).collect()
    }

    /// What marks its processes.
    pub(crate) fn tag(&self) -> &str {
        &self.tag
    }

    /// The scenario.
    pub(crate) fn scenario(&self) -> Scenario {
        self.scenario
    }

    fn environment(&self, command: &mut Command) {
        let beside = |name: &str| self.dir.path().join(name);
        command.env("JOBYARD", env!("CARGO_BIN_EXE_jobyard")).env("ROOT", self.root());
        command.env("EFFECTS", beside("effects")).env("SUBMITTED", beside("submitted"));
        command.env("TRIAL_TAG", &self.tag).env("WORK", self.work);
        command.env("GIT_CONFIG_GLOBAL", "/dev/null").stdin(Stdio::null());
    }

    fn script(&self) -> PathBuf {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults");
        dir.join(format!("{}.sh", self.scenario.name))
    }

    /// Runs a step of the scenario to its end.
    pub(crate) fn step(&self, step: &str) -> Output {
        let mut command = Command::new("timeout");
        command.args(["-s", "KILL", &STEP_TIME.as_secs().to_string(), "sh"]);
        command.arg(self.script()).arg(step);
        self.environment(&mut command);
        command.output().expect("run a step")
    }

    /// The program itself, on this root.
    pub(crate) fn jobyard(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_jobyard"));
        command.arg("--root").arg(self.root()).args(arguments);
        self.environment(&mut command);
        command.output().expect("run jobyard")
    }

    /// Runs a step under the tracer; what was wrong with its end besides.
    pub(crate) fn strike(&self, step: &str, at: usize, fault: Fault) -> (Course, Option<String>) {
        let below = self.root();
        let power = self.disk.as_ref();
        let mut second = None;
        let mut meanwhile = |_: Pid| match power {
            Some(disk) => disk.keep_as_it_is(),
            None if fault == Fault::Freeze => second = Some(self.step("drive")),
            None => {}
        };
        let kids = self.scenario.kids;
        let run = Run { below: &below, at, fault, kids, meanwhile: &mut meanwhile };
        let mut command = Command::new("sh");
        command.args(["-c", "kill -STOP $$; exec \"$@\"", "sh", "sh"]);
        command.arg(self.script()).arg(step).stdout(Stdio::null()).stderr(Stdio::null());
        self.environment(&mut command);
        let (done, late) = mpsc::channel::<()>();
        let tag = self.tag.clone();
        let watchdog = thread::spawn(move || {
            let hung = late.recv_timeout(STEP_TIME) == Err(mpsc::RecvTimeoutError::Timeout);
            if hung {
                end_all(&tag);
            }
            hung
        });
        let course = follow(&mut command, run);
        drop(done);
        let hung = watchdog.join().expect("the watchdog");
        let crashed = course.code.filter(|code| *code == 101 || *code > 128);
        let crashed = crashed.map(|code| format!("the struck process crashed: {code}"));
        let hung = hung.then(|| format!("it hung for {STEP_TIME:?}"));
        let refused = second.and_then(|out| {
            let code = out.status.code();
            let fits = [0, 1, 4, 5, 75].map(Some).contains(&code);
            let said = String::from_utf8_lossy(&out.stderr).into_owned();
            (!fits).then(|| format!("the second actor ended with {code:?}: {said}"))
        });
        (course, hung.or(crashed).or(refused))
    }

    /// The machine is off at once: whatever is not on the disk is gone, and it starts anew.
    pub(crate) fn power_cut(&mut self) {
        end_all(&self.tag);
        self.disk.iter_mut().for_each(Disk::power_cut);
    }

    /// Kills every process of the trial.
    pub(crate) fn kill_all(&self) {
        end_all(&self.tag);
    }

    /// The start after the fault; what was wrong with it.
    pub(crate) fn recover(&self) -> Option<String> {
        let out = if self.disk.is_some() { self.another_boot() } else { self.step("recover") };
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        let broken = !out.status.success() || said.contains("panicked at");
        broken.then(|| format!("the start after it ended with {}: {said}", out.status))
    }

    /// The same under another boot id, as after a power cut.
    fn another_boot(&self) -> Output {
        let boot = self.dir.path().join("boot");
        let id = fs::read("/proc/sys/kernel/random/uuid").expect("a boot id");
        fs::write(&boot, id).expect("a boot id");
        let script = "mount --bind \"$1\" /proc/sys/kernel/random/boot_id; exec sh \"$2\" recover";
        let mut command = Command::new("timeout");
        command.args(["-s", "KILL", &STEP_TIME.as_secs().to_string(), "unshare", "-m", "sh"]);
        command.args(["-c", script, "sh"]).arg(&boot).arg(self.script());
        self.environment(&mut command);
        command.output().expect("run a step")
    }

    /// Processes of the trial that are still there, as text.
    pub(crate) fn processes(&self) -> Vec<String> {
        tagged(&self.tag).into_iter().map(|(pid, what)| format!("{pid} {what}")).collect()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        end_all(&self.tag);
    }
}

/// Processes with this tag in their environment; zombies have none.
fn tagged(tag: &str) -> Vec<(i32, String)> {
    let mark = format!("TRIAL_TAG={tag}");
    let names = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = names.filter_map(|n| n.file_name().to_str()?.parse::<i32>().ok());
    let marked = pids.filter(|pid| {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|b| *b == 0).any(|v| v == mark.as_bytes())
    });
    let told = marked.map(|pid| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        (pid, String::from_utf8_lossy(&line).replace('\0', " "))
    });
    told.collect()
}

fn end_all(tag: &str) {
    for _ in 0..100 {
        let left = tagged(tag);
        if left.is_empty() {
            return;
        }
        for (pid, _) in left {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        thread::yield_now();
    }
}
