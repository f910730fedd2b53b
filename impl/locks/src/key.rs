//! The key by which a session finds the cell of an attribute.

/// An attribute name with its first eight bytes as a number, which decide most comparisons. For a name that is a
/// literal in the program, the compiler computes that number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key<'n> {
    pub(crate) name: &'n [u8],
    pub(crate) prefix: u64,
}

impl<'n> Key<'n> {
    #[inline(always)]
    pub(crate) fn new(name: &'n [u8]) -> Self {
        let mut prefix = [0; 8];
        for (to, from) in prefix.iter_mut().zip(name) {
            *to = *from;
        }
        let prefix = u64::from_le_bytes(prefix);
        Self { name, prefix }
    }

    pub(crate) fn name(self) -> &'n [u8] {
        self.name
    }

    /// Returns the index of the list for this name.
    #[inline(always)]
    pub(crate) fn list(self) -> usize {
        let mixed = (self.prefix ^ self.name.len() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed >> 60) as usize
    }
}
