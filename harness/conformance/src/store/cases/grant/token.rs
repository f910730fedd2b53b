//! Cases about tokens: each grant has a later token, whatever has happened to the session.

use crate::end::{Play, holds};
use crate::store::{CaseContext, set};
use tenure_protocol::Token;

pub(super) async fn rises(ctx: CaseContext) -> Play {
    let s = ctx.session("s");
    let [mut p, mut q] = ctx.two().await?;
    let mut last = Token::default();
    for turn in 0..3 {
        for player in [&mut p, &mut q] {
            let grant = player.acquire(&s).await?;
            is_later(grant.token, &mut last)?;
            let text = turn.to_string();
            player.release(&grant, set([("a", Some(&*text))])).await?;
        }
    }
    let grant = q.acquire(&s).await?;
    is_later(grant.token, &mut last)
}

pub(super) async fn of_unwritten(ctx: CaseContext) -> Play {
    let s = ctx.session("s");
    let [mut p, mut q] = ctx.two().await?;
    let mut last = Token::default();
    for player in [&mut p, &mut q] {
        for _ in 0..2 {
            let grant = player.acquire(&s).await?;
            is_later(grant.token, &mut last)?;
            player.give_back(&grant).await?;
        }
    }
    Ok(())
}

pub(super) async fn across_lives(ctx: CaseContext) -> Play {
    let s = ctx.session("s");
    let mut p = ctx.player("p").await?;
    let mut last = Token::default();
    for _ in 0..3 {
        let mut grant = p.acquire(&s).await?;
        is_later(grant.token, &mut last)?;
        p.commit(&mut grant, set([("a", Some("1"))])).await?;
        p.ends_session(&grant).await?;
    }
    Ok(())
}

pub(super) async fn across_restart(ctx: CaseContext) -> Play {
    let (written, unwritten) = (ctx.session("s"), ctx.session("t"));
    let mut p = ctx.player("p").await?;
    let mut grants = Vec::new();
    // After this many grants, a counter that restarts would not have come as far.
    for _ in 0..20 {
        let grant = p.acquire(&unwritten).await?;
        p.give_back(&grant).await?;
        grants.push(grant.token);
        let grant = p.acquire(&written).await?;
        p.release(&grant, set([("a", Some("1"))])).await?;
        grants.push(grant.token);
    }
    ctx.restart().await?;
    let mut again = p.again(&ctx).await?;
    again.enter().await?;
    for session in [unwritten, written] {
        let mut last = grants.iter().copied().max().unwrap_or_default();
        let grant = again.acquire(&session).await?;
        is_later(grant.token, &mut last)?;
    }
    Ok(())
}

fn is_later(token: Token, last: &mut Token) -> Play {
    let expected = format!("a token after {last}");
    holds(token > *last, &expected, token)?;
    *last = token;
    Ok(())
}
