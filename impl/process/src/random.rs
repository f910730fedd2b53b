//! Ids for new sessions.

use crate::sealed::Sealed;
use tenure_protocol::SessionId;

/// Random bytes of an id: as many as no attacker can guess and no two ids have in common.
const BYTES: usize = 16;

/// Draws ids for new sessions. The machines have no randomness, so the id's own crate cannot do that.
pub trait RandomSessionId: Sealed {
    /// Returns an id of 128 random bits of the operating system, as 32 hexadecimal digits: fit for a cookie.
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
    /// When the operating system has no random numbers: an id that can be guessed would be worse.
    #[must_use]
    fn random() -> Self;
}

impl RandomSessionId for SessionId {
    fn random() -> Self {
        let mut bytes = [0; BYTES];
        getrandom::fill(&mut bytes).expect("the operating system has random numbers");
        let digits = bytes.iter().map(|byte| format!("{byte:02x}"));
        Self::new(digits.collect::<String>()).expect("32 digits are a name")
    }
}
