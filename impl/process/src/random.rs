//! Random ids for new sessions.

use crate::sealed::Sealed;
use tenure_protocol::SessionId;

/// The number of random bytes in an id: enough that no attacker guesses an id and no two ids collide.
const BYTES: usize = 16;

/// Generates random ids for new sessions. A trait of this crate, because the protocol crate that defines the id has no
/// source of randomness.
pub trait RandomSessionId: Sealed {
    /// Returns an id of 128 random bits from the operating system, as 32 hexadecimal digits. Such an id fits into a
    /// cookie.
    ///
    /// ```
    /// use tenure::{RandomSessionId, SessionId};
    ///
    /// let id = SessionId::random();
    /// assert_eq!(id.as_ref().len(), 32);
    /// assert_ne!(id, SessionId::random());
    /// ```
    ///
    /// # Panics
    /// Panics when the operating system has no random numbers, since an id that can be guessed would be worse.
    #[must_use]
    fn random() -> Self;
}

impl RandomSessionId for SessionId {
    fn random() -> Self {
        let mut bytes = [0; BYTES];
        getrandom::fill(&mut bytes)
            .expect("every supported operating system provides random numbers");
        let digits = bytes.iter().map(|byte| format!("{byte:02x}"));
        Self::new(digits.collect::<String>())
            .expect("32 hexadecimal digits are within the 128 bytes of an id")
    }
}
