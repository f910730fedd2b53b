//! OS calls that `std` does not offer: clocks other than `Instant`, a counter of forks, and unread input.
//!
//! # Why there is `unsafe` here
//!
//! Every lock reads a clock, and `Instant::now` costs more than the lock itself. `std` has no safe interface to the
//! cheap coarse clock of the kernel. `clock_gettime` writes to one address, which is here a local variable.
//!
//! A child of a `fork` must detect the fork before it touches any lock. Reading the process id at each lock would cost
//! a system call. Instead, `pthread_atfork` makes the C library call a function in the child. That function adds to an
//! atomic, which is allowed in the child at any time.
//!
//! The driver's thread must find out whether another thread has left input unread, without reading it. `poll` writes to
//! one structure, which is here a local variable.
//!
//! A fork that bypasses the C library (`_Fork` or the bare system call) is not counted. `vfork` and `posix_spawn`,
//! which `std` uses to start programs, are not counted either. Their child shares this memory only until it executes
//! another program.
//!
//! No other module of this crate contains `unsafe`.
#![allow(unsafe_code)]

use std::io;
#[cfg(unix)]
use std::sync::OnceLock;
use std::sync::atomic::AtomicU64;
#[cfg(unix)]
use std::sync::atomic::Ordering;

/// The number of forks between the first OS process that used this library and this one.
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

/// Returns a counter that stays 0: this OS has no `fork`.
#[cfg(not(unix))]
pub(crate) fn forks() -> io::Result<&'static AtomicU64> {
    Ok(&FORKS)
}

/// Returns whether the kernel has input of a stream that nobody has read, or knows its end.
#[cfg(unix)]
pub(crate) fn has_input(stream: &tokio::net::TcpStream) -> bool {
    use std::os::fd::AsRawFd;
    let mut asked = libc::pollfd {
        fd: stream.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: the pointer is to one `pollfd`, as the count says, that lives until after the call. The call does not
    // wait.
    unsafe { libc::poll(&raw mut asked, 1, 0) > 0 }
}

/// Returns whether there may be input of a stream. This OS does not tell.
#[cfg(not(unix))]
pub(crate) fn has_input(_: &tokio::net::TcpStream) -> bool {
    true
}

/// Panics if the runtime has no I/O driver. Tokio has no query for it.
#[track_caller]
pub(crate) fn require_io(runtime: &tokio::runtime::Handle) {
    let _entered = runtime.enter();
    // If this fails for another reason, the driver's own thread keeps the connection.
    #[cfg(unix)]
    let _ = tokio::net::unix::pipe::pipe();
}

/// Returns the time of `clock` in milliseconds since the boot of the machine. Returns 0 if the kernel does not have the
/// clock.
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

/// Returns the milliseconds since the boot, including the time of suspends.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn boot_ms() -> u64 {
    read_ms(libc::CLOCK_BOOTTIME)
}

/// Returns the milliseconds since the boot, without the time of suspends.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn awake_ms() -> u64 {
    read_ms(libc::CLOCK_MONOTONIC)
}

/// Returns the milliseconds since the boot, without the time of suspends, as of the kernel's last tick: 1 to 10 ms ago.
#[cfg(any(target_os = "linux", target_os = "android"))]
#[inline(always)]
pub(crate) fn coarse_awake_ms() -> u64 {
    read_ms(libc::CLOCK_MONOTONIC_COARSE)
}

/// The clocks of other systems: all three are the clock of `std`.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod portable {
    use std::sync::OnceLock;
    use std::time::Instant;

    pub(crate) fn awake_ms() -> u64 {
        static ORIGIN: OnceLock<Instant> = OnceLock::new();
        let origin = ORIGIN.get_or_init(Instant::now);
        // Plus 1, because 0 means that there is no clock.
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
    fn each_clock_exists_and_does_not_go_back() {
        for clock in [boot_ms, awake_ms, coarse_awake_ms] {
            let first = clock();
            assert!(first > 0 && clock() >= first);
        }
    }
}
