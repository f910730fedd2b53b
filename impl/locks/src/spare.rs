//! Memory for copies of values, kept by each OS thread.
//!
//! A change in place needs a copy of the value, in case that it is discarded. By a handle, which is used again and again, it is
//! kept beside the value. By id the next session is another one, whose memory is in no cache: so the copy is made in memory
//! that this thread has just used for the last one, and which it takes along when it leaves.

use crate::content::Content;
use std::cell::Cell;

/// The smallest capacity that is kept, in bytes; each class is twice the one before.
const SMALLEST: usize = 64;
const CLASSES: usize = 8;

thread_local! {
    static SPARES: [Cell<Vec<u8>>; CLASSES] = const { [const { Cell::new(Vec::new()) }; CLASSES] };
}

/// A copy in memory that is at hand, if some is.
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

/// Keeps memory that is not needed any more for the next copy.
#[inline(always)]
pub(crate) fn keep(content: Content) {
    if let Content::Own(bytes) = content
        && bytes.capacity() >= SMALLEST
    {
        let class = (bytes.capacity() / SMALLEST).ilog2() as usize;
        // There may be some already: it goes.
        let _ = SPARES.try_with(|spares| spares.get(class).map(|spare| spare.replace(bytes)));
    }
}
