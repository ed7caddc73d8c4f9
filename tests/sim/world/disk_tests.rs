//! The simulated disk does what POSIX says.

use super::disk::{Disk, Health};
use jobyard::world::Kind;
use std::path::Path;

const ME: u32 = 1000;
const OTHER: u32 = 1001;

fn p(path: &str) -> &Path {
    Path::new(path)
}

fn disk() -> Disk {
    let mut disk = Disk::new(ME, 5_000_000);
    disk.mkdir_all(p("a/b"), ME).unwrap();
    disk
}

fn put(disk: &mut Disk, path: &str, text: &[u8]) {
    let file = disk.create(p(path), 0o644, ME).unwrap();
    assert_eq!(disk.write(&file, text), Ok(text.len()));
}

#[test]
fn create_is_exclusive_and_append_is_not() {
    let mut d = disk();
    put(&mut d, "a/x", b"one");
    assert_eq!(d.create(p("a/x"), 0o644, ME).err(), Some(libc::EEXIST));
    let file = d.append(p("a/x"), 0o644, ME).unwrap();
    d.write(&file, b" two").unwrap();
    assert_eq!(d.peek(p("a/x")), Some(&b"one two"[..]));
    let file = d.open(p("a/x"), ME).unwrap().unwrap();
    assert_eq!(d.read(&file, 4, 2).unwrap(), b"tw");
    assert_eq!(d.read(&file, 99, 2).unwrap(), b"");
    assert_eq!(d.write(&file, b"no"), Err(libc::EBADF));
}

#[test]
fn missing_names_and_wrong_kinds_have_their_errors() {
    let mut d = disk();
    put(&mut d, "a/x", b"");
    d.symlink(p("a/s"), ME).unwrap();
    d.mkfifo(p("a/f"), ME).unwrap();
    assert!(d.open(p("a/none"), ME).unwrap().is_none());
    assert!(d.stat(p("none/none")).unwrap().is_none());
    assert_eq!(d.stat(p("a/s")).unwrap().unwrap().kind, Kind::Symlink);
    assert_eq!(d.open(p("a/s"), ME).err(), Some(libc::ELOOP));
    assert_eq!(d.open(p("a/f"), ME).err(), Some(libc::ENXIO));
    assert_eq!(d.open(p("a/b"), ME).err(), Some(libc::EISDIR));
    assert_eq!(d.stat(p("a/s/x")).err(), Some(libc::ELOOP));
    assert_eq!(d.stat(p("a/x/y")).err(), Some(libc::ENOTDIR));
    assert_eq!(d.create(p("none/x"), 0o644, ME).err(), Some(libc::ENOENT));
    assert_eq!(d.list(p("a/x"), ME).err(), Some(libc::ENOTDIR));
    assert_eq!(d.unlink(p("a/b"), ME), Err(libc::EISDIR));
    assert_eq!(d.unlink(p("a/none"), ME), Err(libc::ENOENT));
    assert_eq!(d.mkdir(p("a/x"), ME), Err(libc::EEXIST));
    assert_eq!(d.rmdir(p("a"), ME), Err(libc::ENOTEMPTY));
    assert_eq!(d.stat(p("../x")).err(), Some(libc::EXDEV));
    assert_eq!(d.create(p(&"n".repeat(256)), 0o644, ME).err(), Some(libc::ENAMETOOLONG));
}

#[test]
fn hard_links_share_the_inode() {
    let mut d = disk();
    put(&mut d, "a/x", b"1");
    d.link(p("a/x"), p("a/b/y"), ME).unwrap();
    assert_eq!(d.link(p("a/x"), p("a/b/y"), ME), Err(libc::EEXIST));
    assert_eq!(d.link(p("a/b"), p("a/c"), ME), Err(libc::EPERM));
    let (x, y) = (d.stat(p("a/x")).unwrap().unwrap(), d.stat(p("a/b/y")).unwrap().unwrap());
    assert_eq!((x, x.links), (y, 2));
    d.unlink(p("a/x"), ME).unwrap();
    assert_eq!(d.stat(p("a/b/y")).unwrap().unwrap().links, 1);
    assert_eq!(d.peek(p("a/b/y")), Some(&b"1"[..]));
}

#[test]
fn renames_do_not_replace_and_exchanges_swap() {
    let mut d = disk();
    put(&mut d, "a/x", b"x");
    put(&mut d, "a/b/y", b"y");
    assert_eq!(d.rename(p("a/x"), p("a/b/y"), ME), Err(libc::EEXIST));
    assert_eq!(d.rename(p("a"), p("a/b/c"), ME), Err(libc::EINVAL));
    d.exchange(p("a/x"), p("a/b/y"), ME).unwrap();
    assert_eq!((d.peek(p("a/x")), d.peek(p("a/b/y"))), (Some(&b"y"[..]), Some(&b"x"[..])));
    assert_eq!(d.exchange(p("a/x"), p("a/none"), ME), Err(libc::ENOENT));
    d.rename(p("a/x"), p("a/b/z"), ME).unwrap();
    assert_eq!((d.peek(p("a/x")), d.peek(p("a/b/z"))), (None, Some(&b"y"[..])));
    d.rename_over(p("a/b/z"), p("a/b/y"), ME).unwrap();
    assert_eq!(d.peek(p("a/b/y")), Some(&b"y"[..]));
    d.link(p("a/b/y"), p("a/k"), ME).unwrap();
    d.rename_over(p("a/k"), p("a/b/y"), ME).unwrap();
    assert!(d.peek(p("a/k")).is_some(), "a rename between two links of one file does nothing");
}

