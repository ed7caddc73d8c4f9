//! A package that is being planned: a hidden directory of `_ctx/packages` until it is whole.
//!
//! Invariants: files and directory are synced before the name is; the name is free, of packages and of work
//! orders; what was begun here is taken away when it does not get its name.

use super::workflow::Workflow;
use super::{Request, packages};
use crate::cli::{Failure, code, dirs};
use crate::model::id::OrderId;
use crate::model::order::State;
use crate::model::package::manifest::{Line, Lines, parse_line};
use crate::model::package::{FILE, Package};
use crate::model::paths;
use crate::world::real::RealWorld;
use crate::world::store::{errno, write_all};
use crate::world::{Fault, World};
use jiff::tz::TimeZone;
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

/// Names that are tried before one is asked for.
const TRIES_MAX: u32 = 10_000;

/// Lines that are no tasks and are kept to be told of.
const BAD_MAX: usize = 1000;

/// What is read of a manifest at once.
const PIECE_BYTES: usize = 1 << 20;

/// Where a planner's lines go until it is known that it wrote no file.
const PRINTED: &str = ".printed";

/// What was planned.
pub(super) struct Planned {
    /// Absent for a manifest alone.
    pub(super) package: Option<Package>,
    /// The package's directory, absolute.
    pub(super) dir: Option<PathBuf>,
    /// The manifest, absolute.
    pub(super) manifest: PathBuf,
    /// Lines that are not blank.
    pub(super) tasks: u64,
    /// Lines that are no tasks, or have odd keys, and what is said of them.
    pub(super) bad: Vec<(u32, String)>,
}

/// One that has begun.
pub(super) struct Draft {
    /// Relative to the root.
    dir: PathBuf,
    /// `<mode>_<date>_<time>`: its name, if that is free.
    id: OrderId,
    created: String,
}

impl Draft {
    /// A hidden directory for a package of this mode.
    pub(super) fn begin(world: &mut RealWorld, mode: &str) -> Result<Self, Failure> {
        let now = world.now().local(&TimeZone::system());
        let stem = format!("{mode}_{}", now.replace(['-', ':'], "").replace(' ', "_"));
        let id = OrderId::parse(&stem).map_err(|rule| {
            Failure::new(code::USAGE, format!("a package cannot be called `{stem}`: an id {rule}"))
        })?;
        let dir = packages().join(format!(".{:016x}", world.random()));
        dirs::make(world, &[PathBuf::from(paths::CTX), packages()]).map_err(|f| failed(&f))?;
        world.mkdir(&dir).map_err(|f| failed(&f))?;
        Ok(Self { dir, id, created: now.replace(' ', "T") })
    }

    /// Plans, and gives it its name; or takes it away.
    pub(super) fn plan(
        self,
        world: &mut RealWorld,
        workflow: &Workflow,
        request: &Request<'_>,
        name: Option<&str>,
    ) -> Result<Planned, Failure> {
        let planned = self.fill(world, workflow, request, name);
        if planned.is_err() {
            self.take_away(world);
        }
        planned
    }

    fn fill(
        &self,
        world: &mut RealWorld,
        workflow: &Workflow,
        request: &Request<'_>,
        name: Option<&str>,
    ) -> Result<Planned, Failure> {
        let root = PathBuf::from(world.root());
        let manifest = self.dir.join("manifest.jsonl");
        let printed = self.dir.join(PRINTED);
        let file = world.create(&printed, 0o644).map_err(|f| failed(&f))?;
        let mut any = false;
        workflow.plan(&root, &root.join(&manifest), request, |piece| {
            any |= !piece.iter().all(u8::is_ascii_whitespace);
            write_all(world, &file, piece).map_err(|f| failed(&f))
        })?;
        let written = world.stat(&manifest).map_err(|f| failed(&f))?.is_some();
        match (any, written) {
            (true, true) => return Err(two_manifests()),
            (true, false) => world.rename(&printed, &manifest).map_err(|f| failed(&f))?,
            _ => world.unlink(&printed).map_err(|f| failed(&f))?,
        }
        let (tasks, bad) = self.read(world, &manifest)?;
        let mut package = self.package(workflow, request, tasks);
        if let Some(name) = name {
            name.clone_into(&mut package.name);
        }
        let package = self.publish(world, package)?;
        let dir = root.join(packages()).join(package.id.as_str());
        let manifest = dir.join(&package.manifest);
        Ok(Planned { package: Some(package), dir: Some(dir), manifest, tasks, bad })
    }

