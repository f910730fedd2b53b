//! The peak of the resident memory of this process, on systems that report it.

/// Resets the peak, so that the next reading covers only the work from now on.
pub(crate) fn forget_peak() {
    // Linux resets the peak when 5 is written. Elsewhere, or without permission, the peak covers the whole
    // run.
    drop(std::fs::write("/proc/self/clear_refs", "5"));
}

/// Returns the peak in bytes, or `None` if the system does not report it.
pub(crate) fn peak() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}
