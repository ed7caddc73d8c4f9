//! Fuses, hooks, clocks and processes of actors.

use super::{Blow, CRASHED, Fuse, Machine, Shared, SimWorld, When};
use jobyard::world::ability::lacking;
use jobyard::world::store::{Outcome, exchange_in, read_whole, write_stamp};
use jobyard::world::{ExecutorLink, World};
use std::path::Path;

const ME: u32 = 1000;

fn p(path: &str) -> &Path {
    Path::new(path)
}

fn three_calls(w: &mut SimWorld) -> Result<usize, jobyard::world::Fault> {
    w.mkdir(p("d"))?;
    let file = w.create(p("d/x"), 0o644)?;
    w.write(&file, b"text")
}

fn names(m: &Shared) -> Vec<String> {
    m.borrow().disk.dump().iter().map(|(path, _, _)| path.display().to_string()).collect()
}

#[test]
fn a_fuse_kills_before_its_call_and_for_ever() {
    let all: [&[&str]; 3] = [&[], &["d"], &["d", "d/x"]];
    for (n, left) in (1..).zip(all) {
        let m = Machine::shared(1, ME);
        let mut w = SimWorld::with_fuse(&m, ME, Fuse::crash_at(n));
        assert_eq!(three_calls(&mut w).unwrap_err().errno, CRASHED);
        assert!(w.crashed());
        assert_eq!(three_calls(&mut w).unwrap_err().errno, CRASHED);
        assert_eq!(w.stat(p("d")).unwrap_err().errno, CRASHED);
        assert_eq!(w.executor(), ExecutorLink::Unreachable);
        assert!(w.git_base(None).is_err());
        assert_eq!(names(&m), left);
    }
}

#[test]
fn other_blows_do_what_they_say() {
    let m = Machine::shared(1, ME);
    let mut w = SimWorld::new(&m, ME);
    w.fuse = Fuse::default()
        .on_change(1, Blow::Errno(libc::ENOSPC))
        .on_change(2, Blow::Lost(libc::EIO))
        .on_change(4, Blow::Short)
        .on_change(5, Blow::CrashAfter)
        .on_look(2, Blow::Errno(libc::EIO));
    assert_eq!(w.mkdir(p("d")).unwrap_err().errno, libc::ENOSPC);
    assert_eq!(w.stat(p("d")), Ok(None));
    assert_eq!(w.mkdir(p("d")).unwrap_err().errno, libc::EIO);
    assert_eq!(w.stat(p("d")).unwrap_err().errno, libc::EIO);
    assert!(w.stat(p("d")).unwrap().is_some(), "it was done but reported as failed");
    let file = w.create(p("d/x"), 0o644).unwrap();
    assert_eq!(w.write(&file, b"12345"), Ok(3));
    assert_eq!(w.write(&file, b"45").unwrap_err().errno, CRASHED);
    assert_eq!(m.borrow().disk.peek(p("d/x")), Some(&b"12345"[..]));
    assert_eq!((w.fuse.changes_seen(), w.fuse.looks_seen()), (5, 3));
}

#[test]
fn a_hook_acts_between_two_calls() {
    let m = Machine::shared(1, ME);
    let mut w = SimWorld::new(&m, ME);
    let mut other = SimWorld::new(&m, ME);
    w.hook = Some(Box::new(move |machine, call| {
        if call.when == When::Before && call.act == "create" {
            other.mkdir(p("by-other")).unwrap();
            machine.borrow_mut().hand(ME).save("d/x", b"by a person").unwrap();
        }
    }));
    assert_eq!(three_calls(&mut w).unwrap_err().errno, libc::EEXIST);
    assert_eq!(names(&m), ["by-other", "d", "d/x"]);
}

#[test]
fn a_hook_may_kill_the_caller_or_cut_the_power() {
    for cut in [false, true] {
        let m = Machine::shared(1, ME);
        let mut w = SimWorld::new(&m, ME);
        let pid = w.identity().pid;
        w.hook = Some(Box::new(move |machine, call| {
            if call.act == "create" && call.when == When::After {
                let mut machine = machine.borrow_mut();
                if cut {
                    machine.power_cut();
                } else {
                    machine.kill(pid);
                }
            }
        }));
        assert_eq!(three_calls(&mut w).unwrap_err().errno, CRASHED);
        assert!(w.crashed());
    }
}

#[test]
fn an_actor_of_an_earlier_boot_stays_dead_when_its_id_is_given_again() {
    let m = Machine::shared(3, ME);
    let mut old = SimWorld::new(&m, ME);
    let id = |w: &SimWorld| (w.identity().pid, w.identity().start_time);
    let twin = |_| {
        m.borrow_mut().reboot();
        let new = SimWorld::new(&m, ME);
        (id(&new) == id(&old)).then_some(new)
    };
    let new = (0..2000).find_map(twin).unwrap();
    assert_ne!(new.identity().boot, old.identity().boot);
    assert_eq!(old.mkdir(p("d")).unwrap_err().errno, CRASHED);
    old.kill();
    assert!(!new.crashed(), "it kills nobody that has its id now");
}

#[test]
fn processes_are_told_by_id_and_start_time() {
    let m = Machine::shared(3, ME);
    let (a, mut b) = (SimWorld::new(&m, ME), SimWorld::new(&m, ME));
    let (pid, start) = (a.identity().pid, a.identity().start_time);
    assert!(b.process_alive(pid, start));
    assert!(!b.process_alive(pid, start + 1));
    a.kill();
    assert!(!b.process_alive(pid, start));
    assert!(a.crashed());
}

