//! `config`: what counts, and where it comes from.

use super::root::Root;
use jobyard::model::config::parse_config;
use std::fs;

const TEXT: &str = "# ours\nslots = 3\nshell = [\"sh\", \"-c\"]\n\n[env]\npass = [\"SECRET\"]\n\
                    [engines.\"a.b c\"]\ncommand = \"say \\\"x\\\"\\n\\u001b[2J\"\n[groups.gpu]\n\
                    slots = 2\n";

#[test]
fn every_setting_is_printed_with_its_source_and_reads_back() {
    let root = Root::new();
    fs::write(root.path("_ctx/jobyard.toml"), TEXT).unwrap();
    let said = root.run(&["config"]).ends(0);
    let line = |start: &str| {
        let found = said.out.lines().find(|l| l.starts_with(start));
        found.unwrap_or_else(|| panic!("{start}: {said:?}")).to_owned()
    };
    assert!(line("slots = 3").ends_with("# _ctx/jobyard.toml:2"), "{said:?}");
    assert!(line("settle = \"1s\"").ends_with("# default"), "{said:?}");
    assert!(line("# idle_timeout is not set").ends_with("# default"), "{said:?}");
    assert!(line("command = ").ends_with("# _ctx/jobyard.toml:8"), "{said:?}");
    assert!(!said.out.contains('\u{1b}'), "{said:?}");
    assert_eq!(parse_config(&said.out), parse_config(TEXT));
    let json = root.run(&["config", "--json"]).ends(0).json();
    assert_eq!(json["schema"], "jobyard.config.v1");
    let settings = json["settings"].as_array().unwrap();
    let of = |key: &str| settings.iter().find(|s| s["key"] == key).unwrap();
    assert_eq!(of("slots")["value"], 3);
    assert_eq!((&of("slots")["source"], &of("slots")["line"]), (&"file".into(), &2.into()));
    assert_eq!(of("log.max")["value"], "64MiB");
    assert_eq!(of("env.pass")["value"], serde_json::json!(["SECRET"]));
    assert!(of("git.base")["value"].is_null() && of("git.base")["line"].is_null());
}

#[test]
fn one_key_gives_its_value_and_an_unknown_one_the_nearest() {
    let root = Root::new();
    fs::write(root.path("_ctx/jobyard.toml"), TEXT).unwrap();
    for (key, value) in [
        ("slots", "3\n"),
        ("grace", "10s\n"),
        ("groups.gpu.slots", "2\n"),
        ("shell", "[\"sh\", \"-c\"]\n"),
        ("dependencies.require_checks", "false\n"),
        ("git.base", ""),
    ] {
        assert_eq!(root.run(&["config", key]).ends(0).out, value, "{key}");
    }
    for (key, near) in
        [("slotz", "slots"), ("log.mx", "log.max"), ("unsatisfiable", "dependencies.unsatisfiable")]
    {
        let said = root.run(&["config", key]).ends(3);
        assert!(said.err.contains(&format!("nearest: {near}")) && said.out.is_empty(), "{said:?}");
    }
    root.run(&["config", "groups.tpu.slots"]).ends(3);
    assert_eq!(root.run(&["config", "slots", "--json"]).ends(0).json()["setting"]["value"], 3);
}

#[test]
fn a_broken_configuration_is_named_with_its_place_and_no_value_is_printed() {
    let root = Root::new();
    fs::write(root.path("_ctx/jobyard.toml"), "slots = 2\n[log]\nmaxx = 1\n").unwrap();
    for arguments in [&["config"][..], &["config", "slots"], &["config", "--json"]] {
        let said = root.run(arguments).ends(2);
        let place = "_ctx/jobyard.toml:3:1: unknown key `maxx` in `[log]`; nearest: `max`";
        assert!(said.err.contains(place), "{said:?}");
        assert!(said.out.is_empty() || said.out.contains("jobyard.error.v1"), "{said:?}");
    }
    fs::remove_file(root.path("_ctx/jobyard.toml")).unwrap();
    assert_eq!(root.run(&["config", "slots"]).ends(0).out, "0\n");
}

#[test]
fn values_of_variables_are_nowhere() {
    let root = Root::new();
    fs::write(root.path("_ctx/jobyard.toml"), "[env]\npass = [\"PATH\"]\n").unwrap();
    let value = std::env::var("PATH").unwrap();
    for arguments in [&["config"][..], &["config", "env.pass"], &["config", "--json"]] {
        let said = root.run(arguments).ends(0);
        assert!(said.out.contains("PATH") && !said.out.contains(&value), "{said:?}");
    }
}
