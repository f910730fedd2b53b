//! Cases about connections: Hello comes first, and the newest connection of the newest start counts.

use crate::case::cases;
use crate::end::{CaseEnd, Play, holds};
use crate::store::{CaseContext, Heard, ScriptedProcess, set};
use tenure_protocol::message::{AcquireRequest, Commit, GrantRef, Release, WaitMode};
use tenure_protocol::{Request, SessionId, Time, ToProcess, ToStore, Token, Version};
use tenure_wire::FaultCode;

cases! { Store:
    "connect/first/other-is-refused", Must ["connect.refuses-misplaced", "connect.answers-hello"] other_first,
        "A connection whose first frame is not a Hello is closed, and receives nothing but a Fault.";
    "connect/first/acquire-has-no-effect", Must ["connect.refuses-misplaced"] acquire_first,
        "A request before the Hello is granted to no process.";
    "connect/second-hello/is-refused", Must ["connect.refuses-misplaced"] second_hello,
        "A second Hello on a connection closes it and changes nothing.";
    "connect/welcome/before-recalls", Must ["connect.answers-hello"] welcome_before_recalls,
        "A recalled holder that reconnects receives nothing before the Welcome.";
    "connect/welcome/before-grants", Must ["connect.answers-hello"] welcome_before_grants,
        "A waiter that reconnects receives nothing before the Welcome, not even a grant.";
    "connect/superseded/lower-incarnation", Must ["connect.superseded"] lower_incarnation,
        "If a process is connected, a Hello of an earlier start is answered with Superseded.";
    "connect/superseded/while-away", Must ["connect.superseded"] lower_while_away,
        "If a process has lost its connection, a Hello of an earlier start is answered with Superseded.";
    "connect/superseded/after-restart", Must ["connect.superseded"] (Restart) lower_after_restart,
        "A restarted store knows the incarnation of a holder.";
    "connect/incarnation/ends-grants", Must ["connect.new-incarnation"] reborn_ends_grants,
        "After a restart of a process, its earlier grants have ended, even if its Hello lists them.";
    "connect/incarnation/ends-waits", Must ["connect.new-incarnation", "lease.ends"] reborn_ends_waits,
        "After a restart of a process, its earlier waits have ended.";
    "connect/incarnation/after-restart", Must ["connect.new-incarnation"] (Restart) reborn_after_restart,
        "If a process is restarted while the store is down, its earlier grants have ended.";
    "connect/late-hello/is-not-welcome", Must ["connect.late-hello"] late_hello,
        "A Hello with a lower link number than that of the process's connection changes nothing.";
    "connect/late-hello/same-number", Must ["connect.late-hello"] same_number,
        "A Hello with the link number of the process's connection changes nothing.";
    "connect/late-hello/after-a-loss", Must ["connect.late-hello"] late_after_loss,
        "A Hello with a lower link number is not answered with Welcome, even after the newer connection was lost.";
    "connect/old-connection/release-is-ignored", Must ["connect.old-connection"] old_release,
        "A Release on a replaced connection neither writes nor ends the grant.";
    "connect/old-connection/cancel-is-ignored", Must ["connect.old-connection"] old_cancel,
        "A Cancel on a replaced connection ends no wait.";
    "connect/old-connection/goodbye-is-ignored", Must ["connect.old-connection"] old_goodbye,
        "A Goodbye on a replaced connection does not end the lease.";
    "connect/old-connection/its-end-means-nothing", Must ["connect.old-connection"] old_ends,
        "If a replaced connection ends, its process still counts as connected.";
    "connect/silent/is-closed", Should ["connect.silent-before-hello"] silent,
        "A connection on which nothing arrives is closed with the fault silent.";
    "connect/silent/half-a-hello", Should ["connect.silent-before-hello"] half_a_hello,
        "A connection on which half a Hello arrives is closed with the fault silent.";
    "connect/replaced/is-closed", Should ["connect.closes-replaced"] replaced,
        "A replaced connection is closed.";
    "connect/hello/each-newer-is-answered", Must ["connect.answers-hello"] each_newer,
        "Each Hello with a greater link number is answered with Welcome, regardless of the earlier ones.";
    "connect/hello/after-goodbye", Must ["connect.answers-hello"] after_goodbye,
        "A process can reconnect after its Goodbye.";
    "connect/superseded/old-is-told", Must ["connect.new-incarnation"] old_is_told,
        "When a process is restarted, the connection of its earlier start receives Superseded and is closed.";
}