#[test]
fn clocks_move_as_they_are_told() {
    let m = Machine::shared(3, ME);
    let w = SimWorld::new(&m, ME);
    let (wall, tick) = (w.now(), w.tick());
    m.borrow_mut().advance(250);
    assert_eq!((w.now().0 - wall.0, w.tick().0 - tick.0), (250, 250));
    m.borrow_mut().jump(-3_600_000);
    assert_eq!((w.now().0 - wall.0, w.tick().0 - tick.0), (250 - 3_600_000, 250));
}

#[test]
fn a_sync_that_fails_with_eio_can_be_forgotten() {
    let m = Machine::shared(3, ME);
    m.borrow_mut().disk.forgets_failed_sync = true;
    let mut w = SimWorld::with_fuse(&m, ME, Fuse::default().on_change(3, Blow::Errno(libc::EIO)));
    let file = w.create(p("x"), 0o644).unwrap();
    w.write(&file, b"text").unwrap();
    assert_eq!(w.sync(&file).unwrap_err().errno, libc::EIO);
    w.sync(&file).unwrap();
    w.sync_dir(p("")).unwrap();
    m.borrow_mut().reboot();
    assert_eq!(m.borrow().disk.peek(p("x")), Some(&b""[..]));
}

#[test]
fn a_trace_tells_each_call() {
    let m = Machine::shared(3, ME);
    m.borrow_mut().trace = Some(Vec::new());
    let mut w = SimWorld::new(&m, ME);
    three_calls(&mut w).unwrap();
    w.mkdir(p("d")).unwrap_err();
    let trace = m.borrow().trace.clone().unwrap();
    assert_eq!(trace.len(), 4);
    assert!(trace[3].ends_with("mkdir d -> 17"), "{trace:?}");
}

#[test]
fn the_lock_of_the_root_dies_with_its_holder() {
    let m = Machine::shared(3, ME);
    let (a, b) = (SimWorld::new(&m, ME), SimWorld::new(&m, ME));
    assert!(a.lock_root() && a.lock_root() && !b.lock_root());
    b.unlock_root();
    assert!(!b.lock_root(), "only the holder gives it back");
    a.unlock_root();
    assert!(b.lock_root() && !a.lock_root());
    b.kill();
    assert!(a.lock_root() && !b.lock_root());
    m.borrow_mut().reboot();
    assert!(!a.lock_root() && SimWorld::new(&m, ME).lock_root());
}

#[test]
fn what_a_file_system_cannot_do_is_named_and_nothing_is_left() {
    let cannot = [
        (3, libc::EPERM, Some("hard links (link)")),
        (4, libc::EINVAL, Some("exchanges (RENAME_EXCHANGE)")),
        (5, libc::EINVAL, Some("renames that replace nothing (RENAME_NOREPLACE)")),
        (99, libc::EPERM, None),
    ];
    for (n, errno, lacks) in cannot {
        let m = Machine::shared(1, ME);
        let mut w = SimWorld::with_fuse(&m, ME, Fuse::default().on_change(n, Blow::Errno(errno)));
        assert_eq!(lacking(&mut w, p("")).unwrap(), lacks);
        assert_eq!(names(&m), Vec::<String>::new());
    }
    let m = Machine::shared(1, ME);
    let mut w = SimWorld::with_fuse(&m, ME, Fuse::default().on_change(3, Blow::Errno(libc::EIO)));
    assert_eq!(lacking(&mut w, p("")).unwrap_err().errno, libc::EIO, "a bad disk can link");
    assert_eq!(names(&m), Vec::<String>::new());
}

#[test]
fn of_two_saves_in_the_moment_of_a_stamp_the_later_stays_and_the_earlier_is_kept() {
    for in_place in [false, true] {
        let m = Machine::shared(1, ME);
        m.borrow_mut().hand(ME).save("t.yaml", b"read").unwrap();
        let mut w = SimWorld::new(&m, ME);
        let snapshot = read_whole(&mut w, p("t.yaml"), 100).unwrap().unwrap();
        let (temp, _) = write_stamp(&mut w, &snapshot, b"stamped").unwrap();
        let mut exchanges = 0;
        w.hook = Some(Box::new(move |machine, call| {
            if call.when == When::Before && call.act == "exchange" {
                exchanges += 1;
                let mut machine = machine.borrow_mut();
                let saved = match (exchanges, in_place) {
                    (1, _) => machine.hand(ME).save("t.yaml", b"first save"),
                    (2, true) => machine.hand(ME).write("t.yaml", b"second save"),
                    (2, false) => machine.hand(ME).save("t.yaml", b"second save"),
                    _ => Ok(()),
                };
                saved.unwrap();
            }
        }));
        let (done, kept) = exchange_in(&mut w, &snapshot, &temp, None, &[]).unwrap();
        assert_eq!(done, Outcome::LookAgain);
        let kept = kept.expect("nothing was kept");
        assert_eq!(m.borrow().disk.peek(p("t.yaml")), Some(&b"second save"[..]), "{in_place}");
        assert_eq!(m.borrow().disk.peek(&kept), Some(&b"first save"[..]), "{in_place}");
        assert_eq!(names(&m), ["t.yaml".to_owned(), kept.display().to_string()]);
    }
}
