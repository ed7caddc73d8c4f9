//! `jobyard man`: manual pages, of the whole program, of one verb, or all of them into a directory.
//!
//! Invariants: pages are made of the same definitions as `--help`; a directory is never made here, and a
//! file there that is no page of ours is never replaced.

use super::{Failure, Globals, Outcome, code, out, say};
use crate::model::parse::nearest;
use clap::Command;
use clap_mangen::Man;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// What the first line of each of our pages is: by it a page is known as ours.
const MARK: &str = ".\\\" Made by `jobyard man`.\n";

/// Flags of `jobyard man`.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The verb (default: the program)
    #[arg(value_name = "VERB", conflicts_with = "dir")]
    verb: Vec<String>,
    /// Write all pages into this directory, which must be there
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// Runs it. No root is needed.
pub(super) fn run(globals: &Globals, given: &Arguments, mut command: Command) -> Outcome {
    command.build();
    if let Some(dir) = &given.dir {
        return write(globals, dir, &command);
    }
    let mut page_of = &command;
    for verb in &given.verb {
        let found = visible(page_of).find(|sub| sub.get_name() == verb);
        page_of = found.ok_or_else(|| unknown(page_of, verb))?;
    }
    let text = page(page_of)?;
    if globals.json {
        say::object("man-page", [("page", file(page_of).into()), ("text", text.into())])?;
        return Ok(code::DONE);
    }
    out::text(&text)?;
    Ok(code::DONE)
}

/// Subcommands with a page.
fn visible(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|sub| !sub.is_hide_set() && sub.get_name() != "help")
}

fn unknown(command: &Command, verb: &str) -> Failure {
    let names: Vec<&str> = visible(command).map(Command::get_name).collect();
    let near = nearest(verb, &names).map_or_else(String::new, |n| format!("; nearest: {n}"));
    let text = format!("no verb `{}`{near}; `jobyard --help` lists them", out::plain(verb));
    Failure::new(code::NOT_FOUND, text)
}

fn page(command: &Command) -> Result<String, Failure> {
    let failed = |e: String| Failure::new(code::FAILED, format!("make the page: {e}"));
    let mut bytes = MARK.as_bytes().to_vec();
    Man::new(command.clone()).render(&mut bytes).map_err(|e| failed(e.to_string()))?;
    String::from_utf8(bytes).map_err(|e| failed(e.to_string()))
}

/// What its file is called.
fn file(command: &Command) -> String {
    format!("{}.1", command.get_display_name().unwrap_or_else(|| command.get_name()))
}

/// Every page with the name of its file.
fn pages(command: &Command, found: &mut Vec<(String, String)>) -> Result<(), Failure> {
    found.push((file(command), page(command)?));
    visible(command).try_for_each(|sub| pages(sub, found))
}

fn write(globals: &Globals, dir: &Path, command: &Command) -> Outcome {
    if !dir.is_dir() {
        let text = format!("write pages to {}: it is no directory; make it first", dir.display());
        return Err(Failure::new(code::NOT_FOUND, text));
    }
    let mut made = Vec::new();
    pages(command, &mut made)?;
    for (name, _) in &made {
        refuse_foreign(&dir.join(name))?;
    }
    for (name, text) in &made {
        let file = dir.join(name);
        fs::write(&file, text)
            .map_err(|e| Failure::new(code::FAILED, format!("write {}: {e}", file.display())))?;
    }
    let names: Vec<String> = made.into_iter().map(|(name, _)| name).collect();
    if globals.json {
        let dir = dir.to_string_lossy().into_owned();
        say::object("man", [("dir", dir.into()), ("pages", names.into())])?;
        return Ok(code::DONE);
    }
    say::line(&format!("{} pages in {}", names.len(), dir.display()))?;
    Ok(code::DONE)
}

/// Refuses a file that is not a page of ours.
fn refuse_foreign(file: &Path) -> Result<(), Failure> {
    let failed = |e: io::Error| Failure::new(code::FAILED, format!("read {}: {e}", file.display()));
    let found = match file.symlink_metadata() {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        found => found.map_err(failed)?,
    };
    let ours = found.is_file() && fs::read(file).map_err(failed)?.starts_with(MARK.as_bytes());
    if ours {
        return Ok(());
    }
    let text =
        format!("{} is no page of jobyard; move it away. Nothing was written", file.display());
    Err(Failure::new(code::REFUSED, text))
}
