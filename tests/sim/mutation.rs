//! The planted faults: each is found by a life that is sound without it, or `docs/mutation.md` says why not.
//!
//! `SIM_SEARCH=1 cargo test --test sim planted -- --nocapture` looks for them afresh in `SIM_LIVES` lives
//! each and prints the rows anew, `SIM_PLANTED=a,b` only for these, `SIM_KIND=cuts` only in such lives;
//! without it only the lives of the page are lived.

use crate::life::{Ended, Rare, Setup, live};
use crate::planted::{self, Fault, Planting};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Lives in which a fault is looked for.
const LIVES: u64 = 20_000;

/// At least so many of a hundred faults are found.
const PERCENT: usize = 93;

/// Classes under which a fault is looked for, one after the other, with their word on the page.
const KINDS: [(&str, &[&str]); 7] = [
    ("moves", &["ask", "move", "edit", "power", "crash"]),
    ("close", &["ask", "move", "edit", "broken", "foreign", "between"]),
    ("torn", &["ask", "move", "edit", "crash", "between"]),
    ("cuts", &["ask", "move", "edit", "power", "crash", "between", "executor", "broken"]),
    ("all", &[]),
    ("plain", &["ask", "move", "edit", "broken", "foreign"]),
    ("slow", &["ask", "edit", "move", "verb", "crash", "between"]),
];

/// Lives of this kind with a fault whose calls lie, or are only looked for.
pub(crate) fn setup(kind: &str, fault: Option<&'static Fault>, lies: bool) -> Setup {
    let words = KINDS.iter().find(|(name, _)| *name == kind).map_or(&[][..], |(_, words)| words);
    let setup = if words.is_empty() { Setup::without(&[]) } else { Setup::of(words) };
    let wide = kind == "moves";
    let aimed = wide || kind == "cuts";
    let planted = fault.filter(|_| lies || aimed);
    let planted = planted.map(|fault| Planting { fault, lies, aimed, wide });
    let rare = match kind {
        "moves" => Some(Rare::Moves),
        "close" | "torn" => Some(Rare::Close),
        _ => None,
    };
    Setup { planted, rare, slow: kind == "slow", ..setup }
}

/// The life of a seed with a fault, or the same where its calls do not lie. A panic is a broken life too.
fn lived(seed: u64, kind: &str, fault: &'static Fault, lies: bool) -> Ended {
    let setup = setup(kind, Some(fault), lies);
    catch_unwind(AssertUnwindSafe(|| live(seed, &setup, false))).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|t| (*t).to_owned()));
        let met = planted::met();
        Ended { broken: vec![text.unwrap_or_default()], met, ..Ended::default() }
    })
}

/// What became of a fault.
#[derive(Clone, Debug, Default)]
struct Search {
    /// Kind and seed of the first life that finds it and is sound without, and what the judge says.
    found: Option<(&'static str, u64, String)>,
    /// Otherwise: kind and seed of a life in which it took effect.
    met: Option<(&'static str, u64)>,
}

fn search(fault: &'static Fault, lives: u64) -> Search {
    let mut search = Search::default();
    let only = std::env::var("SIM_KIND").ok();
    for (kind, _) in KINDS {
        let fits = match kind {
            "cuts" | "moves" => planted::is_of_sync(fault),
            "close" | "torn" => !planted::is_of_sync(fault),
            "slow" => fault.name.contains("writer"),
            "plain" => !planted::is_of_sync(fault),
            _ => true,
        };
        if !fits || only.as_ref().is_some_and(|only| only != kind) {
            continue;
        }
        for seed in 1..=lives {
            let ended = lived(seed, kind, fault, true);
            if ended.met > 0 {
                search.met.get_or_insert((kind, seed));
            }
            let Some(text) = ended.broken.first().filter(|_| ended.met > 0) else { continue };
            if lived(seed, kind, fault, false).broken.is_empty() {
                search.found = Some((kind, seed, sentence(text)));
                return search;
            }
        }
    }
    search
}

/// The longest part of a sentence without a number or a name.
fn sentence(text: &str) -> String {
    let cut = |c: char| c.is_ascii_digit() || "`|[]{}()\"\n/".contains(c);
    let part = text.split("WO-").flat_map(|t| t.split(cut)).max_by_key(|part| part.trim().len());
    part.unwrap_or_default().trim().trim_matches([',', ':', ';', '-']).trim().to_owned()
}

/// A row of the page.
#[derive(Debug)]
struct Row {
    broken: String,
    kind: String,
    seed: u64,
    says: String,
}

const PAGE: &str = include_str!("../../docs/mutation.md");

/// The tables of the page: of faults that are found, of those that survive, and of those without effect.
const TABLES: [&str; 3] = ["## Found", "## Survivors", "## Without effect"];

type Rows = BTreeMap<String, Row>;

fn page() -> [Rows; 3] {
    let mut tables = [Rows::new(), Rows::new(), Rows::new()];
    let mut at = 0;
    for line in PAGE.lines() {
        at = TABLES.iter().position(|head| line == *head).unwrap_or(at);
        let Some(line) = line.strip_prefix("| `").filter(|l| l.split(" | ").count() == 5) else {
            continue;
        };
        let cells: Vec<&str> = line.split(" | ").collect();
        let [name, broken, kind, seed, says] = cells[..] else { continue };
        let seed = seed.parse().expect("a seed");
        let (broken, kind) = (broken.to_owned(), kind.to_owned());
        let row = Row { broken, kind, seed, says: says.trim_end_matches(" |").to_owned() };
        let before = tables[at].insert(name.trim_end_matches('`').to_owned(), row);
        assert!(before.is_none(), "{name} has two rows");
    }
    tables
}

/// The row of a fault, and whether a life finds it.
fn row<'a>(tables: &'a [Rows; 3], fault: &Fault) -> Option<(&'a Row, bool)> {
    let found = tables.iter().position(|rows| rows.contains_key(fault.name))?;
    Some((tables[found].get(fault.name)?, found == 0))
}

/// Does something for each fault, on two threads, and returns what it gave in their order.
fn each<T: Send>(act: impl Fn(&'static Fault) -> T + Sync) -> Vec<(&'static Fault, T)> {
    let only = std::env::var("SIM_PLANTED").ok();
    let wanted = |f: &&Fault| only.as_ref().is_none_or(|o| o.split(',').any(|name| name == f.name));
    let faults: Vec<&'static Fault> = planted::all().filter(wanted).collect();
    let (next, done) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(fault) = faults.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let given = act(fault);
                    done.lock().expect("no thread panics").insert(fault.name, given);
                }
            });
        }
    });
    let mut done = done.into_inner().expect("no thread panics");
    faults.into_iter().filter_map(|f| Some((f, done.remove(f.name)?))).collect()
}

