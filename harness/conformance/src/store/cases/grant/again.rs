//! Cases about requests that are repeated, late or out of order: a grant may be sent again, and is never given twice.

use crate::end::{CaseEnd, Play, holds};
use crate::store::{CaseContext, set};
use tenure_protocol::message::Granted;
use tenure_protocol::{Request, SessionId, ToProcess, Token};

pub(super) async fn names_newest(ctx: CaseContext) -> Play {
    let s = ctx.session("s");
    let [mut p, mut q] = ctx.two().await?;
    let grant = p.acquire(&s).await?;
    let first = q.waits_for(&s).await?;
    q.say_cancel(&s, first).await?;
    q.refused(&s, first).await?;
    let second = q.waits_for(&s).await?;
    p.give_back(&grant).await?;
    q.granted(&s, second).await.map(drop)
}

pub(super) async fn sent_twice(ctx: CaseContext) -> Play {
    let s = ctx.session("s");
    let mut p = ctx.player("p").await?;
    let acquire = p.acquire_request(&s);
    p.say_acquire(&acquire).await?;
    p.say_acquire(&acquire).await?;
    let mut grant = p.granted(&s, acquire.request).await?;
    let again = p.granted(&s, acquire.request).await?;
    is_same(again.token, grant.token)?;
    p.commit(&mut grant, set([("a", Some("1"))])).await?;
    p.hears_nothing_of(&s, "both are answered").await
}

pub(super) async fn by_the_holder(ctx: CaseContext) -> Play {
    let s = ctx.session("s");
    let mut p = ctx.player("p").await?;
    let mut acquire = p.acquire_request(&s);
    let mut grant = p.grant_at_once(acquire.clone()).await?;
    let again = p.grant_at_once(acquire.clone()).await?;
    is_same(again.token, grant.token)?;
    acquire.request = p.acquire_request(&s).request;
    let again = p.grant_at_once(acquire).await?;
    is_same(again.token, grant.token)?;
    p.commit(&mut grant, set([("a", Some("1"))]))
        .await
        .map(drop)
}

pub(super) async fn crosses_grant(ctx: CaseContext) -> Play {
    let s = ctx.session("s");
    let [mut p, mut q] = ctx.two().await?;
    let grant = p.acquire(&s).await?;
    let acquire = q.acquire_request(&s);
    q.say_acquire(&acquire).await?;
    q.hears_nothing_of(&s, "another process holds the session")
        .await?;
    q.say_acquire(&acquire).await?;
    p.say_release(&grant, set([("a", Some("1"))]), None).await?;
    q.say_acquire(&acquire).await?;
    p.released(&s, grant.token).await?;
    let heard = q.settle_at(&s).await?;
    let tokens = tokens(&heard, &s, acquire.request);
    let is_one = !tokens.is_empty() && tokens.iter().all(|token| *token == tokens[0]);
    holds(is_one, "one grant, however often it is sent", &heard)
}

pub(super) async fn under_recall(ctx: CaseContext) -> Play {
    let s = ctx.session("s");
    let [mut p, mut q] = ctx.two().await?;
    let mut acquire = p.acquire_request(&s);
    let grant = p.grant_at_once(acquire.clone()).await?;
    let request = q.waits_for(&s).await?;
    p.recalled(&grant).await?;
    acquire.request = p.acquire_request(&s).request;
    p.say_acquire(&acquire).await?;
    let again = p.granted(&s, acquire.request).await?;
    is_same(again.token, grant.token)?;
    q.hears_nothing_of(&s, "another process holds the session")
        .await?;
    p.give_back(&grant).await?;
    let next = q.granted(&s, request).await?;
    q.give_back(&next).await?;
    p.hears_nothing_of(&s, "the process has released the session")
        .await
}

pub(super) async fn after_commit(ctx: CaseContext) -> Play {
    let s = ctx.session("s");
    let mut p = ctx.player("p").await?;
    let acquire = p.acquire_request(&s);
    let mut grant = p.grant_at_once(acquire.clone()).await?;
    p.commit(&mut grant, set([("a", Some("1"))])).await?;
    let again = p.grant_at_once(acquire).await?;
    is_same(again.token, grant.token)?;
    holds(
        again.version == grant.version,
        "the version of the commit",
        again.version,
    )?;
    holds(
        again.attributes == grant.attributes,
        "all that is committed",
        &again.state,
    )
}

pub(super) async fn late_while_waiting(ctx: CaseContext) -> Play {
    let s = ctx.session("s");
    let [mut p, mut q] = ctx.two().await?;
    let grant = p.acquire(&s).await?;
    let late = q.acquire_request(&s);
    let request = q.waits_for(&s).await?;
    q.say_acquire(&late).await?;
    is_not_answered(&q.settle_at(&s).await?, late.request)?;
    p.give_back(&grant).await?;
    q.granted(&s, request).await?;
    is_not_answered(&q.settle_at(&s).await?, late.request)
}

pub(super) async fn late_while_holding(ctx: CaseContext) -> Play {
    let s = ctx.session("s");
    let mut p = ctx.player("p").await?;
    let late = p.acquire_request(&s);
    let mut grant = p.acquire(&s).await?;
    p.say_acquire(&late).await?;
    let heard = p.settle_at(&s).await?;
    holds(heard.is_empty(), "no answer to a late request", &heard)?;
    p.commit(&mut grant, set([("a", Some("1"))]))
        .await
        .map(drop)
}

fn is_same(token: Token, first: Token) -> Play {
    let expected = format!("the token of the grant, {first}");
    holds(token == first, &expected, token)
}

/// Returns the tokens with which a request was granted.
fn tokens(heard: &[ToProcess], session: &SessionId, wanted: Request) -> Vec<Token> {
    let granted = heard.iter().filter_map(|message| match message {
        ToProcess::Granted(Granted {
            session: own,
            request,
            token,
            ..
        }) if own == session && *request == wanted => Some(*token),
        _ => None,
    });
    granted.collect()
}

fn is_not_answered(heard: &[ToProcess], late: Request) -> Play {
    let answers = |message: &&ToProcess| match message {
        ToProcess::Granted(Granted { request, .. })
        | ToProcess::Queued { request, .. }
        | ToProcess::Refused { request, .. } => *request == late,
        _ => false,
    };
    match heard.iter().find(answers) {
        None => Ok(()),
        Some(answer) => Err(CaseEnd::failed("no answer to a late request", answer)),
    }
}
