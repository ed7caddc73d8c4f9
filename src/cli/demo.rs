//! `jobyard demo`: five orders in a scratch repository, run by a real daemon, and what became of them.
//!
//! Invariants: works in a directory that was empty before; ends within 30 s; exit 0 only when all five
//! orders ended as they should.

use super::{Failure, Globals, Outcome, code, say};
use crate::model::id::OrderId;
use crate::model::order::State;
use crate::model::parse::parse_order;
use crate::model::paths;
use crate::model::verdict::VerdictFile;
use crate::world::identity;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long the daemon may take, and how long it may take to end when told to.
const PATIENCE: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(6));

/// Flags of `jobyard demo`.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Where to make the repository: a new or empty directory (default: a temporary one)
    dir: Option<PathBuf>,
    /// Print the five orders; change nothing
    #[arg(long)]
    dry_run: bool,
}

/// One order and how it should end.
struct Example {
    id: &'static str,
    about: &'static str,
    body: &'static str,
    state: State,
    result: Option<&'static str>,
}

const CONFIG: &str = "settle = \"20ms\"\nslots = 2\ngrace = \"1s\"\n";

const CATALOGUE: &str = "\
version: 1
dod:
  - id: DOD-GREETING
    title: There is a greeting, and it was committed
    required_checks:
      - name: greeting
        commands: ['test -s docs/greeting.txt']
";

const EXAMPLES: [Example; 5] = [
    Example {
        id: "DEMO-1",
        about: "commits a greeting; its Definition of Done holds",
        body: "id: DEMO-1\ntitle: Write a greeting\npriority: P1\ndod_id: DOD-GREETING\n\
               scope: {allow: ['docs/**']}\nrun:\n  - mkdir -p docs && echo hello > docs/greeting.txt\n  \
               - git add docs\n  - git commit -qm 'A greeting'\n",
        state: State::Done,
        result: Some("pass"),
    },
    Example {
        id: "DEMO-2",
        about: "commits too little; its check fails",
        body: "id: DEMO-2\ntitle: Greet in two languages\ndod_id: DOD-GREETING\nrun:\n  \
               - mkdir -p docs && echo hello > docs/greeting.txt\n  - git add docs\n  \
               - git commit -qm 'A greeting'\nverify:\n  commands: ['grep -q bonjour docs/greeting.txt']\n",
        state: State::Failed,
        result: Some("fail"),
    },
    Example {
        id: "DEMO-3",
        about: "changes a file outside its scope",
        body: "id: DEMO-3\ntitle: Only touch docs\nscope: {allow: ['docs/**']}\nrun:\n  \
               - echo changed > README.md\n  - git commit -qam 'Out of bounds'\n\
               verify: {commands: ['test -s README.md']}\n",
        state: State::Failed,
        result: Some("fail"),
    },
    Example {
        id: "DEMO-4",
        about: "waits for DEMO-1 and builds on its branch",
        body: "id: DEMO-4\ntitle: Follow up on the greeting\npriority: P0\ndependencies: [DEMO-1]\n\
               run: git merge -q --ff-only feat/wo-DEMO-1\n\
               verify: {commands: ['grep -q hello docs/greeting.txt']}\n",
        state: State::Done,
        result: Some("pass"),
    },
    Example {
        id: "DEMO-5",
        about: "is no valid work order; it stays, with an explanation beside it",
        body: "id: DEMO-5\ntitle: A typing mistake\npriority: urgentt\n",
        state: State::Pending,
        result: None,
    },
];

/// How one order ended.
struct Ending {
    id: OrderId,
    about: &'static str,
    state: Option<State>,
    result: Option<String>,
    why: String,
    look: Vec<String>,
    expected: bool,
}

