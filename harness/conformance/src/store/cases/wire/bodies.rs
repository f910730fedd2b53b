//! Cases about refused bodies: ill-formed CBOR, maps that violate the schema, or values beyond a limit.

use super::bytes::{
    acquire_request, array, bytes, faulty, head, hello, hello_fields, hold, map, plain, release,
    release_fields, uint, vector,
};
use super::scene::{Scene, refused, refused_first};
use crate::case::cases;
use crate::end::Play;
use crate::store::{CaseContext, Grant};
use tenure_protocol::id::Stamp;
use tenure_protocol::message::GrantRef;
use tenure_protocol::{SessionId, ToProcess, Token};
use tenure_wire::{MORE, kind};

cases! { Store:
    "wire/refused/no-effect", Must ["wire.ill-formed", "wire.key-range"] no_effect,
        "Neither a refused release nor a valid one behind it has an effect.";
    "wire/refused/closes",
        Must ["wire.ill-formed", "wire.too-large", "wire.version", "wire.unknown-critical", "wire.wrong-side"] closes,
        "Every refusal of a frame ends the connection.";
    "wire/body/cut-off", Must ["wire.ill-formed"] cut_off,
        "A body that ends within a value is refused.";
    "wire/body/trailing-bytes", Must ["wire.ill-formed"] trailing,
        "A body with further bytes behind its map is refused.";
    "wire/body/not-a-map", Must ["wire.ill-formed"] not_a_map,
        "A body that is empty or not a map is refused.";
    "wire/body/indefinite-map", Must ["wire.ill-formed"] indefinite_map,
        "A body that is a map of indefinite length is refused.";
    "wire/body/ill-formed", Must ["wire.ill-formed"] ill_formed,
        "Ill-formed CBOR is refused even where it would be skipped.";
    "wire/key/twice", Must ["wire.duplicate-key"] key_twice,
        "A body with a known or unknown key twice, in the body or in a request, is refused.";
    "wire/key/out-of-range", Must ["wire.key-range"] key_range,
        "A body with key 64, a negative key or a text for a key is refused.";
    "wire/key/missing", Must ["wire.missing-key"] key_missing,
        "A body without any one of its kind's required keys is refused.";
    "wire/key/missing-in-hello", Must ["wire.missing-key"] key_missing_in_hello,
        "A hello without any one of its required keys is refused.";
    "wire/value/wrong-type", Must ["wire.wrong-type"] wrong_type,
        "A value of another type than in the schema is refused.";
    "wire/value/another-length", Must ["wire.wrong-type"] another_length,
        "A token or a change with more or fewer items than in the schema is refused.";
    "wire/value/beyond-its-range", Must ["wire.wrong-type"] beyond_range,
        "A number outside the range of its field is refused.";
    "wire/value/indefinite-length", Must ["wire.wrong-type"] indefinite_value,
        "A known key with a value of indefinite length is refused.";
    "wire/value/unknown-choice", Must ["wire.unknown-choice"] unknown_choice,
        "An unknown wait mode is refused.";
    "wire/name/empty", Must ["wire.name-length"] name_empty,
        "An empty name of a session or an attribute is refused.";
    "wire/name/129-bytes", Must ["wire.name-length"] name_long,
        "A name of 129 bytes is refused.";
    "wire/name/of-a-process", Must ["wire.name-length"] name_of_process,
        "A hello with an empty name, or one of 129 bytes, is refused.";
    "wire/name/twice-in-a-delta", Must ["wire.name-twice"] name_twice,
        "A delta that names an attribute twice is refused.";
    "wire/skipped/too-deep", Must ["wire.nested-too-deep"] too_deep,
        "A value of an unknown key that is nested 17 deep is refused.";
    "wire/too-many/promised", Must ["wire.too-many", "wire.ill-formed"] too_many_promised,
        "A list whose stated length exceeds the limit is refused.";
    "wire/too-many/changes", Must ["wire.too-many"] (Limits) too_many_changes,
        "A delta with one change above the limit is refused, and one at the limit is accepted.";
    "wire/too-many/items-in-all-parts", Must ["wire.too-many"] (Limits) too_many_items,
        "A hello with one item above the limit over all parts is refused, and one at the limit is accepted.";
}