    fn package(&self, workflow: &Workflow, request: &Request<'_>, tasks: u64) -> Package {
        let mut package = Package::new(self.id.clone(), workflow.title(request, tasks));
        package.created = Some(self.created.clone());
        package.strategy = request.strategy;
        package.count = Some(tasks);
        package.workflow = Some(workflow.name.clone());
        package
    }

    /// How many tasks the manifest has, and what is wrong with its lines. It is durable after that.
    fn read(
        &self,
        world: &mut RealWorld,
        manifest: &Path,
    ) -> Result<(u64, Vec<(u32, String)>), Failure> {
        let opened = world.open(manifest).map_err(|f| failed(&f))?;
        let Some(file) = opened else { return Err(nothing_planned()) };
        let mut count = Count::default();
        let mut at = 0;
        loop {
            let piece = world.read(&file, at, PIECE_BYTES).map_err(|f| failed(&f))?;
            if piece.is_empty() {
                break;
            }
            at += piece.len() as u64;
            count.push(&piece);
        }
        world.sync(&file).map_err(|f| failed(&f))?;
        let (tasks, bad) = count.finish();
        if tasks == 0 { Err(nothing_planned()) } else { Ok((tasks, bad)) }
    }

    /// The package under the first name that is free.
    fn publish(&self, world: &mut RealWorld, mut package: Package) -> Result<Package, Failure> {
        for n in 1..=TRIES_MAX {
            let name = if n == 1 { self.id.to_string() } else { format!("{}_{n}", self.id) };
            let Ok(id) = OrderId::parse(&name) else { break };
            if is_known(world, &id).map_err(|f| failed(&f))? {
                continue;
            }
            package.backlog_key = crate::model::package::backlog_key(&id);
            package.id = id;
            if self.name(world, &package).map_err(|f| failed(&f))? {
                return Ok(package);
            }
        }
        let text = format!("no free name for a package called {}; nothing was planned", self.id);
        Err(Failure::new(code::REFUSED, text))
    }

    /// `false`: the name is taken.
    fn name(&self, world: &mut RealWorld, package: &Package) -> Result<bool, Fault> {
        let order = self.dir.join(FILE);
        if world.stat(&order)?.is_some() {
            world.unlink(&order)?;
        }
        let file = world.create(&order, 0o644)?;
        write_all(world, &file, package.text().as_bytes())?;
        world.sync(&file)?;
        world.sync_dir(&self.dir)?;
        match world.rename(&self.dir, &packages().join(package.id.as_str())) {
            Ok(()) => world.sync_dir(&packages()).map(|()| true),
            Err(fault) if fault.errno == errno::EEXIST => Ok(false),
            Err(fault) => Err(fault),
        }
    }

    /// What was begun goes; what cannot be taken away stays hidden.
    fn take_away(&self, world: &mut RealWorld) {
        for name in [PRINTED, "manifest.jsonl", FILE] {
            let _ = world.unlink(&self.dir.join(name));
        }
        let _ = fs::remove_dir(Path::new(world.root()).join(&self.dir));
    }
}

fn two_manifests() -> Failure {
    let text = "the planner printed lines and wrote JOBYARD_MANIFEST: leave one of them; nothing was planned";
    Failure::new(code::REFUSED, text)
}

fn nothing_planned() -> Failure {
    Failure::new(code::REFUSED, "the planner planned no task; nothing was planned")
}

