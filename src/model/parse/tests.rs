//! Tests of reading orders: accepted shapes, refusals with their places, bounds, mutations.

use super::*;
use crate::model::defect::IGNORED_KEY;
use crate::model::order::{Checkout, DependsOn, RetryOn, Scope, When, Workspace};
use crate::model::time::{Millis, Moment};
use std::time::{Duration, Instant};

/// Reads `text` as `WO-1.yaml` and gives the order.
fn order(text: &str) -> Order {
    match parse_order(text.as_bytes(), "WO-1") {
        Ok(parsed) => parsed.order,
        Err(defects) => panic!("refused: {defects:#?}\n{text}"),
    }
}

/// The same with a valid head before `body`.
fn with(body: &str) -> Order {
    order(&format!("id: WO-1\ntitle: T\n{body}"))
}

/// Refusals as text, first to last.
fn refused(text: &str) -> String {
    match parse_order(text.as_bytes(), "WO-1") {
        Ok(parsed) => panic!("accepted: {:?}\n{text}", parsed.order),
        Err(defects) => {
            assert!(!defects.is_empty());
            defects.iter().map(|d| format!("{d}\n")).collect()
        }
    }
}

/// Asserts that `body` below a valid head is refused at line:column with all `parts` in the text.
fn check_refused(body: &str, place: &str, parts: &[&str]) {
    let text = refused(&format!("id: WO-1\ntitle: T\n{body}"));
    assert!(text.starts_with(place), "wanted {place} for {body:?}:\n{text}");
    for part in parts {
        assert!(text.contains(part), "wanted {part:?} for {body:?}:\n{text}");
    }
}

fn warning_codes(text: &str) -> Vec<&'static str> {
    let parsed = parse_order(text.as_bytes(), "WO-1").unwrap();
    parsed.warnings.iter().map(|w| w.code).filter(|c| *c != MISSING_KEY).collect()
}

#[test]
fn the_short_shape_is_accepted() {
    let text = "version: 1\nid: WO-0013\nepic_id: E-0001\ntitle: \"Descriptive title\"\n\
                priority: P2\nstatus: pending\nscope:\n  allow:\n    - \"docs/a.md\"\n  deny:\n    \
                - \"src/domain/**\"\ndod_id: DOD-DEFAULT\n";
    let parsed = parse_order(text.as_bytes(), "WO-0013").unwrap();
    let order = parsed.order;
    assert_eq!(order.title, "Descriptive title");
    assert_eq!(order.priority, Priority::Medium);
    assert_eq!(order.dod_id.as_deref(), Some("DOD-DEFAULT"));
    let scope = Scope { allow: vec!["docs/a.md".into()], deny: vec!["src/domain/**".into()] };
    assert_eq!(order.scope, Some(scope));
    assert!(order.run.is_empty());
    assert_eq!(parsed.warnings.len(), 1);
    assert_eq!(parsed.warnings[0].message, "a full work order also has: execution");
}

#[test]
fn the_full_shape_is_accepted() {
    let text = r##"# a comment before the start
---
version: 1
id: WO-1
epic_id: E-0001
title: "Métricas: revisión"
priority: medium
status: partial
owner: null
branch: null
worktree: ../.worktrees/WO-1
scope: {allow: ["src/**"], deny: [], x_note: {a: 1}}
verify:
  commands:
    - uv run pytest -q tests/unit -k "not slow" | head -5
    - "# nothing to run"
  results: [{name: a, ok: true}]
dod_id: DOD-DEFAULT
execution:
  engine: trifecta
  segment: "."
  required_flow: ["session.append:intent", ctx.sync]
  x_legacy_flow: true
dependencies: [WO-0012.1, {id: WO-0018A, on: always}]
deliverables: [docs/x.md]
evidence_logs: []
diff_budget: {max_files: 10, max_loc: 500}
stop_conditions: {max_iterations: 3, max_fail_verify: 2}
trace: {ticket: null, related_wos: []}
claim_links: {requirements: [], assumptions: [], constraints: []}
objective: |
  First line.
	not indentation, text
started_at: 2026-01-09T21:13:46.163816+00:00
finished_at: '2026-01-10T00:00:00-03:00'
result: null
commit_sha: 1234567
verified_at_sha:
closed_at: 2026-01-10
governance: [a, {b: c}]
acceptance_criteria:
  - "one: two"
x_anything: {deep: [1, 2, {three: ~}]}
"##
    .replace("\tnot indentation", "  \tnot indentation");
    let order = order(&text);
    assert_eq!(order.engine.as_deref(), Some("trifecta"));
    assert_eq!(order.dependencies[0].id.as_str(), "WO-0012.1");
    assert_eq!(order.dependencies[1].on, DependsOn::Always);
    assert_eq!(order.checks.len(), 2);
    assert_eq!(order.retry.max_fail_verify, Some(2));
    assert_eq!(order.diff_budget.max_loc, Some(500));
    assert_eq!(order.view.commit_sha.as_deref(), Some("1234567"));
    assert_eq!(order.view.verified_at_sha, None);
    assert_eq!(order.objective.as_deref(), Some("First line.\n\tnot indentation, text\n"));
    assert_eq!(warning_codes(&text), [UNKNOWN_STATUS]);
}

