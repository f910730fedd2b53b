//! Cases about limits: a clear answer at each limit, none below it, and no loss of existing data.
//!
//! Since version 1.1 a store may state its limits in `Welcome`. The caller of the suite states them with `--limits`.

use super::expiry::live;
use super::wire::ends;
use crate::case::cases;
use crate::end::{CaseEnd, Play, holds};
use crate::store::{CaseContext, Grant, Heard, ScriptedProcess, set};
use std::time::Duration;
use tenure_protocol::message::{Limited, Refusal};
use tenure_protocol::{Delta, SessionId, ToProcess, ToStore};
use tenure_wire::FaultCode;
use tokio::time::{Instant, sleep};

cases! { Store:
    "limit/processes/full", Must ["limit.processes", "limit.harms-nobody"] (Limits, Alone) processes,
        "A process above the limit receives Full, and is accepted after another has left.";
    "limit/grants/held-and-waited-for", Must ["limit.grants", "limit.harms-nobody"] (Limits) grants,
        "A request above the limit of sessions is refused. Existing grants and waits of the process remain.";
    "limit/grants/within-a-hello", Must ["limit.grants"] (Limits) grants_of_hello,
        "A request in a hello above the limit of sessions is refused.";
    "limit/waiters/one-too-many", Must ["limit.waiters", "limit.harms-nobody"] (Limits) waiters,
        "A waiter above the limit is refused. Other waiters keep their places and can repeat their requests.";
    "limit/waiters/tries", Must ["limit.waiters"] (Limits) tries,
        "A try for a session with a full queue is also refused.";
    "limit/write/attributes", Must ["limit.ends-grant", "limit.until-heard", "limit.harms-nobody"] (Limits) attributes,
        "A commit with one attribute too many ends only that grant. A waiter gets the session after the holder has \
        answered.";
    "limit/write/attribute-bytes", Must ["limit.ends-grant", "limit.harms-nobody"] (Limits) attribute_bytes,
        "A release with a value one byte too long ends only that grant, without its changes.";
    "limit/write/session-bytes", Must ["limit.ends-grant", "limit.harms-nobody"] (Limits) session_bytes,
        "A commit that makes the session one byte too large ends only that grant.";
    "limit/welcome/says", Should ["limit.told-in-welcome"] (Limits) says,
        "The Welcome states the limits of the store.";
    "limit/connections/busy", Should ["limit.connections"] (Limits, Alone) connections,
        "A connection above the limit is closed with fault 5, busy, before it sends anything.";
}

/// Ends the process, and waits until the store has processed its Goodbye.
async fn leaves(mut p: ScriptedProcess) -> Play {
    p.keeps_alive = false;
    p.say(ToStore::Goodbye).await?;
    p.ask(&SessionId::from_static("nobody")).await?;
    let ended = p.expect("LeaseEnded", |message| {
        (*message == ToProcess::LeaseEnded).then_some(())
    });
    ended.await
}

/// Returns whether the store answers the process with Full.
async fn is_full(p: &mut ScriptedProcess) -> Play<bool> {
    p.hello(vec![], vec![]).await?;
    match p.hear(0).await? {
        Heard::Message(ToProcess::Welcome { lease_ms, .. }) => {
            p.lease_ms = lease_ms;
            Ok(false)
        }
        Heard::Message(ToProcess::Full) => Ok(true),
        Heard::Fault(fault) if fault.code == FaultCode::Busy => Err(CaseEnd::Skipped(
            "the store accepts fewer connections than processes".to_owned(),
        )),
        other => Err(p.failed("Welcome or Full", other)),
    }
}

/// Connects a process, waiting until leases of other cases have ended.
async fn patient(ctx: &CaseContext, name: &str) -> Play<ScriptedProcess> {
    let until = Instant::now() + ctx.target().slack();
    loop {
        let mut p = ctx.silent(name).await?;
        p.hello(vec![], vec![]).await?;
        match p.hear(0).await? {
            Heard::Message(ToProcess::Welcome { lease_ms, .. }) => {
                p.lease_ms = lease_ms;
                return Ok(p);
            }
            _ if Instant::now() < until => sleep(Duration::from_millis(50)).await,
            other => return Err(p.failed("a Welcome when others have left", other)),
        }
    }
}

