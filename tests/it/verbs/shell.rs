//! `completions` and `man`: by the shells and the formatter that read them.

use super::root::{Root, Said};
use std::fs;
use std::path::Path;
use std::process::Command;

/// A shell or formatter, which must be installed: what it makes of our text is looked at.
fn program(name: &str) -> Command {
    let found = std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(name).is_file()));
    assert!(found, "{name} is not installed; on Debian: apt-get install zsh fish groff-base");
    Command::new(name)
}

/// The search path with our binary.
fn path() -> String {
    let binary = Path::new(env!("CARGO_BIN_EXE_jobyard")).parent().unwrap();
    format!("{}:{}", binary.display(), std::env::var("PATH").unwrap())
}

/// What a shell prints for a script, sorted words.
#[track_caller]
fn words(mut shell: Command, dir: &Path) -> Vec<String> {
    let out =
        shell.current_dir(dir).env("PATH", path()).env_remove("JOBYARD_ROOT").output().unwrap();
    assert!(out.stderr.is_empty(), "{}", String::from_utf8_lossy(&out.stderr));
    let text = String::from_utf8(out.stdout).unwrap();
    let mut words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
    words.sort();
    words
}

/// What bash completes for a line, sorted.
#[track_caller]
fn completed(dir: &Path, line: &str) -> Vec<String> {
    const SCRIPT: &str = r#"
        source <(jobyard completions bash)
        read -ra COMP_WORDS <<< "$1"
        [[ "$1" == *' ' ]] && COMP_WORDS+=('')
        COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
        before="${COMP_WORDS[COMP_CWORD - 1]}"
        function=$(complete -p jobyard | sed 's/.*-F \([^ ]*\).*/\1/')
        "$function" jobyard "${COMP_WORDS[COMP_CWORD]}" "$before"
        printf '%s\n' "${COMPREPLY[@]}"
    "#;
    let mut bash = Command::new("bash");
    bash.args(["--norc", "-c", SCRIPT, "bash", line]);
    words(bash, dir)
}

#[test]
fn bash_completes_verbs_flags_and_the_ids_that_are_there() {
    let root = Root::new();
    for id in ["A-1", "A-2", "B"] {
        root.order(id, "");
    }
    root.run(&["take", "A-2"]).ends(0);
    let here = root.path("");
    assert_eq!(completed(&here, "jobyard una"), Vec::<String>::new());
    assert_eq!(completed(&here, "jobyard unh"), ["unhold"]);
    assert!(completed(&here, "jobyard submit --d").contains(&"--dry-run".to_owned()));
    assert_eq!(completed(&here, "jobyard show "), ["A-1", "A-2", "B"]);
    assert_eq!(completed(&here, "jobyard wait A-1 A"), ["A-1", "A-2"]);
    assert_eq!(completed(&here, "jobyard take "), ["A-1", "B"]);
    assert_eq!(completed(&here, "jobyard finish "), ["A-2"]);
    assert_eq!(completed(&here, "jobyard --json hold A"), ["A-1"]);
    assert!(completed(&here, "jobyard take --own").contains(&"--owner".to_owned()));
    assert!(!completed(&here, "jobyard take --owner ").contains(&"B".to_owned()));
    let elsewhere = tempfile::TempDir::new().unwrap();
    assert_eq!(completed(elsewhere.path(), "jobyard show "), Vec::<String>::new());
    let named = format!("jobyard --root {} show B", here.display());
    assert_eq!(completed(elsewhere.path(), &named), ["B"]);
    let gone = "jobyard --root /nonexistent show ";
    assert_eq!(completed(elsewhere.path(), gone), Vec::<String>::new());
}

#[test]
fn fish_and_zsh_complete_the_ids_that_are_there() {
    let root = Root::new();
    for id in ["A-1", "A-2", "B"] {
        root.order(id, "");
    }
    root.run(&["take", "A-2"]).ends(0);
    let in_fish = |line: &str| {
        let script = "jobyard completions fish | source; complete -C $argv[1]";
        let mut fish = program("fish");
        fish.args(["--no-config", "-c", script, line]);
        words(fish, &root.path(""))
    };
    assert_eq!(in_fish("jobyard take "), ["A-1", "B"]);
    assert_eq!(in_fish("jobyard finish "), ["A-2"]);
    assert_eq!(in_fish("jobyard show A"), ["A-1", "A-2"]);
    assert!(in_fish("jobyard unh").contains(&"unhold".to_owned()));
    // The function that zsh's own machinery calls at the place of an id.
    let in_zsh = |state: &str| {
        let script = "compdef() {}; source <(jobyard completions zsh); words=(jobyard take '')\n\
                      compadd() { print -rl -- ${(P)argv[-1]} }; _jobyard_ids$1";
        let mut zsh = program("zsh");
        zsh.args(["-f", "-c", script, "zsh", state]);
        words(zsh, &root.path(""))
    };
    assert_eq!(in_zsh(""), ["A-1", "A-2", "B"]);
    assert_eq!(in_zsh("_pending"), ["A-1", "B"]);
    assert_eq!(in_zsh("_running"), ["A-2"]);
}