#[test]
fn a_checkout_that_changes_nothing_is_a_warning() {
    let read = |rest: &str| {
        let parsed = parse_order(format!("id: A\ntitle: T\n{rest}").as_bytes(), "A").unwrap();
        let told = parsed.warnings.iter().filter(|w| w.code == IGNORED_KEY).count();
        (parsed.order.checkout, parsed.order.cone().map(|c| c.dirs().to_vec()), told)
    };
    let narrow = "scope: {allow: [src/**]}\n";
    let cone = Some(vec!["src".to_owned()]);
    assert_eq!(read(&format!("checkout: scope\n{narrow}")), (Checkout::Scope, cone, 0));
    assert_eq!(read(&format!("checkout: full\n{narrow}")), (Checkout::Full, None, 0));
    assert_eq!(read("checkout:\n"), (Checkout::Full, None, 0));
    for vain in ["", "scope: {deny: [a]}\n", "scope: {allow: ['**']}\n", "workspace: none\n"] {
        assert_eq!(read(&format!("checkout: scope\n{vain}")), (Checkout::Scope, None, 1), "{vain}");
    }
    let inherits = format!("checkout: full\nworkspace: {{inherit: B}}\n{narrow}");
    assert_eq!(read(&inherits), (Checkout::Full, None, 1));
    assert!(parse_order(b"id: A\ntitle: T\ncheckout: cone\n", "A").is_err());
}

#[test]
fn every_key_is_read() {
    let order = with(
        "run: [make, 'make test']\nverify: {commands: cargo test, timeout: 10m}\ntimeout: 90\n\
         idle_timeout: 5m\nretry:\n  max: 2\n  backoff: {start: 10s, factor: 1.5, cap: 2m, jitter: \
         20%}\n  on: [fail, output_limit]\nenv: {A: 1, B: 'x y'}\nworkspace: {inherit: WO-2}\nbase: \
         v1.2\nartifacts: ['out/**']\nhold: waits for Ann\ngroup: gpu\ndeadline: 2026-01-31\n\
         not_before: \"2026-01-09T21:13:46Z\"\ntags: [a, b]\nassignee: ann\npackage: _ctx/packages/p\n",
    );
    assert_eq!(order.run, ["make", "make test"]);
    assert_eq!(order.checks, ["cargo test"]);
    assert_eq!(order.check_timeout, Some(Millis::from_secs(600)));
    assert_eq!(order.timeout, Some(Millis::from_secs(90)));
    assert_eq!(order.idle_timeout, Some(Millis::from_secs(300)));
    assert_eq!((order.retry.max, order.retry.factor_percent), (2, 150));
    assert_eq!((order.retry.cap, order.retry.jitter_percent), (Millis::from_secs(120), 20));
    assert_eq!(order.retry.on, [RetryOn::Fail, RetryOn::OutputLimit]);
    assert_eq!(order.env["A"], "1");
    assert_eq!(order.workspace, Workspace::Inherit(OrderId::parse("WO-2").unwrap()));
    assert_eq!(order.artifacts, Some(vec!["out/**".to_owned()]));
    assert_eq!(order.hold.as_deref(), Some("waits for Ann"));
    assert_eq!(order.deadline, When::parse("2026-01-31"));
    let at = Moment::parse("2026-01-09T21:13:46Z").unwrap();
    assert_eq!(order.not_before, Some(When::At(at)));
    assert_eq!(order.tags, ["a", "b"]);
}

