//! What a power cut may leave, and what it must: each claim over many seeds.

use super::disk::Disk;
use super::power::Style;
use crate::rng::Rng;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

const ME: u32 = 1000;
const SEEDS: u64 = 400;

fn p(path: &str) -> &Path {
    Path::new(path)
}

/// Two durable directories, `a` with a durable file `a/old`.
fn disk() -> Disk {
    let mut disk = Disk::new(ME, 0);
    disk.mkdir(p("a"), ME).unwrap();
    disk.mkdir(p("b"), ME).unwrap();
    let file = disk.create(p("a/old"), 0o644, ME).unwrap();
    disk.write(&file, b"old").unwrap();
    disk.write_back();
    disk
}

/// All states that `names` show after `act` and a power cut, over many seeds.
fn outcomes(names: &[&str], act: impl Fn(&mut Disk)) -> BTreeSet<Vec<Option<String>>> {
    let after = |seed| {
        let mut disk = disk();
        act(&mut disk);
        disk.power_cut(&mut Rng::new(seed));
        let text = |name: &&str| disk.peek(p(name)).map(|t| String::from_utf8(t.to_vec()).unwrap());
        names.iter().map(text).collect()
    };
    (0..SEEDS).map(after).collect()
}

fn rows(rows: &[&[Option<&str>]]) -> BTreeSet<Vec<Option<String>>> {
    rows.iter().map(|row| row.iter().map(|cell| cell.map(str::to_owned)).collect()).collect()
}

#[test]
fn what_is_synced_with_its_name_survives() {
    let seen = outcomes(&["b/x", "a/old"], |d| {
        let file = d.create(p("b/x"), 0o644, ME).unwrap();
        d.write(&file, b"new").unwrap();
        d.sync(&file).unwrap();
        d.sync_dir(p("b")).unwrap();
    });
    assert_eq!(seen, rows(&[&[Some("new"), Some("old")]]));
}

#[test]
fn a_synced_file_without_a_synced_name_may_vanish() {
    let seen = outcomes(&["b/x"], |d| {
        let file = d.create(p("b/x"), 0o644, ME).unwrap();
        d.write(&file, b"new").unwrap();
        d.sync(&file).unwrap();
    });
    assert_eq!(seen, rows(&[&[None], &[Some("new")]]));
}

#[test]
fn an_unsynced_file_with_a_synced_name_may_be_any_prefix() {
    let seen = outcomes(&["b/x"], |d| {
        let file = d.create(p("b/x"), 0o644, ME).unwrap();
        d.write(&file, b"ab").unwrap();
        d.sync_dir(p("b")).unwrap();
    });
    assert_eq!(seen, rows(&[&[Some("")], &[Some("a")], &[Some("ab")]]));
}

#[test]
fn what_was_synced_before_more_was_appended_stays() {
    let seen = outcomes(&["a/old"], |d| {
        let file = d.append(p("a/old"), 0o644, ME).unwrap();
        d.write(&file, b"12").unwrap();
    });
    assert_eq!(seen, rows(&[&[Some("old")], &[Some("old1")], &[Some("old12")]]));
}

#[test]
fn a_file_overwritten_in_place_may_be_old_empty_or_torn() {
    let seen = outcomes(&["a/old"], |d| {
        d.truncate(p("a/old"), ME).unwrap();
        let file = d.append(p("a/old"), 0o644, ME).unwrap();
        d.write(&file, b"n").unwrap();
    });
    assert_eq!(seen, rows(&[&[Some("old")], &[Some("")], &[Some("n")]]));
}

#[test]
fn a_rename_across_directories_shows_old_new_or_both_but_never_none() {
    let seen = outcomes(&["a/old", "b/new"], |d| d.rename(p("a/old"), p("b/new"), ME).unwrap());
    let old = Some("old");
    assert_eq!(seen, rows(&[&[old, None], &[None, old], &[old, old]]));
}

#[test]
fn both_names_of_an_interrupted_rename_are_one_inode() {
    for seed in 0..SEEDS {
        let mut d = disk();
        d.rename(p("a/old"), p("b/new"), ME).unwrap();
        d.sync_dir(p("b")).unwrap();
        d.power_cut(&mut Rng::new(seed));
        let (old, new) = (d.stat(p("a/old")).unwrap(), d.stat(p("b/new")).unwrap());
        assert!(new.is_some());
        assert!(old.is_none() || old == new);
        assert_eq!(new.unwrap().links, 1 + u64::from(old.is_some()));
    }
}

#[test]
fn syncing_the_source_of_a_rename_makes_its_target_durable() {
    let seen = outcomes(&["a/old", "b/new"], |d| {
        d.rename(p("a/old"), p("b/new"), ME).unwrap();
        d.sync_dir(p("a")).unwrap();
    });
    assert_eq!(seen, rows(&[&[None, Some("old")]]));
}

/// A file that is replaced where it was moved to, and only that directory synced.
fn replaced_where_it_came(d: &mut Disk, logged: bool) {
    d.logs_names = logged;
    d.rename(p("a/old"), p("b/new"), ME).unwrap();
    let file = d.create(p("b/x"), 0o644, ME).unwrap();
    d.write(&file, b"x").unwrap();
    d.sync(&file).unwrap();
    d.exchange(p("b/x"), p("b/new"), ME).unwrap();
    d.sync_dir(p("b")).unwrap();
}

#[test]
fn a_logged_sync_of_one_directory_may_show_the_old_file_where_it_was() {
    let (names, x) = (["a/old", "b/new"], Some("x"));
    let seen = outcomes(&names, |d| replaced_where_it_came(d, true));
    assert_eq!(seen, rows(&[&[Some("old"), x], &[None, x]]));
    let seen = outcomes(&names, |d| replaced_where_it_came(d, false));
    assert_eq!(seen, rows(&[&[None, x]]));
}

