//! Processes that are nobody's job, beside jobs that end: none of them is touched, however near it came.
//!
//! Invariants: each bystander looks like a member by one sign that others trust; it is told apart by where it
//! came from. It does not look for what must end: that is `resist.rs`.

use super::yard::{Yard, lives, pause, signal};
use rustix::process::Signal;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A process that is ended with the test.
struct Bystander(Child);

impl Bystander {
    fn start(command: &mut Command) -> Self {
        Self(command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap())
    }

    /// Whether it goes on; it is asked some times, for what strikes it may come late.
    fn goes_on(&mut self) -> bool {
        (0..20).all(|_| {
            pause(Duration::from_millis(5));
            self.0.try_wait().unwrap().is_none()
        })
    }
}

impl Drop for Bystander {
    fn drop(&mut self) {
        let group = rustix::process::Pid::from_child(&self.0);
        let _ = rustix::process::kill_process_group(group, Signal::KILL);
        let _ = self.0.wait();
    }
}

/// A script of its own process group.
fn script(text: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", text]).process_group(0);
    command
}

#[test]
fn who_writes_notes_beside_the_log_of_a_lost_attempt_goes_on() {
    let mut yard = Yard::bare();
    yard.start();
    yard.submit("A", "workspace: none\nrun: 'echo there >> there; sleep 600'\n");
    yard.lines("there", 1);
    let notes = yard.path("_ctx/runs/A/1/notes.txt");
    let text = format!("(exec sleep 601 > {}) & echo > ../there; exec sleep 602", notes.display());
    let mut person = Bystander::start(script(&text).current_dir(yard.path("_ctx")));
    yard.until("the notes", || notes.exists() && yard.path("there").exists());
    signal(yard.executor_pid().unwrap(), Signal::KILL);
    yard.until_in("failed", "A");
    assert_eq!(yard.events("A", "settled")[0]["reason"], "lost", "{}", yard.sight());
    assert!(person.goes_on(), "{}", yard.sight());
    let notes = yard.text("_ctx/runs/A/execution.log");
    assert!(!notes.contains("left-over"), "{notes}");
}

#[test]
fn a_limit_of_real_time_that_an_administrator_set_holds_in_commands() {
    let mut yard = Yard::bare();
    yard.args.push("--external-executor");
    let program = env!("CARGO_BIN_EXE_jobyard");
    let text =
        format!("ulimit -S -R 7654321; exec {program} exec --stay --root {}", yard.root.display());
    let mut command = Command::new("bash");
    let _executor = Bystander::start(command.args(["-c", &text]).process_group(0));
    yard.start();
    yard.submit("A", "workspace: none\nrun: 'ulimit -S -R >> limit'\n");
    assert_eq!(yard.lines("limit", 1), ["7654321"]);
    yard.until_in("done", "A");
}

#[test]
fn what_was_there_before_the_executor_in_the_same_process_goes_on() {
    let mut yard = Yard::bare();
    yard.args.push("--external-executor");
    let text = format!(
        "sleep 601 & echo $! > before; exec {} exec --stay --root {}",
        env!("CARGO_BIN_EXE_jobyard"),
        yard.root.display()
    );
    let mut executor = Bystander::start(script(&text).current_dir(&yard.root));
    let before: u32 = yard.lines("before", 1)[0].parse().unwrap();
    yard.start();
    yard.settle_down("A");
    assert!(lives(before), "{}", yard.sight());
    yard.submit("B", "workspace: none\ntimeout: 1s\nrun: 'sleep 600'\n");
    yard.until_in("failed", "B");
    assert!(lives(before) && executor.goes_on(), "{}", yard.sight());
}

#[test]
fn an_executor_that_a_job_has_started_is_not_the_jobs() {
    let mut outer = Yard::bare();
    let mut inner = Yard::bare();
    for yard in [&mut outer, &mut inner] {
        yard.env.push(("JOBYARD_EXEC_GROUPS", "off".to_owned()));
    }
    inner.submit("B", "workspace: none\nrun: 'echo there >> there; sleep 600'\n");
    let text = format!(
        "echo $$ > inner; exec {} daemon --root {} < /dev/null > /dev/null 2>&1\n",
        env!("CARGO_BIN_EXE_jobyard"),
        inner.root.display()
    );
    outer.put("inner.sh", &text);
    outer.start();
    outer.submit("A", "workspace: none\nrun: 'setsid sh inner.sh & sleep 600'\n");
    inner.lines("there", 1);
    let daemon = outer.lines("inner", 1)[0].parse().unwrap();
    let executor = inner.executor_pid().unwrap();
    signal(daemon, Signal::KILL);
    inner.until("the daemon's end", || !lives(daemon));
    inner.start();
    signal(outer.executor_pid().unwrap(), Signal::KILL);
    outer.until_in("failed", "A");
    assert!(lives(executor), "{}", inner.sight());
    assert_eq!(inner.places("B"), ["running"], "{}", inner.sight());
}