async fn other_first(ctx: CaseContext) -> Play {
    let s = ctx.session("s");
    let (session, token, base) = (s.clone(), Token::default(), Version::NONE);
    let delta = set([("a", Some("1"))]);
    let others = [
        ToStore::KeepAlive { sent: Time(1) },
        ToStore::Acquire(acquire_request(&s, Request(1))),
        ToStore::Cancel {
            session: session.clone(),
            request: Request(1),
        },
        ToStore::Commit(Commit {
            session: session.clone(),
            token,
            base,
            delta: delta.clone(),
        }),
        ToStore::Release(Release {
            session: session.clone(),
            token,
            base,
            delta,
            requeue: Some(Request(1)),
            idle_ms: 0,
        }),
        ToStore::Busy {
            session: session.clone(),
            token,
            inside: 1,
            blocked_on: Vec::new(),
        },
        ToStore::Destroy {
            session: session.clone(),
            token,
        },
        ToStore::Rename {
            session,
            token,
            to: ctx.session("t"),
        },
        ToStore::Goodbye,
    ];
    for other in others {
        let mut p = ctx.silent("p").await?;
        p.say(other).await?;
        p.only_closed("Hello has to come first").await?;
    }
    Ok(())
}

async fn acquire_first(ctx: CaseContext) -> Play {
    let s = ctx.session("s");
    let mut p = ctx.silent("p").await?;
    p.ask(&s).await?;
    // Nothing but the refusal follows.
    p.hello(Vec::new(), Vec::new()).await?;
    p.only_closed("Hello has to come first").await?;
    let mut q = ctx.player("q").await?;
    q.acquire_at_once(&s).await.map(drop)
}

async fn second_hello(ctx: CaseContext) -> Play {
    let mut p = ctx.player("p").await?;
    let grant = p.acquire(&ctx.session("s")).await?;
    // Neither the next number nor the connection's own is accepted.
    p.link.number = 2;
    p.hello(Vec::new(), Vec::new()).await?;
    p.only_closed("a Hello was already sent").await?;
    let mut again = p.another(&ctx, 1, 2).await?;
    is_known(&mut again, &[grant.hold()]).await?;
    again.hello(Vec::new(), Vec::new()).await?;
    again.only_closed("this Hello was already sent").await?;
    let mut third = again.again(&ctx).await?;
    is_known(&mut third, &[grant.hold()]).await
}

async fn welcome_before_recalls(ctx: CaseContext) -> Play {
    let s = ctx.session("s");
    let [mut p, mut q] = ctx.two().await?;
    let grant = p.acquire(&s).await?;
    let mut again = p.again(&ctx).await?;
    q.waits_for(&s).await?;
    p.recalled(&grant).await?;
    again.hello(vec![grant.hold()], Vec::new()).await?;
    welcome_is_next(&mut again).await?;
    again.recalled(&grant).await.map(drop)
}

async fn welcome_before_grants(ctx: CaseContext) -> Play {
    let s = ctx.session("s");
    let [mut p, mut q] = ctx.two().await?;
    let grant = p.acquire(&s).await?;
    let request = q.waits_for(&s).await?;
    let mut again = q.again(&ctx).await?;
    p.give_back(&grant).await?;
    let lost = q.granted(&s, request).await?;
    again
        .hello(Vec::new(), vec![acquire_request(&s, request)])
        .await?;
    welcome_is_next(&mut again).await?;
    let grant = again.granted(&s, request).await?;
    holds(grant.token >= lost.token, "no older grant", grant.token)
}