/// Returns a release with slightly altered fields.
fn altered(grant: &Grant, alter: impl FnOnce(&mut Vec<(u64, Vec<u8>)>)) -> Vec<u8> {
    let mut fields = release_fields(grant, "refused");
    alter(&mut fields);
    plain(kind::RELEASE, &map(&fields))
}

async fn no_effect(ctx: CaseContext) -> Play {
    let mut scene = Scene::set(ctx).await?;
    // The error follows all required fields, so that a store which acts while it reads is detected.
    let refused = altered(&scene.grant, |fields| fields.push((64, uint(0))));
    scene.refuses(&refused, "a release with key 64").await?;
    let mut refused = release(&scene.grant, "refused");
    refused[3] += 1;
    refused.push(0);
    scene
        .refuses(&refused, "a release with a byte behind it")
        .await?;
    scene.shows_unchanged().await
}

async fn closes(ctx: CaseContext) -> Play {
    let mut scene = Scene::set(ctx).await?;
    for code in ["Malformed", "TooLarge", "Version", "Unknown", "Unexpected"] {
        // Use one vector of each kind, because the other cases use the rest.
        if let Some(vector) = faulty(code)?.first() {
            scene.refuses(&vector.bytes()?, &vector.name).await?;
        }
    }
    scene.shows_unchanged().await
}

async fn cut_off(ctx: CaseContext) -> Play {
    let names = [
        "a map that is cut off before its value",
        "a number that is cut off",
        "a name that is cut off",
        "a map that promises 2^64-1 keys",
        "a name that promises 2^63 bytes",
        "a list that promises 8 and has 1",
        "an array that promises 2^64-1",
        "a string that promises 2^64-1",
    ];
    refused(ctx, &names).await
}

async fn trailing(ctx: CaseContext) -> Play {
    let mut scene = Scene::set(ctx).await?;
    let name = "a byte behind the body";
    scene.refuses(&vector(name)?, name).await?;
    let fields = map(&release_fields(&scene.grant, "2"));
    let twice = plain(kind::RELEASE, &[&fields[..], &fields].concat());
    scene.refuses(&twice, "two maps in a body").await?;
    scene.shows_unchanged().await
}

async fn not_a_map(ctx: CaseContext) -> Play {
    let names = ["no body", "a body that is an array", "a body that is null"];
    refused(ctx, &names).await
}

async fn indefinite_map(ctx: CaseContext) -> Play {
    let mut scene = Scene::set(ctx).await?;
    let name = "a map of indefinite length";
    scene.refuses(&vector(name)?, name).await?;
    let definite = map(&release_fields(&scene.grant, "2"));
    let indefinite = [&[0xbf], &definite[1..], &[0xff]].concat();
    let release = plain(kind::RELEASE, &indefinite);
    scene
        .refuses(&release, "a release of indefinite length")
        .await?;
    scene.shows_unchanged().await
}

async fn ill_formed(ctx: CaseContext) -> Play {
    let names = [
        "a head that is reserved",
        "an indefinite number",
        "an indefinite tag",
        "a break outside",
        "a simple value in too many bytes",
        "a chunk of another type",
        "a chunk in chunks",
        "half a pair of an indefinite map",
    ];
    refused(ctx, &names).await
}

