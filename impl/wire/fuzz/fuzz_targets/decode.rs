//! Decodes arbitrary bytes in both directions. Each decoded item is encoded again and must then decode to the same
//! item.
//!
//! From `impl/wire`: `cargo +nightly fuzz run decode`. The program in `fuzz/seed` first creates a corpus of the golden
//! vectors.
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
    // Feed the input in two pieces, split at a position that the input chooses.
    let cut = bytes
        .first()
        .map_or(0, |&byte| usize::from(byte) % bytes.len());
    let mut decoder = Decoder::<T>::new(limits());
    let mut stream = BytesMut::from(&bytes[..cut]);
    for rest in [&bytes[cut..], &[]] {
        while let Ok(Some(item)) = decoder.decode(&mut stream) {
            let mut out = Outgoing::new();
            // Keys of a later version are not written again, and heads only become shorter, so the item fits.
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