async fn lower_incarnation(ctx: CaseContext) -> Play {
    let mut new = ScriptedProcess::connect(&ctx, "p", 2, 1).await?;
    new.enter().await?;
    let mut grant = new.acquire(&ctx.session("s")).await?;
    // A greater link number does not compensate for the lower incarnation.
    let mut old = new.another(&ctx, 1, 9).await?;
    is_superseded(&mut old).await?;
    new.commit(&mut grant, set([("a", Some("1"))]))
        .await
        .map(drop)
}

async fn lower_while_away(ctx: CaseContext) -> Play {
    let mut new = ScriptedProcess::connect(&ctx, "p", 2, 1).await?;
    new.enter().await?;
    let grant = new.acquire(&ctx.session("s")).await?;
    let mut old = new.another(&ctx, 1, 9).await?;
    let mut again = new.again(&ctx).await?;
    new.cut();
    is_superseded(&mut old).await?;
    is_known(&mut again, &[grant.hold()]).await
}

async fn lower_after_restart(ctx: CaseContext) -> Play {
    let mut new = ScriptedProcess::connect(&ctx, "p", 2, 1).await?;
    new.enter().await?;
    let grant = new.acquire(&ctx.session("s")).await?;
    ctx.restart().await?;
    let mut old = new.another(&ctx, 1, 9).await?;
    is_superseded(&mut old).await?;
    let mut again = new.again(&ctx).await?;
    is_known(&mut again, &[grant.hold()]).await
}

async fn reborn_ends_grants(ctx: CaseContext) -> Play {
    let s = ctx.session("s");
    let [mut p, mut q] = ctx.two().await?;
    let grant = p.acquire(&s).await?;
    let mut reborn = p.reborn(&ctx).await?;
    is_known_of(&mut reborn, vec![grant.hold()], &[]).await?;
    let next = q.acquire_at_once(&s).await?;
    holds(next.token > grant.token, "a later token", next.token)?;
    reborn.is_fenced(&grant, set([("a", Some("1"))])).await
}

async fn reborn_ends_waits(ctx: CaseContext) -> Play {
    let s = ctx.session("s");
    let [mut p, mut q, mut r] = ctx.three().await?;
    let grant = r.acquire(&s).await?;
    p.waits_for(&s).await?;
    let request = q.waits_for(&s).await?;
    let mut reborn = p.reborn(&ctx).await?;
    reborn.enter().await?;
    r.give_back(&grant).await?;
    q.granted(&s, request).await?;
    reborn
        .hears_nothing_of(&s, "the process has not sent a request")
        .await
}

async fn reborn_after_restart(ctx: CaseContext) -> Play {
    let s = ctx.session("s");
    let [mut p, q] = ctx.two().await?;
    let grant = p.acquire(&s).await?;
    ctx.restart().await?;
    let mut reborn = p.reborn(&ctx).await?;
    is_known_of(&mut reborn, vec![grant.hold()], &[]).await?;
    let mut q = q.again(&ctx).await?;
    q.enter().await?;
    let next = q.acquire_at_once(&s).await?;
    holds(next.token > grant.token, "a later token", next.token)
}

async fn late_hello(ctx: CaseContext) -> Play {
    changes_nothing(ctx, 3).await
}

async fn same_number(ctx: CaseContext) -> Play {
    changes_nothing(ctx, 5).await
}

/// Sends a Hello with that link number and no grants while the process is connected with number 5, and expects no
/// effect.
async fn changes_nothing(ctx: CaseContext, number: u64) -> Play {
    let mut p = ScriptedProcess::connect(&ctx, "p", 1, 5).await?;
    p.enter().await?;
    let mut grant = p.acquire(&ctx.session("s")).await?;
    let late = p.another(&ctx, 1, number).await?;
    is_not_welcome(late).await?;
    p.commit(&mut grant, set([("a", Some("1"))]))
        .await
        .map(drop)
}

