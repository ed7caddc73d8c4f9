//! `impact`, `deps` and `stats`: how orders hang together, and what became of them.

use super::{say, settled, verb};
use crate::yard::Yard;
use serde_json::{Value, json};
use std::process::Stdio;

const LEDGER: &str = "_ctx/audit/00000001.jsonl";

/// Orders that wait for each other in every way, no daemon. Nothing is adopted, for there is a ledger.
fn woven() -> Yard {
    let yard = Yard::bare();
    yard.put(LEDGER, "");
    yard.put(&Yard::ticket("done", "D"), &settled("D", "done", ""));
    yard.put(&Yard::ticket("failed", "X"), &settled("X", "failed", ""));
    yard.submit("A", "run: 'true'\ndependencies: [D]\n");
    yard.submit("B", "run: 'true'\ndependencies: [A]\n");
    yard.submit("C", "dependencies: [{id: A, on: always}, B]\n");
    yard.submit("E", "run: 'true'\ndependencies: [A, X, Z]\n");
    yard.submit("F", "run: 'true'\ndependencies: [{id: A, on: failure}]\n");
    yard.submit("H", "run: 'true'\nhold: \"漢字 \\e[31m\\nnext\"\ndependencies: [A]\n");
    yard
}

/// Two orders that wait for each other, and one behind them.
fn cyclic() -> Yard {
    let yard = Yard::bare();
    yard.submit("K", "run: 'true'\ndependencies: [L, D]\n");
    yard.submit("L", "run: 'true'\ndependencies: [K]\n");
    yard.submit("M", "run: 'true'\ndependencies: [L, K]\n");
    yard.submit("D", "run: 'true'\n");
    yard
}

#[track_caller]
fn text(yard: &Yard, args: &[&str], want: &str) {
    let said = say(yard, args);
    assert_eq!((said.code, said.err.as_str()), (0, ""), "{args:?}");
    assert_eq!(said.out, want, "{args:?}\n{}", said.out);
}

#[track_caller]
fn object(yard: &Yard, args: &[&str], want: Value) {
    let said = say(yard, &[args, &["--json"]].concat());
    assert_eq!((said.code, said.err.as_str()), (0, ""), "{args:?}");
    assert_eq!(said.json(), want, "{args:?}\n{}", said.out);
}

