//! Who this process is: process, boot, host, user. Read once at the start.

use super::Identity;
use crate::executor::process_start_time;
use rustix::rand::{GetRandomFlags, getrandom};
use std::fs;

/// The identity of this process, with a fresh instance name.
pub fn of_this_process() -> std::io::Result<Identity> {
    let pid = std::process::id();
    let uid = rustix::process::geteuid().as_raw();
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned();
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    Ok(Identity {
        pid,
        start_time: process_start_time(pid).unwrap_or(0),
        boot,
        host,
        user: user_name(uid),
        uid,
        instance: format!("{:016x}", random_bits()),
    })
}

/// Name of a user; the number when the machine knows none.
pub fn user_name(uid: u32) -> String {
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse::<u32>().ok()? == uid).then(|| name.to_owned())
    });
    name.unwrap_or_else(|| uid.to_string())
}

/// 64 random bits from the kernel.
pub fn random_bits() -> u64 {
    let mut bytes = [0u8; 8];
    let mut filled = 0;
    while filled < bytes.len() {
        filled += getrandom(&mut bytes[filled..], GetRandomFlags::empty()).unwrap_or(0);
    }
    u64::from_ne_bytes(bytes)
}