async fn processes(ctx: CaseContext) -> Play {
    let max = ctx.limit("processes_max", 1_024)?;
    let mut first = patient(&ctx, "first").await?;
    // Leases of other cases end within this time. This process is then the only one.
    ctx.may_wait("a lease", first.lease_ms)?;
    let lease_ms = first.lease_ms;
    live([&mut first], lease_ms).await?;
    let mut grant = first.acquire(&ctx.session("s")).await?;
    let mut all = Vec::new();
    let mut kept = Instant::now();
    let refused = loop {
        // Other cases may have left leases, so the store is full at the limit or earlier.
        holds(
            all.len() < max,
            "Full when there are so many",
            all.len() + 1,
        )?;
        let name = format!("p{}", all.len());
        let mut p = ctx.silent(&name).await?;
        if is_full(&mut p).await? {
            ends(&mut p, "the store is full").await?;
            break p;
        }
        all.push(p);
        if kept.elapsed() > Duration::from_millis(first.lease_ms / 3) {
            kept = Instant::now();
            first.settle().await?;
            for p in &mut all {
                p.settle().await?;
            }
        }
    };
    first.commit(&mut grant, set([("a", Some("1"))])).await?;
    // A process with a lease does not count again.
    let mut first = first.again(&ctx).await?;
    let welcome = first.enter_with(vec![grant.hold()], vec![]).await?;
    holds(welcome.holds == [grant.hold()], "its grant", &welcome)?;
    if let Some(one) = all.pop() {
        leaves(one).await?;
        let mut p = refused.again(&ctx).await?;
        p.enter().await?;
        all.push(p);
    }
    all.push(first);
    for p in all {
        leaves(p).await?;
    }
    Ok(())
}

fn is_limit(limited: Limited, why: Refusal) -> Play {
    holds(
        why == Refusal::Limit(limited),
        &format!("Refused, limit {limited:?}"),
        why,
    )
}

/// Holds all but one of the allowed sessions, and waits for the last. That one comes last, because its holder is
/// recalled and has only the time of a recall to answer.
async fn fill(
    ctx: &CaseContext,
    p: &mut ScriptedProcess,
    max: usize,
) -> Play<(Vec<Grant>, ScriptedProcess)> {
    let mut grants = Vec::new();
    for at in 1..max {
        grants.push(p.acquire(&ctx.session(&format!("s{at}"))).await?);
    }
    let mut q = ctx.player("q").await?;
    let wanted = ctx.session("w");
    q.acquire(&wanted).await?;
    let request = p.ask(&wanted).await?;
    p.queued(&wanted, request).await?;
    Ok((grants, q))
}

async fn grants(ctx: CaseContext) -> Play {
    let max = ctx.limit("grants_max", 1_024)?;
    let mut p = ctx.player("p").await?;
    let (mut grants, _q) = fill(&ctx, &mut p, max).await?;
    let more = ctx.session("more");
    let request = p.ask(&more).await?;
    is_limit(Limited::Grants, p.refused(&more, request).await?)?;
    // This is not a further session, because the process already waits for it.
    let wanted = ctx.session("w");
    let request = p.ask(&wanted).await?;
    p.queued(&wanted, request).await?;
    if let Some(mut grant) = grants.pop() {
        p.commit(&mut grant, set([("a", Some("1"))])).await?;
        p.release(&grant, set([])).await?;
        p.acquire(&more).await?;
    }
    Ok(())
}

