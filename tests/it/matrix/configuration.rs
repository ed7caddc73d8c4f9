//! A configuration that contradicts itself: one clear message, exit 2 from whoever would act on it, a finding
//! for whoever looks, and nothing half done.

use super::{Stage, check, none};
use std::fs;

/// A configuration and a piece of what is said of it.
const WRONG: &[(&str, &str)] = &[
    ("slots = \"many\"\n", "1:9: `slots`: expected a whole number"),
    ("slots = -1\n", "`slots`"),
    ("slotz = 2\n", "`slotz`"),
    ("slots = 2\nslots = 3\n", "duplicate key"),
    ("grace = \"soon\"\n", "`grace`"),
    ("shell = []\n", "`shell`"),
    ("shell = \"bash\"\n", "`shell`"),
    ("groups = 3\n", "`groups`"),
    ("[groups]\nbench = 1\n", "expected a table `[groups.bench]`"),
    ("[groups.bench]\nslotz = 1\n", "slotz"),
    ("[dependencies]\nunsatisfiable = \"maybe\"\n", "`dependencies.unsatisfiable`"),
    ("[log]\nmax = \"much\"\n", "`log.max`"),
    ("[engines.codex]\n", "engines.codex"),
    ("[env]\npass = [1]\n", "env.pass"),
    ("slots = 2\n[", "2:2"),
    ("\u{feff}\u{1}", "jobyard.toml"),
];

/// Who would act on it; all of them read it first.
const ACT: &[&str] = &["daemon --drain", "config", "submit new.yaml", "take WO-09", "finish WO-07"];

#[test]
fn what_is_wrong_with_the_configuration_is_said_before_anything_is_done() {
    let stage = Stage::new();
    let root = stage.scene.root().clone();
    let mut wrong = Vec::new();
    for (text, piece) in WRONG {
        fs::write(root.join("_ctx/jobyard.toml"), text).unwrap();
        let before = stage.sight();
        for call in ACT {
            let said = stage.run(&[], &root, call);
            check(&format!("{text:?}"), call, &format!("2 {piece}"), &said, &mut wrong);
        }
        let said = stage.run(&[], &root, "lint");
        check(&format!("{text:?}"), "lint", "7 invalid-config", &said, &mut wrong);
        for call in ["list", "status", "why WO-03"] {
            let said = stage.run(&[], &root, call);
            check(&format!("{text:?}"), call, "0", &said, &mut wrong);
        }
        if before != stage.sight() {
            wrong.push(format!("{text:?}: something was changed"));
        }
    }
    none(&wrong);
}
