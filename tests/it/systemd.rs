//! What the daemon tells a service manager, an executor that somebody else runs, and the shipped units.
//!
//! The manager is a datagram socket of the test's own. systemd itself is asked only for its opinion of the
//! unit files; where it is not installed, those two tests say so and prove nothing.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use crate::yard::{PATIENCE, Yard, lives, signal, until};
use rustix::process::Signal;
use std::fs;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The other end of `NOTIFY_SOCKET`.
struct Listener(UnixDatagram);

impl Listener {
    fn at(address: &SocketAddr) -> Self {
        let socket = UnixDatagram::bind_addr(address).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(socket)
    }

    fn next(&self) -> String {
        let mut bytes = [0; 4096];
        // A signal to this process is no answer.
        let length = loop {
            match self.0.recv(&mut bytes) {
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                received => break received.expect("a message to the service manager"),
            }
        };
        String::from_utf8(bytes[..length].to_vec()).unwrap()
    }

    /// Reads on to the first message of which this holds.
    #[track_caller]
    fn until(&self, wanted: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + PATIENCE;
        let mut heard = Vec::new();
        loop {
            heard.push(self.next());
            if wanted(&heard[heard.len() - 1]) {
                return heard.pop().unwrap();
            }
            assert!(Instant::now() < deadline, "not among {heard:?}");
        }
    }

    fn is(&self, text: &str) {
        self.until(|message| message == text);
    }
}

/// A yard whose daemon has a service manager, at a path or under an abstract name.
fn managed(hidden: bool) -> (Yard, Listener) {
    let mut yard = Yard::bare();
    let path = yard.beside("notify");
    let name = path.to_str().unwrap().to_owned();
    let address = match hidden {
        true => SocketAddr::from_abstract_name(&name),
        false => SocketAddr::from_pathname(&name),
    };
    let listener = Listener::at(&address.unwrap());
    yard.env.push(("NOTIFY_SOCKET", if hidden { format!("@{name}") } else { name }));
    (yard, listener)
}

#[test]
fn whoever_runs_the_daemon_learns_of_every_turn_in_a_life() {
    for hidden in [false, true] {
        let (mut yard, listener) = managed(hidden);
        yard.fifo("gate");
        yard.start();
        listener.is("READY=1");
        listener.until(|m| m.starts_with("STATUS=0 running, 0 pending"));
        yard.submit("A", "workspace: none\nrun: 'read line < gate'\n");
        yard.submit("B", "workspace: none\nrun: true\nhold: not now\n");
        listener.is("STATUS=1 running, 1 pending");
        signal(yard.daemon_pid(), Signal::HUP);
        let reloading = listener.until(|m| m.starts_with("RELOADING=1\n"));
        let usec = reloading.trim().split_once("MONOTONIC_USEC=").unwrap().1;
        let uptime = fs::read_to_string("/proc/uptime").unwrap();
        let uptime: f64 = uptime.split(' ').next().unwrap().parse().unwrap();
        assert!((usec.parse::<f64>().unwrap() / 1e6 - uptime).abs() < 30.0, "{usec} {uptime}");
        listener.is("READY=1");
        yard.open_gate("gate");
        listener.is("STATUS=0 running, 1 pending");
        assert_eq!(yard.term(), Some(0));
        listener.until(|m| m.starts_with("STOPPING=1\n"));
    }
}

#[test]
fn the_watchdog_is_fed_by_the_loop_and_by_nothing_else() {
    let (mut yard, listener) = managed(false);
    yard.env.push(("WATCHDOG_USEC", "300000".to_owned()));
    yard.start();
    for _ in 0..5 {
        listener.is("WATCHDOG=1");
    }
    let begun = Instant::now();
    listener.is("WATCHDOG=1");
    listener.is("WATCHDOG=1");
    assert!(begun.elapsed() > Duration::from_millis(140), "fed at half of the time, not always");
    signal(yard.daemon_pid(), Signal::STOP);
    listener.0.set_read_timeout(Some(Duration::from_millis(600))).unwrap();
    let mut bytes = [0; 4096];
    until("silence of a stopped daemon", || listener.0.recv(&mut bytes).is_err());
    signal(yard.daemon_pid(), Signal::CONT);
    listener.is("WATCHDOG=1");
}

