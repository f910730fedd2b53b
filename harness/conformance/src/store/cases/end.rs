//! Cases about requests: each ends exactly once, whatever crosses on the wire.

use crate::case::cases;
use crate::end::{CaseEnd, Play, holds};
use crate::store::{CaseContext, set};
use std::collections::BTreeMap;
use tenure_protocol::message::{Granted, Refusal};
use tenure_protocol::{Request, SessionId, ToProcess, Token};

cases! { Store:
    "end/once/cancel-races-grant", Must ["end.once", "end.cancelled"] cancel_races_grant,
        "If a cancel races with a grant, the request is either granted or refused, and never both.";
    "end/once/repeat-races-release", Must ["end.once", "grant.same-again"] repeat_races_release,
        "A waiter that repeats its request many times while it is granted gets one grant.";
    "end/once/cancelled-is-never-granted", Must ["end.once", "end.cancelled"] cancelled_is_never_granted,
        "A request that was refused as cancelled is not granted later.";
    "end/cancel/waiting", Must ["end.cancelled"] cancel_waiting,
        "A Cancel of a waiting request is answered with Refused, cancelled.";
    "end/cancel/unknown", Must ["end.cancelled"] cancel_unknown,
        "A Cancel of an unknown request is answered with Refused, cancelled.";
    "end/cancel/twice", Must ["end.cancelled"] cancel_twice,
        "Two Cancels of the same request are both answered.";
    "end/cancel/crossed", Must ["end.cancel-crossed"] cancel_crossed,
        "A Cancel of a request that was granted at once is answered with the grant, which stays.";
    "end/cancel/crossed-after-waiting", Must ["end.cancel-crossed"] crossed_after_waiting,
        "A Cancel of a request that was granted after a wait is answered with the grant, which stays.";
    "end/cancel/crossed-under-recall", Must ["end.cancel-crossed"] crossed_under_recall,
        "A Cancel of a request whose grant is recalled is answered with the grant, which stays.";
    "end/cancel/older-than-the-wait", Must ["end.cancelled"] older_than_wait,
        "A Cancel of an earlier request does not affect the current wait.";
    "end/cancel/of-another-process", Must ["end.cancelled", "end.answered"] of_another_process,
        "A Cancel does not affect another process's wait with the same request number.";
    "end/cancel/of-another-session", Must ["end.answered"] of_another_session,
        "A Cancel does not affect waits for other sessions.";
    "end/answered/many", Must ["end.answered", "end.once"] many,
        "Each of many requests is granted exactly once.";
    "end/answered/after-refused", Must ["end.answered"] after_refused,
        "A session can be requested again after the previous request was refused.";
}

async fn cancel_races_grant(ctx: CaseContext) -> Play {
    const TURNS: usize = 12;
    let [mut p, mut q] = ctx.two().await?;
    let mut chance = ctx.chance();
    for turn in 0..TURNS {
        let s = ctx.session(&turn.to_string());
        let grant = p.acquire(&s).await?;
        let request = q.waits_for(&s).await?;
        if chance.bool() {
            q.say_cancel(&s, request).await?;
            p.give_back(&grant).await?;
        } else {
            p.say_release(&grant, <_>::default(), None).await?;
            q.say_cancel(&s, request).await?;
            p.released(&s, grant.token).await?;
        }
        let heard = q.settle_at(&s).await?;
        if ends(&heard, &s, request)?.is_none() {
            p.acquire_at_once(&s).await?;
        }
    }
    Ok(())
}

async fn repeat_races_release(ctx: CaseContext) -> Play {
    const TIMES: usize = 8;
    let s = ctx.session("s");
    let [mut p, mut q] = ctx.two().await?;
    let grant = p.acquire(&s).await?;
    let acquire = q.acquire_request(&s);
    let repeats = async {
        for _ in 0..TIMES {
            q.say_acquire(&acquire).await?;
            tokio::task::yield_now().await;
        }
        Ok::<(), CaseEnd>(())
    };
    let (repeated, released) = tokio::join!(repeats, p.give_back(&grant));
    repeated.and(released)?;
    let heard = q.settle_at(&s).await?;
    let token = ends(&heard, &s, acquire.request)?;
    holds(token.is_some(), "Granted", &heard)
}

async fn cancelled_is_never_granted(ctx: CaseContext) -> Play {
    let s = ctx.session("s");
    let [mut p, mut q, mut r] = ctx.three().await?;
    let grant = p.acquire(&s).await?;
    let request = q.waits_for(&s).await?;
    q.say_cancel(&s, request).await?;
    is_cancelled(q.refused(&s, request).await?)?;
    p.give_back(&grant).await?;
    q.hears_nothing_of(&s, "its request was refused").await?;
    r.acquire_at_once(&s).await.map(drop)
}

