//! The `jobyard` binary: arguments in, exit code out. Everything else is in the library.

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let words: Vec<_> = std::env::args_os().collect();
    if let [_, verb, flag, root] = words.as_slice()
        && verb == "exec"
        && flag == "--root"
    {
        return exec(Path::new(root));
    }
    jobyard::cli::main()
}

/// The executor is the same binary under another verb.
fn exec(root: &Path) -> ExitCode {
    match jobyard::executor::run(root) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("jobyard exec: {error}");
            let held = matches!(error, jobyard::executor::ExecutorError::Held { .. });
            ExitCode::from(if held { 5 } else { 1 })
        }
    }
}