/// A package or an order has had this name.
fn is_known(world: &mut RealWorld, id: &OrderId) -> Result<bool, Fault> {
    let tickets = State::ALL.map(|state| paths::ticket(state, id));
    for path in tickets.into_iter().chain([packages().join(id.as_str()), paths::runs(id)]) {
        if world.stat(&path)?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

fn failed(fault: &Fault) -> Failure {
    Failure::of_fault(fault, "nothing was planned")
}

/// Tasks and bad lines of a manifest that is read in pieces.
#[derive(Default)]
struct Count {
    lines: Lines,
    tasks: u64,
    bad: Vec<(u32, String)>,
}

impl Count {
    fn push(&mut self, piece: &[u8]) {
        let (tasks, bad) = (&mut self.tasks, &mut self.bad);
        self.lines.push(piece, |number, line| judge(tasks, bad, number, &line));
    }

    /// No task was seen that has ended.
    fn is_empty(&self) -> bool {
        self.tasks == 0
    }

    fn finish(mut self) -> (u64, Vec<(u32, String)>) {
        let (tasks, bad) = (&mut self.tasks, &mut self.bad);
        self.lines.finish(|number, line| judge(tasks, bad, number, &line));
        (self.tasks, self.bad)
    }
}

fn judge(tasks: &mut u64, bad: &mut Vec<(u32, String)>, number: u32, line: &Line) {
    *tasks += 1;
    let texts: Vec<String> = match line {
        Line::Long(bytes) => vec![format!("it is {bytes} bytes long, and is no task")],
        Line::Whole(text) => match parse_line(text) {
            Ok(task) => task.warnings().collect(),
            Err(text) => vec![text],
        },
    };
    let room = BAD_MAX.saturating_sub(bad.len());
    bad.extend(texts.into_iter().take(room).map(|text| (number, text)));
}

/// A manifest alone, under the next number of its directory: `<workflow>_<mode>_01.jsonl`.
pub(super) fn manifest_alone(
    root: &Path,
    dir: &Path,
    workflow: &Workflow,
    request: &Request<'_>,
) -> Result<Planned, Failure> {
    let failed = |act: &str, path: &Path, e: &std::io::Error| Failure::of_disk(act, path, e);
    let mode = request.mode.map_or_else(String::new, |mode| format!("_{mode}"));
    let stem = format!("{}{mode}", workflow.name);
    OrderId::parse(&stem).map_err(|rule| {
        Failure::new(code::USAGE, format!("a manifest cannot be called `{stem}`: a name {rule}"))
    })?;
    fs::create_dir_all(dir).map_err(|e| failed("create", dir, &e))?;
    let dir = fs::canonicalize(dir).map_err(|e| failed("look at", dir, &e))?;
    let (path, mut file) = next_file(&dir, &stem)?;
    let own = dir.join(format!(".{stem}.planned-{}", std::process::id()));
    let mut count = Count::default();
    let planned = workflow.plan(root, &own, request, |piece| {
        count.push(piece);
        file.write_all(piece).map_err(|e| failed("write", &path, &e))
    });
    let planned = planned.and_then(|()| match own.exists() {
        true if count.is_empty() => adopt(&own, &mut file, &mut count),
        true => Err(two_manifests()),
        false => Ok(()),
    });
    let planned = planned.and_then(|()| file.sync_all().map_err(|e| failed("sync", &path, &e)));
    let _ = fs::remove_file(&own);
    let (tasks, bad) = count.finish();
    match planned {
        Ok(()) if tasks > 0 => Ok(Planned { package: None, dir: None, manifest: path, tasks, bad }),
        other => {
            let _ = fs::remove_file(&path);
            Err(other.err().unwrap_or_else(nothing_planned))
        }
    }
}

/// Takes over what a planner wrote itself.
fn adopt(own: &Path, file: &mut fs::File, count: &mut Count) -> Result<(), Failure> {
    let failed = |e: std::io::Error| Failure::of_disk("read", own, &e);
    let mut written = fs::File::open(own).map_err(failed)?;
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let n = written.read(&mut piece).map_err(failed)?;
        if n == 0 {
            return Ok(());
        }
        count.push(&piece[..n]);
        file.write_all(&piece[..n]).map_err(failed)?;
    }
}

/// A new file with the next number: one more than the largest there is.
fn next_file(dir: &Path, stem: &str) -> Result<(PathBuf, fs::File), Failure> {
    let failed = |e: std::io::Error| Failure::of_disk("list", dir, &e);
    let mut last = 0;
    for entry in fs::read_dir(dir).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name().to_string_lossy().into_owned();
        let number = name.strip_prefix(stem).and_then(|n| n.strip_prefix('_'));
        let number = number.and_then(|n| n.strip_suffix(".jsonl")?.parse::<u32>().ok());
        last = last.max(number.unwrap_or(0));
    }
    for number in (last + 1)..last.saturating_add(TRIES_MAX) {
        let path = dir.join(format!("{stem}_{number:02}.jsonl"));
        match fs::File::create_new(&path) {
            Ok(file) => return Ok((path, file)),
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(Failure::of_disk("create", &path, &e)),
        }
    }
    let text = format!("no free number for {stem} in {}; nothing was planned", dir.display());
    Err(Failure::new(code::REFUSED, text))
}
