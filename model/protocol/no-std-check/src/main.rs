//! Shows that `tenure-protocol` needs no operating system, where no target without one is installed.
//!
//! This program brings its own panic handler and allocator. If `tenure-protocol`, or anything it depends on, pulled in
//! `std`, there would be two panic handlers and rustc refuses (E0152). If it called libc, the link would fail: the
//! linker gets no library. It is built and linked by `.ci/no-std`, and never run, so all that it defines are stubs.
//!
//! It allows `unsafe`, unlike the workspace that it stands outside of: an allocator and unmangled symbols need it.

#![no_std]
#![no_main]

extern crate alloc;

use alloc::vec::Vec;
use core::alloc::{GlobalAlloc, Layout};
use core::panic::PanicInfo;
use tenure_protocol::{
    Incarnation, ProcessMachine, ProcessSettings, Records, SessionId, Settings, StoreMachine,
    StoreSettings, Time, process, store,
};

/// Whatever a step can reach must link.
#[unsafe(no_mangle)]
extern "C" fn _start() -> ! {
    let settings = Settings::new(StoreSettings::default());
    let mut store = StoreMachine::recover(settings, 1, &Records::default(), Time::ZERO);
    let input = store::Input::Recall(SessionId::from_static("s"));
    store.step(Time::ZERO, input, &mut Vec::new());

    let settings = Settings::new(ProcessSettings::default());
    let mut process = ProcessMachine::new(settings, Incarnation(1));
    process.step(Time::ZERO, process::Input::Connected, &mut Vec::new());
    halt()
}

fn halt() -> ! {
    loop {
        core::hint::spin_loop();
    }
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    halt()
}

struct NoMemory;

// SAFETY: it never returns memory, which an allocator may do.
unsafe impl GlobalAlloc for NoMemory {
    unsafe fn alloc(&self, _: Layout) -> *mut u8 {
        core::ptr::null_mut()
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}

#[global_allocator]
static ALLOCATOR: NoMemory = NoMemory;

/// What rustc expects of any platform (memory functions), and what the prebuilt `alloc` still names (unwinding).
macro_rules! stubs {
    ($($name:ident)*) => {$(
        #[unsafe(no_mangle)]
        extern "C" fn $name() -> ! {
            halt()
        }
    )*};
}

stubs! { memcpy memmove memset memcmp bcmp rust_eh_personality _Unwind_Resume }
