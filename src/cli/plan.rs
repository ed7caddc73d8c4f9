//! `jobyard plan`: a workflow plans tasks; they become a job package, or a manifest alone.
//!
//! Invariants: a package appears whole, durable, under a name that nobody has had, over nothing else; nothing
//! is dispatched; when planning fails nothing is left. A line that is no task is told and kept: it will
//! count as failed, and the others will run.

mod draft;
mod workflow;

use super::ask::drive::world;
use super::{Failure, Globals, Outcome, code, out, say};
use crate::model::package::Strategy;
use crate::model::parse::nearest;
use crate::model::paths;
use crate::tasks::gap_fill::Names;
use draft::{Draft, Planned};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use workflow::Workflow;

/// Lines that are no tasks and are told of; the others are counted.
const BAD_SHOWN_MAX: usize = 10;

/// Flags of `jobyard plan`.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The workflow: `system_test`, `gap_fill`, or a directory of `_ctx/workflows` (`--list` shows them)
    #[arg(required_unless_present = "list", value_name = "WORKFLOW")]
    workflow: Option<String>,
    /// Which kind of tasks it plans
    #[arg(long, value_name = "MODE")]
    mode: Option<String>,
    /// How many
    #[arg(long, value_name = "N")]
    count: Option<u32>,
    /// hybrid_supervisor, force_metal or force_cloud
    #[arg(long, value_name = "STRATEGY", default_value = Strategy::WORDS[0])]
    strategy: String,
    /// One line for people
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// What chance is drawn from: the same seed plans the same tasks
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Of `system_test`: multiply its times, such as 0.01
    #[arg(long, value_name = "FACTOR")]
    scale: Option<f64>,
    #[command(flatten)]
    graph: Graph,
    /// Write a numbered manifest alone into this directory
    #[arg(long, value_name = "DIR")]
    manifest_dir: Option<PathBuf>,
    /// List the workflows; plan nothing
    #[arg(long, conflicts_with_all = ["mode", "count", "name", "seed", "scale", "manifest_dir", "words"])]
    list: bool,
    /// Words for a planner of your own
    #[arg(last = true, value_name = "WORD")]
    words: Vec<String>,
}

/// Of `gap_fill`: where the graph is, and what its tables and columns are called.
#[derive(clap::Args)]
#[command(next_help_heading = "Of gap_fill")]
struct Graph {
    /// The SQLite database with the graph
    #[arg(long, value_name = "FILE")]
    db: Option<PathBuf>,
    /// The table of nodes
    #[arg(long, value_name = "TABLE", default_value = "nodes")]
    node_table: String,
    /// Its column by which edges name them
    #[arg(long, value_name = "COLUMN", default_value = "id")]
    node_id: String,
    /// The table of edges
    #[arg(long, value_name = "TABLE", default_value = "edges")]
    edge_table: String,
    /// Its column with the node an edge begins at
    #[arg(long, value_name = "COLUMN", default_value = "source")]
    edge_from: String,
    /// Its column with the node it leads to
    #[arg(long, value_name = "COLUMN", default_value = "target")]
    edge_to: String,
}

impl Graph {
    fn names(&self) -> Names {
        Names {
            nodes: self.node_table.clone(),
            id: self.node_id.clone(),
            edges: self.edge_table.clone(),
            from: self.edge_from.clone(),
            to: self.edge_to.clone(),
        }
    }
}

/// What a planner is asked.
struct Request<'a> {
    mode: Option<&'a str>,
    count: Option<u32>,
    strategy: Strategy,
    seed: Option<u64>,
    /// Thousandths.
    scale: Option<u64>,
    graph: &'a Graph,
    words: &'a [String],
}