async fn late_after_loss(ctx: CaseContext) -> Play {
    let mut p = ScriptedProcess::connect(&ctx, "p", 1, 5).await?;
    p.enter().await?;
    let grant = p.acquire(&ctx.session("s")).await?;
    let late = p.another(&ctx, 1, 3).await?;
    let mut again = p.again(&ctx).await?;
    p.last_words().await?;
    is_not_welcome(late).await?;
    is_known(&mut again, &[grant.hold()]).await
}

async fn old_release(ctx: CaseContext) -> Play {
    let s = ctx.session("s");
    let [mut old, mut q] = ctx.two().await?;
    let mut grant = old.acquire(&s).await?;
    let mut p = old.again(&ctx).await?;
    is_known(&mut p, &[grant.hold()]).await?;
    old.say_commit(&grant, set([("late", Some("1"))])).await?;
    old.say_release(&grant, set([("late", Some("2"))]), None)
        .await?;
    old.last_words().await?;
    p.commit(&mut grant, set([("a", Some("1"))])).await?;
    p.give_back(&grant).await?;
    let next = q.acquire(&s).await?;
    holds(
        next.attributes == grant.attributes,
        "what the new connection wrote",
        &next.attributes,
    )
}

async fn old_cancel(ctx: CaseContext) -> Play {
    let s = ctx.session("s");
    let [mut old, mut q] = ctx.two().await?;
    let grant = q.acquire(&s).await?;
    let request = old.waits_for(&s).await?;
    let mut p = old.again(&ctx).await?;
    p.enter_with(Vec::new(), vec![acquire_request(&s, request)])
        .await?;
    old.say_cancel(&s, request).await?;
    old.last_words().await?;
    q.give_back(&grant).await?;
    p.granted(&s, request).await.map(drop)
}

async fn old_goodbye(ctx: CaseContext) -> Play {
    let mut old = ctx.player("p").await?;
    let mut grant = old.acquire(&ctx.session("s")).await?;
    let mut p = old.again(&ctx).await?;
    is_known(&mut p, &[grant.hold()]).await?;
    old.say(ToStore::Goodbye).await?;
    old.last_words().await?;
    p.commit(&mut grant, set([("a", Some("1"))]))
        .await
        .map(drop)
}

async fn old_ends(ctx: CaseContext) -> Play {
    let s = ctx.session("s");
    let [mut old, mut q] = ctx.two().await?;
    let grant = old.acquire(&s).await?;
    let mut p = old.again(&ctx).await?;
    is_known(&mut p, &[grant.hold()]).await?;
    old.last_words().await?;
    // If the process did not count as connected, a try would be refused.
    let request = q.try_for(&s).await?;
    p.recalled(&grant).await?;
    p.give_back(&grant).await?;
    q.granted(&s, request).await.map(drop)
}

async fn silent(ctx: CaseContext) -> Play {
    let mut p = ctx.silent("p").await?;
    is_closed_as_silent(&mut p, ctx.target().wait_max_ms).await
}

async fn half_a_hello(ctx: CaseContext) -> Play {
    let mut p = ctx.silent("p").await?;
    // A header that announces a body, and a part of that body.
    let half = [0, 0, 0, 40, 0x10, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0xa5];
    p.push(&half, "half a Hello").await?;
    is_closed_as_silent(&mut p, ctx.target().wait_max_ms).await
}

/// A store does not state how long it waits for a Hello. A wait longer than `most_ms` counts as never closing.
async fn is_closed_as_silent(p: &mut ScriptedProcess, most_ms: u64) -> Play {
    let expected = format!("the fault silent within {most_ms} ms (--wait-max-ms)");
    match p.hear(most_ms).await? {
        Heard::Fault(fault) if fault.code == FaultCode::Silent => {}
        other => return Err(p.failed(&expected, other)),
    }
    p.only_closed("no Hello was sent").await.map(drop)
}

