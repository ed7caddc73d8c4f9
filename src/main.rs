//! The `jobyard` binary: arguments in, exit code out. Everything else is in the library.

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let words: Vec<_> = std::env::args_os().collect();
    let [_, verb, flag, root] = words.as_slice() else { return ExitCode::from(2) };
    if verb != "exec" || flag != "--root" {
        return ExitCode::from(2);
    }
    match jobyard::executor::run(Path::new(root)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("jobyard exec: {error}");
            ExitCode::from(if matches!(error, jobyard::executor::ExecutorError::Held { .. }) {
                5
            } else {
                1
            })
        }
    }
}
