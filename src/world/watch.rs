//! File notification: hints from the kernel that a name has changed.
//!
//! Invariants: an event says "look again", never what is so; an overflow, a lost watch or a replaced
//! directory says "look at everything again"; reading a file wakes nobody.

use crate::model::order::State;
use crate::model::paths;
use crate::world::Fault;
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Where a name changed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Place {
    /// In the directory of a state.
    State(State),
    /// In `control/`.
    Control,
    /// In jobyard's own directory: the executor came.
    Own,
    /// In `_ctx/jobs`: a state directory may have been replaced.
    Jobs,
}

/// One hint.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Hint {
    /// This name; `renamed` when it came in by a rename, whole.
    Name {
        /// Where.
        place: Place,
        /// The name.
        name: Vec<u8>,
        /// It came in by a rename.
        renamed: bool,
    },
    /// Events were lost, or a directory was replaced: watches have to be made again.
    Rescan,
}

/// Above the directories of the states.
const JOBS: &str = "_ctx/jobs";

const TOO_MANY_INSTANCES: &str =
    "watch (the limit is fs.inotify.max_user_instances, or that of open files)";
const TOO_MANY_WATCHES: &str = "watch (the limit is fs.inotify.max_user_watches)";

/// What to call the attempt of a watch that was refused: a limit that is met is named.
pub fn attempt(errno: i32) -> &'static str {
    match Errno::from_raw_os_error(errno) {
        Errno::MFILE => TOO_MANY_INSTANCES,
        Errno::NOSPC => TOO_MANY_WATCHES,
        _ => "watch",
    }
}

/// A watch was refused because others use up what there is.
pub fn is_limit(fault: &Fault) -> bool {
    [TOO_MANY_INSTANCES, TOO_MANY_WATCHES].contains(&fault.act)
}

/// The watches of one root.
pub struct Watch {
    fd: OwnedFd,
    places: BTreeMap<i32, Place>,
}

impl Watch {
    /// Arms the watches. Armed before the first scan, so that nothing falls in between.
    pub fn arm(root: &Path) -> Result<Self, Fault> {
        let fault = |errno: Errno, dir: &Path| {
            let errno = errno.raw_os_error();
            Fault { act: attempt(errno), path: dir.to_owned(), errno }
        };
        let fd = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)
            .map_err(|e| fault(e, Path::new(JOBS)))?;
        let mut watch = Self { fd, places: BTreeMap::new() };
        let names = WatchFlags::CREATE
            | WatchFlags::CLOSE_WRITE
            | WatchFlags::MOVED_TO
            | WatchFlags::MOVED_FROM
            | WatchFlags::DELETE
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF
            | WatchFlags::ONLYDIR
            | WatchFlags::DONT_FOLLOW;
        let replaced = WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::DELETE_SELF;
        let control = (PathBuf::from(paths::CONTROL), Place::Control, names);
        let own =
            (PathBuf::from(paths::OWN), Place::Own, WatchFlags::CREATE | WatchFlags::MOVED_TO);
        let jobs = (PathBuf::from(JOBS), Place::Jobs, replaced | WatchFlags::ONLYDIR);
        // A file that could not be read may be readable now.
        let mask = |s| if s == State::Pending { names | WatchFlags::ATTRIB } else { names };
        let states = State::ALL.map(|s| (paths::dir(s), Place::State(s), mask(s)));
        for (dir, place, mask) in states.into_iter().chain([control, own, jobs]) {
            let id =
                inotify::add_watch(&watch.fd, root.join(&dir), mask).map_err(|e| fault(e, &dir))?;
            watch.places.insert(id, place);
        }
        Ok(watch)
    }

    /// For waiting.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// The hints that have arrived; never waits.
    pub fn hints(&mut self) -> io::Result<Vec<Hint>> {
        let mut hints = Vec::new();
        let mut buffer = [MaybeUninit::uninit(); 16 << 10];
        let mut reader = inotify::Reader::new(&self.fd, &mut buffer);
        loop {
            let event = match reader.next() {
                Ok(event) => event,
                Err(Errno::AGAIN) => return Ok(hints),
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            };
            let lost = ReadFlags::QUEUE_OVERFLOW
                | ReadFlags::DELETE_SELF
                | ReadFlags::MOVE_SELF
                | ReadFlags::IGNORED
                | ReadFlags::UNMOUNT;
            let place = self.places.get(&event.wd()).copied();
            let name = event.file_name().map(|n| n.to_bytes().to_vec()).unwrap_or_default();
            match place {
                Some(place) if !event.events().intersects(lost) => {
                    hints.extend(hint(place, name, event.events()));
                }
                _ => hints.push(Hint::Rescan),
            }
        }
    }
}

fn hint(place: Place, name: Vec<u8>, events: ReadFlags) -> Option<Hint> {
    if place == Place::Jobs {
        let state = State::ALL.iter().any(|s| s.name().as_bytes() == name) || name == b"control";
        return state.then_some(Hint::Rescan);
    }
    let hidden = name.first() == Some(&b'.') && place != Place::Own;
    let renamed = events.contains(ReadFlags::MOVED_TO);
    (!hidden).then_some(Hint::Name { place, name, renamed })
}
