//! Two processes that want one session.

use super::cycles::{Counted, WARM_UP, clients, joined, once, scattered};
use super::{Report, Turn};
use crate::client::{Client, FLAT_OUT, HOT, TURNS, Target, value};
use crate::host;
use crate::statistics::Latencies;
use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The length of a turn in [`Work::Turns`](super::Work::Turns).
const TURN_NS: u64 = 8_000_000;
async fn until(at_ns: u64) {
    let left = at_ns.saturating_sub(host::now_ns());
    tokio::time::sleep(Duration::from_nanos(left)).await;
}

/// The two processes need no channel: a round has a fixed place in time. In its first quarter the waiting process asks,
/// and in its middle the holder releases. A late process makes a round late, and nothing else.
pub(super) async fn take_turns<C: Client>(
    target: &Target,
    role: u64,
    rounds: u64,
    start_ns: u64,
) -> Result<Report> {
    let client = C::connect(target).await?;
    let mut held = None;
    if role == 0 {
        until(start_ns).await;
        held = Some(client.acquire(TURNS).await?);
    }
    let mut turns = Vec::new();
    for round in 0..rounds {
        let begin = start_ns + (round + 1) * TURN_NS;
        if round % 2 == role {
            let (lock, _) = held.take().context("this process holds the lock")?;
            let jitter = scattered(role, round) % (TURN_NS / 4);
            until(begin + TURN_NS / 2 + jitter).await;
            let value = value(role);
            let at_ns = host::now_ns();
            client.release(TURNS, lock, value).await?;
            turns.push(Turn::Released { round, at_ns });
        } else {
            until(begin + TURN_NS / 8).await;
            let asked_ns = host::now_ns();
            held = Some(client.acquire(TURNS).await?);
            let at_ns = host::now_ns();
            turns.push(Turn::Acquired {
                round,
                asked_ns,
                at_ns,
            });
        }
    }
    if let Some((lock, _)) = held {
        client.release(TURNS, lock, value(role)).await?;
    }
    client.close().await?;
    Ok(Report {
        values: BTreeMap::new(),
        turns,
    })
}

pub(super) async fn flat_out<C: Client>(
    target: &Target,
    (role, tasks): (u64, u64),
    (start_ns, seconds): (u64, f64),
) -> Result<Report> {
    let session = if tasks == 1 { FLAT_OUT } else { HOT };
    let own = clients::<C>(target, tasks, true).await?;
    until(start_ns).await;
    let start = Instant::now();
    let end = Duration::from_secs_f64(seconds);
    let warm = end.mul_f64(WARM_UP);
    let mut running = Vec::new();
    for client in own {
        running.push(tokio::spawn(async move {
            let mut counted = Counted::new();
            while start.elapsed() < end {
                let is_warm = start.elapsed() >= warm;
                let counts = is_warm.then_some(&mut counted);
                once(&client, session, role, counts).await?;
            }
            Ok((counted, vec![client]))
        }));
    }
    let counted = joined(running).await?;
    let seconds = (end - warm).as_secs_f64();
    Ok(Report::of([
        ("cycles_per_s", counted.cycle.len() as f64 / seconds),
        ("switches_per_s", counted.switches as f64 / seconds),
        ("longest_ms", counted.acquire.longest_ms()),
    ]))
}

/// Combines what the two processes of [`Work::Turns`](super::Work::Turns) saw: the time from a release to the grant
/// that waited for it.
pub(crate) fn handoffs(one: &Report, other: &Report) -> Result<Latencies> {
    /// A waiter that asked this late may not have slept yet.
    const AWAKE_NS: u64 = 500_000;
    let mut released = BTreeMap::new();
    for turn in one.turns.iter().chain(&other.turns) {
        if let Turn::Released { round, at_ns } = *turn {
            released.insert(round, at_ns);
        }
    }
    let (mut latencies, mut rounds) = (Latencies::new(), 0);
    for turn in one.turns.iter().chain(&other.turns) {
        let Turn::Acquired {
            round,
            asked_ns,
            at_ns,
        } = *turn
        else {
            continue;
        };
        rounds += 1;
        let release = released.get(&round).copied();
        let release = release.with_context(|| format!("nobody released round {round}"))?;
        ensure!(
            at_ns >= release,
            "two processes held the lock in round {round}"
        );
        if asked_ns + AWAKE_NS <= release {
            latencies.record_ns(at_ns - release);
        }
    }
    ensure!(
        latencies.len() * 2 > rounds,
        "in most rounds the waiter came late: this machine has no core for the clients"
    );
    Ok(latencies)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Recipe;
    use crate::party::{Orders, Work, run};

    fn turns(turns: Vec<Turn>) -> Report {
        Report {
            values: BTreeMap::new(),
            turns,
        }
    }

    #[test]
    fn a_handoff_lasts_from_the_release_to_the_grant() {
        let ms = 1_000_000;
        let one = turns(vec![
            Turn::Released {
                round: 0,
                at_ns: 4 * ms,
            },
            Turn::Acquired {
                round: 1,
                asked_ns: 9 * ms,
                at_ns: 13 * ms,
            },
        ]);
        let other = turns(vec![
            Turn::Acquired {
                round: 0,
                asked_ns: ms,
                at_ns: 5 * ms,
            },
            Turn::Released {
                round: 1,
                at_ns: 12 * ms,
            },
        ]);
        let latencies = handoffs(&one, &other).expect("two handoffs");
        assert_eq!(latencies.len(), 2);
        let p50 = latencies.quantile_us(0.5);
        assert!((999.0..1_001.0).contains(&p50), "{p50}");
    }

    #[test]
    fn two_holders_and_late_waiters_are_errors() {
        let held = turns(vec![Turn::Released {
            round: 0,
            at_ns: 4_000_000,
        }]);
        let waited = |asked_ns, at_ns| {
            turns(vec![Turn::Acquired {
                round: 0,
                asked_ns,
                at_ns,
            }])
        };
        assert!(handoffs(&held, &waited(1_000_000, 3_999_999)).is_err());
        assert!(handoffs(&held, &waited(3_900_000, 5_000_000)).is_err());
        assert!(handoffs(&turns(vec![]), &waited(0, 1)).is_err());
        assert!(handoffs(&held, &waited(1_000_000, 5_000_000)).is_ok());
    }

    #[test]
    fn orders_survive_json() {
        let orders = Orders {
            core: 1,
            target: Target {
                address: "127.0.0.1:7".to_owned(),
                recipe: Recipe::RedisQueue,
            },
            work: Work::Connect { count: 3, pid: 7 },
        };
        let json = serde_json::to_string(&orders).expect("JSON");
        let read: Orders = serde_json::from_str(&json).expect("orders");
        assert_eq!(format!("{read:?}"), format!("{orders:?}"));
        assert!(run("{}").is_err());
    }
}