/// Runs it.
pub(super) fn run(globals: &Globals, given: Arguments) -> Outcome {
    if given.dry_run && globals.json {
        let one = |e: &Example| json!({ "id": e.id, "about": e.about, "order": e.body });
        let orders: Value = EXAMPLES.iter().map(one).collect();
        say::object("demo", [("dry_run", true.into()), ("orders", orders)])?;
        return Ok(code::DONE);
    }
    if given.dry_run {
        for example in &EXAMPLES {
            say::line(&format!("# {}\n{}", example.about, example.body))?;
        }
        return Ok(code::DONE);
    }
    let dir = scratch(given.dir)?;
    prepare(&dir).map_err(|why| failed(&dir, &why))?;
    if !globals.json {
        say::line(&format!("A repository with five work orders: {}", dir.display()))?;
        for example in &EXAMPLES {
            say::line(&format!("  {}  {}", example.id, example.about))?;
        }
        say::line("Running: jobyard daemon --drain")?;
    }
    let begun = Instant::now();
    drain(&dir).map_err(|why| failed(&dir, &why))?;
    let endings: Vec<Ending> = EXAMPLES.iter().filter_map(|e| ending(&dir, e)).collect();
    let good = endings.len() == EXAMPLES.len() && endings.iter().all(|e| e.expected);
    match globals.json {
        true => {
            let orders = endings.iter().map(Ending::json).collect::<Vec<Value>>();
            let place = dir.to_string_lossy().into_owned();
            let fields =
                [("root", place.into()), ("expected", good.into()), ("orders", orders.into())];
            say::object("demo", fields)?;
        }
        false => tell(&dir, &endings, begun.elapsed())?,
    }
    if good {
        return Ok(code::DONE);
    }
    let dir = dir.display();
    say::talk(&format!("jobyard: not every order ended as it should; see {dir}/daemon.log"));
    Ok(code::FAILED)
}

fn failed(dir: &Path, why: &str) -> Failure {
    Failure::new(code::FAILED, format!("demo in {}: {why}", dir.display()))
}

fn scratch(given: Option<PathBuf>) -> Result<PathBuf, Failure> {
    let name = format!("jobyard-demo-{:016x}", identity::random_bits());
    let dir = given.unwrap_or_else(|| std::env::temp_dir().join(name));
    fs::create_dir_all(&dir).map_err(|e| failed(&dir, &format!("make it: {e}")))?;
    let mut entries = fs::read_dir(&dir).map_err(|e| failed(&dir, &format!("list it: {e}")))?;
    if entries.next().is_some() {
        let text = format!("demo in {}: it is not empty; name a new directory", dir.display());
        return Err(Failure::new(code::USAGE, text));
    }
    dir.canonicalize().map_err(|e| failed(&dir, &format!("open it: {e}")))
}

fn prepare(dir: &Path) -> Result<(), String> {
    git(dir, &["init", "-q"])?;
    git(dir, &["symbolic-ref", "HEAD", "refs/heads/main"])?;
    git(dir, &["config", "user.name", "jobyard demo"])?;
    git(dir, &["config", "user.email", "demo@example.invalid"])?;
    git(dir, &["config", "commit.gpgsign", "false"])?;
    put(dir, "README.md", "A scratch repository.\n")?;
    git(dir, &["add", "README.md"])?;
    git(dir, &["commit", "-q", "-m", "Begin"])?;
    put(dir, paths::CONFIG, CONFIG)?;
    put(dir, "_ctx/dod/demo.yaml", CATALOGUE)?;
    for example in &EXAMPLES {
        put(dir, &format!("_ctx/jobs/pending/{}.yaml", example.id), example.body)?;
    }
    Ok(())
}

fn put(dir: &Path, path: &str, text: &str) -> Result<(), String> {
    let path = dir.join(path);
    let parent = path.parent().unwrap_or(dir);
    fs::create_dir_all(parent)
        .and_then(|()| fs::write(&path, text))
        .map_err(|e| format!("write {}: {e}", path.display()))
}

/// A command that no repository around us leads astray.
fn command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    for name in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "JOBYARD_ROOT"] {
        command.env_remove(name);
    }
    command
}

fn git(dir: &Path, arguments: &[&str]) -> Result<(), String> {
    let output = command("git").arg("-C").arg(dir).args(arguments).output();
    let output = output.map_err(|e| format!("run git: {e}; install it"))?;
    match output.status.success() {
        true => Ok(()),
        false => {
            let said = String::from_utf8_lossy(&output.stderr);
            Err(format!("git {}: {}", arguments.join(" "), said.trim()))
        }
    }
}

