//! Whether a file is open for writing elsewhere: asked by a read lease that is given back at once.
//!
//! Does not decide anything: where the system refuses the question, the answer is `None`.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::sync::Once;

/// `Some(true)`: a process has it open for writing. `None`: the system cannot tell.
#[allow(unsafe_code)]
pub fn has_writer(file: &File) -> Option<bool> {
    static IGNORED: Once = Once::new();
    // SAFETY: sets the disposition of one signal to "ignore"; no handler, no memory involved. The kernel
    // sends SIGIO when somebody opens the file while the lease is held, and its default is to end us.
    IGNORED.call_once(|| unsafe {
        libc::signal(libc::SIGIO, libc::SIG_IGN);
    });
    let fd = file.as_raw_fd();
    // SAFETY: F_SETLEASE takes an open descriptor, which `file` keeps open, and an integer; it touches
    // no memory of ours.
    let leased = unsafe { libc::fcntl(fd, libc::F_SETLEASE, libc::F_RDLCK) };
    if leased == 0 {
        // SAFETY: as above.
        unsafe { libc::fcntl(fd, libc::F_SETLEASE, libc::F_UNLCK) };
        return Some(false);
    }
    match std::io::Error::last_os_error().raw_os_error() {
        Some(libc::EAGAIN) => Some(true),
        _ => None,
    }
}
