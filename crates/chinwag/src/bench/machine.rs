//! What the figures depend on: the machine, and what the server's process uses of it.

use std::{fs, time::Duration};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

pub(super) use crate::command::fdatasync_ms;

/// Ticks of `/proc/PID/stat` in a second; the same on every Linux.
const TICKS_PER_S: u64 = 100;

/// What a process has used so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Usage {
    /// Processor time, of the system included.
    pub(super) cpu: Duration,
    /// Resident memory now, in bytes.
    pub(super) rss: u64,
}

/// Reads the usage of a process; `None` if it is not known or gone.
pub(super) fn usage(pid: Option<u32>) -> Option<Usage> {
    let pid = pid?;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    parse(&stat, &status)
}

fn parse(stat: &str, status: &str) -> Option<Usage> {
    // The name of the program is in brackets and may hold anything, brackets and spaces too.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = rss.split_whitespace().next()?.parse().ok()?;
    Some(Usage { cpu: Duration::from_millis(ticks * 1000 / TICKS_PER_S), rss: kib * 1024 })
}

/// Lets this process, and those it starts, open as many files as the system allows.
pub(super) fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    // If that is refused, connecting fails later with a message that says why.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

/// The kernel's release.
pub(super) fn kernel() -> String {
    fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned()
}

/// Processors that this process may use.
pub(super) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_is_read_though_the_name_is_hostile() {
        let stat = "42 (a) b (c) R 1 1 1 0 -1 0 0 0 0 0 150 50 0 0 20 0 1 0 0 0 0";
        let found = parse(stat, "Name:\tx\nVmRSS:\t  2048 kB\n").unwrap();
        assert_eq!((found.cpu, found.rss), (Duration::from_secs(2), 2048 * 1024));
        assert!(usage(Some(std::process::id())).unwrap().rss > 0);
        assert!(usage(None).is_none());
    }
}
