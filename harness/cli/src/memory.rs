//! The most memory that this process had resident, where the system tells.

/// Forgets the highest mark so far, so that the next reading is of what follows.
pub(crate) fn forget_peak() {
    // Linux resets the mark when 5 is written; elsewhere, or without permission, the mark is that of the whole run.
    drop(std::fs::write("/proc/self/clear_refs", "5"));
}

/// The highest mark in bytes.
pub(crate) fn peak() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}
