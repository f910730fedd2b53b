//! Spare memory of each OS thread for copies of values.
//!
//! A change in place needs a copy of the value, in case that the change is discarded. A handle is used again and again,
//! so its copy stays beside the value. By id, the next session is another one, whose memory is in no cache. So the copy
//! is made in memory that this thread has just used for the previous copy. The thread takes that memory along when it
//! leaves.

use crate::content::Content;
use std::cell::Cell;

/// The smallest kept capacity, in bytes. Each class has twice the capacity of the one before.
const SMALLEST: usize = 64;
const CLASSES: usize = 8;

thread_local! {
    static SPARES: [Cell<Vec<u8>>; CLASSES] = const { [const { Cell::new(Vec::new()) }; CLASSES] };
}

/// Returns a copy, in spare memory if there is some.
#[inline(always)]
pub(crate) fn copy(bytes: &[u8]) -> Vec<u8> {
    let capacity = bytes.len().next_power_of_two().max(SMALLEST);
    let class = (capacity / SMALLEST).trailing_zeros() as usize;
    let kept = SPARES.try_with(|spares| spares.get(class).map(Cell::take));
    let mut copy = kept.ok().flatten().unwrap_or_default();
    copy.clear();
    copy.reserve_exact(capacity);
    copy.extend_from_slice(bytes);
    copy
}

/// Keeps memory that is no longer needed for the next copy.
#[inline(always)]
pub(crate) fn keep(content: Content) {
    if let Content::Own(bytes) = content
        && bytes.capacity() >= SMALLEST
    {
        let class = (bytes.capacity() / SMALLEST).ilog2() as usize;
        // If this class already has spare memory, the older memory is freed.
        let _ = SPARES.try_with(|spares| spares.get(class).map(|spare| spare.replace(bytes)));
    }
}
