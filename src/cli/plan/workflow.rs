//! Workflows: what plans tasks. Two are built in, others are directories with a program called `plan`.
//!
//! Invariants: a planner of the user's is run as it stands, once, with the root as its directory; what it
//! prints is the manifest, or else what it wrote to the file that `JOBYARD_MANIFEST` names, never both.

use super::Request;
use crate::cli::{Failure, code, out};
use crate::model::id::OrderId;
use crate::model::parse::nearest;
use crate::model::paths;
use crate::plan::system_test::{self, MODES};
use crate::tasks::gap_fill;
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Those that are built in.
const SYSTEM_TEST: &str = "system_test";
const GAP_FILL: &str = "gap_fill";

/// What is read of a planner at once.
const PIECE_BYTES: usize = 64 << 10;

/// What plans.
pub(super) struct Workflow {
    /// Its name.
    pub(super) name: String,
    /// Its program; absent: it is built in.
    program: Option<PathBuf>,
}

impl Workflow {
    /// The workflow of this name.
    pub(super) fn find(root: &Path, name: &str) -> Result<Self, Failure> {
        OrderId::parse(name).map_err(|rule| {
            Failure::new(code::USAGE, format!("a workflow's name {rule}: `{}`", out::plain(name)))
        })?;
        let dir = root.join(paths::CTX).join("workflows").join(name);
        let own = name.to_owned();
        if !dir.is_dir() {
            if [SYSTEM_TEST, GAP_FILL].contains(&name) {
                return Ok(Self { name: own, program: None });
            }
            let all = all(root)?;
            let names: Vec<&str> = all.iter().map(|(name, _)| name.as_str()).collect();
            let near =
                nearest(name, &names).map_or_else(String::new, |n| format!("; nearest: {n}"));
            let text = format!(
                "there is no workflow {name}: no {}{near}; there are: {}",
                dir.display(),
                names.join(", ")
            );
            return Err(Failure::new(code::NOT_FOUND, text));
        }
        Ok(Self { name: own, program: Some(planner(&dir)?) })
    }

    /// Plans into `manifest`, a path that does not exist yet; what is printed goes through `take`.
    pub(super) fn plan(
        &self,
        root: &Path,
        manifest: &Path,
        request: &Request<'_>,
        take: impl FnMut(&[u8]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        match &self.program {
            Some(program) => run(program, root, manifest, request, take),
            None if self.name == GAP_FILL => gaps(request, take),
            None => system_test(request, take),
        }
    }

    /// The title of a package.
    pub(super) fn title(&self, request: &Request<'_>, tasks: u64) -> String {
        let mode = request.mode.unwrap_or(&self.name);
        system_test::title(mode, tasks)
    }
}

/// Every workflow by name, with a word on it.
pub(super) fn all(root: &Path) -> Result<Vec<(String, String)>, Failure> {
    let dir = root.join(paths::CTX).join("workflows");
    let failed = |e: io::Error| Failure::of_disk("list", &dir, &e);
    let mut all: Vec<(String, String)> = Vec::new();
    match fs::read_dir(&dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(failed(e)),
        Ok(entries) => {
            for entry in entries {
                let entry = entry.map_err(failed)?;
                let name = entry.file_name().to_string_lossy().into_owned();
                if OrderId::parse(&name).is_err() || !entry.path().is_dir() {
                    continue;
                }
                let text = match planner(&entry.path()) {
                    Ok(program) => {
                        program.strip_prefix(root).unwrap_or(&program).display().to_string()
                    }
                    Err(failure) => failure.text,
                };
                all.push((name, text));
            }
        }
    }
    let modes = MODES.each_ref().map(|mode| mode.name).join(", ");
    let built_in = [
        (SYSTEM_TEST, format!("built in; modes: {modes}")),
        (GAP_FILL, "built in; mends the graph of a SQLite database".to_owned()),
    ];
    for (name, text) in built_in {
        if !all.iter().any(|(own, _)| own == name) {
            all.push((name.to_owned(), text));
        }
    }
    all.sort();
    Ok(all)
}

/// The one executable file of a workflow that is called `plan` or `plan.…`.
fn planner(dir: &Path) -> Result<PathBuf, Failure> {
    let failed = |e: io::Error| Failure::of_disk("list", dir, &e);
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name == "plan" || name.starts_with("plan.") {
            found.push(entry.path());
        }
    }
    found.sort();
    let runs = |path: &PathBuf| {
        fs::metadata(path).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
    };
    let (able, unable): (Vec<PathBuf>, Vec<PathBuf>) = found.into_iter().partition(runs);
    let shown = dir.display();
    match (able.as_slice(), unable.first()) {
        ([one], _) => Ok(one.clone()),
        ([], None) => {
            let text = format!("{shown} holds no planner: a program called `plan` or `plan.…`");
            Err(Failure::new(code::NOT_FOUND, text))
        }
        ([], Some(file)) => {
            let file = file.display();
            let text = format!("{file} cannot be run: make it executable (`chmod +x {file}`)");
            Err(Failure::new(code::REFUSED, text))
        }
        ([one, other, ..], _) => {
            let text =
                format!("{} and {} both plan: leave one of them", one.display(), other.display());
            Err(Failure::new(code::REFUSED, text))
        }
    }
}