#[test]
fn ids_are_listed_by_name_without_reading_a_file() {
    let root = Root::new();
    root.order("A", "");
    fs::create_dir_all(root.path("_ctx/jobs/failed")).unwrap();
    fs::write(root.path("_ctx/jobs/failed/broken.yaml"), "[").unwrap();
    fs::write(root.path("_ctx/jobs/pending/.hidden.yaml"), "").unwrap();
    fs::write(root.path("_ctx/jobs/pending/A.yaml.why"), "").unwrap();
    let said = root.run(&["list", "--ids"]).ends(0);
    assert_eq!((said.out.as_str(), said.err.as_str()), ("A\nbroken\n", ""));
    let said = root.run(&["list", "--ids", "--state", "failed"]).ends(0);
    assert_eq!(said.out, "broken\n");
    assert!(!root.run(&["list", "--help"]).ends(0).out.contains("--ids"));
}

#[test]
fn the_scripts_of_all_shells_know_every_verb_and_where_ids_go() {
    let root = Root::new();
    for (shell, asks) in [
        ("bash", "take) _jobyard_add_ids pending ;;"),
        ("zsh", "':id -- Id of the work order:_jobyard_ids_pending'"),
        ("fish", "using_subcommand take\" -f -a \"(__fish_jobyard_ids pending)\""),
    ] {
        let script = root.run(&["completions", shell]).ends(0).out;
        assert!(script.contains(asks), "{shell}: {asks}");
        for verb in ["requeue", "heartbeat", "audit", "schema", "man"] {
            assert!(script.contains(verb), "{shell}: {verb}");
        }
        let file = root.path("script");
        fs::write(&file, &script).unwrap();
        let checked = program(shell).arg("-n").arg(&file).output().unwrap();
        assert!(checked.status.success() && checked.stderr.is_empty(), "{checked:?}");
    }
    root.run(&["completions", "tcsh"]).ends(2);
}

/// The page as a reader sees it.
fn shown(page: &str, file: &Path) -> String {
    fs::write(file, page).unwrap();
    let mut groff = program("groff");
    groff.args(["-man", "-Tutf8", "-ww", "-P-cbou"]).arg(file);
    let out = groff.output().unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success() && said.is_empty(), "{said}");
    String::from_utf8(out.stdout).unwrap()
}

#[test]
fn pages_of_the_program_and_of_verbs_are_whole() {
    let root = Root::new();
    let file = root.path("page.1");
    let page = |arguments: &[&str]| {
        let page = root.run(&[&["man"], arguments].concat()).ends(0).out;
        for part in [".TH jobyard", ".SH NAME", ".SH SYNOPSIS"] {
            assert!(page.contains(part), "{arguments:?}: {part}\n{page}");
        }
        shown(&page, &file)
    };
    let whole = page(&[]);
    assert!(whole.contains("SUBCOMMANDS") && whole.contains("jobyard-take(1)"), "{whole}");
    let take = page(&["take"]);
    assert!(take.contains("jobyard take") && take.contains("--takeover"), "{take}");
    assert!(take.contains("--root"), "{take}");
    assert!(!page(&["list"]).contains("--ids"));
    assert!(page(&["audit", "verify"]).contains("jobyard audit verify"));
    let said: Said = root.run(&["man", "tkae"]).ends(3);
    assert!(said.err.contains("nearest: take"), "{said:?}");
}

#[test]
fn all_pages_go_into_a_directory_that_is_there_and_over_nothing_foreign() {
    let root = Root::new();
    root.run(&["man", "--dir", "pages"]).ends(3);
    assert!(!root.path("pages").exists());
    fs::create_dir(root.path("pages")).unwrap();
    fs::write(root.path("pages/jobyard-take.1"), "mine\n").unwrap();
    let said = root.run(&["man", "--dir", "pages"]).ends(4);
    assert!(said.err.contains("jobyard-take.1"), "{said:?}");
    assert_eq!(fs::read_dir(root.path("pages")).unwrap().count(), 1);
    fs::remove_file(root.path("pages/jobyard-take.1")).unwrap();
    root.run(&["man", "--dir", "pages"]).ends(0);
    let take = fs::read_to_string(root.path("pages/jobyard-take.1")).unwrap();
    assert_eq!(take, root.run(&["man", "take"]).ends(0).out);
    let said = root.run(&["--json", "man", "--dir", "pages"]).ends(0);
    let names = said.json()["pages"].as_array().unwrap().len();
    assert_eq!(names, fs::read_dir(root.path("pages")).unwrap().count());
    assert!(root.path("pages/jobyard.1").exists());
    assert!(root.path("pages/jobyard-audit-verify.1").exists());
}