#[test]
fn planted_faults_are_where_they_say() {
    let missing = planted::sites();
    assert!(missing.is_empty(), "no such line, or two: {missing:#?}");
}

#[test]
fn planted_faults_have_their_rows() {
    let tables = page();
    for fault in planted::all() {
        let Some((row, _)) = row(&tables, fault) else {
            panic!("{} has no row in docs/mutation.md", fault.name)
        };
        assert_eq!(row.broken, fault.broken, "{}", fault.name);
        assert!(!row.says.trim().is_empty(), "{}: nothing is said of it", fault.name);
        assert!(KINDS.iter().any(|(kind, _)| *kind == row.kind), "{}: {}", fault.name, row.kind);
    }
    let [found, survivors, without] = tables.map(|rows| rows.len());
    let all = planted::all().count();
    assert_eq!(found + survivors + without, all, "a row is of no fault, or of two tables");
    assert!(all >= 60, "only {all} faults");
    assert!(found * 100 >= (found + survivors) * PERCENT, "{found} found, {survivors} survive");
}

/// Each is found in the life of its row, which is sound without it, for the reason that stands there; each
/// survivor takes effect in its life, and breaks nothing.
#[test]
fn planted_faults_are_found() {
    if std::env::var("SIM_SEARCH").is_ok() {
        return look_for_all();
    }
    let tables = page();
    let wrong = each(|fault| {
        let Some((row, found)) = row(&tables, fault) else {
            return Some(format!("{} has no row", fault.name));
        };
        let ended = lived(row.seed, &row.kind, fault, true);
        let life = format!("{} in life {} ({})", fault.name, row.seed, row.kind);
        if ended.met == 0 {
            return Some(format!("{life} never takes effect"));
        }
        if !found {
            return (!ended.broken.is_empty())
                .then(|| format!("{life} is found: {:?}", ended.broken));
        }
        if !ended.broken.iter().any(|text| text.contains(&row.says)) {
            return Some(format!("{life}: {:?} instead of {:?}", ended.broken, row.says));
        }
        let sound = lived(row.seed, &row.kind, fault, false).broken;
        (!sound.is_empty()).then(|| format!("{life} is broken without it: {sound:?}"))
    });
    let wrong: Vec<String> = wrong.into_iter().filter_map(|(_, text)| text).collect();
    assert!(wrong.is_empty(), "{} are not what docs/mutation.md says: {wrong:#?}", wrong.len());
}

/// What finds the faults finds nothing where none is planted, or where it never takes effect.
#[test]
fn planted_nothing_is_not_found() {
    static NOTHING: Fault = Fault { name: "nothing", broken: "", how: planted::How::Machine };
    let search = search(&NOTHING, 200);
    assert!(search.found.is_none() && search.met.is_none(), "{search:?}");
}

/// Searches afresh and prints the rows. Those that the page knows to survive are looked for by name only.
fn look_for_all() {
    let lives = std::env::var("SIM_LIVES").ok().and_then(|n| n.parse().ok()).unwrap_or(LIVES);
    let tables = page();
    let count = AtomicU64::new(0);
    let named = std::env::var("SIM_PLANTED").is_ok();
    let survives = |fault: &Fault| !named && row(&tables, fault).is_some_and(|(_, found)| !found);
    let all = each(|fault| {
        if survives(fault) {
            return Search::default();
        }
        let search = search(fault, lives);
        match &search.found {
            Some((kind, seed, says)) => {
                count.fetch_add(1, Ordering::Relaxed);
                println!("| `{}` | {} | {kind} | {seed} | {says} |", fault.name, fault.broken);
            }
            None => println!("{} survives: {:?}", fault.name, search.met),
        }
        search
    });
    let caught = count.into_inner();
    let known = all.iter().filter(|(fault, _)| survives(fault)).count();
    println!("caught {caught} of {}; {known} more are known to survive", all.len() - known);
    let lost: Vec<_> = all
        .iter()
        .filter(|(f, s)| s.found.is_none() && row(&tables, f).is_none_or(|(_, found)| found))
        .map(|(f, _)| f.name)
        .collect();
    assert!(
        lost.is_empty(),
        "not found, and not among the survivors of docs/mutation.md: {lost:?}"
    );
}
