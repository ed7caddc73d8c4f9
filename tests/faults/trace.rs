//! A process under `ptrace`, struck by one fault at one of its calls that change something below a directory.
//!
//! Invariants: calls are counted over all threads of the first process (with `kids`, of its children too) in
//! the order in which they are made, so the same number names the same call of a process that does the same
//! again; only the call that was chosen is changed, and an argument that was changed is put back when the
//! call returns, as the kernel itself would leave it; what is still alive afterwards goes on untraced.
//! It does not judge; of jobyard it knows only how the commands of an order are told.

use nix::errno::Errno;
use nix::libc;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread;

/// What befalls the chosen call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fault {
    /// The first process is killed before the call is made; its children live on.
    Kill,
    /// All of them are killed.
    KillAll,
    /// The call is not made and fails.
    Error(Errno),
    /// It and every later one.
    Sticky(Errno),
    /// The call is made and reports a failure all the same.
    Lost(Errno),
    /// Half of a write; only writes are counted.
    Short,
    /// The whole process stands still while something else is done.
    Freeze,
}

/// How a traced run ended.
#[derive(Debug)]
pub(crate) struct Course {
    /// The call that was struck, as text; `None`: there was no such call.
    pub(crate) struck: Option<String>,
    /// Wait status of the first process, as a shell would say it; `None` after a kill.
    pub(crate) code: Option<i32>,
}

/// Where a call carries what it acts on.
#[derive(Clone, Copy)]
enum Carries {
    /// A path.
    Path,
    /// A directory and a path.
    At(usize),
    /// Two of these, one after the other.
    TwoAt,
    /// A file.
    File,
    /// A directory, a path, and flags of `open` (or, for `openat2`, where they are).
    Open(bool),
    /// A program.
    Program,
}

const CALLS: [(libc::c_long, &str, Carries); 27] = [
    (libc::SYS_openat, "openat", Carries::Open(false)),
    (libc::SYS_openat2, "openat2", Carries::Open(true)),
    (libc::SYS_mkdir, "mkdir", Carries::Path),
    (libc::SYS_rmdir, "rmdir", Carries::Path),
    (libc::SYS_unlink, "unlink", Carries::Path),
    (libc::SYS_truncate, "truncate", Carries::Path),
    (libc::SYS_chmod, "chmod", Carries::Path),
    (libc::SYS_mkdirat, "mkdirat", Carries::At(0)),
    (libc::SYS_unlinkat, "unlinkat", Carries::At(0)),
    (libc::SYS_fchmodat, "fchmodat", Carries::At(0)),
    (libc::SYS_utimensat, "utimensat", Carries::At(0)),
    (libc::SYS_symlinkat, "symlinkat", Carries::At(1)),
    (libc::SYS_renameat, "renameat", Carries::TwoAt),
    (libc::SYS_renameat2, "renameat2", Carries::TwoAt),
    (libc::SYS_linkat, "linkat", Carries::TwoAt),
    (libc::SYS_write, "write", Carries::File),
    (libc::SYS_pwrite64, "pwrite64", Carries::File),
    (libc::SYS_writev, "writev", Carries::File),
    (libc::SYS_ftruncate, "ftruncate", Carries::File),
    (libc::SYS_fallocate, "fallocate", Carries::File),
    (libc::SYS_fsync, "fsync", Carries::File),
    (libc::SYS_fdatasync, "fdatasync", Carries::File),
    (libc::SYS_fchmod, "fchmod", Carries::File),
    (libc::SYS_flock, "flock", Carries::File),
    (libc::SYS_rename, "rename", Carries::Path),
    (libc::SYS_link, "link", Carries::Path),
    (libc::SYS_execve, "execve", Carries::Program),
];

/// A run to be traced.
pub(crate) struct Run<'a> {
    /// Calls below this directory count.
    pub(crate) below: &'a Path,
    /// The number of the call to strike, from 1; 0: none.
    pub(crate) at: usize,
    /// With what.
    pub(crate) fault: Fault,
    /// Calls of children count too, but for those of an order's commands.
    pub(crate) kids: bool,
    /// What is done while it is frozen; given the first process.
    pub(crate) meanwhile: &'a mut (dyn FnMut(Pid) + Send),
}

/// A thread of a traced process between the two halves of a call.
#[derive(Clone, Copy)]
enum Owed {
    /// The call's result.
    Result(i32),
    /// The argument that was changed.
    Length(u64),
}

struct Tracer<'a> {
    run: Run<'a>,
    first: Pid,
    calls: usize,
    struck: Option<String>,
    owed: BTreeMap<Pid, Owed>,
}

/// Starts a command and follows it to the end of its first process. What is still alive then is let go by
/// the end of the thread that traced it.
pub(crate) fn follow(command: &mut Command, run: Run<'_>) -> Course {
    thread::scope(|scope| scope.spawn(|| traced(command, run)).join()).expect("the tracer")
}

