//! The `jobyard` binary: arguments in, exit code out. Everything else is in the library.

use jobyard::executor::{ExecutorError, Stay};
use std::ffi::OsStr;
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let words: Vec<_> = std::env::args_os().collect();
    match words.as_slice() {
        [_, verb, flag, root] if verb == "exec" && flag == "--root" => exec(root, Stay::Needed),
        [_, verb, stay, flag, root] if verb == "exec" && flag == "--root" => match stay.to_str() {
            Some("--stay") => exec(root, Stay::Always),
            Some("--client") => exec(root, Stay::Client),
            _ => jobyard::cli::main(),
        },
        [_, verb, name] if verb == "task" => jobyard::tasks::run(name),
        _ => jobyard::cli::main(),
    }
}

/// The executor is the same binary under another verb.
fn exec(root: &OsStr, stay: Stay) -> ExitCode {
    match jobyard::executor::run(Path::new(root), stay) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("jobyard exec: {error}");
            let held = matches!(error, ExecutorError::Held { .. });
            ExitCode::from(if held { 5 } else { 1 })
        }
    }
}
