//! Cases about reconnects: the grants and requests that a process lists, and the store's response.

use crate::case::cases;
use crate::end::{Play, holds};
use crate::store::{CaseContext, acquire_request, is_state, set};
use tenure_protocol::Ticket;
use tenure_protocol::message::GrantRef;

cases! { Store:
    "reconnect/known/exactly-the-current", Must ["reconnect.known", "reconnect.ended"] exactly_the_current,
        "A Welcome lists exactly the grants that the process holds.";
    "reconnect/known/restart", Must ["reconnect.known", "lease.restart"] (Restart) known_after_restart,
        "After a restart of the store, a Welcome lists exactly the grants that the process holds.";
    "reconnect/ended/destroyed", Must ["reconnect.ended"] destroyed,
        "A Welcome reports that a session was destroyed.";
    "reconnect/ended/renamed", Must ["reconnect.ended"] renamed,
        "A Welcome reports the new grant of a renamed session.";
    "reconnect/ended/restart", Must ["reconnect.ended", "commit.durable"] (Restart) ended_after_restart,
        "A Welcome also reports destroyed and renamed sessions after a restart of the store.";
    "reconnect/ended/exists-again", Must ["reconnect.ended", "reconnect.known"] exists_again,
        "A destroyed session that another process has recreated is listed neither as known nor as ended.";
    "reconnect/waits/not-named", Must ["reconnect.dropped-wait"] not_named,
        "A wait that the Hello does not list is dropped and delays no other waiter.";
    "reconnect/waits/named-keeps-its-place", Must ["reconnect.waits", "lease.frees-nothing"] named_keeps_its_place,
        "A wait that the Hello lists keeps its place.";
    "reconnect/waits/new-wish-of-a-free-session", Must ["reconnect.waits"] new_wish_free,
        "A request in a Hello for a free session is granted after the Welcome.";
    "reconnect/waits/new-wish-of-a-held-session", Must ["reconnect.waits", "recall.asks"] new_wish_held,
        "A request in a Hello for a held session causes a recall and is granted in turn.";
    "reconnect/waits/restart", Must ["reconnect.waits", "queue.presented"] (Restart) order_after_restart,
        "Waiters keep their order over a restart of the store, in whichever order they reconnect.";
    "reconnect/both/wish-is-left-out", Must ["reconnect.not-both"] wish_is_left_out,
        "A request for a session that the process holds is not queued: it delays no other waiter and is not granted.";
    "reconnect/both/release-brings-it", Must ["reconnect.not-both", "release.requeued"] release_brings_it,
        "A request listed beside a known grant is granted when the release repeats it.";
    "reconnect/unclaimed/passed-on", Must ["reconnect.unclaimed", "queue.passes-by"] passed_on,
        "A grant that the Hello does not list goes to the next waiter.";
    "reconnect/unclaimed/is-free", Must ["reconnect.unclaimed", "reconnect.no-token-twice"] is_free,
        "A grant that the Hello does not list has ended: its token is fenced and never granted again.";
    "reconnect/unclaimed/later-request", Must ["reconnect.no-token-twice", "reconnect.waits"] later_request,
        "A process that forgot a grant and sends a later request gets another token.";
    "reconnect/untold/told-again", Must ["reconnect.untold"] told_again,
        "A grant whose message was not received is sent again when the Hello lists its request.";
    "reconnect/untold/while-away", Must ["reconnect.untold", "lease.frees-nothing"] while_away,
        "A grant whose message was lost with the connection is sent when the next Hello lists its request.";
    "reconnect/untold/restart", Must ["reconnect.untold", "reconnect.no-token-twice"] (Restart) untold_after_restart,
        "After a restart of the store, a grant that the Hello requests but does not list is sent again with a later \
        token.";
}

async fn exactly_the_current(ctx: CaseContext) -> Play {
    let [mut p, mut q] = ctx.two().await?;
    let mine = p.acquire(&ctx.session("mine")).await?;
    let other = q.acquire(&ctx.session("other")).await?;
    let old = p.acquire(&ctx.session("old")).await?;
    p.release(&old, set([("a", Some("1"))])).await?;
    let again = p.acquire(&old.session).await?;
    let given = p.acquire(&ctx.session("given")).await?;
    p.release(&given, set([("a", Some("1"))])).await?;
    // The hello lists neither token of the second to last grant correctly, so that grant ends.
    let claims = [&other, &mine, &old, &given].map(|grant| grant.hold());
    let (mut p, welcome) = p.back(&ctx, claims.into(), Vec::new()).await?;
    holds(welcome.holds == [mine.hold()], "the one grant", &welcome)?;
    holds(welcome.gone.is_empty(), "no ended session", &welcome)?;
    p.still_has(mine, &[]).await?;
    q.still_has(other, &[]).await?;
    let next = q.acquire_free(&again.session).await?;
    holds(next.token > again.token, "a later token", next.token)
}