fn traced(command: &mut Command, run: Run<'_>) -> Course {
    let mut child = stopped(command);
    let first = Pid::from_raw(child.id() as i32);
    let mut tracer = Tracer { run, first, calls: 0, struck: None, owed: BTreeMap::new() };
    let options = Options::PTRACE_O_TRACESYSGOOD
        | Options::PTRACE_O_TRACECLONE
        | Options::PTRACE_O_TRACEFORK
        | Options::PTRACE_O_TRACEVFORK
        | Options::PTRACE_O_TRACEEXEC;
    ptrace::seize(first, options).expect("trace a child of ours");
    kill(first, Signal::SIGCONT).expect("let it go on");
    let code = tracer.follow();
    // Its status is known already; this only lets go what `Child` holds.
    let _ = child.try_wait();
    Course { struck: tracer.struck, code }
}

/// The command, stopped before it begins.
fn stopped(command: &mut Command) -> Child {
    let child = command.spawn().expect("start what is traced");
    let pid = Pid::from_raw(child.id() as i32);
    let flags = WaitPidFlag::WUNTRACED | WaitPidFlag::__WNOTHREAD;
    let stop = waitpid(pid, Some(flags)).expect("wait for its stop");
    assert!(matches!(stop, WaitStatus::Stopped(..)), "it stops itself first: {stop:?}");
    child
}

impl Tracer<'_> {
    fn follow(&mut self) -> Option<i32> {
        let flags = WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD;
        loop {
            match waitpid(None, Some(flags)) {
                Ok(WaitStatus::Exited(pid, code)) if pid == self.first => return Some(code),
                Ok(WaitStatus::Signaled(pid, signal, _)) if pid == self.first => {
                    return Some(128 + signal as i32);
                }
                Ok(WaitStatus::PtraceSyscall(pid)) => {
                    if self.call(pid) {
                        return None;
                    }
                    self.go_on(pid, None);
                }
                Ok(WaitStatus::PtraceEvent(pid, _, _)) => self.go_on(pid, None),
                Ok(WaitStatus::Stopped(pid, signal)) => self.go_on(pid, Some(signal)),
                Ok(_) | Err(Errno::EINTR) => {}
                Err(fault) => panic!("wait for what is traced: {fault}"),
            }
        }
    }

    /// Lets a thread go on to its next call; at full speed when no later call can be struck.
    fn go_on(&self, pid: Pid, signal: Option<Signal>) {
        let sticky = matches!(self.run.fault, Fault::Sticky(_));
        let over = self.struck.is_some() && !sticky && !self.owed.contains_key(&pid);
        let _ = if over { ptrace::cont(pid, signal) } else { ptrace::syscall(pid, signal) };
    }

    /// One half of a call. True: the fault was a kill, and all is over.
    fn call(&mut self, pid: Pid) -> bool {
        let Ok(info) = ptrace::syscall_info(pid) else { return false };
        if info.op == libc::PTRACE_SYSCALL_INFO_EXIT {
            self.pay(pid);
            return false;
        }
        let Ok(mut registers) = ptrace::getregs(pid) else { return false };
        let Some(what) = self.counted(pid, &registers) else { return false };
        self.calls += 1;
        let sticky = matches!(self.run.fault, Fault::Sticky(_)) && self.run.at > 0;
        if self.calls != self.run.at && !(sticky && self.calls > self.run.at) {
            return false;
        }
        self.struck.get_or_insert(what);
        match self.run.fault {
            Fault::Kill | Fault::KillAll => {
                self.kill(pid);
                return true;
            }
            Fault::Error(errno) | Fault::Sticky(errno) => {
                registers.orig_rax = u64::MAX;
                let _ = ptrace::setregs(pid, registers);
                self.owed.insert(pid, Owed::Result(errno as i32));
            }
            Fault::Lost(errno) => {
                self.owed.insert(pid, Owed::Result(errno as i32));
            }
            Fault::Short => {
                self.owed.insert(pid, Owed::Length(registers.rdx));
                registers.rdx /= 2;
                let _ = ptrace::setregs(pid, registers);
            }
            Fault::Freeze => (self.run.meanwhile)(self.first),
        }
        false
    }

    fn pay(&mut self, pid: Pid) {
        let Some(owed) = self.owed.remove(&pid) else { return };
        let Ok(mut registers) = ptrace::getregs(pid) else { return };
        match owed {
            Owed::Result(errno) => registers.rax = i64::from(-errno).cast_unsigned(),
            Owed::Length(length) => registers.rdx = length,
        }
        let _ = ptrace::setregs(pid, registers);
    }

    fn kill(&mut self, pid: Pid) {
        (self.run.meanwhile)(self.first);
        if self.run.fault == Fault::KillAll {
            for other in children(self.first) {
                let _ = kill(other, Signal::SIGKILL);
            }
        }
        let _ = kill(self.first, Signal::SIGKILL);
        if group(pid) != self.first {
            let _ = ptrace::detach(pid, None);
        }
        let flags = WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD;
        while !matches!(
            waitpid(self.first, Some(flags)),
            Ok(WaitStatus::Signaled(..) | WaitStatus::Exited(..)) | Err(Errno::ECHILD)
        ) {}
    }

    /// The call as text, when it is one of those that count.
    fn counted(&self, pid: Pid, registers: &libc::user_regs_struct) -> Option<String> {
        let number = registers.orig_rax as libc::c_long;
        let (_, name, carries) = CALLS.iter().find(|(nr, _, _)| *nr == number)?;
        let arguments = [registers.rdi, registers.rsi, registers.rdx, registers.r10];
        let program = matches!(carries, Carries::Program);
        if program && (pid == self.first || !self.strikes_programs()) {
            return None;
        }
        if !self.run.kids && !program && group(pid) != self.first {
            return None;
        }
        if self.run.kids && of_a_job(pid) {
            return None;
        }
        let writes = ["write", "pwrite64"].contains(name) && arguments[2] > 1;
        if self.run.fault == Fault::Short && !writes {
            return None;
        }
        let paths: Vec<PathBuf> = match *carries {
            Carries::Path | Carries::Program => vec![at(pid, None, arguments[0])],
            Carries::At(first) => vec![at(pid, Some(arguments[first]), arguments[first + 1])],
            Carries::TwoAt => vec![
                at(pid, Some(arguments[0]), arguments[1]),
                at(pid, Some(arguments[2]), arguments[3]),
            ],
            Carries::File => vec![descriptor(pid, arguments[0])],
            Carries::Open(beside) => {
                let flags = if beside { number_at(pid, arguments[2]) } else { arguments[2] };
                let changes = libc::O_CREAT | libc::O_TRUNC | libc::O_WRONLY | libc::O_RDWR;
                if flags as i32 & changes == 0 {
                    return None;
                }
                vec![at(pid, Some(arguments[0]), arguments[1])]
            }
        };
        let below = |path: &PathBuf| path.starts_with(self.run.below);
        let shown: Vec<String> = paths.iter().map(|path| self.short(path)).collect();
        (program || paths.iter().any(below)).then(|| format!("{name} {}", shown.join(" ")))
    }

    fn strikes_programs(&self) -> bool {
        !matches!(self.run.fault, Fault::Error(_) | Fault::Sticky(_) | Fault::Lost(_))
    }

    fn short(&self, path: &Path) -> String {
        path.strip_prefix(self.run.below).unwrap_or(path).display().to_string()
    }
}

