//! What the system says about the server's process: memory, sockets, time on the processor.

use std::fs;

/// Resident memory, in bytes.
pub(super) fn resident(pid: u32) -> u64 {
    status(pid, "VmRSS:")
}

/// The most that was ever resident since the peak was last forgotten, in bytes.
pub(super) fn peak(pid: u32) -> u64 {
    status(pid, "VmHWM:")
}

/// Forgets the peak; false if the system does not let us.
pub(super) fn forget_peak(pid: u32) -> bool {
    fs::write(format!("/proc/{pid}/clear_refs"), "5").is_ok()
}

fn status(pid: u32, name: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let kib: u64 = line
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|number| number.parse().ok())
        .unwrap_or_default();
    kib * 1024
}

/// Open sockets.
pub(super) fn sockets(pid: u32) -> usize {
    let Ok(files) = fs::read_dir(format!("/proc/{pid}/fd")) else { return 0 };
    files
        .flatten()
        .filter(|file| fs::read_link(file.path()).is_ok_and(|to| to.to_string_lossy().starts_with("socket:")))
        .count()
}

/// Time that it used of all processors, in milliseconds.
pub(super) fn cpu_ms(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name in parentheses may hold spaces.
    let rest = text.rsplit(')').next().unwrap_or_default();
    let ticks =
        |at| rest.split_whitespace().nth(at).and_then(|word| word.parse::<u64>().ok()).unwrap_or_default();
    // A hundred ticks a second on every Linux that there is.
    (ticks(11) + ticks(12)) * 10
}

/// Bytes for people.
pub(super) fn mib(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}