#[test]
fn absent_and_null_are_the_same() {
    let keys = "objective epic_id tags owner assignee priority deadline not_before status \
                dependencies run execution verify dod_id scope diff_budget retry stop_conditions \
                timeout idle_timeout group env workspace base artifacts hold x_jobyard result";
    let body: String = keys.split_whitespace().map(|key| format!("{key}: ~\n")).collect();
    assert_eq!(with(&body), with(""));
    let nested = "execution: {engine: }\nverify: {commands: , timeout: null}\nretry: {max: , backoff: \
                  , on: }\nscope:\ndependencies: []\nrun: []\n";
    assert_eq!(with(nested), with(""));
}

#[test]
fn workspaces_and_holds_have_short_forms() {
    let id = OrderId::parse("WO-2").unwrap();
    assert_eq!(with("workspace: inherit:WO-2\n").workspace, Workspace::Inherit(id.clone()));
    assert_eq!(with("workspace: 'inherit: WO-2'\n").workspace, Workspace::Inherit(id));
    assert_eq!(with("workspace: none\n").workspace, Workspace::None);
    assert!(with("hold: yes\n").hold.is_some());
    assert!(with("hold: false\n").hold.is_none());
    assert!(with("hold: no\n").hold.is_none());
    assert_eq!(with("hold: 'no'\n").hold.as_deref(), Some("no"));
    check_refused("workspace: {inherit: WO-1}\n", "3:22", &["inherit from itself"]);
    check_refused("workspace: tree\n", "3:12", &["`worktree`, `none`"]);
}

#[test]
fn own_keys_are_read() {
    let own = with(
        "x_jobyard:\n  attempt: 3\n  retries: 1\n  verify_fails: 2\n  retry_at: \
         \"2026-01-09T21:13:46.163Z\"\n  reason: fail\n  hold: later\n  settled_state: failed\n  \
         settled_attempt: 3\n  settled_seq: 77\n  settled_hash: \"ab12\"\n",
    )
    .own;
    assert_eq!((own.attempt, own.retries, own.verify_fails), (3, 1, 2));
    assert_eq!(own.retry_at, Moment::parse("2026-01-09T21:13:46.163Z"));
    let stamp = own.settled.unwrap();
    assert_eq!((stamp.state, stamp.attempt, stamp.seq), (State::Failed, 3, 77));
    assert_eq!(with("x_jobyard: {settled_state: done}\n").own.settled, None);
    let of = |id: &str| {
        let keys = "settled_state: done, settled_attempt: 1, settled_seq: 7, settled_hash: ab12";
        with(&format!("x_jobyard: {{settled_id: {id}, {keys}}}\n")).own.settled.map(|s| s.id)
    };
    assert_eq!(of("WO-1"), Some("WO-1".to_owned()));
    assert_eq!(of("WO-2"), None, "the copy of a settled ticket under another id is not settled");
    check_refused("x_jobyard: [a]\n", "3:12", &["expected a map"]);
    check_refused("x_jobyard: {attempt: many}\n", "3:22", &["whole number"]);
}

#[test]
fn syntax_is_refused_with_its_place() {
    let check = |text: &str, place: &str, part: &str| {
        let all = refused(text);
        assert!(all.starts_with(place) && all.contains(part), "{text:?} gave\n{all}");
    };
    check("", "the file is empty", "");
    check(" \n\n", "the file is empty", "");
    check("# only\n", "the file holds nothing but comments", "");
    check("- a\n", "1:1: a work order is a map", "");
    check("just text\n", "1:1: a work order is a map", "");
    check("id: WO-1\ntitle: a\nid: WO-1\n", "3:1:", "on line 1 and on line 3");
    check("id: WO-1\ntitle: a\nx: {a: 1, 'a': 2}\n", "3:11:", "`a` stands twice");
    check("id: WO-1\ntitle: a\n---\nid: b\n", "3:1:", "a second document");
    check("id: WO-1\ntitle: a\n---\n", "3:1:", "a second document");
    check("id: WO-1\nscope:\n\tallow: []\n", "3:1:", "a tab in the indentation");
    check("{\n\t\"id\": \"WO-1\", \"title\": \"x\"}\n", "2:1:", "a tab in the indentation");
    check("id: WO-1\ntitle: a: b\n", "2:9:", "put a text that holds `: ` in quotes");
    check("id: WO-1\ntitle: @a\n", "2:8:", "in quotes");
    check("id: WO-1\nrun: *.sh\n", "2:6:", "begins with `*`");
    check("id: WO-1\ntitle: 'abc\nrun: x\n", "3:1:", "a quote further up");
    check("id: WO-1\ntitle: {{item}}\n", "2:9:", "a key must be plain text");
    check("id: WO-1\ntitle: \"a\\0b\"\n", "2:8:", "NUL");
    check("id: WO-1\ntitle: a\0b\n", "2:9:", "a NUL byte");
    check("id: WO-1\ntitle: a\x1b[2Jb\n", "2:9:", "control character 0x1b");
    check("id: WO-1\ntitle: T\n<<: {run: x}\n", "3:1:", "merge keys");
    check("id: WO-1\ntitle: &a [*a]\n", "2:12:", "alias stands inside");
    let bad = parse_order(b"id: WO-1\ntitle: \xff\n", "WO-1").unwrap_err();
    assert!(bad[0].to_string().starts_with("2:8: not UTF-8: byte 0xff"), "{}", bad[0]);
}

