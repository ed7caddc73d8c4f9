//! What a newcomer does: the commands of the README, pasted one after another, and what each of them prints.

use crate::golden::{normal::Normal, same};
use crate::pages::{commands, shell};
use crate::yard::Yard;

/// Every block of shell commands of the README.
const PAGE: &str = include_str!("../../README.md");

#[test]
fn the_ten_commands_of_a_newcomer_print_what_was_approved() {
    let yard = Yard::git();
    std::fs::remove_dir_all(yard.path("_ctx")).unwrap();
    std::fs::remove_file(yard.path(".git/info/exclude")).unwrap();
    let blocks = commands(PAGE);
    assert_eq!(blocks.len(), 3, "{blocks:?}");
    let path: Vec<String> = blocks[1..].concat();
    assert_eq!(path.len(), 10, "{path:?}");
    let mut text = String::new();
    for (command, said, code) in shell(&yard, &path) {
        assert_eq!(code, 0, "{command}: {said}");
        let first = command.lines().next().unwrap().split("  #").next().unwrap().trim_end();
        text.push_str(&format!("$ {first}\n{said}\n"));
    }
    for id in ["hello", "notes"] {
        assert_eq!(yard.places(id), ["done"], "{text}");
        assert_eq!(yard.key("done", id, "result"), "pass");
    }
    same("../readme.txt", &Normal::of(&yard.root).text(text));
}

#[test]
fn the_first_look_works_when_pasted() {
    let yard = Yard::git();
    // The binary is there already.
    let path: Vec<String> = commands(PAGE).remove(0);
    let path: Vec<String> = path.into_iter().filter(|c| !c.starts_with("cargo install")).collect();
    assert_eq!(path.len(), 1, "{path:?}");
    for (command, said, code) in shell(&yard, &path) {
        assert!(code == 0 && said.contains("DEMO-5"), "{command}: {code} {said}");
    }
}
