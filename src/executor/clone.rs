//! A process that begins inside a control group: `clone3` with `CLONE_INTO_CGROUP`.
//!
//! Invariants: the executor has one thread, so its copy may do what a copy after `fork` may; between
//! `clone3` and `execve` only async-signal-safe calls are made and nothing is allocated; a failed `execve`
//! reaches the caller with its error number. Moving the executor into the group and back instead costs up
//! to 20 ms, since the kernel waits for all processors; no wrapper in the standard library can do this.

use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::os::unix::ffi::OsStrExt;

/// Everything the new process needs, made before it begins.
pub(crate) struct Image {
    program: CString,
    argv: Vec<CString>,
    env: Vec<CString>,
}

/// Why no process came of it.
pub(crate) enum CloneError {
    /// The kernel refused the group or the process; nothing was started.
    Clone,
    /// The program could not be executed.
    Exec(io::Error),
}

fn text(bytes: &OsStr) -> io::Result<CString> {
    CString::new(bytes.as_bytes())
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "a word holds a zero byte"))
}

impl Image {
    /// Words and variables in the form the kernel takes.
    pub(crate) fn new<'a>(
        program: &OsStr,
        argv: impl Iterator<Item = &'a OsStr>,
        env: impl Iterator<Item = (&'a OsStr, &'a OsStr)>,
    ) -> io::Result<Self> {
        let pair = |(key, value): (&OsStr, &OsStr)| {
            let mut whole = key.to_owned();
            whole.push("=");
            whole.push(value);
            text(&whole)
        };
        Ok(Self {
            program: text(program)?,
            argv: argv.map(text).collect::<io::Result<_>>()?,
            env: env.map(pair).collect::<io::Result<_>>()?,
        })
    }
}

/// The arguments of `clone3`, as far as the kernel's second version of them goes.
#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Starts `image` inside `group`, in a process group of its own; returns its id.
#[allow(unsafe_code)]
pub(crate) fn spawn_into(
    group: BorrowedFd<'_>,
    image: &Image,
    cwd: BorrowedFd<'_>,
    input: BorrowedFd<'_>,
    output: BorrowedFd<'_>,
) -> Result<u32, CloneError> {
    let mut argv: Vec<*const libc::c_char> = image.argv.iter().map(|a| a.as_ptr()).collect();
    argv.push(std::ptr::null());
    let mut env: Vec<*const libc::c_char> = image.env.iter().map(|e| e.as_ptr()).collect();
    env.push(std::ptr::null());
    let (mut reading, writing) = pipe().map_err(|_| CloneError::Clone)?;
    let args = CloneArgs {
        flags: CLONE_INTO_CGROUP,
        exit_signal: u64::from(libc::SIGCHLD.unsigned_abs()),
        cgroup: u64::from(group.as_raw_fd().unsigned_abs()),
        ..CloneArgs::default()
    };
    // SAFETY: `args` is a valid clone3 argument block of the size given; without CLONE_VM the child works
    // on a copy of this single-threaded process, and only calls `become_image`, which never returns,
    // allocates nothing and uses pointers made above that stay valid in the copy.
    let pid = unsafe {
        let pid = libc::syscall(libc::SYS_clone3, &raw const args, size_of::<CloneArgs>());
        if pid == 0 {
            become_image(
                image.program.as_ptr(),
                argv.as_ptr(),
                env.as_ptr(),
                [cwd.as_raw_fd(), input.as_raw_fd(), output.as_raw_fd(), writing.as_raw_fd()],
            );
        }
        pid
    };
    drop(writing);
    let Ok(pid) = u32::try_from(pid) else { return Err(CloneError::Clone) };
    let mut said = [0_u8; 4];
    match reading.read_exact(&mut said) {
        Err(_) => Ok(pid),
        Ok(()) => {
            // SAFETY: waits for the child made above; the status is not wanted.
            unsafe {
                libc::waitpid(
                    libc::pid_t::from_ne_bytes(pid.to_ne_bytes()),
                    std::ptr::null_mut(),
                    0,
                )
            };
            Err(CloneError::Exec(io::Error::from_raw_os_error(i32::from_ne_bytes(said))))
        }
    }
}

/// The child's side: never returns.
#[allow(unsafe_code)]
unsafe fn become_image(
    program: *const libc::c_char,
    argv: *const *const libc::c_char,
    env: *const *const libc::c_char,
    [cwd, input, output, writing]: [RawFd; 4],
) -> ! {
    // SAFETY: async-signal-safe calls on descriptors and strings that the caller vouches for.
    unsafe {
        libc::setpgid(0, 0);
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
        let mut none = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
        libc::sigemptyset(none.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), std::ptr::null_mut());
        let ready = libc::dup2(input, 0) >= 0
            && libc::dup2(output, 1) >= 0
            && libc::dup2(output, 2) >= 0
            && libc::fchdir(cwd) == 0;
        if ready {
            libc::execve(program, argv, env);
        }
        let errno = (*libc::__errno_location()).to_ne_bytes();
        libc::write(writing, errno.as_ptr().cast(), errno.len());
        libc::_exit(127)
    }
}

fn pipe() -> io::Result<(File, File)> {
    let (reading, writing) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    Ok((File::from(reading), File::from(writing)))
}
