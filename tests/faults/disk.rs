//! A file system of its own for a root, and the loss of power under it.
//!
//! Invariants: what was not yet written to the device when the power went is gone, since the device is copied
//! as it is in that moment and mounted afresh, with the file system's own replay of its journal; nothing is
//! mounted any more when it is dropped. Needs root, loop devices and the tools of the file system.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

/// How long a file system may stay in use: by processes that were killed, or by another trial that began a
/// mount namespace just then. A second device with the same one cannot be mounted before.
const BUSY_TIME: Duration = Duration::from_secs(30);
/// File systems that can be tried, with the size of the device and what keeps them from writing early.
const KINDS: [(&str, u64, &str); 3] = [
    ("ext4", 64, "loop,commit=300,noauto_da_alloc"),
    ("xfs", 320, "loop"),
    ("btrfs", 160, "loop,commit=300"),
];

/// A mounted device.
pub(crate) struct Disk {
    device: PathBuf,
    crashed: PathBuf,
    place: PathBuf,
    options: &'static str,
}

/// What is missing for one of them here.
pub(crate) fn lacking(fs: &str) -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("needs root, to mount".to_owned());
    }
    let tool = format!("mkfs.{fs}");
    let there = Command::new("sh").args(["-c", &format!("command -v {tool}")]).output();
    if !there.is_ok_and(|out| out.status.success()) {
        return Some(format!("needs {tool}"));
    }
    (!Path::new("/dev/loop-control").exists()).then(|| "needs loop devices".to_owned())
}

impl Disk {
    /// Makes a file system and mounts it at `root` in this directory.
    pub(crate) fn mount(fs: &str, dir: &Path) -> Self {
        let (_, size, options) = *KINDS.iter().find(|kind| kind.0 == fs).expect("a known kind");
        let (device, crashed) = (dir.join("device"), dir.join("crashed"));
        let file = File::create(&device).expect("a device");
        file.set_len(size << 20).expect("its size");
        let force = if fs == "ext4" { "-F" } else { "-f" };
        run(Command::new(format!("mkfs.{fs}")).args(["-q", force]).arg(&device));
        let disk = Self { device, crashed, place: dir.join("root"), options };
        disk.attach(&disk.device);
        disk
    }

    fn attach(&self, device: &Path) {
        insist(Command::new("mount").args(["-o", self.options]).arg(device).arg(&self.place));
    }

    fn detach(&self) {
        insist(Command::new("umount").arg(&self.place));
    }

    /// What is there so far is on the device.
    pub(crate) fn sync(&self) {
        run(Command::new("sync").arg("-f").arg(&self.place));
    }

    /// Keeps the device as it is in this moment.
    pub(crate) fn keep_as_it_is(&self) {
        run(Command::new("cp").arg("--sparse=always").arg(&self.device).arg(&self.crashed));
    }

    /// The power went when the device was kept: it is mounted again as it was then.
    pub(crate) fn power_cut(&mut self) {
        if self.crashed.exists() {
            self.detach();
            self.attach(&self.crashed);
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let lazily = Command::new("umount").arg("-l").arg(&self.place).output();
        let gone = lazily.is_ok_and(|out| out.status.success());
        assert!(gone || thread::panicking(), "{} stays mounted", self.place.display());
    }
}

/// Does it as soon as nothing uses the file system any more.
fn insist(command: &mut Command) {
    let until = Instant::now() + BUSY_TIME;
    loop {
        let out = command.output().expect("run a tool");
        if out.status.success() {
            return;
        }
        let said = String::from_utf8_lossy(&out.stderr);
        assert!(Instant::now() < until, "{command:?}: {said}");
    }
}

fn run(command: &mut Command) {
    let out = command.output().expect("run a tool");
    assert!(out.status.success(), "{command:?}: {}", String::from_utf8_lossy(&out.stderr));
}
