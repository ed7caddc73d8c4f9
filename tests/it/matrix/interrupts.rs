//! Ctrl-C at what waits and at what asks; a root that goes while somebody waits on it.

use super::{Said, Stage};
use crate::yard::{lives, until};
use rustix::process::Signal;
use std::fs;
use std::io::Write;
use std::process::{Child, Command, Stdio};

/// Waits until a call watches for changes: then it waits.
fn until_watching(child: &Child) {
    let info = format!("/proc/{}/fdinfo", child.id());
    until("the verb waits", || {
        fs::read_dir(&info).into_iter().flatten().flatten().any(|fd| {
            let text = fs::read_to_string(fd.path()).unwrap_or_default();
            text.matches("inotify wd:").count() >= 4
        })
    });
}

/// Starts a call in the root.
fn begin(stage: &Stage, call: &str) -> Child {
    let mut command = Command::new(&stage.program);
    command.args(call.split_whitespace()).current_dir(stage.scene.root()).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

#[test]
fn an_interrupt_ends_what_waits_without_a_word() {
    let stage = Stage::new();
    for call in ["wait WO-09", "logs -f WO-09"] {
        let child = begin(&stage, call);
        until_watching(&child);
        crate::yard::signal(child.id(), Signal::INT);
        let said = Said::of(&child.wait_with_output().unwrap());
        assert_eq!(said.code, 130, "{call}: {}", said.err);
        assert_eq!(said.out, "", "{call}");
        assert!(!said.err.contains("panicked"), "{call}: {}", said.err);
    }
}

#[test]
fn a_root_that_goes_ends_the_wait_and_is_said() {
    for call in ["wait WO-09", "logs -f WO-09", "logs -f WO-07"] {
        let stage = Stage::new();
        let child = begin(&stage, call);
        until_watching(&child);
        let away = stage.scene.root().with_extension("away");
        fs::rename(stage.scene.root(), &away).unwrap();
        // What is watched has moved along; something happens there.
        fs::write(away.join("_ctx/jobs/pending/.x"), "").unwrap();
        let said = Said::of(&child.wait_with_output().unwrap());
        assert_eq!(said.code, 3, "{call}: {}{}", said.out, said.err);
        assert!(said.err.contains("is gone: nothing more comes"), "{call}: {}", said.err);
    }
}

#[test]
fn an_interrupt_at_a_question_changes_nothing_and_an_answer_counts() {
    let stage = Stage::new();
    let root = stage.scene.root();
    let before = stage.sight();
    let ask = |typed: &[u8]| {
        let line = format!("{} finish WO-07 --skip-verification", stage.program.display());
        let mut script = Command::new("script");
        script.args(["-qefc", &line, "/dev/null"]).current_dir(root).stdin(Stdio::piped());
        let heard = tempfile::NamedTempFile::new().unwrap();
        let mut child = script.stdout(heard.reopen().unwrap()).spawn().unwrap();
        let heard = || fs::read_to_string(heard.path()).unwrap();
        until("the question", || heard().contains("Reason for --skip-verification:"));
        let pid = child.id();
        child.stdin.take().unwrap().write_all(typed).unwrap();
        let code = child.wait().unwrap().code();
        assert!(!lives(pid));
        (code, heard())
    };
    let (code, said) = ask(b"\x03");
    assert_eq!(code, Some(130), "{said}");
    assert_eq!(before, stage.sight());
    let (code, said) = ask(b"\n");
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("--skip-verification needs a reason; type:"), "{said}");
    assert_eq!(before, stage.sight());
    let (code, said) = ask(b"seen by hand\n");
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("SKIPPED") && said.contains("seen by hand"), "{said}");
}
