//! Idle means idle: whatever waits, neither the daemon nor the executor wakes up.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use super::yard::{Yard, pause};
use std::fs;
use std::time::Duration;

/// How long nothing must happen. The passing of time is the subject here, not a means to wait.
const WATCHED: Duration = Duration::from_secs(2);

/// How often the threads of a process have been put on a processor.
fn switches(pid: u32) -> u64 {
    let mut sum = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task")).unwrap() {
        let status = fs::read_to_string(task.unwrap().path().join("status")).unwrap();
        let lines = status.lines().filter(|line| line.contains("ctxt_switches"));
        let counts = lines.map(|line| line.split_whitespace().nth(1).unwrap());
        sum += counts.map(|count| count.parse::<u64>().unwrap()).sum::<u64>();
    }
    sum
}

#[test]
fn waiting_orders_wake_nobody() {
    let mut yard = Yard::bare();
    yard.fifo("gate");
    for n in 0..300 {
        yard.submit(&format!("MANUAL-{n}"), "workspace: none\n");
    }
    yard.submit("LATER", "workspace: none\nrun: true\nnot_before: 2999-01-01\n");
    yard.submit("HELD", "workspace: none\nrun: true\nhold: true\n");
    yard.submit("BEHIND", "workspace: none\nrun: true\ndependencies: [NOBODY]\n");
    yard.submit("RETRIED", "workspace: none\nrun: false\nretry: {max: 1, backoff: 1h}\n");
    yard.submit("SILENT", "workspace: none\nrun: 'echo > begun; read line < gate'\n");
    for id in ["WRONG-1", "WRONG-2", "WRONG-3"] {
        yard.publish(&Yard::ticket("pending", id), "id: [\n");
    }
    yard.start();
    yard.lines("begun", 1);
    yard.until("the back-off", || yard.events("RETRIED", "settled").len() == 1);
    yard.until("the explanations", || !yard.why("pending", "WRONG-3").is_empty());
    yard.settle_down("LAST");
    let both = [yard.daemon_pid(), yard.executor_pid().unwrap()];
    let mut before = both.map(switches);
    // What was begun may still be written behind the last answer.
    yard.until("quiet", || {
        pause(Duration::from_millis(300));
        let last = std::mem::replace(&mut before, both.map(switches));
        last == before
    });
    pause(WATCHED);
    assert_eq!(both.map(switches), before, "{}", yard.said());
    yard.open_gate("gate");
    yard.until_in("done", "SILENT");
}
