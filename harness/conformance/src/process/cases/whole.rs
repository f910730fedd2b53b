//! Cases with whole histories, a correct store and a failing network: no change is lost or applied twice.

use crate::case::cases;
use crate::end::{CaseEnd, Play, holds};
use crate::hex::unhex;
use crate::process::adapter::{Adapter, name};
use crate::process::behaved::Behaved;
use crate::process::context::CaseContext;
use serde_json::{Value, json};

/// The number of increments per thread.
const ROUNDS: u64 = 8;
/// The number of threads per process.
const THREADS: u64 = 3;
/// The longest duration of a history in milliseconds, beside the slack.
const TAKES_MS: u64 = 20_000;

cases! { Process:
    "process/whole/count/one-process", Must ["thread.sees-state", "release.whole", "thread.ends-once"] one_process,
        "If threads of one process increment a counter in a session of a correct store, no increment is lost.";
    "process/whole/count/two-processes",
        Must ["thread.sees-state", "release.whole", "gate.requeues", "recall.obeyed"] two_processes,
        "If threads of two processes increment a counter in one session, no increment is lost.";
    "process/whole/count/lost-connections", Must ["reconnect.repeats", "connect.again"] lost_connections,
        "No increment is lost, at whatever point connections break.";
}

async fn one_process(ctx: CaseContext) -> Play {
    count(ctx, 1, 0).await
}

async fn two_processes(ctx: CaseContext) -> Play {
    count(ctx, 2, 0).await
}

async fn lost_connections(ctx: CaseContext) -> Play {
    count(ctx, 2, 30).await
}

async fn count(ctx: CaseContext, processes: u64, cuts: u32) -> Play {
    let store = Behaved::start(&ctx, cuts).await?;
    let mut p = connected(&ctx, &store, "p").await?;
    // The second process stays until the end, because an early end would lose its unreleased changes.
    let mut q = match processes {
        2 => Some(connected(&ctx, &store, "q").await?),
        _ => None,
    };
    match &mut q {
        Some(q) => drop(tokio::try_join!(work(&mut p), work(q))?),
        None => work(&mut p).await?,
    }
    let (id, total) = locked(&mut p, 99).await?;
    ok(&mut p, "unlock", json!({"lock": id})).await?;
    let expected = processes * THREADS * ROUNDS;
    holds(total == expected, &format!("a count of {expected}"), total)
}

async fn connected(ctx: &CaseContext, store: &Behaved, who: &str) -> Play<Adapter> {
    let mut adapter = ctx.adapter(who).await?;
    let connect = json!({
        "store": store.address.to_string(), "process": who, "incarnation": 7, "settings": {},
    });
    ok(&mut adapter, "connect", connect).await?;
    Ok(adapter)
}

async fn ok(
    adapter: &mut Adapter,
    what: &'static str,
    with: Value,
) -> Play<serde_json::Map<String, Value>> {
    let id = adapter.begin(what, with).await?;
    let answer = adapter.answer_after(id, TAKES_MS).await?;
    answer.map_err(|refused| CaseEnd::failed(format!("`{what}` is done"), refused))
}

fn lock_of(thread: u64) -> Value {
    json!({
        "thread": thread, "session": name("counter"), "attributes": [name("n")], "try": false,
        "wait_ms": 120_000,
    })
}

/// Locks the counter. Returns the number of the lock, and the count.
async fn locked(adapter: &mut Adapter, thread: u64) -> Play<(u64, u64)> {
    let id = adapter.begin("lock", lock_of(thread)).await?;
    Ok((id, counted(adapter, id).await?))
}

async fn counted(adapter: &mut Adapter, id: u64) -> Play<u64> {
    let answer = adapter.answer_after(id, TAKES_MS).await?;
    let granted = answer.map_err(|refused| CaseEnd::failed("a lock", refused))?;
    let value = granted
        .get("values")
        .and_then(|values| values.get(name("n").as_str()?));
    let Some(value) = value.and_then(Value::as_str) else {
        return Ok(0);
    };
    let text = unhex(value).and_then(|bytes| String::from_utf8(bytes).ok());
    let count = text.and_then(|text| text.parse().ok());
    count.ok_or_else(|| CaseEnd::failed("a count", value))
}

/// Makes all threads of a process lock at once and count one after another.
async fn work(adapter: &mut Adapter) -> Play {
    for round in 0..ROUNDS {
        let mut asked = Vec::new();
        for thread in 1..=THREADS {
            asked.push(adapter.begin("lock", lock_of(thread)).await?);
        }
        for id in asked {
            let next = counted(adapter, id).await? + 1;
            let with = json!({"lock": id, "attribute": name("n"), "value": name(next.to_string())});
            ok(adapter, "write", with).await?;
            if round % 3 == 0 {
                ok(adapter, "commit", json!({"lock": id})).await?;
            }
            ok(adapter, "unlock", json!({"lock": id})).await?;
        }
    }
    Ok(())
}
