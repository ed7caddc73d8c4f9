//! The README's commands, pasted one after another.

use crate::yard::Yard;
use std::path::Path;
use std::process::Command;

/// The `sh` blocks of the README, in order.
fn blocks() -> Vec<String> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    let text = std::fs::read_to_string(path).unwrap();
    let blocks = text.split("```sh\n").skip(1).filter_map(|rest| rest.split_once("```"));
    blocks.map(|(block, _)| block.to_owned()).collect()
}

#[test]
fn every_command_works_when_pasted() {
    let yard = Yard::git();
    std::fs::remove_dir_all(yard.path("_ctx")).unwrap();
    let blocks = blocks();
    assert_eq!(blocks.len(), 3, "{blocks:?}");
    // The binary is there already.
    let script: String = blocks.concat().replace("cargo install --path .", ":");
    let program = Path::new(env!("CARGO_BIN_EXE_jobyard")).parent().unwrap();
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
    let scratch = yard.beside("scratch");
    std::fs::create_dir(&scratch).unwrap();
    let mut bash = Command::new("bash");
    bash.args(["-e", "-c", &script]).current_dir(&yard.root);
    bash.env("PATH", path).env("TMPDIR", scratch).env("GIT_CONFIG_GLOBAL", "/dev/null");
    let out = bash.env_remove("JOBYARD_ROOT").output().unwrap();
    let said = String::from_utf8_lossy(&out.stdout);
    let talk = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{said}\n{talk}");
    for id in ["hello", "notes"] {
        assert_eq!(yard.places(id), ["done"], "{said}\n{talk}");
        assert_eq!(yard.key("done", id, "result"), "pass");
    }
    assert!(said.contains("Say hello"), "{said}");
}
