//! Hand-made frames that no codec would write, and a check that a frame is written in canonical form.

use tenure_wire::{HEADER_BYTES, Header};

/// Returns a frame with this body.
pub(crate) fn frame(kind: u8, body: &[u8]) -> Vec<u8> {
    frame_with(Header::new(kind, 0), body)
}

/// Returns a frame with this header, whose length is filled in.
pub(crate) fn frame_with(header: Header, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).expect("short bodies");
    let mut frame = Header { length, ..header }.to_bytes().to_vec();
    frame.extend_from_slice(body);
    frame
}

fn head(major: u8, value: u64) -> Vec<u8> {
    let major = major << 5;
    match value {
        0..24 => vec![major | value as u8],
        24..0x100 => vec![major | 24, value as u8],
        0x100..0x1_0000 => [&[major | 25][..], &(value as u16).to_be_bytes()].concat(),
        0x1_0000..0x1_0000_0000 => [&[major | 26][..], &(value as u32).to_be_bytes()].concat(),
        _ => [&[major | 27][..], &value.to_be_bytes()].concat(),
    }
}

pub(crate) fn uint(value: u64) -> Vec<u8> {
    head(0, value)
}

pub(crate) fn bytes(value: impl AsRef<[u8]>) -> Vec<u8> {
    [
        head(2, value.as_ref().len() as u64),
        value.as_ref().to_vec(),
    ]
    .concat()
}

pub(crate) fn array(items: &[Vec<u8>]) -> Vec<u8> {
    [head(4, items.len() as u64), items.concat()].concat()
}

/// Returns a map with the keys in the given order.
pub(crate) fn map(fields: &[(u64, Vec<u8>)]) -> Vec<u8> {
    let mut map = head(5, fields.len() as u64);
    for (key, value) in fields {
        map.extend(uint(*key));
        map.extend_from_slice(value);
    }
    map
}

/// Returns a description of what is not canonical in a frame: see r[wire.writes-plainly] and r[wire.writes-critical].
pub(crate) fn oddity(frame: &[u8]) -> Option<String> {
    let header = frame.first_chunk::<HEADER_BYTES>().map(Header::read)?;
    if !header.critical() {
        return Some(format!("kind {:#04x} without CRITICAL", header.kind));
    }
    let mut rest = &frame[HEADER_BYTES..];
    match plain(&mut rest, 0) {
        Err(what) => Some(format!("kind {:#04x}: {what}", header.kind)),
        Ok(()) if !rest.is_empty() => Some("bytes follow the body".to_owned()),
        Ok(()) => None,
    }
}

/// Checks one value and advances behind it.
fn plain(rest: &mut &[u8], depth: u8) -> Result<(), String> {
    let first = take(rest, 1)?[0];
    let (major, info) = (first >> 5, first & 31);
    let value = match info {
        0..24 => u64::from(info),
        24..=27 if major < 7 => {
            let number = take(rest, 1 << (info - 24))?;
            let value = number
                .iter()
                .fold(0, |value, byte| value << 8 | u64::from(*byte));
            if head(major, value).len() != 1 + number.len() {
                return Err(format!("a head that is longer than {value} needs"));
            }
            value
        }
        _ => return Err(format!("a head that begins with {first:#04x}")),
    };
    match major {
        0 => Ok(()),
        2 | 3 => take(rest, usize::try_from(value).unwrap_or(usize::MAX)).map(drop),
        4 if depth < 16 => (0..value).try_for_each(|_| plain(rest, depth + 1)),
        5 if depth < 16 => plain_map(rest, value, depth),
        7 if matches!(value, 20..=22) => Ok(()),
        _ => Err(format!("a value that begins with {first:#04x}")),
    }
}

fn plain_map(rest: &mut &[u8], count: u64, depth: u8) -> Result<(), String> {
    let mut last: Option<Vec<u8>> = None;
    for _ in 0..count {
        let before = *rest;
        plain(rest, depth + 1)?;
        let key = before[..before.len() - rest.len()].to_vec();
        // Keys 0 to 63 compare like their shortest heads.
        if last.is_some_and(|last| last >= key) {
            return Err("keys that do not ascend".to_owned());
        }
        last = Some(key);
        // No key of the schema is written if its value is null, false or an empty list.
        if matches!(rest.first(), Some(0xf4 | 0xf6 | 0x80)) {
            return Err("a value that must be left out".to_owned());
        }
        plain(rest, depth + 1)?;
    }
    Ok(())
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Result<&'a [u8], String> {
    let (taken, after) = rest
        .split_at_checked(count)
        .ok_or("a body that is cut off")?;
    *rest = after;
    Ok(taken)
}