async fn cancel_waiting(ctx: CaseContext) -> Play {
    let s = ctx.session("s");
    let [mut p, mut q] = ctx.two().await?;
    p.acquire(&s).await?;
    let request = q.waits_for(&s).await?;
    q.say_cancel(&s, request).await?;
    is_cancelled(q.refused(&s, request).await?)?;
    // Repeat it when the store may not even have received the wait.
    let request = q.ask(&s).await?;
    q.say_cancel(&s, request).await?;
    is_cancelled(q.refused(&s, request).await?)
}

async fn cancel_unknown(ctx: CaseContext) -> Play {
    let (s, t) = (ctx.session("s"), ctx.session("t"));
    let [mut p, mut q] = ctx.two().await?;
    let never = q.acquire_request(&s).request;
    // The requests are for an unknown session, for one that another process holds, and for one that was released.
    q.say_cancel(&s, never).await?;
    is_cancelled(q.refused(&s, never).await?)?;
    let mut grant = p.acquire(&s).await?;
    q.say_cancel(&s, never).await?;
    is_cancelled(q.refused(&s, never).await?)?;
    let own = q.acquire(&t).await?;
    q.give_back(&own).await?;
    q.say_cancel(&t, own.request).await?;
    is_cancelled(q.refused(&t, own.request).await?)?;
    p.commit(&mut grant, set([("a", Some("1"))]))
        .await
        .map(drop)
}

async fn cancel_twice(ctx: CaseContext) -> Play {
    let s = ctx.session("s");
    let [mut p, mut q] = ctx.two().await?;
    p.acquire(&s).await?;
    let request = q.waits_for(&s).await?;
    q.say_cancel(&s, request).await?;
    q.say_cancel(&s, request).await?;
    is_cancelled(q.refused(&s, request).await?)?;
    is_cancelled(q.refused(&s, request).await?)
}

async fn cancel_crossed(ctx: CaseContext) -> Play {
    let s = ctx.session("s");
    let [mut p, mut q] = ctx.two().await?;
    let request = p.ask(&s).await?;
    p.say_cancel(&s, request).await?;
    let mut grant = p.granted(&s, request).await?;
    let again = p.granted(&s, request).await?;
    is_same(again.token, grant.token)?;
    let waits = q.waits_for(&s).await?;
    p.commit(&mut grant, set([("a", Some("1"))])).await?;
    p.give_back(&grant).await?;
    q.granted(&s, waits).await.map(drop)
}

async fn crossed_after_waiting(ctx: CaseContext) -> Play {
    let s = ctx.session("s");
    let [mut p, mut q] = ctx.two().await?;
    let first = p.acquire(&s).await?;
    let request = q.waits_for(&s).await?;
    p.release(&first, set([("a", Some("1"))])).await?;
    q.say_cancel(&s, request).await?;
    let mut grant = q.granted(&s, request).await?;
    let again = q.granted(&s, request).await?;
    is_same(again.token, grant.token)?;
    holds(
        again.version == grant.version && again.attributes == grant.attributes,
        "the same state again",
        &again,
    )?;
    q.commit(&mut grant, set([("b", Some("2"))]))
        .await
        .map(drop)
}

async fn crossed_under_recall(ctx: CaseContext) -> Play {
    let s = ctx.session("s");
    let [mut p, mut q] = ctx.two().await?;
    let grant = p.acquire(&s).await?;
    let request = q.waits_for(&s).await?;
    p.recalled(&grant).await?;
    p.say_cancel(&s, grant.request).await?;
    let again = p.granted(&s, grant.request).await?;
    is_same(again.token, grant.token)?;
    q.hears_nothing_of(&s, "another process holds the session")
        .await?;
    p.release(&grant, set([("a", Some("1"))])).await?;
    let next = q.granted(&s, request).await?;
    let is_written = next.text("a").as_deref() == Some("1");
    holds(
        is_written,
        "the changes that the holder released",
        &next.attributes,
    )
}