async fn replaced(ctx: CaseContext) -> Play {
    let mut old = ctx.player("p").await?;
    let mut p = old.again(&ctx).await?;
    p.enter().await?;
    old.keeps_alive = false;
    old.thrown_out("the connection was replaced")
        .await
        .map(drop)
}

async fn each_newer(ctx: CaseContext) -> Play {
    let mut p = ctx.player("p").await?;
    let grant = p.acquire(&ctx.session("s")).await?;
    let mut olds = vec![p];
    for number in [2, 3, 70, 1 << 40] {
        let last = olds.last().expect("the first one");
        let mut p = last.another(&ctx, 1, number).await?;
        is_known(&mut p, &[grant.hold()]).await?;
        olds.push(p);
    }
    let last = olds.pop().expect("the last one");
    let mut again = last.again(&ctx).await?;
    last.cut();
    is_known(&mut again, &[grant.hold()]).await
}

async fn after_goodbye(ctx: CaseContext) -> Play {
    let s = ctx.session("s");
    let mut p = ctx.player("p").await?;
    let grant = p.acquire(&s).await?;
    p.give_back(&grant).await?;
    p.say(ToStore::Goodbye).await?;
    let mut again = p.again(&ctx).await?;
    p.last_words().await?;
    is_known(&mut again, &[]).await?;
    let next = again.acquire_at_once(&s).await?;
    holds(next.token > grant.token, "a later token", next.token)
}

async fn old_is_told(ctx: CaseContext) -> Play {
    let mut old = ctx.player("p").await?;
    let mut reborn = old.reborn(&ctx).await?;
    reborn.enter().await?;
    old.keeps_alive = false;
    old.expect("Superseded", |message| {
        (*message == ToProcess::Superseded).then_some(())
    })
    .await?;
    old.only_closed("the process is superseded").await.map(drop)
}

// ---- what they share ------------------------------------------------------------------------------------------------

fn acquire_request(session: &SessionId, request: Request) -> AcquireRequest {
    AcquireRequest {
        session: session.clone(),
        request,
        known: None,
        wait_mode: WaitMode::Wait,
        ticket: None,
        existing: false,
    }
}

/// Sends a Hello with these grants, all of which the store must know.
async fn is_known(p: &mut ScriptedProcess, grants: &[GrantRef]) -> Play {
    is_known_of(p, grants.to_vec(), grants).await
}

/// Sends a Hello with the grants `named`, of which the store must know exactly those in `known`.
async fn is_known_of(p: &mut ScriptedProcess, named: Vec<GrantRef>, known: &[GrantRef]) -> Play {
    let welcome = p.enter_with(named, Vec::new()).await?;
    let expected = format!("a Welcome that knows {known:?}");
    holds(welcome.holds == known, &expected, &welcome.holds)
}

async fn welcome_is_next(p: &mut ScriptedProcess) -> Play {
    match p.next("a Welcome first").await? {
        ToProcess::Welcome { lease_ms, .. } => {
            p.lease_ms = lease_ms;
            Ok(())
        }
        other => Err(p.failed("a Welcome first", other)),
    }
}

/// Sends a Hello, and expects Superseded and the end of the connection.
async fn is_superseded(old: &mut ScriptedProcess) -> Play {
    old.hello(Vec::new(), Vec::new()).await?;
    match old.next("Superseded").await? {
        ToProcess::Superseded => {}
        other => return Err(old.failed("Superseded", other)),
    }
    old.only_closed("the process is superseded").await.map(drop)
}

/// Sends a Hello, and expects any answer other than a Welcome.
async fn is_not_welcome(mut late: ScriptedProcess) -> Play {
    late.hello(Vec::new(), Vec::new()).await?;
    let heard = late.last_words().await?;
    let is_welcome = |message: &ToProcess| matches!(message, ToProcess::Welcome { .. });
    match heard.iter().find(|message| is_welcome(message)) {
        None => Ok(()),
        Some(welcome) => Err(CaseEnd::failed(
            "no Welcome: the process has had a newer connection",
            welcome,
        )),
    }
}
