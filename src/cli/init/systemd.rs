//! `jobyard init --systemd`: the lines with which a root is served by systemd.
//!
//! Invariants: prints and makes nothing; a line can be pasted into a shell whatever the path holds; the
//! instance is what `systemd-escape -p` makes of the root.

use crate::cli::{Failure, Globals, code, out, say};
use crate::world::identity::user_name;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Longest name of a unit in bytes, as systemd has it.
const UNIT_BYTES_MAX: usize = 255;

/// The user that the units name when nothing else is said.
const DEFAULT_USER: &str = "jobyard";

/// The units that do something, as whoever owns the root.
const WORKERS: [&str; 2] = ["jobyard-daemon", "jobyard-exec"];

/// Prints the lines.
pub(super) fn print(globals: &Globals, root: &Path, user: bool) -> Result<(), Failure> {
    let failed = |text| Failure::new(code::FAILED, format!("serve {}: {text}", root.display()));
    let owner = std::fs::metadata(root).map_err(|e| failed(e.to_string()))?.uid();
    let instance = escape(root.as_os_str().as_bytes());
    let longest = format!("jobyard-daemon@{instance}.service");
    if longest.len() > UNIT_BYTES_MAX {
        let long = format!("its unit {longest} has a name over {UNIT_BYTES_MAX} bytes; move it up");
        return Err(failed(long));
    }
    let shown = out::plain(&root.to_string_lossy());
    let lines = match user {
        true => of_user(&shown, &instance),
        false => of_system(&shown, &instance, &user_name(owner)),
    };
    if globals.json {
        let fields = [
            ("root", root.to_string_lossy().into_owned().into()),
            ("instance", instance.into()),
            ("lines", lines.into()),
        ];
        return say::object("init.systemd", fields);
    }
    lines.iter().try_for_each(|line| say::line(line))
}

fn of_system(root: &str, instance: &str, owner: &str) -> Vec<String> {
    let mut lines =
        vec![format!("# as root; {root} is served as {owner}, now and after each boot")];
    if owner != DEFAULT_USER {
        for worker in WORKERS {
            let dir = format!("/etc/systemd/system/{worker}@{instance}.service.d");
            lines.push(format!("mkdir -p '{dir}'"));
            lines.push(format!("printf '[Service]\\nUser={owner}\\n' > '{dir}/owner.conf'"));
        }
        lines.push("systemctl daemon-reload".to_owned());
    }
    lines.push(format!("systemctl enable --now 'jobyard@{instance}.service'"));
    lines
}

fn of_user(root: &str, instance: &str) -> Vec<String> {
    vec![
        format!(
            "# {root} is served now and from each login on; with the last line from each boot on"
        ),
        format!("systemctl --user enable --now 'jobyard@{instance}.service'"),
        "loginctl enable-linger".to_owned(),
    ]
}

/// What `systemd-escape -p` makes of an absolute path.
fn escape(path: &[u8]) -> String {
    let parts: Vec<&[u8]> = path.split(|byte| *byte == b'/').filter(|p| !p.is_empty()).collect();
    let joined = parts.join(&b'/');
    if joined.is_empty() {
        return "-".to_owned();
    }
    let escaped = joined.iter().enumerate().map(|(at, byte)| match byte {
        b'/' => "-".to_owned(),
        b'.' if at == 0 => "\\x2e".to_owned(),
        b':' | b'_' | b'.' => char::from(*byte).to_string(),
        byte if byte.is_ascii_alphanumeric() => char::from(*byte).to_string(),
        byte => format!("\\x{byte:02x}"),
    });
    escaped.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_escaped_as_systemd_does() {
        for (path, instance) in [
            ("/", "-"),
            ("/srv/my-repo", "srv-my\\x2drepo"),
            ("/.a//b.c/", "\\x2ea-b.c"),
            ("/a b/'q'/ö:_", "a\\x20b-\\x27q\\x27-\\xc3\\xb6:_"),
        ] {
            assert_eq!(escape(path.as_bytes()), instance, "{path}");
        }
    }
}