/// Runs it.
pub(super) fn run(globals: &Globals, given: &Arguments) -> Outcome {
    let root = globals.find_root()?;
    let Some(name) = given.workflow.as_deref().filter(|_| !given.list) else {
        return list(globals, &root);
    };
    let request = request(given)?;
    let workflow = Workflow::find(&root, name)?;
    let mut world = world(&root)?;
    let what = request.mode.unwrap_or(name);
    let planned = match &given.manifest_dir {
        Some(dir) => draft::manifest_alone(&root, dir, &workflow, &request)?,
        None => {
            let draft = Draft::begin(&mut world, what)?;
            draft.plan(&mut world, &workflow, &request, given.name.as_deref())?
        }
    };
    tell(globals, &planned, request.strategy)
}

fn request(given: &Arguments) -> Result<Request<'_>, Failure> {
    let strategy = Strategy::parse(&given.strategy).ok_or_else(|| {
        let word = out::plain(&given.strategy);
        let near = nearest(&given.strategy, &Strategy::WORDS);
        let near = near.map_or_else(String::new, |near| format!("; nearest: {near}"));
        let all = Strategy::WORDS.join(", ");
        Failure::new(code::USAGE, format!("--strategy: `{word}` is none of {all}{near}"))
    })?;
    let scale = given.scale.map(thousandths).transpose()?;
    let mode = given.mode.as_deref();
    let Arguments { count, seed, graph, words, .. } = given;
    Ok(Request { mode, count: *count, strategy, seed: *seed, scale, graph, words })
}

/// A factor as a whole number of thousandths.
fn thousandths(factor: f64) -> Result<u64, Failure> {
    let text = format!("{:.0}", factor * 1000.0);
    let scale = text.parse().ok().filter(|n| (1..=1_000_000).contains(n));
    scale.ok_or_else(|| Failure::new(code::USAGE, "--scale: expected a factor from 0.001 to 1000"))
}

fn list(globals: &Globals, root: &Path) -> Outcome {
    let all = workflow::all(root)?;
    if globals.json {
        let all: Value =
            all.iter().map(|(name, text)| json!({"name": name, "text": text})).collect();
        say::object("workflows", [("workflows", all)])?;
        return Ok(code::DONE);
    }
    for (name, text) in all {
        say::line(&format!("{:<16} {}", out::plain(&name), out::plain(&text)))?;
    }
    Ok(code::DONE)
}

fn tell(globals: &Globals, planned: &Planned, strategy: Strategy) -> Outcome {
    let bad = &planned.bad;
    if globals.json {
        let told = bad.iter().map(|(line, text)| json!({"line": line, "message": text}));
        let package = planned.package.as_ref();
        say::object(
            "plan",
            [
                ("job_id", package.map(|p| p.id.as_str()).into()),
                ("package", planned.dir.as_ref().map(|dir| dir.display().to_string()).into()),
                ("manifest", planned.manifest.display().to_string().into()),
                ("tasks", planned.tasks.into()),
                ("strategy", strategy.name().into()),
                ("backlog_key", package.map(|p| p.backlog_key.as_str()).into()),
                ("bad_lines", told.collect()),
            ],
        )?;
        return Ok(code::DONE);
    }
    let tasks = format!("{} {}", planned.tasks, if planned.tasks == 1 { "task" } else { "tasks" });
    match (&planned.package, &planned.dir) {
        (Some(package), Some(dir)) => say::line(&format!(
            "Created job package: {}/\n  - {}\n  - {} ({tasks})\n  Strategy: {}\n  Backlog: {}",
            dir.display(),
            crate::model::package::FILE,
            package.manifest,
            strategy.name(),
            package.backlog_key,
        ))?,
        _ => say::line(&format!("Created manifest: {} ({tasks})", planned.manifest.display()))?,
    }
    for (line, text) in bad.iter().take(BAD_SHOWN_MAX) {
        let file = planned.manifest.display();
        say::talk(&format!("jobyard: warning: {file}:{line}: {text}"));
    }
    if bad.len() > BAD_SHOWN_MAX {
        let more = bad.len() - BAD_SHOWN_MAX;
        say::talk(&format!(
            "jobyard: warning: {more} more lines that are no tasks or have odd keys"
        ));
    }
    Ok(code::DONE)
}

/// Where packages are planned, relative to the root.
fn packages() -> PathBuf {
    Path::new(paths::CTX).join("packages")
}