async fn known_after_restart(ctx: CaseContext) -> Play {
    let [mut p, mut q] = ctx.two().await?;
    let mine = p.acquire(&ctx.session("mine")).await?;
    let other = q.acquire(&ctx.session("other")).await?;
    let given = p.acquire(&ctx.session("given")).await?;
    p.release(&given, set([("a", Some("1"))])).await?;
    ctx.restart().await?;
    let claims = [&mine, &other, &given].map(|grant| grant.hold());
    let (mut p, welcome) = p.back(&ctx, claims.into(), Vec::new()).await?;
    holds(welcome.holds == [mine.hold()], "the one grant", &welcome)?;
    let mut q = q.back_with(&ctx, &other).await?;
    q.still_has(other, &[]).await?;
    p.still_has(mine, &[]).await
}

async fn destroyed(ctx: CaseContext) -> Play {
    let mut p = ctx.player("p").await?;
    let mut grant = p.acquire(&ctx.session("s")).await?;
    p.commit(&mut grant, set([("a", Some("1"))])).await?;
    p.say_destroy(&grant).await?;
    p.gone(&grant).await?;
    // Continue as if that had not been received.
    let (_, welcome) = p.back(&ctx, vec![grant.hold()], Vec::new()).await?;
    let expected = [(grant.hold(), None)];
    holds(welcome.holds.is_empty(), "no known grant", &welcome)?;
    holds(welcome.gone == expected, "the session as ended", &welcome)
}

async fn renamed(ctx: CaseContext) -> Play {
    let mut p = ctx.player("p").await?;
    let mut grant = p.acquire(&ctx.session("s")).await?;
    p.commit(&mut grant, set([("a", Some("1"))])).await?;
    p.say_rename(&grant, &ctx.session("to")).await?;
    let now = p.gone(&grant).await?;
    // Continue as if that had not been received.
    let (mut p, welcome) = p.back(&ctx, vec![grant.hold()], Vec::new()).await?;
    let expected = [(grant.hold(), now.clone())];
    holds(
        now.is_some() && welcome.gone == expected,
        "the grant now",
        &welcome,
    )?;
    if let Some(GrantRef { session, token }) = now {
        (grant.session, grant.token) = (session, token);
    }
    p.still_has(grant, &[("a", "1")]).await
}

async fn ended_after_restart(ctx: CaseContext) -> Play {
    let mut p = ctx.player("p").await?;
    let mut old = p.acquire(&ctx.session("s")).await?;
    let mut ended = p.acquire(&ctx.session("t")).await?;
    for grant in [&mut old, &mut ended] {
        p.commit(grant, set([("a", Some("1"))])).await?;
    }
    p.say_rename(&old, &ctx.session("to")).await?;
    let now = p.gone(&old).await?;
    p.say_destroy(&ended).await?;
    p.gone(&ended).await?;
    ctx.restart().await?;
    let claims = vec![old.hold(), ended.hold()];
    let (_, mut welcome) = p.back(&ctx, claims, Vec::new()).await?;
    welcome.gone.sort_by_key(|(hold, _)| hold.token);
    let expected = [(old.hold(), now), (ended.hold(), None)];
    holds(welcome.holds.is_empty(), "no known grant", &welcome)?;
    holds(welcome.gone == expected, "what both are now", &welcome)
}

async fn exists_again(ctx: CaseContext) -> Play {
    let [mut p, mut q] = ctx.two().await?;
    let mut grant = p.acquire(&ctx.session("s")).await?;
    p.commit(&mut grant, set([("a", Some("1"))])).await?;
    p.say_destroy(&grant).await?;
    p.gone(&grant).await?;
    let next = q.acquire(&grant.session).await?;
    let (_, welcome) = p.back(&ctx, vec![grant.hold()], Vec::new()).await?;
    let is_listed = !welcome.holds.is_empty() || !welcome.gone.is_empty();
    holds(!is_listed, "neither known nor ended", &welcome)?;
    q.still_has(next, &[]).await
}

