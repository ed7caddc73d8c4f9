//! `edit`: a pending ticket changes as a person wants it, or not at all; nothing that was written is lost.

use super::root::{Root, Running, Said, until};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::process::Command;

/// A root whose temporary files are its own.
fn yard() -> Root {
    let root = Root::without_git();
    fs::create_dir(root.path("tmp")).unwrap();
    root
}

fn begin(root: &Root, editor: &str, id: &str) -> Running {
    let temp = root.path("tmp");
    let env = [("TMPDIR", temp.to_str().unwrap()), ("VISUAL", editor), ("EDITOR", "false")];
    root.begin_with(&env, &["edit", id])
}

fn edit(root: &Root, editor: &str, id: &str) -> Said {
    begin(root, editor, id).wait()
}

/// The copies that were kept.
fn copies(root: &Root) -> Vec<PathBuf> {
    let dirs = fs::read_dir(root.path("tmp")).unwrap().map(|e| e.unwrap().path());
    dirs.flat_map(|d| fs::read_dir(d).unwrap()).map(|e| e.unwrap().path()).collect()
}

/// An editor that waits at a gate, and then changes the title.
fn slow_editor(root: &Root) -> String {
    root.fifo("gate");
    let script = "echo > began; read x < gate; sed -i 's/title: t/title: mine/' \"$1\"\n";
    fs::write(root.path("slow"), script).unwrap();
    "sh slow".to_owned()
}

#[test]
fn an_editor_changes_what_it_changes_and_nothing_else() {
    let root = yard();
    root.order("A", "priority: low # why\nhold: x\nenv: {KEY: secret}");
    let mode = "stat -c %a \"$1\" \"$(dirname \"$1\")\" > modes; sed -i s/low/high/ \"$1\"";
    fs::write(root.path("ed"), mode).unwrap();
    let said = edit(&root, "sh ed", "A").ends(0);
    assert_eq!(said.out, "A was changed\n");
    let want = "id: A\ntitle: t\npriority: high # why\nhold: x\nenv: {KEY: secret}\n";
    assert_eq!(root.ticket("A"), want);
    assert_eq!(fs::read_to_string(root.path("modes")).unwrap(), "600\n700\n");
    let file = root.path("_ctx/jobs/pending/A.yaml");
    let before = fs::metadata(&file).unwrap().ino();
    assert_eq!(edit(&root, "true", "A").ends(0).out, "A is unchanged\n");
    assert_eq!(fs::metadata(&file).unwrap().ino(), before);
    assert_eq!(copies(&root), Vec::<PathBuf>::new());
    let by_editor = [("VISUAL", ""), ("EDITOR", "sed -i s/high/medium/")];
    root.begin_with(&by_editor, &["edit", "A"]).wait().ends(0);
    assert!(root.ticket("A").contains("priority: medium # why"));
    let nobody = [("VISUAL", ""), ("EDITOR", "")];
    let said = root.begin_with(&nobody, &["edit", "A"]).wait().ends(2);
    assert!(said.err.contains("--set KEY=VALUE"), "{said:?}");
}

#[test]
fn what_is_no_order_is_refused_and_the_copy_is_kept() {
    let root = yard();
    root.order("A", "priority: low\nenv: {KEY: secret}");
    let before = root.ticket("A");
    let check = |editor: &str, code: i32, part: &str| {
        let said = edit(&root, editor, "A").ends(code);
        let kept = copies(&root);
        assert!(
            said.err.contains(part) && said.err.contains(kept[0].to_str().unwrap()),
            "{said:?}"
        );
        assert!(!said.err.contains("secret"), "{said:?}");
        assert_eq!(kept[0].file_name().unwrap(), "A.yaml");
        assert_eq!(root.ticket("A"), before);
        fs::remove_dir_all(kept[0].parent().unwrap()).unwrap();
    };
    check("sed -i s/low/lwo/", 4, "A.yaml:3:11: `priority`: expected one of");
    check("sed -i 's/^id: A/id: B/'", 4, "`id` is `B` but");
    check("truncate -s 0", 4, "nothing was changed");
    check("sed -i s/low/high/ \"$@\"; false", 1, "ended with");
}

#[test]
fn what_was_claimed_or_saved_meanwhile_stays_and_the_copy_is_kept() {
    let root = yard();
    let editor = slow_editor(&root);
    let meanwhile = |id: &str, act: &dyn Fn(), code: i32, part: &str| {
        root.order(id, "workspace: none");
        let verb = begin(&root, &editor, id);
        until("the editor runs", || root.path("began").exists());
        act();
        let before = root.ticket(id);
        fs::write(root.path("gate"), "go\n").unwrap();
        let said = verb.wait().ends(code);
        fs::remove_file(root.path("began")).unwrap();
        assert!(said.err.contains(part), "{said:?}");
        assert_eq!(root.ticket(id), before);
        let kept = copies(&root).into_iter().find(|c| c.ends_with(format!("{id}.yaml"))).unwrap();
        assert!(said.err.contains(kept.to_str().unwrap()), "{said:?}");
        assert!(fs::read_to_string(kept).unwrap().contains("title: mine"));
    };
    let take = || drop(root.run(&["take", "A", "--owner", "x"]).ends(0));
    meanwhile("A", &take, 5, "it is running, by what was sealed");
    assert_eq!(root.state("A"), "running");
    let save = || root.order("B", "# theirs");
    meanwhile("B", &save, 4, "B was changed meanwhile");
    let hold = || drop(root.run(&["hold", "C"]).ends(0));
    meanwhile("C", &hold, 4, "C was changed meanwhile");
    let cancel = || drop(root.run(&["cancel", "D"]).ends(0));
    meanwhile("D", &cancel, 4, "jobyard requeue D");
    let names = fs::read_dir(root.path("_ctx/jobs/pending")).unwrap().flatten();
    let hidden: Vec<_> = names.filter(|n| n.file_name().as_encoded_bytes()[0] == b'.').collect();
    assert!(hidden.is_empty(), "{hidden:?}");
}

