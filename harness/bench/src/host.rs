//! Cores, clocks and memory of the operating system.

use crate::document::Machine;
use anyhow::{Context, Result};
use std::fs;

/// Returns a monotonic time in nanoseconds, comparable between the processes of one machine.
pub(crate) fn now_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0)
}

/// Restricts this thread, and all threads and children that it starts later, to one core.
#[cfg(target_os = "linux")]
pub(crate) fn pin(core: usize) -> Result<()> {
    let mut cores = rustix::thread::CpuSet::new();
    cores.set(core);
    rustix::thread::sched_setaffinity(None, &cores)
        .with_context(|| format!("cannot pin a process to core {core}"))
}

/// Refuses: this system does not let a process choose its core.
#[cfg(not(target_os = "linux"))]
pub(crate) fn pin(core: usize) -> Result<()> {
    anyhow::bail!("cannot pin a process to core {core}: only Linux lets a process choose its core")
}

/// Returns the cores that this process may use, in ascending order. Empty if the system does not say.
#[cfg(target_os = "linux")]
pub(crate) fn cores() -> Vec<usize> {
    let allowed = rustix::thread::sched_getaffinity(None).unwrap_or_default();
    let all = 0..rustix::thread::CpuSet::MAX_CPU;
    all.filter(|core| allowed.is_set(*core)).collect()
}

/// Returns no core: this system does not say which cores a process may use.
#[cfg(not(target_os = "linux"))]
pub(crate) fn cores() -> Vec<usize> {
    Vec::new()
}

/// The cores of the store and of its clients.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) name: &'static str,
    pub(crate) store: usize,
    pub(crate) clients: usize,
}

/// Returns the placements that this machine allows.
pub(crate) fn places() -> Vec<Place> {
    let cores = cores();
    let place = |name, clients: Option<&usize>| {
        Some(Place {
            name,
            store: *cores.first()?,
            clients: *clients?,
        })
    };
    let places = [place("cross", cores.get(1)), place("same", cores.first())];
    places.into_iter().flatten().collect()
}

/// Raises the limit of open files to the most that the system allows, and returns it.
pub(crate) fn raise_open_files() -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    // Without permission, the old limit stays, and the next line returns it.
    let _ = setrlimit(Resource::Nofile, raised);
    getrlimit(Resource::Nofile).current.unwrap_or(1 << 20)
}

/// Returns the resident memory of a process, in bytes.
pub(crate) fn resident_bytes(pid: u32) -> Result<u64> {
    let path = format!("/proc/{pid}/status");
    let status = fs::read_to_string(&path)
        .with_context(|| format!("cannot read {path}, which tells the memory of a process"))?;
    let line = |name| status.lines().find_map(|line| line.strip_prefix(name));
    let kib = line("VmRSS:").and_then(|text| text.trim().strip_suffix("kB"));
    let kib: u64 = kib
        .and_then(|text| text.trim().parse().ok())
        .with_context(|| format!("{path} contains no VmRSS in kB"))?;
    Ok(kib * 1024)
}

/// Returns the machine, as a reader of the figures has to know it.
pub(crate) fn machine() -> Machine {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let info = read("/proc/cpuinfo");
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name"));
    let model = model.and_then(|text| text.split(':').nth(1));
    let release = read("/proc/sys/kernel/osrelease");
    let load = read("/proc/loadavg");
    Machine {
        cpu: model.map_or_else(
            || std::env::consts::ARCH.to_owned(),
            |text| text.trim().to_owned(),
        ),
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        kernel: format!("{} {}", std::env::consts::OS, release.trim()),
        load: load.split(' ').take(3).collect::<Vec<_>>().join(" "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_rises() {
        let before = now_ns();
        std::thread::sleep(std::time::Duration::from_millis(1));
        assert!(now_ns() >= before + 1_000_000);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_has_memory_and_a_place() {
        assert!(resident_bytes(std::process::id()).expect("a process") > 1 << 16);
        assert!(resident_bytes(u32::MAX).is_err());
        assert!(places().iter().any(|place| place.name == "same"));
    }
}
