//! The names of sessions in the admin interface: whole ids, which are secrets of clients, and short ids, which appear
//! in logs.

use tenure_protocol::id::ShortId;
use tenure_protocol::{SessionId, StoreMachine};

/// A session name in a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Name {
    Whole(SessionId),
    /// The [`ShortId::bits`] of the session's id.
    Short(u32),
}

/// The sessions in memory that match a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Named {
    None,
    One(SessionId),
    Many(usize),
}

impl Name {
    /// Parses a short id, or a whole id as [`show`] writes it.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        match short(text) {
            Some(bits) => Ok(Self::Short(bits)),
            None => parse(text).map(Self::Whole),
        }
    }

    /// Returns the sessions in memory that match this name. Several sessions may match a short id.
    pub(super) fn find(&self, store: &StoreMachine) -> Named {
        match self {
            Self::Whole(id) => match store.session(id) {
                Some(_) => Named::One(id.clone()),
                None => Named::None,
            },
            Self::Short(bits) => {
                let ids = store.sessions().map(|(id, _)| id);
                let mut found = ids.filter(|id| ShortId(id).bits() == *bits);
                let Some(first) = found.next() else {
                    return Named::None;
                };
                match found.count() {
                    0 => Named::One(first.clone()),
                    more => Named::Many(1 + more),
                }
            }
        }
    }
}

/// Parses a short id: `#` and eight hexadecimal digits. Returns the value of [`ShortId::bits`].
#[must_use]
pub fn short(text: &str) -> Option<u32> {
    let digits = text.strip_prefix('#').filter(|digits| digits.len() == 8)?;
    let are_digits = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    are_digits.then(|| u32::from_str_radix(digits, 16).ok())?
}

/// Returns the printable form of a session id. Ids that are not plain text are written as `hex:` and hexadecimal
/// digits.
#[must_use]
pub fn show(id: &SessionId) -> String {
    let bytes = id.as_bytes();
    let is_plain = |text: &str| {
        let is_other = text.starts_with("hex:") || short(text).is_some();
        !is_other && text.chars().all(|c| c.is_ascii_graphic())
    };
    match std::str::from_utf8(bytes) {
        Ok(text) if is_plain(text) => text.to_owned(),
        _ => {
            let hex = bytes.iter().map(|byte| format!("{byte:02x}"));
            format!("hex:{}", hex.collect::<String>())
        }
    }
}

/// Parses a session id in the form that [`show`] writes.
///
/// # Errors
/// A text that describes why the input is not a session id.
pub fn parse(text: &str) -> Result<SessionId, String> {
    let bytes = match text.strip_prefix("hex:") {
        Some(hex) => {
            let digits = hex.as_bytes();
            let pairs = digits.chunks(2).map(|pair| {
                let pair = std::str::from_utf8(pair).ok()?;
                u8::from_str_radix(pair, 16)
                    .ok()
                    .filter(|_| pair.len() == 2)
            });
            let bytes: Option<Vec<u8>> = pairs.collect();
            bytes.ok_or_else(|| {
                "\"hex:\" must be followed by pairs of hexadecimal digits".to_owned()
            })?
        }
        None => text.as_bytes().to_vec(),
    };
    SessionId::new(bytes).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tenure_protocol::{Record, Records, Settings, StoreSettings, Time};

    fn id(text: &str) -> SessionId {
        SessionId::new(text.as_bytes().to_vec()).expect("an id")
    }

    #[test]
    fn an_id_that_looks_like_a_short_id_is_shown_in_hexadecimal() {
        let odd = id("#0123abcd");
        assert_eq!(show(&odd), "hex:233031323361626364");
        assert_eq!(Name::read(&show(&odd)), Ok(Name::Whole(odd)));
        assert_eq!(Name::read("#0123abcd"), Ok(Name::Short(0x0123_abcd)));
        for whole in [
            "#0123abc",
            "#0123abcg",
            "#0123abcde",
            "0123abcd",
            "#+123abcd",
        ] {
            assert_eq!(Name::read(whole), Ok(Name::Whole(id(whole))), "{whole}");
            assert_eq!(show(&id(whole)), whole);
        }
    }

    #[test]
    fn a_short_id_parses_to_the_value_shown_in_logs() {
        let cart = id("cart");
        assert_eq!(
            short(&ShortId(&cart).to_string()),
            Some(ShortId(&cart).bits())
        );
    }

    /// Finds two ids whose short ids are equal, by the birthday paradox.
    fn twins() -> (SessionId, SessionId) {
        let mut seen = std::collections::HashMap::new();
        for number in 0..2_000_000 {
            let own = id(&format!("s-{number}"));
            if let Some(other) = seen.insert(ShortId(&own).bits(), own.clone()) {
                return (other, own);
            }
        }
        panic!("two million ids contain no two equal short ids");
    }

    #[test]
    fn a_short_id_that_matches_several_sessions_finds_all_of_them() {
        let (one, two) = twins();
        let settings = Settings::new(StoreSettings::default());
        let mut store = StoreMachine::recover(settings, 1, &Records::default(), Time(0));
        let name = Name::Short(ShortId(&one).bits());
        assert_eq!(name.find(&store), Named::None);
        let admit = |store: &mut StoreMachine, id: &SessionId| {
            store.admit(id, &Record::default(), Time(0));
        };
        admit(&mut store, &one);
        assert_eq!(name.find(&store), Named::One(one.clone()));
        admit(&mut store, &two);
        assert_eq!(name.find(&store), Named::Many(2));
        assert_eq!(Name::Whole(two.clone()).find(&store), Named::One(two));
    }
}