#[test]
fn a_cut_loses_just_what_was_to_be_synced() {
    for (dir, old, new) in [("a", true, true), ("b", false, false)] {
        let mut d = disk();
        d.link(p("a/old"), p("b/new"), ME).unwrap();
        d.unlink(p("a/old"), ME).unwrap();
        let lost = d.ino_of(p(dir)).unwrap();
        d.power_cut_losing(&[lost], &mut Rng::new(1));
        let there = |path| d.peek(p(path)).is_some();
        assert_eq!((there("a/old"), there("b/new")), (old, new), "{dir}");
    }
}

#[test]
fn an_exchange_is_whole_or_not_at_all() {
    let seen = outcomes(&["a/old", "b/x"], |d| {
        let file = d.create(p("b/x"), 0o644, ME).unwrap();
        d.write(&file, b"x").unwrap();
        d.sync(&file).unwrap();
        d.sync_dir(p("b")).unwrap();
        d.exchange(p("a/old"), p("b/x"), ME).unwrap();
    });
    assert_eq!(seen, rows(&[&[Some("old"), Some("x")], &[Some("x"), Some("old")]]));
}

#[test]
fn changes_in_one_directory_survive_in_their_order() {
    let seen = outcomes(&["b/1", "b/2", "a/3"], |d| {
        for name in ["b/1", "b/2", "a/3"] {
            d.link(p("a/old"), p(name), ME).unwrap();
        }
    });
    let first = |row: &Vec<Option<String>>| row[0].is_some() || row[1].is_none();
    assert!(seen.iter().all(first), "{seen:?}");
    let alone = rows(&[&[None, None, Some("old")]]);
    assert!(seen.is_superset(&alone), "directories are independent of each other");
}

#[test]
fn an_unsynced_unlink_may_come_undone() {
    let seen = outcomes(&["a/old"], |d| d.unlink(p("a/old"), ME).unwrap());
    assert_eq!(seen, rows(&[&[None], &[Some("old")]]));
}

#[test]
fn a_failed_sync_may_be_forgotten() {
    let mut d = disk();
    d.forgets_failed_sync = true;
    let file = d.append(p("a/old"), 0o644, ME).unwrap();
    d.write(&file, b"12").unwrap();
    d.sync_failed(&file);
    assert_eq!(d.sync(&file), Ok(()));
    d.power_cut_as(Style::Everything, &mut Rng::new(1));
    assert_eq!(d.peek(p("a/old")), Some(&b"old"[..]));
}

#[test]
fn zeros_appear_only_when_asked_for() {
    let zeros = |allowed: bool| {
        (0..SEEDS).any(|seed| {
            let mut d = disk();
            d.leaves_zeros = allowed;
            let file = d.append(p("a/old"), 0o644, ME).unwrap();
            d.write(&file, b"12").unwrap();
            d.power_cut(&mut Rng::new(seed));
            d.peek(p("a/old")).unwrap().contains(&0)
        })
    };
    assert!(zeros(true));
    assert!(!zeros(false));
}

#[test]
fn a_moved_directory_never_has_two_names() {
    let seen = outcomes(&["a/d/f", "b/d/f"], |d| {
        d.mkdir(p("a/d"), ME).unwrap();
        d.link(p("a/old"), p("a/d/f"), ME).unwrap();
        d.write_back();
        d.rename(p("a/d"), p("b/d"), ME).unwrap();
    });
    assert_eq!(seen, rows(&[&[Some("old"), None], &[None, Some("old")]]));
}

/// Random acts on few names, then a cut, again and again.
fn random_life(seed: u64) -> Disk {
    let names = ["a/1", "a/2", "b/1", "b/2", "a/old", "b/d/1", "c"];
    let mut rng = Rng::new(seed);
    let mut d = disk();
    for _ in 0..120 {
        let (x, y) = (p(rng.pick(&names).unwrap()), p(rng.pick(&names).unwrap()));
        let _ = match rng.below(14) {
            0 | 1 => d.create(x, 0o644, ME).and_then(|f| d.write(&f, b"text")).map(|_| ()),
            2 => d.append(x, 0o644, ME).and_then(|f| d.write(&f, b"more")).map(|_| ()),
            3 => d.append(x, 0o644, ME).and_then(|f| d.sync(&f)),
            4 | 5 => d.link(x, y, ME),
            6 | 7 => d.rename(x, y, ME),
            8 => d.exchange(x, y, ME),
            9 => d.unlink(x, ME),
            10 => d.mkdir(p("b/d"), ME),
            11 => d.truncate(x, ME),
            12 => d.sync_dir(x.parent().unwrap()),
            _ => {
                if rng.chance(20) {
                    d.power_cut(&mut rng);
                }
                Ok(())
            }
        };
        check_inodes(&d);
    }
    d
}

/// Every number is one inode, with as many names as its link count says.
fn check_inodes(d: &Disk) {
    let mut found: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
    for (path, kind, content) in d.dump() {
        let stat = d.stat(&path).unwrap().unwrap();
        assert_eq!((stat.kind, stat.size), (kind, content.len() as u64));
        let entry = found.entry(stat.inode).or_insert((0, stat.links));
        entry.0 += 1;
        assert_eq!(entry.1, stat.links, "two inodes have number {}", stat.inode);
    }
    assert!(found.values().all(|(names, links)| names == links), "{found:?}");
}

#[test]
fn random_lives_keep_the_disk_whole_and_repeat_exactly() {
    for seed in 0..150 {
        let (one, two) = (random_life(seed), random_life(seed));
        assert_eq!(one.dump(), two.dump());
    }
}