async fn not_named(ctx: CaseContext) -> Play {
    let [mut p, mut q, mut r] = ctx.three().await?;
    let s = ctx.session("s");
    let grant = q.acquire(&s).await?;
    p.ask(&s).await?;
    q.recalled(&grant).await?;
    let request = r.ask(&s).await?;
    r.settle().await?;
    let (mut p, _) = p.back(&ctx, Vec::new(), Vec::new()).await?;
    q.release(&grant, set([])).await?;
    let next = r.granted(&s, request).await?;
    r.is_not_recalled(&next).await?;
    r.release(&next, set([])).await?;
    p.is_quiet("the process no longer waits").await
}

async fn named_keeps_its_place(ctx: CaseContext) -> Play {
    let [mut p, mut q, mut r] = ctx.three().await?;
    let s = ctx.session("s");
    let grant = q.acquire(&s).await?;
    let first = p.ask(&s).await?;
    let ticket = p.queued(&s, first).await?;
    let second = r.ask(&s).await?;
    r.settle().await?;
    let again = vec![acquire_request(&s, first, Some(ticket))];
    let (mut p, _) = p.back(&ctx, Vec::new(), again).await?;
    p.is_quiet("another process holds the session").await?;
    q.release(&grant, set([])).await?;
    let next = p.granted(&s, first).await?;
    r.is_quiet("another process waits before it").await?;
    p.release(&next, set([])).await?;
    r.granted(&s, second).await.map(drop)
}

async fn new_wish_free(ctx: CaseContext) -> Play {
    let mut p = ctx.silent("p").await?;
    let own = p.acquire_request(&ctx.session("s"));
    p.enter_with(Vec::new(), vec![own.clone()]).await?;
    p.granted(&own.session, own.request).await.map(drop)
}

async fn new_wish_held(ctx: CaseContext) -> Play {
    let mut q = ctx.player("q").await?;
    let grant = q.acquire(&ctx.session("s")).await?;
    let mut p = ctx.silent("p").await?;
    let own = p.acquire_request(&grant.session);
    p.enter_with(Vec::new(), vec![own.clone()]).await?;
    q.recalled_for_good(&grant).await?;
    q.release(&grant, set([("a", Some("1"))])).await?;
    is_state(&p.granted(&own.session, own.request).await?, &[("a", "1")])
}

async fn order_after_restart(ctx: CaseContext) -> Play {
    let [mut p, mut q, mut r] = ctx.three().await?;
    let s = ctx.session("s");
    let grant = p.acquire(&s).await?;
    let first = q.ask(&s).await?;
    let ticket: Ticket = q.queued(&s, first).await?;
    let own = acquire_request(&s, first, Some(ticket));
    let second = r.ask(&s).await?;
    let ticket = r.queued(&s, second).await?;
    let later = acquire_request(&s, second, Some(ticket));
    ctx.restart().await?;
    let mut p = p.back_with(&ctx, &grant).await?;
    let (mut r, _) = r.back(&ctx, Vec::new(), vec![later]).await?;
    p.recalled_for_good(&grant).await?;
    let (mut q, _) = q.back(&ctx, Vec::new(), vec![own]).await?;
    q.settle().await?;
    p.release(&grant, set([("a", Some("1"))])).await?;
    let next = q.granted(&s, first).await?;
    r.is_quiet("another process waits before it").await?;
    q.release(&next, set([])).await?;
    is_state(&r.granted(&s, second).await?, &[("a", "1")])
}

async fn wish_is_left_out(ctx: CaseContext) -> Play {
    let [mut p, mut q] = ctx.two().await?;
    let grant = p.acquire(&ctx.session("s")).await?;
    let own = p.acquire_request(&grant.session);
    let (mut p, welcome) = p.back(&ctx, vec![grant.hold()], vec![own]).await?;
    holds(welcome.holds == [grant.hold()], "a known grant", &welcome)?;
    p.is_quiet("the request waits for the release").await?;
    p.is_not_recalled(&grant).await?;
    p.release(&grant, set([])).await?;
    p.is_quiet("its release did not ask again").await?;
    q.acquire_free(&grant.session).await.map(drop)
}

