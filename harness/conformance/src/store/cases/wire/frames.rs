//! Cases about frames that are refused because of their header or their position.

use super::bytes::{
    array, bytes, frame, hello, hello_fields, hold, map, plain, release, uint, vector,
};
use super::scene::{Scene, ends, refused, refused_first, sends_no_more};
use crate::case::cases;
use crate::end::{Play, holds};
use crate::store::{CaseContext, set};
use tenure_wire::{Header, MORE, VERSION, kind};

cases! { Store:
    "wire/version/another-major", Must ["wire.version"] another_major,
        "A frame of another major version is refused.";
    "wire/version/another-protocol", Must ["wire.version"] another_protocol,
        "An HTTP request is refused.";
    "wire/too-large/by-its-header", Must ["wire.too-large"] too_large,
        "A frame with a stated length of 4 GiB is refused once its header has arrived.";
    "wire/too-large/by-one-byte", Must ["wire.too-large"] (Limits) too_large_by_one,
        "A frame of the greatest length is accepted, and a frame of one more byte is refused by its header.";
    "wire/unknown-kind/critical", Must ["wire.unknown-critical"] unknown_critical,
        "A critical frame of an unknown kind is refused.";
    "wire/wrong-side/kinds-of-a-store", Must ["wire.wrong-side"] kinds_of_a_store,
        "A frame that only stores send is refused.";
    "wire/more/of-a-kind-that-ends", Must ["wire.more-unexpected"] more_unexpected,
        "A frame that announces a further part is refused if its kind has no parts.";
    "wire/parts/another-kind-between", Must ["wire.part-missing"] another_kind_between,
        "A frame of another kind between the parts of a hello is refused together with the hello.";
    "wire/parts/another-time", Must ["wire.parts-differ"] another_time,
        "Parts of a hello that name different times are refused.";
    "wire/parts/another-name", Must ["wire.parts-differ"] another_name,
        "Parts of a hello that name different processes are refused.";
    "wire/parts/another-link", Must ["wire.parts-differ"] another_link,
        "Parts of a hello that name different connections are refused.";
    "wire/parts/a-fault-instead", Must ["wire.truncated"] fault_instead,
        "A hello whose second part is replaced by a fault has no effect.";
    "wire/hello/another-kind-first", Must ["connect.refuses-misplaced"] not_hello_first,
        "A first frame other than a hello is refused, and a hello behind it has no effect.";
    "wire/hello/twice", Must ["connect.refuses-misplaced"] hello_twice,
        "A second hello on a connection is refused, and does not end the grants that it does not list.";
    "wire/truncated/within-a-frame", Must ["wire.truncated"] truncated_frame,
        "A frame that is cut off by the end of the connection has no effect.";
    "wire/truncated/by-one-byte", Must ["wire.truncated"] truncated_by_one,
        "A release with its last byte missing has no effect.";
    "wire/truncated/between-parts", Must ["wire.truncated"] truncated_parts,
        "A hello whose last part is missing has no effect.";
    "wire/truncated/connection-cut", Must ["wire.truncated"] connection_cut,
        "A release with its last byte missing has no effect if the connection is cut.";
}

async fn another_major(ctx: CaseContext) -> Play {
    refused(ctx, &["major version 2", "major version 0"]).await
}

async fn another_protocol(ctx: CaseContext) -> Play {
    refused(ctx, &["a request of another protocol"]).await
}

async fn too_large(ctx: CaseContext) -> Play {
    let mut scene = Scene::set(ctx).await?;
    let header = vector("the greatest length")?[..16].to_vec();
    scene.p.settle().await?;
    scene.p.keeps_alive = false;
    // Send nothing behind the header: a store that waits for the body waits for ever.
    scene
        .p
        .push(&header, "a header that promises 4 GiB")
        .await?;
    ends(&mut scene.p, "refused by its header").await?;
    scene.is_back().await?;
    scene.shows_unchanged().await
}

async fn too_large_by_one(ctx: CaseContext) -> Play {
    let max = ctx.limit("frame_bytes_max", 16 << 20)?;
    let mut scene = Scene::set(ctx).await?;
    // The kind is unknown, so that the contents do not matter.
    let fits = frame(UNKNOWN, 0, 0, &vec![0; max]);
    scene.p.push(&fits, "the greatest frame").await?;
    scene.p.is_quiet("it was skipped").await?;
    let header = Header {
        length: u32::try_from(max + 1).unwrap_or(u32::MAX),
        version: VERSION,
        kind: UNKNOWN,
        flags: 0,
        request: 0,
    };
    scene.p.keeps_alive = false;
    scene
        .p
        .push(&header.to_bytes(), "one byte too many")
        .await?;
    ends(&mut scene.p, "refused by its header").await?;
    scene.is_back().await?;
    scene.shows_unchanged().await
}

/// A kind that no version has.
const UNKNOWN: u8 = 0x3f;

async fn unknown_critical(ctx: CaseContext) -> Play {
    refused(ctx, &["an unknown critical kind"]).await
}