async fn grants_of_hello(ctx: CaseContext) -> Play {
    let max = ctx.limit("grants_max", 1_024)?;
    let mut p = ctx.player("p").await?;
    let (grants, _q) = fill(&ctx, &mut p, max).await?;
    let mut again = p.again(&ctx).await?;
    let all: Vec<_> = grants.iter().map(Grant::hold).collect();
    let (w, more) = (ctx.session("w"), ctx.session("more"));
    let acquires = vec![again.acquire_request(&w), again.acquire_request(&more)];
    let [waits, refused] = [acquires[0].request, acquires[1].request];
    let welcome = again.enter_with(all.clone(), acquires).await?;
    holds(welcome.holds.len() == all.len(), "all its grants", &welcome)?;
    again.queued(&w, waits).await?;
    is_limit(Limited::Grants, again.refused(&more, refused).await?)
}

async fn waiters(ctx: CaseContext) -> Play {
    let max = ctx.limit("waiters_max", 64)?;
    let [mut p, mut more] = ctx.two().await?;
    let s = ctx.session("s");
    let grant = p.acquire(&s).await?;
    let mut waiters = Vec::new();
    for at in 0..max {
        let mut own = ctx.player(&format!("w{at}")).await?;
        let acquire = own.acquire_request(&s);
        own.say(ToStore::Acquire(acquire.clone())).await?;
        let ticket = own.queued(&s, acquire.request).await?;
        waiters.push((own, acquire, ticket));
    }
    let request = more.ask(&s).await?;
    is_limit(Limited::Waiters, more.refused(&s, request).await?)?;
    for (own, acquire, ticket) in &mut waiters {
        own.say(ToStore::Acquire(acquire.clone())).await?;
        let again = own.queued(&s, acquire.request).await?;
        holds(again == *ticket, "its place, as before", again)?;
    }
    p.release(&grant, set([])).await?;
    let (first, acquire, _) = &mut waiters[0];
    first.granted(&s, acquire.request).await?;
    let request = more.ask(&s).await?;
    more.queued(&s, request).await.map(drop)
}

async fn tries(ctx: CaseContext) -> Play {
    let max = ctx.limit("waiters_max", 64)?;
    let [mut p, mut more] = ctx.two().await?;
    let s = ctx.session("s");
    p.acquire(&s).await?;
    let mut waiters = Vec::new();
    for at in 0..max {
        let mut own = ctx.player(&format!("w{at}")).await?;
        let request = own.ask(&s).await?;
        own.queued(&s, request).await?;
        waiters.push(own);
    }
    let request = more.try_for(&s).await?;
    let why = more.refused(&s, request).await?;
    // Other processes wait, so both reasons are correct.
    let is_so = [Refusal::Limit(Limited::Waiters), Refusal::WouldBlock].contains(&why);
    holds(is_so, "Refused, limit or would block", why)
}

/// Expects a commit to be refused and its grant to end once `p` answers the following recall. Other grants remain, and
/// the waiter `next` gets the session unchanged.
async fn ends_grant(
    ctx: &CaseContext,
    mut p: ScriptedProcess,
    grant: &Grant,
    delta: Delta,
) -> Play {
    let other = ctx.session("other");
    let kept = p.acquire(&other).await?;
    let mut next = ctx.player("next").await?;
    p.is_fenced(grant, delta).await?;
    let request = next.ask(&grant.session).await?;
    p.recalled(grant).await?;
    next.is_quiet("the holder may still have threads inside")
        .await?;
    let version = p.release(grant, set([])).await?;
    holds(
        version == Some(grant.version),
        "the session's former version",
        version,
    )?;
    let granted = next.granted(&grant.session, request).await?;
    let is_so = granted.attributes == grant.attributes;
    holds(is_so, "the former state", granted.attributes.len())?;
    let version = p.release(&kept, set([])).await?;
    holds(version == Some(kept.version), "the other grant", version)
}

async fn attributes(ctx: CaseContext) -> Play {
    let max = ctx.limit("attributes_max", 10_000)?;
    let mut p = ctx.player("p").await?;
    let mut grant = p.acquire(&ctx.session("s")).await?;
    let names: Vec<String> = (0..=max).map(|at| format!("a{at}")).collect();
    let all = names[..max].iter().map(|name| (&**name, Some("")));
    p.commit(&mut grant, set(all)).await?;
    // Replacing one attribute by another does not raise their number.
    let changes = [(&*names[0], None), (&*names[max], Some(""))];
    p.commit(&mut grant, set(changes)).await?;
    let more = set([(&*names[0], Some(""))]);
    ends_grant(&ctx, p, &grant, more).await
}