async fn older_than_wait(ctx: CaseContext) -> Play {
    let s = ctx.session("s");
    let [mut p, mut q] = ctx.two().await?;
    let grant = p.acquire(&s).await?;
    let older = q.waits_for(&s).await?;
    q.say_cancel(&s, older).await?;
    is_cancelled(q.refused(&s, older).await?)?;
    let request = q.waits_for(&s).await?;
    // Repeat the same cancel, late.
    q.say_cancel(&s, older).await?;
    is_cancelled(q.refused(&s, older).await?)?;
    q.hears_nothing_of(&s, "the process waits by a later request")
        .await?;
    p.give_back(&grant).await?;
    let grant = q.granted(&s, request).await?;
    q.say_cancel(&s, older).await?;
    is_cancelled(q.refused(&s, older).await?)?;
    q.give_back(&grant).await
}

async fn of_another_process(ctx: CaseContext) -> Play {
    let s = ctx.session("s");
    let [mut p, mut q, mut r] = ctx.three().await?;
    let grant = p.acquire(&s).await?;
    let request = q.waits_for(&s).await?;
    r.say_cancel(&s, request).await?;
    r.say_cancel(&s, grant.request).await?;
    r.settle_at(&s).await?;
    q.hears_nothing_of(&s, "it waits").await?;
    p.give_back(&grant).await?;
    q.granted(&s, request).await.map(drop)
}

async fn of_another_session(ctx: CaseContext) -> Play {
    let (s, t) = (ctx.session("s"), ctx.session("t"));
    let [mut p, mut q] = ctx.two().await?;
    let first = p.acquire(&s).await?;
    let second = p.acquire(&t).await?;
    let wanted = q.waits_for(&s).await?;
    let cancelled = q.waits_for(&t).await?;
    q.say_cancel(&t, cancelled).await?;
    q.refused(&t, cancelled).await?;
    p.give_back(&first).await?;
    p.give_back(&second).await?;
    let grant = q.granted(&s, wanted).await?;
    q.give_back(&grant).await
}

async fn many(ctx: CaseContext) -> Play {
    const SESSIONS: usize = 12;
    let [mut p, mut q] = ctx.two().await?;
    let mut sessions: Vec<SessionId> = (0..SESSIONS)
        .map(|number| ctx.session(&number.to_string()))
        .collect();
    // Half of the sessions are free. The others are released in another order than they are requested.
    let mut held = Vec::new();
    for session in &sessions[SESSIONS / 2..] {
        held.push(p.acquire(session).await?);
    }
    ctx.chance().shuffle(&mut sessions);
    let mut open = BTreeMap::new();
    for session in &sessions {
        open.insert(q.ask(session).await?, session.clone());
    }
    for grant in &held {
        p.give_back(grant).await?;
    }
    let mut last = BTreeMap::new();
    for session in &sessions {
        for message in q.settle_at(session).await? {
            if let ToProcess::Granted(Granted { request, token, .. }) = message {
                let is_first = last.insert(request, token).is_none();
                holds(is_first, "one grant for each request", request)?;
                open.remove(&request);
            }
        }
    }
    holds(open.is_empty(), "a grant for each request", &open)
}

async fn after_refused(ctx: CaseContext) -> Play {
    let s = ctx.session("s");
    let [mut p, mut q] = ctx.two().await?;
    let grant = p.acquire(&s).await?;
    for _ in 0..2 {
        let request = q.waits_for(&s).await?;
        q.say_cancel(&s, request).await?;
        q.refused(&s, request).await?;
    }
    let request = q.waits_for(&s).await?;
    p.give_back(&grant).await?;
    q.granted(&s, request).await.map(drop)
}

// ---- what they share ------------------------------------------------------------------------------------------------

/// Returns how a request has ended: by a grant with that token, or by a refusal (`None`). Fails if it has not ended, or
/// both ways.
fn ends(heard: &[ToProcess], session: &SessionId, wanted: Request) -> Play<Option<Token>> {
    let mut ends: Vec<Option<Token>> = heard
        .iter()
        .filter_map(|message| match message {
            ToProcess::Granted(Granted {
                session: own,
                request,
                token,
                ..
            }) if own == session && *request == wanted => Some(Some(*token)),
            ToProcess::Refused {
                session: own,
                request,
                ..
            } if own == session && *request == wanted => Some(None),
            _ => None,
        })
        .collect();
    // A grant may be sent again.
    ends.dedup();
    match ends[..] {
        [end] => Ok(end),
        _ => Err(CaseEnd::failed(
            format!("one end of {wanted:?} for {session}"),
            heard,
        )),
    }
}

fn is_cancelled(why: Refusal) -> Play {
    holds(why == Refusal::Cancelled, "Refused, cancelled", why)
}

fn is_same(token: Token, first: Token) -> Play {
    let expected = format!("the token of the grant, {first}");
    holds(token == first, &expected, token)
}