#[test]
fn identity_is_checked() {
    let mismatch = parse_order(b"id: WO-2\ntitle: T\n", "WO-1").unwrap_err();
    assert_eq!((mismatch.len(), mismatch[0].code), (1, ID_MISMATCH));
    assert!(mismatch[0].to_string().starts_with("1:5: `id` is `WO-2` but the file is named"));
    assert!(refused("title: T\n").starts_with("the key `id` is missing; add"));
    assert!(refused("id: WO-1\n").starts_with("the key `title` is missing; add"));
    assert!(
        refused("id: WO-1\nTitel: x\n").starts_with("2:1: the key `title` is missing; is `Titel`")
    );
    assert!(
        refused("id: WO-1\ntitle:\n").starts_with("2:1: `title`: expected text, found nothing")
    );
    assert!(refused("id: WO-1\ntitle: ''\n").starts_with("2:1: `title`"));
    assert!(
        refused("id: [WO-1]\ntitle: T\n").starts_with("1:5: `id`: expected text, found a list")
    );
    let file = parse_order(b"id: ..\ntitle: T\n", "..").unwrap_err();
    assert!(file[0].message.starts_with("the file name: id"));
}

#[test]
fn wrong_types_and_values_are_refused() {
    check_refused("priority: urgent\n", "3:11", &["`urgent`", "P0, P1", "priority: urgent\n"]);
    check_refused("priority: hihg\n", "3:11", &["nearest: `high`"]);
    check_refused("version: 2\n", "3:10", &["expected 1"]);
    check_refused("run: {a: b}\n", "3:6", &["a map"]);
    check_refused("run:\n  - echo a: b\n", "4:5", &["unquoted `: `", "quotes"]);
    check_refused("run:\n  - ''\n", "4:5", &["a command is empty"]);
    check_refused("run:\n  -\n", "4:4", &["an item of the list is empty"]);
    check_refused("run: !mine x\n", "3:12", &["tags"]);
    check_refused("timeout: 1.5h\n", "3:10", &["a duration such as"]);
    check_refused("timeout: 0\n", "3:10", &["is 0"]);
    check_refused("timeout: -5\n", "3:10", &["a duration such as"]);
    check_refused("deadline: tomorrow\n", "3:11", &["2026-01-31"]);
    check_refused("deadline: 2026-01-31T18:00:00\n", "3:11", &["offset"]);
    check_refused("deadline: 2026-02-30\n", "3:11", &["2026-01-31"]);
    check_refused("scope: [a]\n", "3:8", &["a map with `allow`", "found a list"]);
    check_refused("scope: {allow: {a: b}}\n", "3:16", &["scope.allow"]);
    check_refused("dependencies: None\n", "3:15", &["a list of ids"]);
    check_refused("dependencies: [WO-1]\n", "3:16", &["cannot wait for itself"]);
    check_refused("dependencies: ['../x']\n", "3:16", &["must begin with"]);
    check_refused("dependencies: [{id: a, on: sucess}]\n", "3:28", &["nearest: `success`"]);
    check_refused("dependencies: [{on: always}]\n", "3:16", &["expected an id"]);
    check_refused("retry: 2\n", "3:8", &["a map such as `{max: 2"]);
    check_refused("retry: {max: 5000}\n", "3:14", &["from 0 to 1000"]);
    check_refused("retry: {on: [verify_fial]}\n", "3:14", &["nearest: `verify-fail`"]);
    check_refused("retry: {backoff: {factor: 0.5}}\n", "3:27", &["from 1 to 100"]);
    check_refused("retry: {backoff: {jitter: 3}}\n", "3:27", &["a share from 0 to 1"]);
    check_refused("diff_budget: {max_loc: lots}\n", "3:24", &["a whole number"]);
    check_refused("verify: [make test]\n", "3:9", &["a map with `commands`"]);
    check_refused("execution: claude\n", "3:12", &["a map with `engine`"]);
    check_refused("base: --force\n", "3:7", &["a git revision"]);
    check_refused("tags: {a: b, c: d}\n", "3:7", &["a text or a list"]);
}

