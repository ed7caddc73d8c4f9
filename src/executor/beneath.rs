//! Opening files under the root, and the places of the executor's own files.
//!
//! Invariant: no call here follows a symbolic link or leaves the root. Needs `openat2` (Linux 5.6).

use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags, mkdirat, open, openat2, unlinkat};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Directory of the executor's files, relative to the root.
pub(crate) const EXEC_DIR: &str = "_ctx/runs/.jobyard";

/// Held for life by the one executor of a root.
pub(crate) const LOCK: &str = "exec.lock";

/// Where it listens.
pub(crate) const SOCKET: &str = "exec.sock";

const RESOLVE: ResolveFlags =
    ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);

/// Opens the root itself.
pub(crate) fn open_root(root: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(open(root, flags, Mode::empty())?)
}

/// Opens a directory under `base` for use as a place.
pub(crate) fn open_dir(base: impl AsFd, path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(openat2(base, path, flags, Mode::empty(), RESOLVE)?)
}

/// Opens a file under `base`; never blocks on a FIFO. `mode` counts only when `flags` create it.
pub(crate) fn open_file(
    base: impl AsFd,
    path: &Path,
    flags: OFlags,
    mode: u32,
) -> io::Result<File> {
    let flags = flags | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let mode =
        if flags.contains(OFlags::CREATE) { Mode::from_raw_mode(mode) } else { Mode::empty() };
    Ok(File::from(openat2(base, path, flags, mode, RESOLVE)?))
}

/// Makes the missing directories of `path` under `base`, trying the innermost first: mostly only that one
/// is missing.
pub(crate) fn ensure_dir(base: impl AsFd, path: &Path) -> io::Result<()> {
    let base = base.as_fd();
    let Some(name) = path.file_name() else { return open_dir(base, path).map(drop) };
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let opened = match open_dir(base, parent) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            ensure_dir(base, parent)?;
            open_dir(base, parent)
        }
        other => other,
    };
    match mkdirat(&opened?, Path::new(name), Mode::from_raw_mode(0o755)) {
        Ok(()) => Ok(()),
        // What stands there may be anything.
        Err(Errno::EXIST) => open_dir(base, path).map(drop),
        Err(errno) => Err(errno.into()),
    }
}

/// Removes a name beneath `base`; what it leads to, if it is a link, stays.
pub(crate) fn remove(base: impl AsFd, path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let dir = open_dir(base, parent.unwrap_or(Path::new(".")))?;
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    match unlinkat(&dir, name, AtFlags::empty()) {
        Err(errno) if errno != Errno::NOENT => Err(errno.into()),
        _ => Ok(()),
    }
}

/// Something beneath `base` has this name. The error: nobody can tell.
pub(crate) fn exists(base: impl AsFd, path: &Path) -> io::Result<bool> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match openat2(base, path, flags, Mode::empty(), RESOLVE) {
        Ok(_) => Ok(true),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

/// Opens the executor's directory of an existing root, without making it.
pub(crate) fn open_exec_dir(root: &Path) -> io::Result<OwnedFd> {
    open_dir(open_root(root)?, Path::new(EXEC_DIR))
}

/// A path through which the kernel finds `name` in the open directory, however long the real path is.
pub(crate) fn through(dir: &OwnedFd, name: &str) -> PathBuf {
    use std::os::fd::AsRawFd;
    PathBuf::from(format!("/proc/self/fd/{}/{name}", dir.as_raw_fd()))
}

/// Where an open directory is now.
pub(crate) fn path_of(dir: &OwnedFd) -> io::Result<PathBuf> {
    use std::os::fd::AsRawFd;
    std::fs::read_link(format!("/proc/self/fd/{}", dir.as_raw_fd()))
}

/// The null device.
pub(crate) fn null() -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOCTTY;
    Ok(File::from(rustix::fs::openat(CWD, "/dev/null", flags, Mode::empty())?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_outside_and_no_link_is_opened() {
        let root = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/etc", root.path().join("out")).unwrap();
        let base = open_root(root.path()).unwrap();
        assert!(open_file(&base, Path::new("out/passwd"), OFlags::RDONLY, 0).is_err());
        assert!(
            open_file(&base, Path::new("../x"), OFlags::CREATE | OFlags::WRONLY, 0o600).is_err()
        );
        assert!(open_file(&base, Path::new("/etc/passwd"), OFlags::RDONLY, 0).is_err());
        assert!(ensure_dir(&base, Path::new("out/x")).is_err());
        assert!(ensure_dir(&base, Path::new("../y")).is_err());
    }

    #[test]
    fn a_name_is_there_or_not() {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("log"), "").unwrap();
        std::os::unix::fs::symlink("nowhere", root.path().join("link")).unwrap();
        let base = open_root(root.path()).unwrap();
        let absent = ["none", "log/x", "link/x", "../log"].map(|path| (path, false));
        for (path, there) in absent.into_iter().chain([("log", true), ("link", true)]) {
            assert_eq!(exists(&base, Path::new(path)).unwrap(), there, "{path}");
        }
    }

    #[test]
    fn directories_are_made_once() {
        let root = tempfile::tempdir().unwrap();
        let base = open_root(root.path()).unwrap();
        ensure_dir(&base, Path::new("a/b/c")).unwrap();
        ensure_dir(&base, Path::new("a/b/c")).unwrap();
        assert!(root.path().join("a/b/c").is_dir());
    }
}