async fn key_twice(ctx: CaseContext) -> Play {
    let twice = ctx.session("t");
    let within = refused_first(&ctx, ("h", "a request with a key twice"), |again, _| {
        let session = || (0, bytes(twice.as_bytes()));
        let acquire = map(&[session(), session(), (2, uint(1)), (8, uint(1))]);
        hello(again, 0, &[(27, array(&[acquire]))])
    });
    within.await?;
    let mut scene = Scene::set(ctx).await?;
    for name in ["a key twice", "an unknown key twice"] {
        scene.refuses(&vector(name)?, name).await?;
    }
    let release = altered(&scene.grant, |fields| fields.push((13, uint(0))));
    scene
        .refuses(&release, "a release with key 13 twice")
        .await?;
    scene.shows_unchanged().await
}

async fn key_range(ctx: CaseContext) -> Play {
    refused(ctx, &["key 64", "a negative key", "a text for a key"]).await
}

async fn key_missing(ctx: CaseContext) -> Play {
    let mut scene = Scene::set(ctx).await?;
    for name in ["a key that is missing", "a second key that is missing"] {
        scene.refuses(&vector(name)?, name).await?;
    }
    for key in [0, 1, 4, 13] {
        let release = altered(&scene.grant, |fields| fields.retain(|(own, _)| *own != key));
        scene
            .refuses(&release, &format!("a release without key {key}"))
            .await?;
    }
    scene.shows_unchanged().await
}

async fn key_missing_in_hello(ctx: CaseContext) -> Play {
    for at in 0..5 {
        let (who, why) = (format!("h{at}"), format!("a hello without its field {at}"));
        refused_first(&ctx, (&who, &why), |again, _| {
            let mut fields = hello_fields(again);
            fields.remove(at);
            plain(kind::HELLO, &map(&fields))
        })
        .await?;
    }
    Ok(())
}

async fn wrong_type(ctx: CaseContext) -> Play {
    let names = [
        "a name that is text",
        "a name that is null",
        "a name with a tag",
        "a token that is a number",
        "a negative number",
        "a number with a point",
        "a number as a bignum",
        "a value that is text",
    ];
    let mut scene = Scene::set(ctx).await?;
    for name in names {
        scene.refuses(&vector(name)?, name).await?;
    }
    let release = altered(&scene.grant, |fields| fields.insert(4, (12, uint(1))));
    scene.refuses(&release, "1 instead of true").await?;
    scene.shows_unchanged().await
}

async fn another_length(ctx: CaseContext) -> Play {
    let names = [
        "a token of one number",
        "a token of three numbers",
        "a change of three",
    ];
    refused(ctx, &names).await
}

async fn beyond_range(ctx: CaseContext) -> Play {
    let first = refused_first(&ctx, ("h", "minor version 256"), |again, _| {
        let mut fields = hello_fields(again);
        fields[4].1 = uint(256);
        plain(kind::HELLO, &map(&fields))
    });
    first.await?;
    refused(ctx, &["2^32 threads inside"]).await
}

async fn indefinite_value(ctx: CaseContext) -> Play {
    let names = ["a name in chunks", "a token of indefinite length"];
    refused(ctx, &names).await
}

async fn unknown_choice(ctx: CaseContext) -> Play {
    refused(ctx, &["patience 2"]).await
}

async fn name_empty(ctx: CaseContext) -> Play {
    refused(ctx, &["an empty name", "an attribute without a name"]).await
}

async fn name_long(ctx: CaseContext) -> Play {
    let mut scene = Scene::set(ctx).await?;
    let name = "a name of 129 bytes";
    scene.refuses(&vector(name)?, name).await?;
    let change = array(&[bytes(&[b'a'; 129]), bytes(b"2")]);
    let release = altered(&scene.grant, |fields| fields[3].1 = array(&[change]));
    scene.refuses(&release, "an attribute of 129 bytes").await?;
    scene.shows_unchanged().await
}

async fn name_of_process(ctx: CaseContext) -> Play {
    for length in [0, 129] {
        let who = format!("h{length}");
        let why = format!("a process with a name of {length} bytes");
        refused_first(&ctx, (&who, &why), |again, _| {
            let mut fields = hello_fields(again);
            fields[1].1 = bytes(&vec![b'p'; length]);
            plain(kind::HELLO, &map(&fields))
        })
        .await?;
    }
    Ok(())
}

