//! Any bytes, read both ways. What is read is written again, and must then be read as the same.
//!
//! From `impl/wire`: `cargo +nightly fuzz run decode`. `fuzz/seed` makes a corpus of the golden vectors first.
#![no_main]

use bytes::{Buf, BytesMut};
use libfuzzer_sys::fuzz_target;
use tenure_wire::{Decoder, FrameLimits, FromProcess, FromStore, Item, Outgoing};

fn limits() -> FrameLimits {
    FrameLimits {
        frame_bytes_max: 64 << 10,
        changes_max: 1_024,
        items_max: 1_024,
    }
}

fn read<T: Item + PartialEq + std::fmt::Debug>(bytes: &[u8]) {
    // In two pieces, at a place that the bytes choose.
    let cut = bytes
        .first()
        .map_or(0, |&byte| usize::from(byte) % bytes.len());
    let mut decoder = Decoder::<T>::new(limits());
    let mut stream = BytesMut::from(&bytes[..cut]);
    for rest in [&bytes[cut..], &[]] {
        while let Ok(Some(item)) = decoder.decode(&mut stream) {
            let mut out = Outgoing::new();
            // A later version's keys are not written again, and heads are only shortened: it fits.
            out.push(&item, &FrameLimits::default()).expect("it fits");
            let mut again = BytesMut::from(&out.copy_to_bytes(out.remaining())[..]);
            let read = Decoder::<T>::new(FrameLimits::default()).decode(&mut again);
            assert_eq!(read, Ok(Some(item)));
        }
        stream.extend_from_slice(rest);
    }
}

fuzz_target!(|bytes: &[u8]| {
    read::<FromProcess>(bytes);
    read::<FromStore>(bytes);
});