/// Runs a daemon until nothing is left that it can do.
fn drain(dir: &Path) -> Result<(), String> {
    let program = std::env::current_exe().map_err(|e| format!("find this program: {e}"))?;
    let log =
        fs::File::create(dir.join("daemon.log")).map_err(|e| format!("make daemon.log: {e}"))?;
    let mut daemon = command(program)
        .args(["daemon", "--drain", "--root"])
        .arg(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .map_err(|e| format!("start the daemon: {e}"))?;
    if ended(&mut daemon, PATIENCE.0)? {
        return Ok(());
    }
    let _ = rustix::process::kill_process(
        rustix::process::Pid::from_child(&daemon),
        rustix::process::Signal::TERM,
    );
    if !ended(&mut daemon, PATIENCE.1)? {
        let _ = daemon.kill();
        let _ = daemon.wait();
    }
    Err("the daemon did not come to an end; see daemon.log".to_owned())
}

/// Whether a child ends within `span`.
fn ended(child: &mut Child, span: Duration) -> Result<bool, String> {
    let until = Instant::now() + span;
    while Instant::now() < until {
        if child.try_wait().map_err(|e| format!("wait for the daemon: {e}"))?.is_some() {
            return Ok(true);
        }
        std::thread::park_timeout(Duration::from_millis(20));
    }
    Ok(false)
}

fn ending(dir: &Path, example: &Example) -> Option<Ending> {
    let id = OrderId::parse(example.id).ok()?;
    let state = State::ALL.into_iter().find(|s| dir.join(paths::ticket(*s, &id)).exists());
    let runs = paths::run(&id, 1);
    let verdict = fs::read(dir.join(&runs).join("verdict.json")).ok();
    let verdict = verdict.and_then(|v| serde_json::from_slice::<VerdictFile>(&v).ok());
    let mut look = Vec::new();
    let mut seen = |path: PathBuf| {
        if dir.join(&path).exists() {
            look.push(path.to_string_lossy().into_owned());
        }
    };
    seen(runs.join("verdict.json"));
    seen(paths::execution_log(&id));
    let why = paths::why(state.unwrap_or(State::Pending), &id);
    seen(why.clone());
    let explained = fs::read_to_string(dir.join(why)).unwrap_or_default();
    let reason = state.and_then(|s| {
        let bytes = fs::read(dir.join(paths::ticket(s, &id))).ok()?;
        parse_order(&bytes, id.as_str()).ok()?.order.own.reason
    });
    let result = verdict.as_ref().map(|v| v.result.clone());
    let sentences = verdict.map(|v| v.sentences.join("; ")).unwrap_or_default();
    let said = match reason {
        Some(reason) => format!("{reason}: {sentences}"),
        None => explained.lines().next().unwrap_or_default().to_owned(),
    };
    let malformed = example.state == State::Pending;
    let expected = state == Some(example.state)
        && result.as_deref() == example.result
        && (!malformed || !explained.is_empty());
    Some(Ending { id, about: example.about, state, result, why: said, look, expected })
}

impl Ending {
    fn json(&self) -> Value {
        json!({
            "id": self.id.as_str(),
            "state": self.state.map(State::name),
            "result": self.result,
            "reason": self.why,
            "look": self.look,
            "expected": self.expected,
        })
    }
}

fn tell(dir: &Path, endings: &[Ending], took: Duration) -> Result<(), Failure> {
    say::line(&format!("After {}.{} s:\n", took.as_secs(), took.subsec_millis() / 100))?;
    for ending in endings {
        let state = ending.state.map_or("nowhere", State::name);
        let result = ending.result.as_deref().unwrap_or("refused").to_uppercase();
        let sign = if ending.expected { "as expected" } else { "NOT AS EXPECTED" };
        let Ending { id, about, why, .. } = ending;
        say::line(&format!("{id}  {state}/  {result}  ({sign}: {about})\n    because  {why}"))?;
        for path in &ending.look {
            say::line(&format!("    look at  {path}"))?;
        }
    }
    let place = dir.display();
    say::line(&format!(
        "\nLook around:  ls {place}/_ctx/jobs/*   git -C {place} log --oneline --all\n\
         Remove it:    rm -rf {place}"
    ))
}