/// A planner that is built in takes no words.
fn refuse_words(request: &Request<'_>) -> Result<(), Failure> {
    if request.words.is_empty() {
        return Ok(());
    }
    let text = "what is built in takes no words of its own; see `jobyard plan --help`";
    Err(Failure::new(code::USAGE, text))
}

/// The tasks that mend a graph. What is taken is told of errors by the way it takes.
fn gaps(
    request: &Request<'_>,
    mut take: impl FnMut(&[u8]) -> Result<(), Failure>,
) -> Result<(), Failure> {
    refuse_words(request)?;
    let Some(db) = &request.graph.db else {
        return Err(Failure::new(
            code::USAGE,
            "gap_fill needs --db FILE, the database with the graph",
        ));
    };
    let path = fs::canonicalize(db).map_err(|e| {
        Failure::new(code::NOT_FOUND, format!("look at {}: {e}; nothing was planned", db.display()))
    })?;
    let mut refused = None;
    let planned = gap_fill::plan(&path, &request.graph.names(), |line| {
        take(format!("{line}\n").as_bytes()).map_err(|failure| {
            let text = failure.text.clone();
            refused = Some(failure);
            text
        })
    });
    match (planned, refused) {
        (_, Some(failure)) => Err(failure),
        (planned, None) => planned
            .map_err(|text| Failure::new(code::FAILED, format!("{text}; nothing was planned"))),
    }
}

fn system_test(
    request: &Request<'_>,
    mut take: impl FnMut(&[u8]) -> Result<(), Failure>,
) -> Result<(), Failure> {
    refuse_words(request)?;
    let names = MODES.each_ref().map(|mode| mode.name);
    let word = request.mode.unwrap_or_default();
    let mode = system_test::named(word).ok_or_else(|| {
        let near = nearest(word, &names).map_or_else(String::new, |n| format!("; nearest: {n}"));
        let text = format!("--mode: expected one of {}{near}", names.join(", "));
        Failure::new(code::USAGE, text)
    })?;
    let (count, seed) = (request.count.unwrap_or(mode.count), request.seed.unwrap_or(1));
    let mut piece = String::new();
    for number in 1..=count {
        piece.push_str(&mode.line(number, seed, request.scale.unwrap_or(1000)));
        piece.push('\n');
        if piece.len() >= PIECE_BYTES || number == count {
            take(piece.as_bytes())?;
            piece.clear();
        }
    }
    Ok(())
}

fn run(
    program: &Path,
    root: &Path,
    manifest: &Path,
    request: &Request<'_>,
    mut take: impl FnMut(&[u8]) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let shown = program.display();
    let mut command = Command::new(program);
    command.args(request.words).current_dir(root).stdin(Stdio::null()).stdout(Stdio::piped());
    command.env("JOBYARD_ROOT", root).env("JOBYARD_MANIFEST", manifest);
    command.env("JOBYARD_STRATEGY", request.strategy.name());
    let asked = [
        ("JOBYARD_MODE", request.mode.map(str::to_owned)),
        ("JOBYARD_COUNT", request.count.map(|n| n.to_string())),
        ("JOBYARD_SEED", request.seed.map(|n| n.to_string())),
        ("JOBYARD_SCALE", request.scale.map(|n| format!("{}.{:03}", n / 1000, n % 1000))),
    ];
    for (name, value) in asked {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let failed = |e: io::Error| {
        Failure::new(code::FAILED, format!("run the planner {shown}: {e}; nothing was planned"))
    };
    let mut child = command.spawn().map_err(failed)?;
    let mut printed =
        child.stdout.take().ok_or_else(|| failed(io::ErrorKind::BrokenPipe.into()))?;
    let mut piece = vec![0; PIECE_BYTES];
    let taken = loop {
        match printed.read(&mut piece) {
            Ok(0) => break Ok(()),
            Ok(n) => {
                if let Err(failure) = take(&piece[..n]) {
                    break Err(failure);
                }
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => break Err(failed(e)),
        }
    };
    // Its pipe goes first, so that it ends where nobody reads on.
    drop(printed);
    let status = child.wait().map_err(failed)?;
    taken?;
    if status.success() {
        return Ok(());
    }
    io::stderr().flush().map_err(failed)?;
    let text = format!("the planner {shown} failed: {status}; nothing was planned");
    Err(Failure::new(code::FAILED, text))
}
