//! Bodies in diagnostic notation (RFC 8949, section 8), for human readers of the vectors.
//!
//! Heads that are longer than necessary are marked: `7_1` is a 7 in two bytes.

use bytes::Buf;
use std::fmt::Write as _;
use tenure_wire::{HEADER_BYTES, Header};

/// Returns the bodies of a stream's frames. A body that is incomplete or not one well-formed value is `null`.
pub(crate) fn of_stream(mut stream: &[u8]) -> Vec<Option<String>> {
    let mut bodies = Vec::new();
    while !stream.is_empty() {
        let Some(header) = stream.first_chunk::<HEADER_BYTES>() else {
            bodies.push(None);
            break;
        };
        stream.advance(HEADER_BYTES);
        let length = Header::read(header).length as usize;
        let body = stream.get(..length);
        bodies.push(body.and_then(of_body));
        stream = &stream[length.min(stream.len())..];
    }
    bodies
}

pub(crate) fn of_body(mut body: &[u8]) -> Option<String> {
    let mut text = String::new();
    item(&mut body, &mut text)?;
    body.is_empty().then_some(text)
}

/// Reads a head. Returns its major type, its number (`None` if indefinite), and its length if that is longer than
/// necessary.
fn head(body: &mut &[u8]) -> Option<(u8, Option<u64>, Option<u8>)> {
    let first = take(body, 1)?[0];
    let (major, info) = (first >> 5, first & 31);
    if info == 31 {
        return Some((major, None, None));
    }
    if info < 24 {
        return Some((major, Some(u64::from(info)), None));
    }
    if info > 27 {
        return None;
    }
    let bytes = take(body, 1 << (info - 24))?;
    let number = bytes
        .iter()
        .fold(0, |number, byte| number << 8 | u64::from(*byte));
    let least = [24, 1 << 8, 1 << 16, 1 << 32][usize::from(info - 24)];
    Some((major, Some(number), (number < least).then_some(info - 24)))
}

fn take<'a>(body: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, rest) = body.split_at_checked(count)?;
    *body = rest;
    Some(taken)
}

fn item(body: &mut &[u8], text: &mut String) -> Option<()> {
    let first = *body.first()?;
    let (major, number, longer) = head(body)?;
    let longer = longer.map(|bytes| format!("_{bytes}")).unwrap_or_default();
    match (major, number) {
        (0, Some(number)) => write!(text, "{number}{longer}").ok()?,
        (1, Some(number)) => write!(text, "{}{longer}", -1 - i128::from(number)).ok()?,
        (2 | 3, Some(length)) => {
            let bytes = take(body, usize::try_from(length).ok()?)?;
            string(major, bytes, text);
            *text += &longer;
        }
        (2 | 3, None) => {
            *text += "(_";
            let mut comma = " ";
            while body.first()? != &0xff {
                let (own, length, _) = head(body)?;
                let bytes = take(body, usize::try_from(length?).ok()?)?;
                if own != major {
                    return None;
                }
                *text += comma;
                string(major, bytes, text);
                comma = ", ";
            }
            *body = &body[1..];
            text.push(')');
        }
        (4 | 5, count) => list(major, count, &longer, body, text)?,
        (6, Some(tag)) => {
            write!(text, "{tag}{longer}(").ok()?;
            item(body, text)?;
            text.push(')');
        }
        (7, Some(value)) => simple(first & 31, value, text)?,
        _ => return None,
    }
    Some(())
}

fn string(major: u8, bytes: &[u8], text: &mut String) {
    if major == 2 {
        *text += &format!("h'{}'", super::file::to_hex(bytes));
    } else {
        *text += &format!("{:?}", String::from_utf8_lossy(bytes));
    }
}

fn list(
    major: u8,
    count: Option<u64>,
    longer: &str,
    body: &mut &[u8],
    text: &mut String,
) -> Option<()> {
    let (open, close) = if major == 4 { ('[', ']') } else { ('{', '}') };
    let indefinite = if count.is_none() { "_" } else { longer };
    text.push(open);
    *text += indefinite;
    let mut comma = if indefinite.is_empty() { "" } else { " " };
    let mut left = count;
    while match left {
        Some(left) => left > 0,
        None => body.first()? != &0xff,
    } {
        *text += comma;
        item(body, text)?;
        if major == 5 {
            *text += ": ";
            item(body, text)?;
        }
        comma = ", ";
        left = left.map(|left| left - 1);
    }
    if count.is_none() {
        *body = &body[1..];
    }
    text.push(close);
    Some(())
}

fn simple(info: u8, value: u64, text: &mut String) -> Option<()> {
    match (info, value) {
        (20, _) => *text += "false",
        (21, _) => *text += "true",
        (22, _) => *text += "null",
        (23, _) => *text += "undefined",
        (24, 0..32) => return None,
        (25, bits) => write!(text, "{:?}_1", half(u16::try_from(bits).ok()?)).ok()?,
        (26, bits) => write!(text, "{:?}_2", f32::from_bits(u32::try_from(bits).ok()?)).ok()?,
        (27, bits) => write!(text, "{:?}_3", f64::from_bits(bits)).ok()?,
        (_, value) => write!(text, "simple({value})").ok()?,
    }
    Some(())
}

fn half(bits: u16) -> f32 {
    let (exponent, fraction) = (i32::from(bits >> 10 & 31), f32::from(bits & 1023));
    let size = match exponent {
        0 => fraction * 2_f32.powi(-24),
        31 if fraction == 0.0 => f32::INFINITY,
        31 => f32::NAN,
        _ => (1024.0 + fraction) * 2_f32.powi(exponent - 25),
    };
    if bits >> 15 == 0 { size } else { -size }
}
