//! The calls of the OS that `std` does not offer: clocks other than `Instant`, and a counter of forks.
//!
//! # Why there is `unsafe` here
//!
//! Every lock reads a clock, and `Instant::now` costs more than the lock. The cheap clock of the kernel has no safe interface in
//! `std`. `clock_gettime` writes to one place, which is a local variable here.
//!
//! A child of a `fork` has to know that it is one before it touches any lock. Asking for the process id at each lock takes a call of
//! the system. `pthread_atfork` has the C library call a function in the child, and that function adds to an atomic, which is allowed
//! there at any time. What passes by the C library (`_Fork`, the bare call of the system) is not counted. `vfork` and `posix_spawn`,
//! by which `std` starts programs, are not counted either: their child shares this memory and executes another program.
//!
//! No other module of this crate has any `unsafe`.
#![allow(unsafe_code)]

use std::io;
#[cfg(unix)]
use std::sync::OnceLock;
use std::sync::atomic::AtomicU64;
#[cfg(unix)]
use std::sync::atomic::Ordering;

/// How often an ancestor of this OS process, since it was one with this library, has forked to make it.
static FORKS: AtomicU64 = AtomicU64::new(0);

/// Returns a counter that is larger in each child of a `fork` than in its parent.
///
/// # Errors
/// The C library has no memory to register a function.
#[cfg(unix)]
pub(crate) fn forks() -> io::Result<&'static AtomicU64> {
    static REGISTERED: OnceLock<i32> = OnceLock::new();

    extern "C" fn count() {
        FORKS.fetch_add(1, Ordering::Relaxed);
    }

    // SAFETY: the function lives as long as the program, takes no lock, allocates nothing and cannot panic.
    let register = || unsafe { libc::pthread_atfork(None, None, Some(count)) };
    match *REGISTERED.get_or_init(register) {
        0 => Ok(&FORKS),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

/// Elsewhere there is no `fork`.
#[cfg(not(unix))]
pub(crate) fn forks() -> io::Result<&'static AtomicU64> {
    Ok(&FORKS)
}

/// Returns the time of `clock` in milliseconds since the boot of the machine; 0 where the kernel does not have it.
#[cfg(any(target_os = "linux", target_os = "android"))]
#[inline(always)]
fn read_ms(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the pointer is to a `timespec` that lives until after the call, and the kernel keeps no copy of it.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    let (seconds, nanoseconds) = (time.tv_sec.cast_unsigned(), time.tv_nsec.cast_unsigned());
    #[allow(clippy::useless_conversion)] // Narrower on targets of 32 bits.
    let (seconds, nanoseconds) = (u64::from(seconds), u64::from(nanoseconds));
    seconds * 1_000 + nanoseconds / 1_000_000
}

/// Returns the time since the boot, time asleep included.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn boot_ms() -> u64 {
    read_ms(libc::CLOCK_BOOTTIME)
}

/// Returns the time since the boot, time asleep left out.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn awake_ms() -> u64 {
    read_ms(libc::CLOCK_MONOTONIC)
}

/// Returns the time since the boot, time asleep left out, as of the kernel's last tick: 1 to 10 milliseconds ago.
#[cfg(any(target_os = "linux", target_os = "android"))]
#[inline(always)]
pub(crate) fn coarse_awake_ms() -> u64 {
    read_ms(libc::CLOCK_MONOTONIC_COARSE)
}

/// Elsewhere `std`'s clock serves for all.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod portable {
    use std::sync::OnceLock;
    use std::time::Instant;

    pub(crate) fn awake_ms() -> u64 {
        static ORIGIN: OnceLock<Instant> = OnceLock::new();
        let origin = ORIGIN.get_or_init(Instant::now);
        // 0 says that there is no clock.
        u64::try_from(origin.elapsed().as_millis()).map_or(u64::MAX, |ms| ms + 1)
    }

    pub(crate) use awake_ms as boot_ms;
    pub(crate) use awake_ms as coarse_awake_ms;
}
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) use portable::{awake_ms, boot_ms, coarse_awake_ms};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clocks_are_there_and_do_not_go_back() {
        for clock in [boot_ms, awake_ms, coarse_awake_ms] {
            let first = clock();
            assert!(first > 0 && clock() >= first);
        }
    }
}
