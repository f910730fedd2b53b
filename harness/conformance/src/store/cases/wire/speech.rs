//! Cases about the frames that a store writes, and about its faults.

use super::bytes::{faulty, hello, vector};
use super::scene::{Scene, ends};
use super::tour::tour;
use crate::case::cases;
use crate::end::{CaseEnd, Play, holds};
use crate::store::CaseContext;
use tenure_wire::{CRITICAL, FaultCode, HEADER_BYTES, Header, MINOR, kind};

cases! { Store:
    "wire/fault/last", Must ["wire.fault-last"] fault_is_last,
        "A store sends nothing after a fault, even if messages are pending.";
    "wire/fault/malformed", Should ["wire.fault"] malformed,
        "Bytes that are not a frame are answered with fault 0, malformed.";
    "wire/fault/broken-off", Should ["wire.fault"] broken_off,
        "A frame that its sender does not complete is answered with fault 0, malformed.";
    "wire/fault/too-large", Should ["wire.fault"] too_large,
        "A frame that is too large is answered with fault 1, too large.";
    "wire/fault/version", Should ["wire.fault"] version,
        "Another major version is answered with fault 2, version.";
    "wire/fault/unknown", Should ["wire.fault"] unknown,
        "A critical frame of an unknown kind is answered with fault 3, unknown.";
    "wire/fault/unexpected", Should ["wire.fault"] unexpected,
        "A frame at a place where it is not allowed is answered with fault 4, unexpected.";
    "wire/writes/plainly", Must ["wire.writes-plainly"] writes_plainly,
        "A store writes shortest heads, definite lengths and ascending keys, and leaves out empty values.";
    "wire/writes/critical", Must ["wire.writes-critical"] writes_critical,
        "All frames of a store have the flag CRITICAL.";
    "wire/newer/only-to-who-knows", Must ["wire.newer"] speaks_1_0,
        "A store sends a process of version 1.0 only messages that version 1.0 has.";
}

async fn fault_is_last(ctx: CaseContext) -> Play {
    let mut q = ctx.player("w").await?;
    let mut scene = Scene::set(ctx).await?;
    // A waiter causes a recall to repeat, and many answers precede the refusal.
    q.ask(&scene.grant.session).await?;
    scene.p.recalled(&scene.grant).await?;
    let keep_alive = vector("keep-alive")?;
    let bytes = [
        keep_alive.repeat(50),
        vector("a key twice")?,
        keep_alive.repeat(50),
    ];
    scene.p.keeps_alive = false;
    scene
        .p
        .push(
            &bytes.concat(),
            "keep-alives, and something wrong among them",
        )
        .await?;
    ends(&mut scene.p, "a fault, and nothing behind it").await?;
    scene.is_back().await
}

/// Expects that each vector of that code is answered with that fault.
async fn answered_with(ctx: CaseContext, name: &str, code: FaultCode) -> Play {
    let mut scene = Scene::set(ctx).await?;
    for vector in faulty(name)? {
        let fault = scene.refuses(&vector.bytes()?, &vector.name).await?;
        let is_it = fault.as_ref().is_some_and(|fault| fault.code == code);
        let expected = format!("fault {} to: {}", code.number(), vector.name);
        holds(is_it, &expected, fault)?;
    }
    scene.shows_unchanged().await
}

async fn malformed(ctx: CaseContext) -> Play {
    answered_with(ctx, "Malformed", FaultCode::Malformed).await
}

async fn broken_off(ctx: CaseContext) -> Play {
    let mut scene = Scene::set(ctx).await?;
    let name = "half a body";
    let fault = scene.breaks_off(&vector(name)?, name).await?;
    let is_it = fault
        .as_ref()
        .is_some_and(|fault| fault.code == FaultCode::Malformed);
    holds(is_it, "fault 0, malformed", fault)?;
    scene.shows_unchanged().await
}

async fn too_large(ctx: CaseContext) -> Play {
    answered_with(ctx, "TooLarge", FaultCode::TooLarge).await
}

async fn version(ctx: CaseContext) -> Play {
    answered_with(ctx, "Version", FaultCode::Version).await
}

async fn unknown(ctx: CaseContext) -> Play {
    answered_with(ctx, "Unknown", FaultCode::Unknown).await
}