#[test]
fn a_watchdog_that_is_meant_for_another_process_is_not_fed() {
    let (mut yard, listener) = managed(false);
    yard.env.push(("WATCHDOG_USEC", "20000".to_owned()));
    yard.env.push(("WATCHDOG_PID", "1".to_owned()));
    yard.start();
    yard.settle_down("A");
    assert_eq!(yard.term(), Some(0));
    listener.until(|m| {
        assert_ne!(m, "WATCHDOG=1");
        m.starts_with("STOPPING=1\n")
    });
}

#[test]
fn what_is_meant_for_the_daemon_is_not_handed_down() {
    let (mut yard, _listener) = managed(false);
    yard.env.push(("WATCHDOG_USEC", "60000000".to_owned()));
    yard.start();
    yard.settle_down("A");
    let executor = yard.executor_pid().unwrap();
    let environment = fs::read(format!("/proc/{executor}/environ")).unwrap();
    let environment = String::from_utf8_lossy(&environment);
    assert!(environment.contains("PATH=") && !environment.contains("NOTIFY_SOCKET"));
    assert!(!environment.contains("WATCHDOG"));
}

/// An executor as a service manager runs it, ended with the test.
struct Executor(Child);

impl Executor {
    fn start(yard: &Yard) -> Self {
        let mut command = Command::new(&yard.program);
        command.args(["exec", "--stay", "--root"]).arg(&yard.root);
        Self(command.stdin(Stdio::null()).spawn().unwrap())
    }

    /// Told to end, it does.
    fn term(&mut self) -> Option<i32> {
        signal(self.0.id(), Signal::TERM);
        self.0.wait().unwrap().code()
    }
}

