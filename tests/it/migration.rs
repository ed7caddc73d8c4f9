//! `docs/migration.md`: every command of its tables and blocks, in the order of the page, on a root as older
//! tools leave it: state tracked by git, no ledger, a lock of four lines, engines that nobody has.

use crate::pages::{commands, shell};
use crate::yard::Yard;

const PAGE: &str = include_str!("../../docs/migration.md");

/// Orders as those tools wrote them: state, id, what is special.
const ORDERS: &[(&str, &str, &str)] = &[
    ("failed", "WO-0011", "status: failed\nx_failed_at: '2026-01-02T03:04:05Z'\n"),
    (
        "done",
        "WO-0012",
        "status: done\nclosed_at: '2026-01-02T03:04:05Z'\nverified_at_sha: abc1234\n",
    ),
    ("pending", "WO-0013", "status: pending\n"),
    ("pending", "WO-0014", "status: pending\n"),
    ("pending", "WO-0015", "status: pending\ndependencies: [WO-0016]\n"),
    ("pending", "WO-0016", "status: pending\ndependencies: [WO-0012]\n"),
];

fn legacy() -> Yard {
    let yard = Yard::git();
    std::fs::remove_dir_all(yard.path("_ctx")).unwrap();
    for (state, id, rest) in ORDERS {
        let text = format!(
            "version: 1\nid: {id}\nepic_id: E-0001\ntitle: \"Work of {id}\" # ours\npriority: P2\n{rest}\
             scope:\n  allow: ['src/**']\n  deny: ['.env*']\nverify:\n  commands:\n    \
             - test -s src/a.txt\ndod_id: DOD-DEFAULT\nexecution:\n  engine: trifecta\n  segment: \".\"\n"
        );
        yard.put(&Yard::ticket(state, id), &text);
    }
    yard.put("_ctx/jobs/running/.gitkeep", "");
    yard.put("_ctx/backlog/backlog.yaml", "version: 1\nepics: [{id: E-0001, title: E}]\n");
    yard.put("_ctx/dod/default.yaml", "version: 1\ndod: [{id: DOD-DEFAULT, title: D}]\n");
    yard.put("order.yaml", "id: order\ntitle: T\nrun: make\n");
    yard.run_git(".", &["add", "-f", "_ctx"]);
    yard.run_git(".", &["commit", "-q", "-m", "state"]);
    yard
}

/// The commands of ours in a row of a table, each with the code that stands behind it.
fn of_row(line: &str) -> Vec<(String, i32)> {
    let Some(cell) = line.strip_prefix("| ").and_then(|l| l.split(" | ").nth(1)) else {
        return Vec::new();
    };
    let parts: Vec<&str> = cell.split('`').collect();
    let quoted = parts.chunks(2).filter_map(|pair| Some((pair.get(1)?, pair[0])));
    let mut found: Vec<(String, i32)> = Vec::new();
    for (at, (text, _)) in quoted.enumerate() {
        if text.starts_with("jobyard ") {
            let after = parts.get(2 * at + 2).copied().unwrap_or_default();
            let code = after.strip_prefix(" (exit ").and_then(|c| c.split(')').next());
            found.push((format!("{text}\n"), code.map_or(0, |c| c.parse().unwrap())));
        }
    }
    found
}

#[test]
fn every_command_of_the_page_works_on_a_root_of_older_tools() {
    let yard = legacy();
    let mut path: Vec<(String, i32)> =
        commands(PAGE).concat().into_iter().map(|command| (command, 0)).collect();
    path.extend(PAGE.lines().flat_map(of_row));
    assert!(path.len() >= 40, "{path:?}");
    let (typed, codes): (Vec<String>, Vec<i32>) = path.into_iter().unzip();
    let mut wrong = Vec::new();
    for ((command, said, code), want) in shell(&yard, &typed).into_iter().zip(codes) {
        if code != want {
            wrong.push(format!("{command}: wanted {want}, got {code}: {said}"));
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    for id in ["WO-0012", "WO-0013", "WO-0014"] {
        assert_eq!(yard.places(id), ["done"]);
        assert!(yard.text(&Yard::ticket("done", id)).contains("# ours"), "comments stay");
    }
    assert_eq!(yard.places("WO-0011"), ["pending"]);
    assert!(!yard.run_git(".", &["ls-files", "_ctx/jobs"]).contains("WO-"), "state is tracked");
}

#[test]
fn commands_and_codes_are_read_from_a_row() {
    let row = "| `old` | `jobyard a` (exit 7), `x`, `jobyard b --c 'd e'` | `jobyard not` |";
    let want = [("jobyard a\n".to_owned(), 7), ("jobyard b --c 'd e'\n".to_owned(), 0)];
    assert_eq!(of_row(row), want);
    assert_eq!(of_row("jobyard is no table"), []);
}
