//! Cases about input that a store must accept although a careful writer of 1.0 would not write it. It comes from other
//! writers, or from later versions.

use super::bytes::{
    acquire_request, array, bytes, frame, hello, hold, map, plain, release, release_fields, uint,
    vector,
};
use super::scene::sends_no_more;
use crate::case::cases;
use crate::end::{Play, holds};
use crate::store::{CaseContext, Heard, ScriptedProcess, set};
use tenure_protocol::message::Granted;
use tenure_protocol::{Request, SessionId, Time, ToProcess};
use tenure_wire::{CRITICAL, MORE, kind};

cases! { Store:
    "wire/minor/another", Must ["wire.minor"] another_minor,
        "Frames of minor version 15 are accepted, the hello as well as later ones.";
    "wire/unknown-kind/skipped", Must ["wire.unknown-skipped"] unknown_skipped,
        "A frame of an unknown kind that is not critical is skipped, whatever its body is.";
    "wire/unknown-kind/between-parts", Must ["wire.unknown-skipped"] unknown_between_parts,
        "A frame of an unknown kind that is not critical is also skipped between the parts of a hello.";
    "wire/parts/joined", Must ["wire.parts-joined"] parts_joined,
        "A hello in three parts is one hello with the lists of all parts.";
    "wire/skipped/unknown-keys", Must ["wire.unknown-key"] unknown_keys,
        "Values of unknown keys are skipped: of any type, of indefinite length, and up to 16 levels deep.";
    "wire/skipped/unknown-key-in-a-wish", Must ["wire.unknown-key"] unknown_key_in_wish,
        "An unknown key within a request of a hello is skipped.";
    "wire/lenient/order-of-keys", Must ["wire.lenient"] order_of_keys,
        "Keys in any order are accepted.";
    "wire/lenient/long-heads", Must ["wire.lenient"] long_heads,
        "Heads that are longer than necessary are accepted.";
    "wire/lenient/null", Must ["wire.lenient"] null_is_absent,
        "A null known version or ticket has the same meaning as an absent one.";
    "wire/lenient/order-of-changes", Must ["wire.lenient"] order_of_changes,
        "The changes of a delta are accepted in any order.";
    "wire/lenient/longest-name", Must ["wire.lenient"] longest_name,
        "A name of 128 bytes is accepted even if it is not text.";
    "wire/reserved/flags", Must ["wire.reserved"] reserved_flags,
        "Flags without a meaning are ignored, and a known kind may lack the flag critical.";
    "wire/reserved/request", Must ["wire.reserved"] reserved_request,
        "A request number in the header of a kind that has none is ignored.";
    "wire/order/of-one-session", Must ["wire.in-order"] in_order,
        "Messages sent in sequence, for several sessions, take effect in that order.";
    "wire/order/single-bytes", Must ["wire.in-order"] single_bytes,
        "A frame that arrives byte by byte is accepted like any other.";
    "wire/fault/unknown-code", Must ["wire.lenient"] unknown_fault,
        "A fault with an unknown code is treated like any other, and frees no grant.";
}

/// Expects the answer to the vectors' keep-alive, whose send time is 7.
async fn is_alive(p: &mut ScriptedProcess, why: &str) -> Play {
    let expected = format!("the Alive to 7: {why}");
    p.expect(&expected, |message| {
        matches!(message, ToProcess::Alive { sent: Time(7), .. }).then_some(())
    })
    .await
}

/// Expects that these vectors, which are keep-alives, are answered.
async fn answers(ctx: CaseContext, names: &[&str]) -> Play {
    let mut p = ctx.player("p").await?;
    for name in names {
        p.push(&vector(name)?, name).await?;
        is_alive(&mut p, name).await?;
    }
    Ok(())
}

async fn another_minor(ctx: CaseContext) -> Play {
    let mut p = ctx.silent("p").await?;
    let mut later = hello(&p, 0, &[]);
    later[4] = 0x1f;
    p.push(&later, "a hello of version 1.15").await?;
    p.welcome().await?;
    let name = "minor version 15";
    p.push(&vector(name)?, name).await?;
    is_alive(&mut p, name).await
}

async fn unknown_skipped(ctx: CaseContext) -> Play {
    let mut p = ctx.player("p").await?;
    let name = "an unknown kind between two known";
    p.push(&vector(name)?, name).await?;
    is_alive(&mut p, "before it").await?;
    is_alive(&mut p, "behind it").await?;
    for kind in [0x0b, 0x40, 0x4f, 0x80, 0xff] {
        p.push(&frame(kind, 0, 1, &[0xff]), "an unknown kind")
            .await?;
    }
    p.is_quiet("all are skipped").await
}

