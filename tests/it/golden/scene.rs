//! A repository with orders in every state, all made by the real binary: nothing is written by hand but what
//! a person writes.

use super::calls::word;
use crate::yard::Yard;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

/// What a call said.
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    /// What a process said.
    pub(crate) fn of(out: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        // As a shell says it.
        let code = out.status.code().or_else(|| Some(128 + out.status.signal()?)).unwrap();
        Self { code, out: text(&out.stdout), err: text(&out.stderr) }
    }
}

/// The tree.
pub(crate) struct Scene {
    yard: Yard,
}

const CONFIG: &str = "\
slots = 1
settle = \"20ms\"
grace = \"1s\"

[groups.bench]
slots = 1
";

const BACKLOG: &str = "\
version: 1
epics:
  - id: E-0001
    title: Greetings
    priority: P1
    status: active
    wo_queue: [WO-01, WO-09]
";

/// Tickets and locks as an older tool left them.
const OLDER: [(&str, &str); 4] = [
    ("pending/OLD-1.yaml", "id: OLD-1\ntitle: Go on # soon\nstatus: pending\n"),
    ("done/OLD-2.yaml", "id: OLD-2\ntitle: Was done\nstatus: done\n"),
    ("running/OLD-3.yaml", "id: OLD-3\ntitle: Was begun\nstatus: running\nowner: ann\n"),
    ("running/OLD-3.lock", "Locked by ctx_wo_take.py at 2026-02-21T10:00:00+00:00\nPID: 77\n"),
];

/// Orders that a daemon settles, or leaves pending: id, title, the rest.
const DRAINED: [(&str, &str, &str); 5] = [
    (
        "WO-01",
        "Write a greeting",
        "priority: P1\nepic_id: E-0001\nrun: echo hello > hi && git add hi && git commit -qm hi\n\
         verify: {commands: ['grep -q hello hi']}\n",
    ),
    (
        "WO-02",
        "Greet in two languages",
        "priority: P1\nrun: echo hello > hi && git add hi && git commit -qm hi\n\
         verify: {commands: ['grep -q bonjour hi']}\n",
    ),
    ("WO-03", "Build on what failed", "dependencies: [WO-02]\nrun: 'true'\nworkspace: none\n"),
    (
        "WO-04",
        "A command that fails",
        "run: [echo building, 'echo no space >&2; exit 3']\nworkspace: none\ngroup: bench\n",
    ),
    (
        "WO-05",
        "漢字の長い題名をもつ仕事 🎉 that needs more room than a terminal has",
        "hold: true\nrun: 'true'\nworkspace: none\n",
    ),
];

/// Orders that come after it.
const LATER: [(&str, &str, &str); 5] = [
    ("WO-06", "Not wanted any more", "run: 'true'\n"),
    ("WO-07", "Write notes", "verify: {commands: ['test -s notes.txt']}\n"),
    ("WO-08", "Follow up on the notes", "dependencies: [WO-07]\npriority: high\nrun: 'true'\n"),
    (
        "WO-09",
        "Ready to run",
        "priority: critical\nepic_id: E-0001\nrun: 'true'\nworkspace: none\n",
    ),
    ("WO-10", "A typing mistake", "priority: urgentt\n"),
];

impl Scene {
    /// Makes it.
    pub(crate) fn new() -> Self {
        let mut yard = Yard::git();
        yard.args = vec![];
        yard.configure(CONFIG);
        yard.put("_ctx/backlog/backlog.yaml", BACKLOG);
        yard.put("draft.yaml", "title: Read the notes\nid: draft\npriority: low # for now\n");
        yard.put("bad.yaml", "id: WO-11\ntitle: T\nrun: [true, 7]\npriorty: high\n");
        std::fs::create_dir(yard.path("fresh")).unwrap();
        for (path, text) in OLDER {
            let path = format!("older/_ctx/jobs/{path}");
            std::fs::create_dir_all(yard.path(&path).parent().unwrap()).unwrap();
            yard.put(&path, text);
        }
        let scene = Self { yard };
        scene.submit(&DRAINED);
        scene.done("daemon --drain");
        scene.submit(&LATER);
        scene.done("cancel WO-06 --reason @not_wanted_any_more");
        scene.done("take WO-07 --owner agent-7");
        scene
    }

    fn submit(&self, orders: &[(&str, &str, &str)]) {
        for (id, title, rest) in orders {
            let name = Yard::ticket("pending", id);
            self.yard.publish(&name, &format!("id: {id}\ntitle: \"{title}\"\n{rest}"));
        }
    }

    #[track_caller]
    fn done(&self, call: &str) {
        let said = self.run(call, false);
        assert_eq!(said.code, 0, "{call}: {}", said.err);
    }

    /// Runs a call in the root, with a width for whoever asks.
    pub(crate) fn run(&self, call: &str, json: bool) -> Said {
        let mut command = Command::new("timeout");
        command.args(["-s", "KILL", "60"]);
        let all: Vec<&str> = call.split_whitespace().collect();
        let (given, words) = all.split_at(all.iter().take_while(|word| word.contains('=')).count());
        command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("USER", "ann").env("TZ", "UTC");
        command.env_remove("COLUMNS").env_remove("JOBYARD_ROOT").env_remove("NO_COLOR");
        command.envs(given.iter().filter_map(|word| word.split_once('=')));
        command.arg(&self.yard.program).args(json.then_some("--json"));
        command.args(words.iter().map(|w| word(w))).current_dir(&self.yard.root);
        Said::of(&command.stdin(Stdio::null()).output().unwrap())
    }

    /// What a terminal gets of a call.
    pub(crate) fn on_terminal(&self, call: &str) -> String {
        let line: Vec<&str> = call.split_whitespace().filter(|word| word.contains('=')).collect();
        let words: Vec<&str> = call.split_whitespace().filter(|w| !w.contains('=')).collect();
        let program = self.yard.program.display();
        let line = format!("{} {program} {}", line.join(" "), words.join(" "));
        let mut script = Command::new("script");
        script.args(["-qec", &line, "/dev/null"]).current_dir(&self.yard.root);
        script.env_remove("NO_COLOR").env_remove("JOBYARD_ROOT").stdin(Stdio::null());
        let out = script.output().unwrap();
        String::from_utf8(out.stdout).unwrap().replace('\r', "")
    }

    /// Where it lies.
    pub(crate) fn root(&self) -> &PathBuf {
        &self.yard.root
    }
}