async fn kinds_of_a_store(ctx: CaseContext) -> Play {
    let mut scene = Scene::set(ctx).await?;
    scene
        .refuses(&vector("a kind of the store")?, "a Full")
        .await?;
    let released = release(&scene.grant, "2");
    // This is an answer to a request that was never made.
    let body = [&released[..5], &[kind::RELEASED], &released[6..]].concat();
    scene.refuses(&body, "a Released").await?;
    scene.shows_unchanged().await
}

async fn more_unexpected(ctx: CaseContext) -> Play {
    let mut scene = Scene::set(ctx).await?;
    let name = "more, of a kind that never goes on";
    scene.refuses(&vector(name)?, name).await?;
    let mut release = release(&scene.grant, "2");
    release[7] |= MORE.to_be_bytes()[1];
    scene.refuses(&release, "a release in parts").await?;
    scene.shows_unchanged().await
}

async fn another_kind_between(ctx: CaseContext) -> Play {
    let why = "a keep-alive between two parts";
    refused_first(&ctx, ("h", why), |again, _| {
        let between = plain(kind::KEEP_ALIVE, &map(&[(14, uint(7))]));
        [hello(again, MORE, &[]), between].concat()
    })
    .await
}

async fn another_time(ctx: CaseContext) -> Play {
    refused_first(&ctx, ("h", "two times"), |again, _| {
        let mut other = hello_fields(again);
        other[0].1 = uint(2);
        [hello(again, MORE, &[]), plain(kind::HELLO, &map(&other))].concat()
    })
    .await
}

async fn another_name(ctx: CaseContext) -> Play {
    let name = ctx.name("somebody-else");
    refused_first(&ctx, ("h", "two names"), |again, _| {
        let mut other = hello_fields(again);
        other[1].1 = bytes(name.as_bytes());
        [hello(again, MORE, &[]), plain(kind::HELLO, &map(&other))].concat()
    })
    .await
}

async fn another_link(ctx: CaseContext) -> Play {
    refused_first(&ctx, ("h", "two connections"), |again, _| {
        let mut other = hello_fields(again);
        other[3].1 = uint(again.link.number + 1);
        [hello(again, MORE, &[]), plain(kind::HELLO, &map(&other))].concat()
    })
    .await
}

async fn fault_instead(ctx: CaseContext) -> Play {
    let mut p = ctx.player("p").await?;
    let mut grant = p.acquire(&ctx.session("s")).await?;
    let mut again = p.again(&ctx).await?;
    let fault = plain(kind::FAULT, &map(&[(30, uint(6)), (31, vec![0x60])]));
    let part = hello(&again, MORE, &[]);
    again
        .push(&[part, fault].concat(), "a part, and a fault")
        .await?;
    sends_no_more(&mut again).await?;
    ends(&mut again, "a fault is the last frame").await?;
    let version = p.commit(&mut grant, set([("a", Some("1"))])).await?;
    holds(version == grant.version, "the grant, as before", version)
}

async fn not_hello_first(ctx: CaseContext) -> Play {
    refused_first(&ctx, ("h", "a release first"), |_, grant| {
        release(grant, "2")
    })
    .await
}

async fn hello_twice(ctx: CaseContext) -> Play {
    let mut scene = Scene::set(ctx).await?;
    let again = hello(&scene.p, 0, &[]);
    scene.refuses(&again, "the same hello").await?;
    let mut fields = hello_fields(&scene.p);
    fields[3].1 = uint(scene.p.link.number + 1);
    let next = plain(kind::HELLO, &map(&fields));
    // The number is used up only if the second hello was accepted.
    scene
        .refuses(&next, "a hello of the next connection")
        .await?;
    scene.shows_unchanged().await
}

async fn truncated_frame(ctx: CaseContext) -> Play {
    let mut scene = Scene::set(ctx).await?;
    for name in ["one byte", "half a header", "a header alone", "half a body"] {
        scene.breaks_off(&vector(name)?, name).await?;
    }
    scene.shows_unchanged().await
}

async fn truncated_by_one(ctx: CaseContext) -> Play {
    let mut scene = Scene::set(ctx).await?;
    let release = release(&scene.grant, "2");
    let all_but_one = &release[..release.len() - 1];
    scene.breaks_off(all_but_one, "all but a byte").await?;
    scene.shows_unchanged().await
}

async fn truncated_parts(ctx: CaseContext) -> Play {
    let mut p = ctx.player("p").await?;
    let mut grant = p.acquire(&ctx.session("s")).await?;
    let mut again = p.again(&ctx).await?;
    let part = hello(&again, MORE, &[(26, array(&[hold(&grant.hold())]))]);
    again.push(&part, "a part of a hello").await?;
    sends_no_more(&mut again).await?;
    ends(&mut again, "the rest is missing").await?;
    p.commit(&mut grant, set([("a", Some("1"))]))
        .await
        .map(drop)
}

async fn connection_cut(ctx: CaseContext) -> Play {
    let mut scene = Scene::set(ctx).await?;
    let release = release(&scene.grant, "2");
    let all_but_one = &release[..release.len() - 1];
    scene.p.push(all_but_one, "all but a byte").await?;
    scene.is_cut().await?;
    scene.shows_unchanged().await
}