async fn unknown_between_parts(ctx: CaseContext) -> Play {
    let mut p = ctx.silent("p").await?;
    let parts = [
        hello(&p, MORE, &[]),
        frame(0x3f, 0, 1, b"not even CBOR"),
        frame(0x3f, MORE, 1, &[]),
        hello(&p, 0, &[]),
    ];
    p.push(&parts.concat(), "a hello, and unknown kinds in it")
        .await?;
    p.welcome().await?;
    p.is_quiet("nothing was asked").await
}

async fn parts_joined(ctx: CaseContext) -> Play {
    let mut p = ctx.player("p").await?;
    let (s, t, u) = (ctx.session("s"), ctx.session("t"), ctx.session("u"));
    let grants = [p.acquire(&s).await?.hold(), p.acquire(&t).await?.hold()];
    let mut again = p.again(&ctx).await?;
    let list = |item| array(&[item]);
    let parts = [
        hello(&again, MORE, &[(26, list(hold(&grants[0])))]),
        hello(&again, MORE, &[(26, list(hold(&grants[1])))]),
        hello(&again, 0, &[(27, list(acquire_request(&u, 9)))]),
    ];
    again
        .push(&parts.concat(), "a hello in three parts")
        .await?;
    let welcome = again.welcome().await?;
    let knows_both = grants.iter().all(|hold| welcome.holds.contains(hold));
    holds(knows_both, "a Welcome that knows both grants", &welcome)?;
    again.granted(&u, Request(9)).await.map(drop)
}

async fn unknown_keys(ctx: CaseContext) -> Play {
    let names = [
        "an unknown key",
        "an unknown key with a map in an array",
        "an unknown key with a tag",
        "an unknown key with indefinite lengths",
        "an unknown key with simple values",
        "an unknown key, nested 16 deep",
        "an unknown key with a null",
    ];
    answers(ctx, &names).await
}

async fn unknown_key_in_wish(ctx: CaseContext) -> Play {
    let mut p = ctx.silent("p").await?;
    let s = ctx.session("s");
    let session = (0, bytes(s.as_bytes()));
    // Use a key of later versions, and a key of 1.0 that is not allowed here.
    let acquire = map(&[
        session,
        (2, uint(9)),
        (8, uint(1)),
        (30, uint(1)),
        (63, array(&[])),
    ]);
    let hello = hello(&p, 0, &[(27, array(&[acquire]))]);
    p.push(&hello, "a request with unknown keys").await?;
    p.welcome().await?;
    p.granted(&s, Request(9)).await.map(drop)
}

async fn order_of_keys(ctx: CaseContext) -> Play {
    let mut p = ctx.player("p").await?;
    let grant = p.acquire(&ctx.session("s")).await?;
    let mut fields = release_fields(&grant, "1");
    fields.reverse();
    let release = plain(kind::RELEASE, &map(&fields));
    p.push(&release, "a release with its keys reversed").await?;
    p.released(&grant.session, grant.token).await?;
    let next = p.acquire(&grant.session).await?;
    holds(
        next.text("a").as_deref() == Some("1"),
        "a is 1",
        &next.attributes,
    )
}

async fn long_heads(ctx: CaseContext) -> Play {
    answers(ctx.clone(), &["heads longer than they need be"]).await?;
    let mut p = ctx.player("q").await?;
    let s = ctx.session("s");
    let name = s.as_bytes();
    let length = u8::try_from(name.len()).unwrap_or_default();
    // Encode key 0 in two bytes, the length of the name in nine, and 1 in five.
    let session = [&[0x18, 0, 0x5b, 0, 0, 0, 0, 0, 0, 0, length], name].concat();
    let body = [&[0xb8, 2], &session[..], &[0x19, 0, 8, 0x1a, 0, 0, 0, 1]].concat();
    let acquire = frame(kind::ACQUIRE, CRITICAL, 5, &body);
    p.push(&acquire, "a request with long heads").await?;
    p.granted(&s, Request(5)).await.map(drop)
}

async fn null_is_absent(ctx: CaseContext) -> Play {
    let mut p = ctx.player("p").await?;
    let s = ctx.session("s");
    let null = || vec![0xf6];
    let session = (0, bytes(s.as_bytes()));
    let body = map(&[session, (7, null()), (8, uint(1)), (9, null())]);
    let acquire = frame(kind::ACQUIRE, CRITICAL, 5, &body);
    p.push(&acquire, "a request with nulls").await?;
    p.granted(&s, Request(5)).await.map(drop)
}

async fn order_of_changes(ctx: CaseContext) -> Play {
    let mut p = ctx.player("p").await?;
    let grant = p.acquire(&ctx.session("s")).await?;
    let names = ["b", "c", "a"];
    let changes = names.map(|name| array(&[bytes(name.as_bytes()), bytes(name.as_bytes())]));
    let mut fields = release_fields(&grant, "");
    fields[3].1 = array(&changes);
    let release = plain(kind::RELEASE, &map(&fields));
    p.push(&release, "a release of b, c and a").await?;
    p.released(&grant.session, grant.token).await?;
    let next = p.acquire(&grant.session).await?;
    let has_all = names
        .iter()
        .all(|name| next.text(name).as_deref() == Some(*name));
    holds(has_all, "each is its own name", &next.attributes)
}