async fn attribute_bytes(ctx: CaseContext) -> Play {
    let max = ctx.limit("attribute_bytes_max", 2 << 20)?;
    let mut p = ctx.player("p").await?;
    let s = ctx.session("s");
    let mut grant = p.acquire(&s).await?;
    let kept = p.acquire(&ctx.session("other")).await?;
    let value = "v".repeat(max);
    p.commit(&mut grant, set([("a", Some(&*value))])).await?;
    let longer = value + "v";
    p.say_release(&grant, set([("a", Some(&*longer))]), None)
        .await?;
    let version = p.released(&s, grant.token).await?;
    holds(version.is_none(), "Released without a version", version)?;
    let next = ctx.player("next").await?.acquire(&s).await?;
    let is_so = next.attributes == grant.attributes;
    holds(is_so, "the former state", next.attributes.len())?;
    let version = p.release(&kept, set([])).await?;
    holds(version == Some(kept.version), "the other grant", version)
}

async fn session_bytes(ctx: CaseContext) -> Play {
    let max = ctx.limit("session_bytes_max", 16 << 20)?;
    let most = ctx.limit("attribute_bytes_max", 2 << 20)?;
    let mut p = ctx.player("p").await?;
    let mut grant = p.acquire(&ctx.session("s")).await?;
    // Names count too: these have 4 bytes. The last value may still become longer.
    let mut left = max;
    while left > 0 {
        let whole = left.min(4 + most - 1);
        let bytes = if (1..=4).contains(&(left - whole)) {
            whole - 4
        } else {
            whole
        };
        let name = format!("{:04}", grant.attributes.len());
        let value = "v".repeat(bytes - 4);
        p.commit(&mut grant, set([(&*name, Some(&*value))])).await?;
        left -= bytes;
    }
    let last = format!("{:04}", grant.attributes.len() - 1);
    let longer = grant.text(&last).unwrap_or_default() + "v";
    let more = set([(&*last, Some(&*longer))]);
    ends_grant(&ctx, p, &grant, more).await
}

async fn says(ctx: CaseContext) -> Play {
    let mut p = ctx.silent("p").await?;
    let welcome = p.enter_with(vec![], vec![]).await?;
    let Some(said) = welcome.limits else {
        return holds(false, "limits in the Welcome", &welcome);
    };
    for (name, said) in [
        ("grants_max", said.grants_max),
        ("waiters_max", said.waiters_max),
        ("attributes_max", said.attributes_max),
        ("attribute_bytes_max", said.attribute_bytes_max),
        ("session_bytes_max", said.session_bytes_max),
    ] {
        let given = ctx.limit(name, u64::MAX)?;
        holds(u64::try_from(given) == Ok(said), name, said)?;
    }
    Ok(())
}

async fn connections(ctx: CaseContext) -> Play {
    let max = ctx.limit("connections_max", 512)?;
    let mut first = patient(&ctx, "first").await?;
    let mut all = Vec::new();
    for at in 1..=max {
        all.push(ctx.silent(&format!("c{at}")).await?);
        if at % 32 == 0 {
            first.settle().await?; // This gives the store time to accept the connections.
        }
    }
    // Together with the first connection, these exceed the limit by at least one.
    let Some(mut last) = all.pop() else {
        return Err(CaseEnd::fault("a limit of 0"));
    };
    match last.hear(0).await? {
        Heard::Fault(fault) if fault.code == FaultCode::Busy => {}
        other => return Err(last.failed("fault 5, busy", other)),
    }
    ends(&mut last, "the fault was its last frame").await?;
    first.settle().await?;
    drop(all);
    // Wait until the store has room for the next case.
    patient(&ctx, "last").await.map(drop)
}
