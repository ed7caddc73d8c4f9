//! A disk that is full: every verb that writes fails with 1, says so, and leaves the root as it was or says
//! how it stands; those that look go on looking.

use super::{Said, Stage, check, none};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

/// The calls on the full disk, one after the other.
const CALLS: &[(&str, &str)] = &[
    (
        "submit new.yaml",
        "1 No space left on device (os error 28); nothing was submitted; try again when",
    ),
    ("take WO-09", "1 take WO-09: withdrawn, you do not hold it: "),
    ("hold WO-09", "1 No space left on device"),
    ("unhold WO-05", "1 No space left on device"),
    ("requeue WO-02", "1 No space left on device"),
    ("reconcile --apply", "1 nothing is lost; try again when the disk takes it"),
    ("daemon --drain", "75 No space left on device"),
    (
        "fmt long.yaml",
        "1 write long.yaml: No space left on device (os error 28); nothing of it was changed",
    ),
    ("heartbeat WO-07", "0"),
    ("list", "0"),
    ("status", "0"),
    ("why WO-09", "0"),
    ("logs WO-04", "0"),
    ("doctor", "7 make room"),
];

/// Fills a small disk with a copy of the tree; each call leaves what it said in a directory outside.
const SCRIPT: &str = r#"
    set -e
    mkdir -p "$OUT/disk"; mount -t tmpfs -o size=2m tmpfs "$OUT/disk"
    cp -a "$ROOT/." "$OUT/disk/"; cd "$OUT/disk"
    printf 'title: T\nid: long\n' > long.yaml
    tickets() { ls _ctx/jobs/*/*.yaml _ctx/jobs/running/*; }
    tickets > "$OUT/before"
    set +e
    dd if=/dev/zero of=fill bs=4k 2> /dev/null
    at=0
    while read -r call; do
        timeout -s KILL 60 "$JOBYARD" $call < /dev/null > "$OUT/$at.out" 2> "$OUT/$at.err"
        echo $? > "$OUT/$at.code"; at=$((at + 1))
    done < "$OUT/calls"
    tickets > "$OUT/after"; ls _ctx/jobs/control > "$OUT/requests"
    rm fill; "$JOBYARD" audit verify > /dev/null || "$JOBYARD" hold WO-09 > /dev/null
    "$JOBYARD" audit verify > "$OUT/audit" 2>&1
"#;

#[test]
fn a_full_disk_is_said_and_nothing_is_half_done() {
    let stage = Stage::new();
    let out = tempfile::TempDir::new().unwrap();
    fs::set_permissions(out.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let calls: Vec<&str> = CALLS.iter().map(|(call, _)| *call).collect();
    fs::write(out.path().join("calls"), calls.join("\n") + "\n").unwrap();
    let mut shell = Command::new("unshare");
    shell
        .args(["-rm", "bash", "-c", SCRIPT])
        .env("OUT", out.path())
        .env("ROOT", stage.scene.root());
    shell.env("JOBYARD", &stage.program).env("GIT_CONFIG_GLOBAL", "/dev/null");
    let ran = shell.env_remove("JOBYARD_ROOT").output().unwrap();
    let text = |name: String| fs::read_to_string(out.path().join(name)).unwrap_or_default();
    let talk = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{talk}{}", text("audit".to_owned()));
    let mut wrong = Vec::new();
    for (at, (call, want)) in CALLS.iter().enumerate() {
        let code = text(format!("{at}.code")).trim().parse().unwrap_or(-1);
        let said = Said { code, out: text(format!("{at}.out")), err: text(format!("{at}.err")) };
        check("full disk", call, want, &said, &mut wrong);
    }
    none(&wrong);
    assert_eq!(text("before".to_owned()), text("after".to_owned()));
    // A request that had its name already waits, and that was said.
    for request in text("requests".to_owned()).lines() {
        let asked: Vec<&str> = request.split('.').take(2).collect();
        let at =
            calls.iter().position(|call| *call == format!("{} {}", asked[1], asked[0])).unwrap();
        let said = text(format!("{at}.err"));
        assert!(said.contains(&format!("{} {}: filed; ", asked[1], asked[0])), "{request}: {said}");
    }
}