#[test]
fn impact_tells_both_ends() {
    let yard = woven();
    let want = "\
A is pending
if it ends well:
  released at once:
    B
  released in turn, as those before them end well:
    C  after B  (a person or an agent takes it)
  still waiting:
    E  needs success of X, which is failed: that can no longer happen; needs success of Z, which is unknown
    H  held (漢字 \\u{1b}[31m
  never started (they stay pending):
    F  needs failure of A, which is done: that can no longer happen
if it fails for good:
  released at once:
    F
  still waiting:
    C  needs success of B, which is pending
  never started (they stay pending):
    B  needs success of A, which is failed: that can no longer happen
    E  needs success of A, which is failed: that can no longer happen
    H  needs success of A, which is failed: that can no longer happen
";
    text(&yard, &["impact", "A"], want);
    let json = say(&yard, &["impact", "A", "--json"]).json();
    let lost = "needs success of A, which is failed: that can no longer happen";
    let kept = |id: &str, text: &str, upstream: &str| {
        let wait = json!({ "kind": "dependency", "text": text, "upstream": upstream });
        json!({ "id": id, "also": [wait] })
    };
    let then = json!({
        "released": [{ "id": "F", "at_once": true, "after": [], "manual": false }],
        "waiting": [kept("C", "needs success of B, which is pending", "B")],
        "never": [kept("B", lost, "A"), kept("E", lost, "A"), kept("H", lost, "A")],
    });
    assert_eq!(json["if_it_fails"], then);
    let released = json!([
        { "id": "B", "at_once": true, "after": [], "manual": false },
        { "id": "C", "at_once": false, "after": ["B"], "manual": true },
    ]);
    assert_eq!(json["released"], released);
    assert_eq!(json["waiting"][0]["id"], "E");
    assert_eq!(json["waiting"][0]["also"][1]["upstream"], "Z");
    assert_eq!(json["waiting"][1]["also"][0]["kind"], "held");
    assert_eq!(json["never"][0]["id"], "F");
    assert_eq!(json["schema"], "jobyard.impact.v1");
    assert_eq!((&json["id"], &json["word"]), (&"A".into(), &"pending".into()));
    assert_eq!(json["unsatisfiable"], "hold");
}

#[test]
fn impact_of_ends_that_are_there() {
    let yard = woven();
    text(&yard, &["impact", "C"], "C is pending; no order waits for it\n");
    text(&yard, &["impact", "D"], "D is done; no order waits for it\n");
    let fields = json!({
        "schema": "jobyard.impact.v1", "id": "D", "word": "done", "released": [], "waiting": [],
        "never": [], "if_it_fails": { "released": [], "waiting": [], "never": [] },
        "unsatisfiable": "hold",
    });
    object(&yard, &["impact", "D"], fields);
    yard.submit("G", "run: 'true'\ndependencies: [{id: D, on: failure}]\n");
    let want = "\
D is done
it does not end again:
  still waiting:
    G  needs failure of D, which is done: that can no longer happen
";
    text(&yard, &["impact", "D"], want);
    yard.configure("[dependencies]\nunsatisfiable = \"skip\"\n");
    let said = say(&yard, &["impact", "B"]).out;
    assert!(said.contains("never started (they go to failed/, skipped):\n    C  needs"), "{said}");
}

#[test]
fn a_done_order_that_no_check_vouches_for_releases_nobody() {
    let yard = Yard::bare();
    yard.configure("settle = \"20ms\"\n[dependencies]\nrequire_checks = true\n");
    yard.submit("U", "run: 'true'\nworkspace: none\n");
    yard.submit("A", "run: 'true'\nworkspace: none\ndependencies: [U]\n");
    assert_eq!(yard.drain(), 0);
    let want = "\
U is done
it does not end again:
  still waiting:
    A  needs success of U, which is done but unverified: that can no longer happen
";
    text(&yard, &["impact", "U"], want);
    let want = "\
ID  STATE    DEPENDS ON  END      WHICH IS             MET
A   pending  U           success  done but unverified  never
";
    text(&yard, &["deps"], want);
}

#[test]
fn the_table_of_dependencies() {
    let yard = woven();
    let want = "\
ID  STATE    DEPENDS ON  END      WHICH IS  MET
A   pending  D           success  done      met
B   pending  A           success  pending   open
C   pending  A           always   pending   open
C   pending  B           success  pending   open
E   pending  A           success  pending   open
E   pending  X           success  failed    never
E   pending  Z           success  unknown   open
F   pending  A           failure  pending   open
H   pending  A           success  pending   open
";
    text(&yard, &["deps"], want);
    let upstream = "\
ID  STATE    DEPENDS ON  END      WHICH IS  MET
A   pending  D           success  done      met
B   pending  A           success  pending   open
";
    text(&yard, &["deps", "B"], upstream);
    text(&yard, &["deps", "--wo-id", "B"], upstream);
    text(&yard, &["deps", "D"], "D depends on no other order\n");
    let need = |id: &str, is: &str, met: &str| json!({ "id": id, "on": "success", "state": is, "met": met });
    let orders = json!([
        { "id": "A", "word": "pending", "title": "T", "needs": [need("D", "done", "met")] },
        { "id": "B", "word": "pending", "title": "T", "needs": [need("A", "pending", "open")] },
    ]);
    object(&yard, &["deps", "B"], json!({ "schema": "jobyard.deps.v1", "orders": orders }));
    let alone = json!([{ "id": "D", "word": "done", "title": "T", "needs": [] }]);
    object(&yard, &["deps", "D"], json!({ "schema": "jobyard.deps.v1", "orders": alone }));
}

#[test]
fn the_tree_of_dependencies() {
    let yard = woven();
    let want = "\
C (pending)  T
├── A (pending) always: open  T
│   └── D (done) success: met  T
└── B (pending) success: open  T
    └── A (pending) success: open [see above]  T
E (pending)  T
├── A (pending) success: open [see above]  T
├── X (failed) success: never  T
└── Z (unknown) success: open
F (pending)  T
└── A (pending) failure: open [see above]  T
H (pending)  T
└── A (pending) success: open [see above]  T
";
    text(&yard, &["deps", "--graph"], want);
    let json = say(&yard, &["deps", "E", "--graph", "--json"]).json();
    assert_eq!(json["schema"], "jobyard.deps-graph.v1");
    let node =
        |id: &str, word: &str, title: Value| json!({ "id": id, "word": word, "title": title });
    let nodes = json!([
        node("A", "pending", "T".into()),
        node("D", "done", "T".into()),
        node("E", "pending", "T".into()),
        node("X", "failed", "T".into()),
        node("Z", "unknown", Value::Null),
    ]);
    assert_eq!(json["nodes"], nodes);
    let edge = |from: &str, to: &str, met: &str| {
        let on = "success";
        json!({ "from": from, "to": to, "on": on, "met": met })
    };
    let edges = [
        edge("D", "A", "met"),
        edge("A", "E", "open"),
        edge("X", "E", "never"),
        edge("Z", "E", "open"),
    ];
    assert_eq!((&json["edges"], &json["cycles"]), (&json!(edges), &json!([])));
}

#[test]
fn the_graph_for_graphviz() {
    let yard = woven();
    let title = "id: W\ntitle: \"漢 \\\"x\\\" \\\\ \\e[31m\\nnext\"\ndependencies: [X, Z]\n";
    yard.publish(&Yard::ticket("pending", "W"), title);
    let want = r#"digraph jobyard {
  rankdir=LR;
  node [shape=box];
  "W" [label="W\n漢 \"x\" \\ \\u{1b}[31m\\nnext\npending"];
  "X" [label="X\nT\nfailed"];
  "Z" [label="Z\nunknown", style=dashed];
  "X" -> "W" [label="success", style=dashed, color=red];
  "Z" -> "W" [label="success", style=dashed];
}
"#;
    text(&yard, &["deps", "W", "--dot"], want);
    object(&yard, &["deps", "W", "--dot"], json!({ "schema": "jobyard.deps-dot.v1", "dot": want }));
    let tree = "W (pending)  漢 \"x\" \\ \\u{1b}[31m\\nnext";
    let said = say(&yard, &["deps", "W", "--graph"]).out;
    assert_eq!(said.lines().next(), Some(tree));
    let out = verb(&yard, &["deps", "W", "--graph"]).env("COLUMNS", "15").output().unwrap();
    assert!(String::from_utf8_lossy(&out.stdout).starts_with("W (pending)  …\n├── X"), "{out:?}");
}

#[test]
fn those_that_keep_others_by_how_many() {
    let yard = woven();
    let want = "\
ID  STATE    KEEPS  ORDERS
A   pending  5      B, C, E, F, H
B   pending  1      C
X   failed   1      E
Z   unknown  1      E
";
    text(&yard, &["deps", "--list-blocking"], want);
    let blocking = json!([
        { "id": "A", "word": "pending", "keeps": 2, "orders": ["B", "C"] },
        { "id": "B", "word": "pending", "keeps": 1, "orders": ["C"] },
    ]);
    let want = json!({ "schema": "jobyard.deps-blocking.v1", "blocking": blocking });
    object(&yard, &["deps", "C", "--list-blocking"], want);
}

#[test]
fn cycles_are_shown_and_not_followed() {
    let yard = cyclic();
    let want = "\
M (pending)  T
├── L (refused) success: open  T
│   └── K (refused) success: open  T
│       ├── L (refused) success: open [cycle]  T
│       └── D (pending) success: open  T
└── K (refused) success: open [see above]  T
";
    text(&yard, &["deps", "--graph"], want);
    let json = say(&yard, &["deps", "K", "--graph", "--json"]).json();
    assert_eq!(json["cycles"], json!([["K", "L"]]));
    let want = "\
K is refused
if it ends well:
  still waiting:
    L  refused: dependency cycle
    M  needs success of L, which is pending
if it fails for good:
  still waiting:
    L  refused: dependency cycle; needs success of K, which is failed: that can no longer happen
  never started (they stay pending):
    M  needs success of K, which is failed: that can no longer happen
";
    text(&yard, &["impact", "K"], want);
    let json = say(&yard, &["impact", "D", "--json"]).json();
    let also = &json["waiting"][0]["also"];
    assert_eq!((&json["released"], &also[0]["kind"]), (&json!([]), &"refused".into()), "{json}");
}

#[test]
fn ids_and_flags_that_do_not_fit() {
    let yard = woven();
    for args in [&["impact", "NO-1"][..], &["deps", "NO-1"], &["deps", "--dot", "--wo-id", "NO-1"]]
    {
        let said = say(&yard, args);
        assert_eq!((said.code, said.out.as_str()), (3, ""), "{args:?}: {}", said.err);
        assert!(said.err.contains("no work order NO-1"), "{args:?}: {}", said.err);
    }
    // Others name it, but there is no such order.
    assert_eq!(say(&yard, &["impact", "Z"]).code, 3);
    for args in [
        &["impact"][..],
        &["impact", "../x y"],
        &["deps", "A", "--wo-id", "A"],
        &["deps", "--graph", "--dot"],
        &["deps", "--graph", "--list-blocking"],
        &["deps", "--dot", "--list-blocking"],
    ] {
        assert_eq!(say(&yard, args).code, 2, "{args:?}");
    }
}

#[test]
fn an_empty_root_has_nothing_to_tell() {
    let yard = Yard::bare();
    std::fs::remove_dir_all(yard.path("_ctx/jobs")).unwrap();
    for flag in [None, Some("--graph"), Some("--list-blocking")] {
        let args: Vec<&str> = ["deps"].into_iter().chain(flag).collect();
        let said = say(&yard, &args);
        assert_eq!((said.code, said.out.as_str()), (0, ""), "{args:?}");
        assert!(said.err.starts_with("jobyard: no order "), "{args:?}: {}", said.err);
    }
    text(&yard, &["deps", "--dot"], "digraph jobyard {\n  rankdir=LR;\n  node [shape=box];\n}\n");
    text(
        &yard,
        &["stats"],
        "orders      0 pending, 0 running, 0 done, 0 failed\nresults     none\nhistory     none\n",
    );
    let json = say(&yard, &["stats", "--json"]).json();
    assert_eq!(json["schema"], "jobyard.stats.v1");
    let history = json!({
        "since": null, "settled": 0, "results": {}, "last_hour": 0, "last_day": 0, "last_week": 0,
        "retries": 0, "requeued": 0, "lost": 0, "unverified": 0, "skipped": 0, "not_reached": 0,
        "run_time": { "count": 0, "median_ms": null, "p95_ms": null, "max_ms": null },
    });
    assert_eq!(json["history"], history);
    assert_eq!((&json["epics"], &json["groups"]), (&json!({}), &json!({})));
    assert!(!yard.path("_ctx/jobs").exists());
}

#[test]
fn stats_of_what_a_daemon_did() {
    let yard = Yard::bare();
    yard.configure(
        "settle = \"20ms\"\n[groups.gpu]\nslots = 1\n[dependencies]\nunsatisfiable = \"skip\"\n",
    );
    let checked = "workspace: none\nverify: {commands: ['test -d .']}\n";
    yard.submit("A", &format!("run: 'true'\nepic_id: \"漢 \\e[31m\"\ngroup: gpu\n{checked}"));
    yard.submit("B", "run: 'true'\nworkspace: none\n");
    yard.submit("C", "run: exit 3\nworkspace: none\nretry: {max: 2, backoff: {start: 1ms}}\n");
    yard.submit("D", "run: 'true'\nworkspace: none\nepic_id: other\ndependencies: [C]\n");
    yard.submit("E", "run: 'true'\nworkspace: none\nhold: later\ngroup: gpu\n");
    assert_eq!(yard.drain(), 0);
    let json = say(&yard, &["stats", "--json"]).json();
    let states =
        |n: [u32; 4]| json!({ "pending": n[0], "running": n[1], "done": n[2], "failed": n[3] });
    assert_eq!(json["results"], json!({ "fail": 1, "pass": 1, "skipped": 1, "unverified": 1 }));
    let epics = json!({ "other": states([0, 0, 0, 1]), "漢 \u{1b}[31m": states([0, 0, 1, 0]) });
    assert_eq!(json["epics"], epics);
    assert_eq!(json["groups"], json!({ "gpu": states([1, 0, 1, 0]) }));
    assert_eq!((&json["counts"]["done"], &json["counts"]["not_reached"]), (&2.into(), &1.into()));
    let history = &json["history"];
    let count = |name: &str| history[name].as_u64().unwrap();
    let counted = ["settled", "last_hour", "retries", "requeued", "lost"].map(count);
    assert_eq!(counted, [4, 4, 2, 0, 0], "{history}");
    assert_eq!(["unverified", "skipped", "not_reached"].map(count), [1, 0, 1]);
    assert_eq!(history["results"], json["results"]);
    let spans = &history["run_time"];
    assert_eq!(spans["count"], 3);
    let ms = ["median_ms", "p95_ms", "max_ms"].map(|name| spans[name].as_u64().unwrap());
    assert!(ms.is_sorted() && ms[2] < 60_000, "{spans}");
    let said = say(&yard, &["stats"]).out;
    let (first, second) = said.split_once("history     since ").unwrap();
    let want = "\
orders      1 pending, 0 running, 2 done (1 unverified), 2 failed (1 not reached)
results     1 fail, 1 pass, 1 skipped, 1 unverified

EPIC           PENDING  RUNNING  DONE  FAILED
other          0        0        0     1
漢 \\u{1b}[31m  0        0        1     0

GROUP  PENDING  RUNNING  DONE  FAILED
gpu    1        0        1     0

";
    assert_eq!(first, want, "{said}");
    let (_, second) = second.split_once('\n').unwrap();
    let want = "\
settled     4 (4 in the last hour, 4 in 24 hours, 4 in 7 days)
retries     2
requeued    0
lost        0
unverified  1
skipped     0
not reached 1
run time    median ";
    assert!(second.starts_with(want) && second.ends_with(" of 3 orders\n"), "{said}");
    assert_eq!(say(&yard, &["requeue", "C"]).code, 0);
    assert_eq!(say(&yard, &["stats", "--json"]).json()["history"]["requeued"], 1);
}

#[test]
fn what_is_lost_is_counted() {
    let mut yard = Yard::bare();
    yard.start();
    yard.submit("A", "run: 'echo $$ >> begun; sleep 1000'\nworkspace: none\n");
    yard.lines("begun", 1);
    crate::yard::signal(yard.executor_pid().unwrap(), rustix::process::Signal::KILL);
    yard.until_in("failed", "A");
    let history = say(&yard, &["stats", "--json"]).json()["history"].clone();
    assert_eq!((&history["lost"], &history["settled"]), (&1.into(), &1.into()), "{history}");
    assert_eq!(history["run_time"]["count"], 0, "{history}");
}

/// Ten thousand orders in a chain, each of them also behind the first.
fn chain(yard: &Yard) {
    for n in 0..10_000 {
        let needs = match n {
            0 => String::new(),
            n => format!("dependencies: [N{}, N0]\n", n - 1),
        };
        let text = format!("id: N{n}\ntitle: T\n{needs}");
        yard.put(&Yard::ticket("pending", &format!("N{n}")), &text);
    }
}

#[test]
fn ten_thousand_orders_are_no_trouble_and_a_reader_may_go() {
    let yard = Yard::bare();
    chain(&yard);
    let json = say(&yard, &["impact", "N0", "--json"]).json();
    assert_eq!(json["released"].as_array().map(Vec::len), Some(9999));
    let said = say(&yard, &["deps", "--graph"]);
    assert_eq!(said.out.lines().filter(|l| l.contains("[see below]")).count(), 1249);
    assert!(said.out.lines().all(|l| l.chars().count() <= 80));
    for args in [&["impact", "N0"][..], &["deps"], &["deps", "--dot"], &["deps", "--graph"]] {
        let mut reading = verb(&yard, args);
        let mut child = reading.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let out = child.wait_with_output().unwrap();
        let talk = String::from_utf8_lossy(&out.stderr);
        assert_eq!((out.status.code(), talk.as_ref()), (Some(0), ""), "{args:?}");
    }
}