async fn name_twice(ctx: CaseContext) -> Play {
    let mut scene = Scene::set(ctx).await?;
    let name = "an attribute twice";
    scene.refuses(&vector(name)?, name).await?;
    let change = |value: &[u8]| array(&[bytes(b"a"), bytes(value)]);
    let delta = array(&[change(b"2"), change(b"3")]);
    let release = altered(&scene.grant, |fields| fields[3].1 = delta);
    scene.refuses(&release, "a is 2 and a is 3").await?;
    scene.shows_unchanged().await
}

async fn too_deep(ctx: CaseContext) -> Play {
    let names = ["nested 17 deep", "tags 17 deep", "nested without an end"];
    refused(ctx, &names).await
}

async fn too_many_promised(ctx: CaseContext) -> Play {
    let promise = head(4, u64::MAX);
    let in_hello = refused_first(&ctx, ("h", "2^64-1 grants"), |again, _| {
        hello(again, 0, &[(26, promise.clone())])
    });
    in_hello.await?;
    let mut scene = Scene::set(ctx).await?;
    let release = altered(&scene.grant, |fields| fields[3].1 = promise);
    scene.refuses(&release, "2^64-1 changes").await?;
    scene.shows_unchanged().await
}

async fn too_many_changes(ctx: CaseContext) -> Play {
    let max = ctx.limit("changes_max", 100_000)?;
    let mut scene = Scene::set(ctx).await?;
    // The removed attributes do not exist, so that no limit of the session is reached first.
    let removals = |count| {
        let removal = |at| array(&[bytes(format!("{at}").as_bytes()), vec![0xf6]]);
        let removals: Vec<_> = (0..count).map(removal).collect();
        array(&removals)
    };
    let release = altered(&scene.grant, |fields| fields[3].1 = removals(max + 1));
    scene.refuses(&release, "one change too many").await?;
    let commit = altered(&scene.grant, |fields| {
        fields.pop();
        fields[3].1 = removals(max);
    });
    let commit = [&commit[..5], &[kind::COMMIT], &commit[6..]].concat();
    scene
        .p
        .push(&commit, "a commit of as many as may be")
        .await?;
    let base = scene.grant.version;
    let committed = scene.p.expect("Committed", |message| match message {
        ToProcess::Committed {
            base: own, version, ..
        } if *own == base => Some(*version),
        _ => None,
    });
    scene.grant.version = committed.await?;
    scene.shows_unchanged().await
}

async fn too_many_items(ctx: CaseContext) -> Play {
    let max = ctx.limit("items_max", 150_000)?;
    let none = Token(Stamp {
        epoch: 0,
        sequence: 1,
    });
    let hold_of = |session: SessionId| {
        let token = none;
        hold(&GrantRef { session, token })
    };
    let count = max.div_ceil(2);
    let unknown = |count: usize| (0..count).map(|at| hold_of(ctx.session(&format!("{at}"))));
    let first: Vec<_> = unknown(count).collect();
    let first = array(&first);
    let parts = |again: &crate::store::ScriptedProcess, rest: usize| {
        let waits: Vec<_> = (0..rest)
            .map(|_| acquire_request(&ctx.session("w"), 1))
            .collect();
        let first = hello(again, MORE, &[(26, first.clone())]);
        [first, hello(again, 0, &[(27, array(&waits))])].concat()
    };
    let why = "one item too many in two parts";
    let refused = refused_first(&ctx, ("h", why), |again, _| parts(again, max + 1 - count));
    refused.await?;
    let mut q = ctx.silent("q").await?;
    let hello = parts(&q, max - count);
    q.push(&hello, "as many as may be").await?;
    q.welcome().await.map(drop)
}