#[test]
fn placeholders_in_executed_fields_are_refused() {
    check_refused("run: echo {{item}}\n", "3:6", &["`{{item}}` was never filled in"]);
    check_refused("verify:\n  commands: ['test {{ x }}']\n", "4:14", &["verify.commands"]);
    check_refused("execution: {engine: '{{engine}}'}\n", "3:21", &["execution.engine"]);
    check_refused("base: '{{base}}'\n", "3:7", &["`base`"]);
    check_refused("env: {A: '{{secret_name}}'}\n", "3:10", &["`env.A`"]);
    assert_eq!(
        with("objective: do {{item}}\ntitle2: x\n").objective.as_deref(),
        Some("do {{item}}")
    );
}

#[test]
fn values_of_env_are_never_shown() {
    let bodies = [
        "env:\n  TOKEN: 's3cret\n",
        "env:\n  TOKEN: s3cret: x\n",
        "env:\n  TOKEN: {s3cret: 1}\n",
        "env:\n  TOKEN: s3cret\n  TOKEN: s3cret2\n",
        "env:\n  TOKEN: '{{s3cret}}'\n",
        "env:\n  TOKEN: [s3cret]\n",
        "env:\n  1BAD: s3cret\n",
        "env:\n  JOBYARD_TOKEN: s3cret\n",
        "env: {TOKEN: s3cret, TOKEN: s3cret}\n",
        "env: s3cret\n",
        "env: [s3cret]\n",
        "env:\n  A: x\n  env: y\n  TOKEN: @s3cret\n",
        "'env':\n  A: x\n# c\n\n  TOKEN: \"s3cret\n",
        "env:\n  TOKEN: !t s3cret\n  TOKEN: 1\n",
        "? env\n:\n  TOKEN: 's3cret\n",
    ];
    for body in bodies {
        let text = refused(&format!("id: WO-1\ntitle: T\n{body}"));
        assert!(!text.contains("s3cret"), "{body:?} shows it:\n{text}");
    }
}

#[test]
fn warnings_name_the_nearest_key() {
    let text =
        "id: WO-1\ntitle: T\ntimout: 5s\nscope: {allow: []}\nretry: {mx: 1}\nname: x\nx_run: y\n";
    let parsed = parse_order(text.as_bytes(), "WO-1").unwrap();
    let codes = warning_codes(text);
    assert_eq!(codes, [UNKNOWN_KEY_CODE, "empty-scope", UNKNOWN_KEY_CODE]);
    assert!(parsed.warnings[0].message.contains("nearest known key is `timeout`"));
    assert_eq!((parsed.warnings[0].line, parsed.warnings[0].column), (3, 1));
    assert_eq!(warning_codes("id: WO-1\ntitle: T\nstatus: active\n"), [UNKNOWN_STATUS]);
    assert_eq!(warning_codes("id: WO-1\ntitle: T\nartifacts: [{path: x}]\n"), ["ignored-key"]);
}

const UNKNOWN_KEY_CODE: &str = crate::model::defect::UNKNOWN_KEY;

#[test]
fn a_snippet_points_at_the_place() {
    let defects = parse_order("id: WO-1\ntitle: é\npriority: hi\n".as_bytes(), "WO-1").unwrap_err();
    assert_eq!(defects[0].snippet, "  3 | priority: hi\n    |           ^");
}

/// Must end, accepted or not, in a time that leaves no doubt that the budgets hold: without them the bombs
/// take minutes.
fn timed(name: &str, bytes: &[u8]) -> Result<Parsed, Vec<Defect>> {
    let start = Instant::now();
    let result = parse_order(bytes, "WO-1");
    let took = start.elapsed();
    assert!(took < Duration::from_secs(5), "{name} took {took:?}");
    result
}