async fn unexpected(ctx: CaseContext) -> Play {
    answered_with(ctx.clone(), "Unexpected", FaultCode::Unexpected).await?;
    let mut p = ctx.player("o").await?;
    p.push(&hello(&p, 0, &[]), "a second hello").await?;
    p.keeps_alive = false;
    let second = ends(&mut p, "a second hello").await?;
    let mut p = ctx.silent("l").await?;
    p.push(&vector("keep-alive")?, "no hello first").await?;
    let first = ends(&mut p, "no hello first").await?;
    for fault in [second, first] {
        let is_it = fault
            .as_ref()
            .is_some_and(|fault| fault.code == FaultCode::Unexpected);
        holds(is_it, "fault 4 to what has no place", fault)?;
    }
    Ok(())
}

/// Returns the header and the body of each frame that a tour has received, except those too long for the trace.
async fn written(ctx: &CaseContext) -> Play<Vec<(Header, Vec<u8>)>> {
    tour(ctx).await?;
    let trace = ctx.trace().all();
    let came = trace
        .iter()
        .filter(|traced| traced.way == '<' && !traced.hex.ends_with('…'));
    let mut all = Vec::new();
    for traced in came {
        let bytes = super::bytes::unhex(&traced.hex)?;
        let Some((header, body)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
            return Err(CaseEnd::fault("a trace without a header"));
        };
        all.push((Header::read(header), body.to_vec()));
    }
    Ok(all)
}

async fn writes_critical(ctx: CaseContext) -> Play {
    for (header, _) in written(&ctx).await? {
        let is_known = kind::name(header.kind).is_some();
        let is_so = !is_known || header.flags & CRITICAL != 0;
        holds(is_so, "the flag CRITICAL", header)?;
    }
    Ok(())
}

async fn speaks_1_0(ctx: CaseContext) -> Play {
    // A process of version 1.0 would not understand other kinds.
    for (header, _) in written(&ctx).await? {
        let is_so = kind::name(header.kind).is_some() || header.flags & CRITICAL == 0;
        holds(is_so, &format!("a kind of 1.{MINOR}"), header)?;
    }
    Ok(())
}

async fn writes_plainly(ctx: CaseContext) -> Play {
    for (header, body) in written(&ctx).await? {
        let mut walk = Walk { rest: &body };
        let wrong = walk.value().err().or_else(|| {
            let is_whole = walk.rest.is_empty();
            (!is_whole).then_some("bytes behind the map")
        });
        if let Some(wrong) = wrong {
            let seen = format!("{wrong}: {:?} {body:02x?}", kind::name(header.kind));
            return Err(CaseEnd::told("a body as plain as it can be", seen));
        }
    }
    Ok(())
}

/// A parser of the CBOR subset of the schema that checks the canonical form.
struct Walk<'a> {
    rest: &'a [u8],
}

impl Walk<'_> {
    fn byte(&mut self) -> Result<u8, &'static str> {
        let (first, rest) = self.rest.split_first().ok_or("cut off")?;
        self.rest = rest;
        Ok(*first)
    }

    /// Returns the major type and the number of a head.
    fn head(&mut self) -> Result<(u8, u64), &'static str> {
        let first = self.byte()?;
        let (width, least) = match first & 31 {
            info @ 0..=23 => return Ok((first >> 5, info.into())),
            24 => (1, 24),
            25 => (2, 1 << 8),
            26 => (4, 1 << 16),
            27 => (8, 1 << 32),
            _ => return Err("an indefinite or reserved head"),
        };
        let mut number = 0_u64;
        for _ in 0..width {
            number = number << 8 | u64::from(self.byte()?);
        }
        let is_shortest = number >= least;
        is_shortest
            .then_some((first >> 5, number))
            .ok_or("a head that could be shorter")
    }

    fn value(&mut self) -> Result<(), &'static str> {
        match self.head()? {
            (0, _) | (7, 20..=22) => Ok(()),
            (2 | 3, length) => (0..length).try_for_each(|_| self.byte().map(drop)),
            (4, count) => (0..count).try_for_each(|_| self.value()),
            (5, count) => self.fields(count),
            _ => Err("a type that the schema does not have"),
        }
    }

    fn fields(&mut self, count: u64) -> Result<(), &'static str> {
        let mut last = None;
        for _ in 0..count {
            let (0, key) = self.head()? else {
                return Err("a key that is no number");
            };
            if last >= Some(key) {
                return Err("keys that do not ascend");
            }
            last = Some(key);
            match self.rest.first() {
                Some(0x80 | 0xf4 | 0xf6) => return Err("an empty list, false or null with a key"),
                _ => self.value()?,
            }
        }
        Ok(())
    }
}