/// The process that a thread belongs to.
fn group(thread: Pid) -> Pid {
    let status = fs::read_to_string(format!("/proc/{thread}/status")).unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("Tgid:"));
    line.and_then(|l| l.trim().parse().ok()).map_or(thread, Pid::from_raw)
}

/// It is a process of an order's command: what that leaves half done is its own affair.
fn of_a_job(pid: Pid) -> bool {
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    environment.split(|b| *b == 0).any(|v| v.starts_with(b"JOBYARD_ATTEMPT="))
}

/// All descendants of a process.
fn children(of: Pid) -> Vec<Pid> {
    let tasks = fs::read_dir(format!("/proc/{of}/task")).into_iter().flatten().flatten();
    let lists = tasks.filter_map(|t| fs::read_to_string(t.path().join("children")).ok());
    let pids: Vec<Pid> = lists
        .flat_map(|l| l.split_whitespace().filter_map(|w| w.parse().ok()).collect::<Vec<i32>>())
        .map(Pid::from_raw)
        .collect();
    pids.iter().flat_map(|pid| children(*pid)).chain(pids.iter().copied()).collect()
}

/// A path that a call names, made absolute.
fn at(pid: Pid, dir: Option<u64>, address: u64) -> PathBuf {
    let name = text(pid, address);
    let base = match dir {
        Some(fd) if fd as i32 != libc::AT_FDCWD => descriptor(pid, fd),
        _ => fs::read_link(format!("/proc/{pid}/cwd")).unwrap_or_default(),
    };
    base.join(name)
}

fn descriptor(pid: Pid, fd: u64) -> PathBuf {
    fs::read_link(format!("/proc/{pid}/fd/{}", fd as i32)).unwrap_or_default()
}

/// A text in the memory of a process, up to its end.
fn text(pid: Pid, address: u64) -> PathBuf {
    let mut bytes = Vec::new();
    let Ok(memory) = File::open(format!("/proc/{pid}/mem")) else { return PathBuf::new() };
    let mut byte = [0; 64];
    while bytes.len() < 4096 {
        // Short of the next page, which may not be there.
        let from = address + bytes.len() as u64;
        let room = (64 - from as usize % 64).min(64);
        let Ok(read) = memory.read_at(&mut byte[..room], from) else { break };
        let end = byte[..read].iter().position(|b| *b == 0);
        bytes.extend_from_slice(&byte[..end.unwrap_or(read)]);
        if end.is_some() || read == 0 {
            break;
        }
    }
    PathBuf::from(OsString::from_vec(bytes))
}

fn number_at(pid: Pid, address: u64) -> u64 {
    let mut bytes = [0; 8];
    let memory = File::open(format!("/proc/{pid}/mem"));
    let read = memory.and_then(|m| m.read_exact_at(&mut bytes, address));
    read.map_or(0, |()| u64::from_le_bytes(bytes))
}