#[test]
fn bombs_are_refused_fast() {
    let head = "id: WO-1\ntitle: T\n";
    let mut bomb = format!("{head}a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
    for n in 1..10 {
        let last = n - 1;
        let items = vec![format!("*a{last}"); 9].join(", ");
        bomb.push_str(&format!("a{n}: &a{n} [{items}]\n"));
    }
    let fill = |part: &str| format!("{head}x: {}", part.repeat(((1 << 20) - 200) / part.len()));
    let cases = [
        ("alias bomb", bomb),
        ("flow lists", fill("[")),
        ("flow maps", fill("{a: ")),
        ("items", fill("\n- x")),
        ("empty lists", fill("\n- []")),
        ("block lists", fill("\n- - - - -")),
        ("questions", fill("? ")),
        ("keys", fill("a: ")),
        ("anchors", fill("&a ")),
        ("aliases", fill("\n- *id")),
        ("documents", fill("\n---")),
        ("same keys", fill("\n a: 1")),
        ("env words", format!("{}\n  @", fill("\nenv: &x"))),
        ("tabs in a list", format!("{head}x: [{}]", "\n\ta,".repeat(9000))),
    ];
    for (name, text) in cases {
        assert!(timed(name, text.as_bytes()).is_err(), "{name} was accepted");
    }
    assert!(timed("too long", &vec![b'a'; ORDER_BYTES_MAX + 1]).is_err());
    let shared =
        format!("{head}x: &a [1, 2]\ny: [*a, *a]\nrun: &r echo\nverify: {{commands: [*r]}}\n");
    assert_eq!(timed("few aliases", shared.as_bytes()).unwrap().order.checks, ["echo"]);
    for part in ["# a comment\n", "  some text\n", "\n"] {
        let long = format!("{head}objective: |\n{}", part.repeat(((1 << 20) - 200) / part.len()));
        assert!(timed("long text", long.as_bytes()).is_ok());
    }
}

/// A small generator, so that a failure can be repeated.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 11).unwrap_or(0) % bound
    }
}

#[test]
fn mutations_and_noise_never_panic_and_stay_fast() {
    let valid = "# c\nid: WO-1\ntitle: \"T\" # t\nrun: |\n  a\n  b\nenv: {A: 'x', B: &b y}\nscope:\n  allow: \
                [a/**]\nretry: {max: 2, backoff: {start: 5s}}\ndependencies:\n  - {id: x, on: \
                always}\n  - é\nx_jobyard:\n  attempt: 1\n";
    let pieces: [&[u8]; 22] = [
        b":",
        b"\n",
        b" ",
        b"\t",
        b"- ",
        b"{",
        b"}",
        b"[",
        b"]",
        b"&a ",
        b"*a",
        b"!t ",
        b"'",
        b"\"",
        b"#",
        b"|",
        b"---\n",
        b"\xff",
        b"\xc3\xa9",
        b"\r\n",
        b"{{x}}",
        b"\\x",
    ];
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let start = Instant::now();
    for _ in 0..20_000 {
        let mut bytes = valid.as_bytes().to_vec();
        for _ in 0..=random.below(6) {
            let at = random.below(bytes.len());
            let end = (at + random.below(4)).min(bytes.len());
            let piece = pieces[random.below(pieces.len())];
            bytes.splice(at..end, piece.iter().copied());
        }
        let _ = parse_order(&bytes, "WO-1");
    }
    for _ in 0..5000 {
        let length = random.below(200);
        let bytes: Vec<u8> = (0..length).map(|_| random.below(256).to_le_bytes()[0]).collect();
        let _ = parse_order(&bytes, "WO-1");
    }
    let took = start.elapsed();
    assert!(took < Duration::from_secs(10), "took {took:?}");
}

#[test]
fn the_examples_are_accepted() {
    let examples = [
        ("WO-0013", include_str!("../../../examples/WO-0013.yaml")),
        ("WO-0014", include_str!("../../../examples/WO-0014.yaml")),
        ("WO-0018A", include_str!("../../../examples/WO-0018A.yaml")),
        ("fix-intake", include_str!("../../../examples/fix-intake.yaml")),
        ("hello", include_str!("../../../examples/hello.yaml")),
        ("nightly-bench", include_str!("../../../examples/nightly-bench.yaml")),
    ];
    for (stem, text) in examples {
        match parse_order(text.as_bytes(), stem) {
            Ok(parsed) => {
                let odd = parsed.warnings.iter().find(|w| w.code != MISSING_KEY);
                assert_eq!(odd, None, "{stem}");
            }
            Err(defects) => panic!("{stem}.yaml:{}", defects[0]),
        }
    }
}