#[test]
fn keys_are_set_without_an_editor() {
    let root = yard();
    root.order("A", "priority: low # why\ngroup: gpu\nhold: x");
    let call = ["edit", "A", "--set", "priority=P0", "--set", "group=", "--set", "title=a: b"];
    let before = root.ticket("A");
    let dry = root.run(&[&call[..], &["--dry-run"]].concat()).ends(0);
    assert_eq!(root.ticket("A"), before);
    assert_eq!(dry.out, "id: A\ntitle: \"a: b\"\npriority: P0 # why\nhold: x\n");
    root.run(&call).ends(0);
    assert_eq!(root.ticket("A"), dry.out);
    assert_eq!(root.run(&call).ends(0).out, "A is unchanged\n");
    let said = root.run(&["edit", "A", "--set", "timeout=soon"]).ends(4);
    assert!(said.err.contains("`timeout`: expected a duration"), "{said:?}");
    let said = root.run(&["edit", "A", "--set", "id=B"]).ends(2);
    assert!(said.err.contains("--set knows title"), "{said:?}");
    assert_eq!(root.ticket("A"), dry.out);
    root.run(&["edit", "B", "--set", "title=x"]).ends(3);
}

#[test]
fn the_copy_is_named_when_the_answer_cannot_be_read() {
    let root = yard();
    root.order("A", "priority: low");
    let typed = "printf '\\377\\n' | script -qec \"$1\" /dev/null";
    let mut command = Command::new("sh");
    command.args(["-c", typed, "sh", concat!(env!("CARGO_BIN_EXE_jobyard"), " edit A")]);
    command.env("TMPDIR", root.path("tmp")).env("VISUAL", "sed -i s/low/lwo/");
    let out = command.current_dir(root.path("")).output().unwrap();
    let said = String::from_utf8_lossy(&out.stdout);
    let kept = copies(&root).remove(0);
    assert!(said.contains("Edit again?") && said.contains("read the answer"), "{said}");
    assert!(said.contains(&format!("your version is in {}", kept.display())), "{said}");
}

#[test]
fn what_is_not_utf_8_is_refused_and_stays() {
    let root = yard();
    let file = root.path("_ctx/jobs/pending/A.yaml");
    let before = b"id: A\ntitle: caf\xe9\n";
    fs::write(&file, before).unwrap();
    let said = root.run(&["edit", "A", "--set", "priority=high"]).ends(4);
    assert!(said.err.contains("A.yaml:2:11: not UTF-8: byte 0xe9"), "{said:?}");
    assert_eq!(fs::read(&file).unwrap(), before);
}

#[test]
fn a_refused_ticket_is_mended_and_runs() {
    let root = yard();
    let _daemon = root.daemon();
    root.order("A", "run: 'true'\nworkspace: none\npriority: hihg");
    until("it is refused", || root.path("_ctx/jobs/pending/A.yaml.why").exists());
    root.run(&["edit", "A", "--set", "priority=high"]).ends(0);
    until("it is done", || root.state("A") == "done");
    assert!(!root.path("_ctx/jobs/pending/A.yaml.why").exists());
    let said = root.run(&["edit", "A", "--set", "priority=low"]).ends(4);
    assert!(said.err.contains("it is done"), "{said:?}");
}

#[test]
fn a_failed_order_is_changed_as_its_message_says() {
    let root = yard();
    root.order("A", "run: 'false'\nworkspace: none");
    root.run(&["daemon", "--drain"]).ends(0);
    let said = root.run(&["edit", "A", "--set", "title=x"]).ends(4);
    assert!(said.err.contains("change _ctx/jobs/failed/A.yaml with an editor"), "{said:?}");
    let file = root.path("_ctx/jobs/failed/A.yaml");
    let mended = fs::read_to_string(&file).unwrap().replace("'false'", "'true'");
    fs::write(&file, mended).unwrap();
    root.run(&["requeue", "A"]).ends(0);
    root.run(&["daemon", "--drain"]).ends(0);
    assert_eq!(root.state("A"), "done");
}

#[test]
fn the_mode_of_the_ticket_stays() {
    let root = yard();
    root.order("A", "");
    let file = root.path("_ctx/jobs/pending/A.yaml");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    root.run(&["edit", "A", "--set", "title=x"]).ends(0);
    assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
}