async fn release_brings_it(ctx: CaseContext) -> Play {
    let [mut p, mut q] = ctx.two().await?;
    let grant = p.acquire(&ctx.session("s")).await?;
    let waits = q.ask(&grant.session).await?;
    p.recalled(&grant).await?;
    // The process has released and requested again, and the message was lost with the connection.
    let own = p.acquire_request(&grant.session);
    let (claims, request) = (vec![grant.hold()], own.request);
    let (mut p, _) = p.back(&ctx, claims, vec![own]).await?;
    p.say_release(&grant, set([("a", Some("1"))]), Some(request))
        .await?;
    p.released(&grant.session, grant.token).await?;
    let next = q.granted(&grant.session, waits).await?;
    q.release(&next, set([])).await?;
    let base = [("a", "1")];
    let again = p.granted_again(&grant.session, request, &base).await?;
    is_state(&again, &base)
}

async fn passed_on(ctx: CaseContext) -> Play {
    let [mut p, mut q] = ctx.two().await?;
    let mut grant = p.acquire(&ctx.session("s")).await?;
    p.commit(&mut grant, set([("a", Some("1"))])).await?;
    let request = q.ask(&grant.session).await?;
    p.recalled(&grant).await?;
    let (_, welcome) = p.back(&ctx, Vec::new(), Vec::new()).await?;
    holds(welcome.holds.is_empty(), "no known grant", &welcome)?;
    let next = q.granted(&grant.session, request).await?;
    q.is_not_recalled(&next).await?;
    q.still_has(next, &[("a", "1")]).await
}

async fn is_free(ctx: CaseContext) -> Play {
    let mut p = ctx.player("p").await?;
    let grant = p.acquire(&ctx.session("s")).await?;
    let (mut p, _) = p.back(&ctx, Vec::new(), Vec::new()).await?;
    p.say_commit(&grant, set([("a", Some("1"))])).await?;
    p.fenced(&grant.session, grant.token).await?;
    let again = p.acquire(&grant.session).await?;
    holds(again.token > grant.token, "a later token", again.token)?;
    p.still_has(again, &[]).await
}

async fn later_request(ctx: CaseContext) -> Play {
    let mut p = ctx.player("p").await?;
    let grant = p.acquire(&ctx.session("s")).await?;
    let own = p.acquire_request(&grant.session);
    let (mut p, _) = p.back(&ctx, Vec::new(), vec![own.clone()]).await?;
    let again = p.granted(&own.session, own.request).await?;
    holds(again.token > grant.token, "a later token", again.token)?;
    p.still_has(again, &[]).await
}

async fn told_again(ctx: CaseContext) -> Play {
    let mut p = ctx.player("p").await?;
    let s = ctx.session("s");
    let written = p.acquire(&s).await?;
    p.release(&written, set([("a", Some("1"))])).await?;
    let grant = p.acquire(&s).await?;
    // Continue as if that had not been received.
    let again = vec![acquire_request(&s, grant.request, None)];
    let (mut p, welcome) = p.back(&ctx, Vec::new(), again).await?;
    holds(welcome.holds.is_empty(), "no known grant", &welcome)?;
    let again = p.granted(&s, grant.request).await?;
    holds(again.token >= grant.token, "no earlier token", again.token)?;
    is_state(&again, &[("a", "1")])?;
    p.still_has(again, &[("a", "1")]).await
}

async fn while_away(ctx: CaseContext) -> Play {
    let [mut p, mut q, mut r] = ctx.three().await?;
    let s = ctx.session("s");
    let grant = q.acquire(&s).await?;
    let request = p.ask(&s).await?;
    q.recalled(&grant).await?;
    q.release(&grant, set([("a", Some("1"))])).await?;
    r.ask(&s).await?;
    r.is_quiet("the first waiter is granted the session")
        .await?;
    // The process has not read its grant.
    let mut back = p.again(&ctx).await?;
    p.cut();
    let again = vec![acquire_request(&s, request, None)];
    back.enter_with(Vec::new(), again).await?;
    let next = back.granted(&s, request).await?;
    is_state(&next, &[("a", "1")])?;
    back.due(&next).await.map(drop)
}

async fn untold_after_restart(ctx: CaseContext) -> Play {
    let mut p = ctx.player("p").await?;
    let grant = p.acquire(&ctx.session("s")).await?;
    let own = p.acquire_request(&grant.session);
    ctx.restart().await?;
    let (mut p, welcome) = p.back(&ctx, Vec::new(), vec![own.clone()]).await?;
    holds(welcome.holds.is_empty(), "no known grant", &welcome)?;
    let again = p.granted(&own.session, own.request).await?;
    holds(again.token > grant.token, "a later token", again.token)?;
    p.say_commit(&grant, set([("a", Some("old"))])).await?;
    p.fenced(&grant.session, grant.token).await?;
    p.still_has(again, &[]).await
}
