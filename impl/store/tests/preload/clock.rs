//! Clocks that a test moves, for a program started with this library preloaded. The test itself builds the library with
//! `rustc`.
//!
//! The library adds seconds to the wall clock and to the boot-time clock. The file named in `TENURE_TEST_CLOCK`
//! contains both numbers, with 12 digits each. Other clocks are unchanged. The code is `unsafe` because it replaces a
//! function of the C library.

use std::ffi::{CString, c_int, c_long, c_void};
use std::sync::OnceLock;

#[repr(C)]
pub struct Timespec {
    seconds: i64,
    nanoseconds: c_long,
}

unsafe extern "C" {
    fn syscall(number: c_long, ...) -> c_long;
    fn open(path: *const i8, flags: c_int, ...) -> c_int;
    fn pread(file: c_int, into: *mut c_void, bytes: usize, offset: i64) -> isize;
}

#[cfg(target_arch = "x86_64")]
const CLOCK_GETTIME: c_long = 228;
#[cfg(target_arch = "aarch64")]
const CLOCK_GETTIME: c_long = 113;

const REALTIME: c_int = 0;
const BOOTTIME: c_int = 7;

/// Returns the seconds to add to the clock.
fn added(clock: c_int) -> i64 {
    static FILE: OnceLock<c_int> = OnceLock::new();
    let file = *FILE.get_or_init(|| {
        let path = std::env::var("TENURE_TEST_CLOCK").expect("a path");
        let path = CString::new(path).expect("no zero");
        // SAFETY: the path ends with a zero byte.
        unsafe { open(path.as_ptr().cast(), 0) }
    });
    let offset = match clock {
        REALTIME => 0,
        BOOTTIME => 12,
        _ => return 0,
    };
    let mut digits = [0_u8; 12];
    // SAFETY: the buffer has room for that many bytes.
    let read = unsafe { pread(file, digits.as_mut_ptr().cast(), digits.len(), offset) };
    assert_eq!(read, 12, "the file has two numbers");
    let digits = std::str::from_utf8(&digits).expect("digits");
    digits.trim().parse().expect("a number")
}

/// # Safety
/// Replaces the C library's function of the same name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clock_gettime(clock: c_int, time: *mut Timespec) -> c_int {
    // SAFETY: the caller passes a valid pointer for the time.
    let failed = unsafe { syscall(CLOCK_GETTIME, clock, time) };
    if failed == 0 {
        let added = added(clock);
        // SAFETY: the system call has written the time to the pointer.
        unsafe { (*time).seconds += added };
    }
    failed as c_int
}