impl Drop for Executor {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn an_executor_of_its_own_outlives_daemons_and_ends_when_told() {
    let mut yard = Yard::bare();
    yard.args.push("--external-executor");
    yard.fifo("gate");
    yard.start();
    yard.submit("A", "workspace: none\nrun: 'echo $PPID >> parent; read line < gate'\n");
    yard.until("the start that waits", || !yard.events("A", "started").is_empty());
    assert_eq!(yard.executor_pid(), None);
    let mut executor = Executor::start(&yard);
    let pid = executor.0.id();
    assert_eq!(yard.lines("parent", 1), [pid.to_string()]);
    yard.kill();
    yard.start();
    yard.open_gate("gate");
    yard.until_in("done", "A");
    let begun = Instant::now();
    assert_eq!(yard.term(), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(3), "an executor that stays is not waited for");
    assert!(lives(pid), "idle, and without a daemon");
    // Verbs use it as well, and their farewell does not end it.
    yard.submit("B", "workspace: none\nverify: {commands: ['test -d .']}\n");
    for args in [&["take", "B"][..], &["finish", "B"]] {
        let (code, said) = yard.verb(args);
        assert_eq!(code, 0, "{said}");
    }
    yard.start();
    yard.submit("C", "workspace: none\nrun: 'read line < gate'\n");
    yard.until("its start", || !yard.commands().is_empty());
    assert_eq!(executor.term(), Some(0));
    assert_eq!(yard.commands(), Vec::<u32>::new());
    yard.until("its end", || yard.events("C", "ended").len() == 1);
    // A second one waits for the first, and serves then.
    let mut first = Executor::start(&yard);
    yard.settle_down("D");
    let second = Executor::start(&yard);
    assert_eq!(first.term(), Some(0));
    yard.settle_down("E");
    assert!(lives(second.0.id()));
}

#[test]
fn init_prints_the_lines_for_systemd_and_makes_nothing() {
    let yard = Yard::bare();
    let root = yard.beside("my repo-1");
    fs::create_dir(&root).unwrap();
    let root = fs::canonicalize(root).unwrap();
    let said = |more: &[&str]| {
        let mut command = Command::new(&yard.program);
        command.args(["init", "--systemd"]).args(more).arg("--root").arg(&root);
        let out = command.output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap()
    };
    let place = root.parent().unwrap().to_str().unwrap().trim_start_matches('/');
    let place = place.replace('-', "\\x2d").replace('/', "-");
    let instance = format!("{place}-my\\x20repo\\x2d1");
    let owner = String::from_utf8(Command::new("id").arg("-un").output().unwrap().stdout).unwrap();
    let (owner, shown) = (owner.trim(), root.display());
    let dir = |worker: &str| format!("/etc/systemd/system/{worker}@{instance}.service.d");
    let (daemon, exec) = (dir("jobyard-daemon"), dir("jobyard-exec"));
    let golden = format!(
        "# as root; {shown} is served as {owner}, now and after each boot\n\
         mkdir -p '{daemon}'\n\
         printf '[Service]\\nUser={owner}\\n' > '{daemon}/owner.conf'\n\
         mkdir -p '{exec}'\n\
         printf '[Service]\\nUser={owner}\\n' > '{exec}/owner.conf'\n\
         systemctl daemon-reload\n\
         systemctl enable --now 'jobyard@{instance}.service'\n"
    );
    assert_eq!(said(&[]), golden);
    let golden = format!(
        "# {shown} is served now and from each login on; with the last line from each boot on\n\
         systemctl --user enable --now 'jobyard@{instance}.service'\n\
         loginctl enable-linger\n"
    );
    assert_eq!(said(&["--user"]), golden);
    assert_eq!(fs::read_dir(&root).unwrap().count(), 0);
    let escaped = Command::new("systemd-escape").arg("-p").arg(&root).output();
    if let Ok(out) = escaped {
        assert_eq!(String::from_utf8_lossy(&out.stdout).trim(), instance);
    }
}

/// The shipped units for one root in a directory of their own. The program is one that is there.
fn units(yard: &Yard, kind: &str, profile: Option<&str>) -> PathBuf {
    let dir = yard.beside(&format!("units-{}-{}", kind.len(), profile.unwrap_or("shipped")));
    fs::create_dir(&dir).unwrap();
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/systemd");
    for unit in ["jobyard", "jobyard-daemon", "jobyard-exec"] {
        let mut text =
            fs::read_to_string(shipped.join(kind).join(format!("{unit}@.service"))).unwrap();
        text = text.replace("/usr/bin/jobyard", "/bin/true");
        if let Some(profile) = profile.filter(|_| unit == "jobyard-exec") {
            let path = shipped.join(format!("profiles/{profile}.conf"));
            text.push_str(&fs::read_to_string(path).unwrap());
        }
        for name in [format!("{unit}@.service"), format!("{unit}@srv-a.service")] {
            fs::write(dir.join(name), &text).unwrap();
        }
    }
    dir
}

/// What `systemd-analyze` says about the units in a directory.
fn analyzed(dir: &Path, args: &[&str], units: &[&str]) -> (bool, String) {
    let mut command = Command::new("systemd-analyze");
    command.args(args).current_dir(dir).env("XDG_RUNTIME_DIR", dir);
    command.env("SYSTEMD_UNIT_PATH", format!("{}:", dir.display()));
    command.args(units.iter().map(|unit| format!("./{unit}@srv-a.service")));
    let out = command.output().expect("systemd-analyze is missing: apt-get install systemd");
    let said = [out.stdout, out.stderr].concat();
    (out.status.success(), String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn systemd_has_nothing_to_say_against_the_units() {
    let yard = Yard::bare();
    let all = ["jobyard", "jobyard-daemon", "jobyard-exec"];
    for (kind, whose) in [("", "--system"), ("user", "--user")] {
        let dir = units(&yard, kind, None);
        let args = [whose, "verify", "--man=no"];
        let (verified, said) = analyzed(&dir, &args, &all);
        assert!(verified && said.trim().is_empty(), "{kind}: {said}");
        let unit = dir.join("jobyard-exec@srv-a.service");
        fs::write(&unit, fs::read_to_string(&unit).unwrap() + "NoSuchKey=yes\n").unwrap();
        let (_, said) = analyzed(&dir, &args, &all);
        assert!(said.contains("NoSuchKey"), "a planted mistake is found: {said}");
    }
}

#[test]
fn the_units_are_as_closed_as_they_are_said_to_be() {
    let yard = Yard::bare();
    for (unit, profile, exposure_max) in [
        ("jobyard-daemon", None, 10),
        ("jobyard-exec", Some("closed"), 10),
        ("jobyard-exec", Some("open"), 100),
    ] {
        judge(&yard, unit, profile, exposure_max);
    }
    judge(&Yard::bare(), "jobyard-exec", None, 20);
}

/// `exposure_max` in tenths, as `systemd-analyze` has it.
fn judge(yard: &Yard, unit: &str, profile: Option<&str>, exposure_max: u32) {
    let dir = units(yard, "", profile);
    let threshold = format!("--threshold={exposure_max}");
    let args = ["security", "--no-pager", "--offline=true", &threshold];
    let (within, said) = analyzed(&dir, &args, &[unit]);
    let last = said.lines().last().unwrap_or_default();
    assert!(within, "{unit} {profile:?} over {exposure_max} tenths: {last}");
}