async fn longest_name(ctx: CaseContext) -> Play {
    let [mut p, mut q] = ctx.two().await?;
    let mut name = ctx.session("s").as_bytes().to_vec();
    name.resize(128, 0xff);
    let longest = SessionId::new(name.clone()).map_err(crate::CaseEnd::fault)?;
    name[127] = 0;
    let other = SessionId::new(name).map_err(crate::CaseEnd::fault)?;
    // All 128 bytes are significant.
    p.acquire(&longest).await?;
    q.acquire(&other).await.map(drop)
}

async fn reserved_flags(ctx: CaseContext) -> Play {
    let names = [
        "flags without a meaning",
        "a known kind that is not critical",
    ];
    answers(ctx, &names).await
}

async fn reserved_request(ctx: CaseContext) -> Play {
    answers(ctx.clone(), &["a request in a kind that has none"]).await?;
    let mut p = ctx.player("q").await?;
    let grant = p.acquire(&ctx.session("s")).await?;
    // Without the flag `requeue`, the number is not a request.
    let body = map(&release_fields(&grant, "1"));
    let release = frame(kind::RELEASE, CRITICAL, 99, &body);
    p.push(&release, "a release with a request number but no request")
        .await?;
    p.released(&grant.session, grant.token).await?;
    p.is_quiet("the process has not requested again").await
}

async fn in_order(ctx: CaseContext) -> Play {
    let mut p = ctx.player("p").await?;
    let mut grants = Vec::new();
    for at in 0..8 {
        grants.push(p.acquire(&ctx.session(&format!("s{at}"))).await?);
    }
    let mut all = Vec::new();
    for (at, grant) in grants.iter().enumerate() {
        let session = (0, bytes(grant.session.as_bytes()));
        all.extend(release(grant, &at.to_string()));
        all.extend(frame(
            kind::ACQUIRE,
            CRITICAL,
            99,
            &map(&[session, (8, uint(1))]),
        ));
    }
    p.push(&all, "releases, each with a request behind it")
        .await?;
    let mut heard = Vec::new();
    while heard.len() < 2 * grants.len() {
        heard.push(p.next("Released, then Granted, of each").await?);
    }
    for (at, grant) in grants.iter().enumerate() {
        let own = heard
            .iter()
            .filter(|message| message.session() == Some(&grant.session));
        let own: Vec<_> = own.collect();
        let is_so = matches!(own[..], [
            ToProcess::Released { version: Some(_), .. },
            ToProcess::Granted(Granted { request: Request(99), token, .. }),
        ] if *token > grant.token);
        holds(is_so, "Released, then Granted under a later token", &own)?;
        let value = shown_a(own[1]);
        holds(value == Some(at.to_string()), "the released changes", value)?;
    }
    Ok(())
}

/// Returns the attribute `a` of a whole state.
fn shown_a(granted: &ToProcess) -> Option<String> {
    let ToProcess::Granted(Granted {
        state: tenure_protocol::attributes::State::Full(all),
        ..
    }) = granted
    else {
        return None;
    };
    let a = all
        .changes()
        .iter()
        .find(|change| change.name.as_bytes() == b"a")?;
    Some(String::from_utf8_lossy(a.value.as_ref()?).into_owned())
}

async fn single_bytes(ctx: CaseContext) -> Play {
    let mut p = ctx.player("p").await?;
    let grant = p.acquire(&ctx.session("s")).await?;
    for byte in release(&grant, "1") {
        p.push(&[byte], "a byte of a release").await?;
        tokio::task::yield_now().await;
    }
    p.released(&grant.session, grant.token).await?;
    let next = p.acquire(&grant.session).await?;
    holds(
        next.text("a").as_deref() == Some("1"),
        "a is 1",
        &next.attributes,
    )
}

async fn unknown_fault(ctx: CaseContext) -> Play {
    let mut p = ctx.player("p").await?;
    let mut grant = p.acquire(&ctx.session("s")).await?;
    for code in [6, 1_000] {
        let fault = plain(kind::FAULT, &map(&[(30, uint(code)), (31, vec![0x60])]));
        p.keeps_alive = false;
        p.push(&fault, &format!("a fault of code {code}")).await?;
        sends_no_more(&mut p).await?;
        match p.hear(0).await? {
            Heard::Closed => {}
            other => return Err(p.failed("the end, without a fault in return", other)),
        }
        p = p.again(&ctx).await?;
        let welcome = p.enter_with(vec![grant.hold()], vec![]).await?;
        holds(
            welcome.holds == [grant.hold()],
            "the grant, as before",
            &welcome,
        )?;
    }
    p.commit(&mut grant, set([("a", Some("1"))]))
        .await
        .map(drop)
}