#[test]
fn open_files_outlive_their_names() {
    let mut d = disk();
    put(&mut d, "a/x", b"old");
    let file = d.open(p("a/x"), ME).unwrap().unwrap();
    let before = d.stat_file(&file).unwrap();
    d.rename(p("a/x"), p("a/b/x"), ME).unwrap();
    assert_eq!(d.stat_file(&file).unwrap().inode, before.inode);
    d.unlink(p("a/b/x"), ME).unwrap();
    put(&mut d, "a/x", b"new");
    assert_eq!(d.read(&file, 0, 9).unwrap(), b"old");
    assert_eq!(d.stat_file(&file).unwrap().links, 0);
    assert_ne!(d.stat(p("a/x")).unwrap().unwrap().inode, before.inode);
}

#[test]
fn a_number_is_used_again_once_nothing_shows_it() {
    let mut d = disk();
    put(&mut d, "a/x", b"old");
    d.write_back();
    let number = d.stat(p("a/x")).unwrap().unwrap().inode;
    d.unlink(p("a/x"), ME).unwrap();
    put(&mut d, "a/y", b"");
    assert_ne!(d.stat(p("a/y")).unwrap().unwrap().inode, number, "a power cut could show a/x");
    d.sync_dir(p("a")).unwrap();
    put(&mut d, "a/z", b"");
    assert_eq!(d.stat(p("a/z")).unwrap().unwrap().inode, number);
}

#[test]
fn writers_are_seen_while_they_are_open() {
    let mut d = disk();
    put(&mut d, "a/x", b"");
    let reader = d.open(p("a/x"), ME).unwrap().unwrap();
    assert_eq!(d.has_writer(&reader), Some(false));
    let writer = d.open_append(p("a/x"), ME).unwrap();
    assert_eq!((d.has_writer(&reader), d.has_writer(&writer)), (Some(true), Some(false)));
    drop(writer);
    assert_eq!(d.has_writer(&reader), Some(false));
    d.tells_writers = false;
    assert_eq!(d.has_writer(&reader), None);
}

#[test]
fn times_come_from_the_clock() {
    let mut d = disk();
    put(&mut d, "a/x", b"");
    d.now_ns += 7;
    d.link(p("a/x"), p("a/y"), ME).unwrap();
    let stat = d.stat(p("a/x")).unwrap().unwrap();
    assert!(stat.mtime_ns >= 5_000_000 && stat.ctime_ns >= stat.mtime_ns + 7, "{stat:?}");
    d.now_ns += 7;
    d.touch(p("a/y")).unwrap();
    assert!(d.stat(p("a/x")).unwrap().unwrap().mtime_ns >= stat.ctime_ns + 7);
}

#[test]
fn permissions_hold_for_others() {
    let mut d = disk();
    put(&mut d, "a/x", b"");
    d.chmod(p("a/x"), 0o600).unwrap();
    assert_eq!(d.open(p("a/x"), OTHER).err(), Some(libc::EACCES));
    assert_eq!(d.create(p("a/o"), 0o644, OTHER).err(), Some(libc::EACCES));
    d.chmod(p("a"), 0o777).unwrap();
    assert_eq!(d.link(p("a/x"), p("a/o"), OTHER), Err(libc::EPERM));
    d.unlink(p("a/x"), OTHER).unwrap();
    assert!(d.create(p("a/o"), 0o644, OTHER).is_ok());
    assert_eq!(d.stat(p("a/o")).unwrap().unwrap().uid, OTHER);
}

#[test]
fn a_sick_disk_refuses() {
    let mut d = disk();
    put(&mut d, "a/x", b"");
    d.health = Health::Full;
    assert_eq!(d.create(p("a/y"), 0o644, ME).err(), Some(libc::ENOSPC));
    assert_eq!(d.rename(p("a/x"), p("a/y"), ME), Ok(()));
    d.health = Health::ReadOnly;
    assert_eq!(d.unlink(p("a/y"), ME), Err(libc::EROFS));
    assert!(d.stat(p("a/y")).unwrap().is_some());
    d.health = Health::Broken;
    assert_eq!(d.stat(p("a/y")), Err(libc::EIO));
    d.health = Health::Well;
    assert_eq!(d.unlink(p("a/y"), ME), Ok(()));
}

#[test]
fn a_file_emptied_in_place_keeps_its_inode() {
    let mut d = disk();
    put(&mut d, "a/x", b"long text");
    let before = d.stat(p("a/x")).unwrap().unwrap().inode;
    d.truncate(p("a/x"), ME).unwrap();
    let file = d.append(p("a/x"), 0o644, ME).unwrap();
    d.write(&file, b"short").unwrap();
    assert_eq!(d.peek(p("a/x")), Some(&b"short"[..]));
    assert_eq!(d.stat(p("a/x")).unwrap().unwrap().inode, before);
}
