//! Tenure, Redis and PostgreSQL at the same work.

use crate::arena::{
    Arena, COMMITS, DURABLE, Entry, FRAMES, KEEPS, POSTGRES, POSTGRES_SYNC, REDIS, REDIS_ALWAYS,
    REDIS_POLLS, REDIS_QUEUE, REDIS_SECOND, TENURE, arena, held,
};
use crate::contest::{Found, Measure, Plan};
use crate::document::Row;
use crate::host::Place;
use crate::party::{self, Cycles, Work};
use crate::restart;
use anyhow::Result;

/// All rows, each with its meaning.
pub(crate) const ROWS: [(&str, &str); 17] = [
    (
        "acquire",
        "lock a session that another process wrote, and read its 2 KiB, p50",
    ),
    (
        "cycle",
        "acquire, write 2 KiB, release, p50; Tenure does not await the release",
    ),
    ("tasks-64", "cycles of 64 tasks over one connection"),
    (
        "connections-64",
        "cycles of 64 connections; Tenure without its library's threads",
    ),
    ("tail-64", "cycle of one of 64 connections, p99.9"),
    (
        "handoff",
        "from a release to the grant in another, sleeping process, p50",
    ),
    (
        "handoff-p99",
        "from a release to the grant in another, sleeping process, p99",
    ),
    (
        "switches",
        "two processes want one session all the time: changes of the holder",
    ),
    (
        "hot",
        "8 tasks in each of two processes want one session: cycles",
    ),
    (
        "hot-longest",
        "8 tasks in each of two processes want one session: longest wait",
    ),
    (
        "durable-1",
        "cycle of one client, durable, p50; Tenure does not await the release",
    ),
    ("durable-64", "cycles of 64 tasks, durable"),
    (
        "restart-first",
        "from the start after a crash to the first grant",
    ),
    (
        "restart-spread",
        "from the start after a crash until 1,000 sessions spread over all were granted",
    ),
    (
        "session-bytes",
        "memory of the server for one session of 2 KiB",
    ),
    (
        "connection-bytes",
        "memory of the server for one idle connection",
    ),
    (
        "connects",
        "new connections of one client, each with one answer",
    ),
];

pub(crate) fn measure(plan: &mut Plan<'_>) -> Result<Found> {
    let mut found = Found::default();
    let (arena, places) = arena(&mut found)?;
    for place in &places {
        found.rows.extend(one_client(plan, &arena, *place));
        found.rows.extend(many(plan, &arena, *place));
        found.rows.extend(two_processes(plan, &arena, *place));
        found.rows.extend(durable(plan, &arena, *place));
    }
    // Throughput with all programs on one core would measure mostly the clients.
    if let Some(place) = places.iter().find(|place| place.name == "cross") {
        found.rows.extend(restart::measure(plan, &arena, *place));
    } else {
        found.rows.extend(restart::measure(plan, &arena, places[0]));
    }
    let order = |row: &Row| ROWS.iter().position(|(name, _)| *name == row.name);
    found.rows.sort_by_key(order);
    Ok(found)
}

fn one_client(plan: &mut Plan<'_>, arena: &Arena, place: Place) -> Vec<Row> {
    let measures = [Measure::less("acquire", "us"), Measure::less("cycle", "us")];
    let entries = [TENURE, FRAMES, REDIS, REDIS_SECOND, POSTGRES];
    let seconds = plan.size(0.6, 1.5);
    held(plan, arena, place, &measures, &entries, move |entry| {
        let cycles = Cycles::of(1, 2, seconds);
        let report = arena.cycles(entry, place, cycles)?;
        Ok(vec![
            report.value("acquire_p50_us")?,
            report.value("cycle_p50_us")?,
        ])
    })
}

fn many(plan: &mut Plan<'_>, arena: &Arena, place: Place) -> Vec<Row> {
    let seconds = plan.size(0.6, 1.5);
    let cycles = move |connections| Cycles::of(64, connections, seconds);
    let measures = [Measure::more("tasks-64", "cycles/s")];
    let entries = [TENURE, REDIS, REDIS_SECOND, POSTGRES];
    let mut rows = held(plan, arena, place, &measures, &entries, move |entry| {
        let report = arena.cycles(entry, place, cycles(0))?;
        Ok(vec![report.value("cycles_per_s")?])
    });
    let measures = [
        Measure::more("connections-64", "cycles/s"),
        Measure::less("tail-64", "us"),
    ];
    let entries = [FRAMES, TENURE, REDIS, REDIS_SECOND, POSTGRES];
    rows.extend(held(
        plan,
        arena,
        place,
        &measures,
        &entries,
        move |entry| {
            let report = arena.cycles(entry, place, cycles(1))?;
            Ok(vec![
                report.value("cycles_per_s")?,
                report.value("cycle_p999_us")?,
            ])
        },
    ));
    rows
}

fn two_processes(plan: &mut Plan<'_>, arena: &Arena, place: Place) -> Vec<Row> {
    let measures = [
        Measure::less("handoff", "us"),
        Measure::less("handoff-p99", "us"),
    ];
    let rounds = plan.size(80, 400);
    let waits = [TENURE, REDIS_QUEUE, POSTGRES];
    let mut rows = held(plan, arena, place, &measures, &waits, move |entry| {
        let (one, other) = arena.pair(entry, place, |role, start_ns| Work::Turns {
            role,
            rounds,
            start_ns,
        })?;
        let latencies = party::handoffs(&one, &other)?;
        Ok(vec![
            latencies.quantile_us(0.5),
            latencies.quantile_us(0.99),
        ])
    });
    let seconds = plan.size(0.6, 2.0);
    let flat_out = move |entry: &Entry, tasks: u64| {
        arena.pair(entry, place, |role, start_ns| Work::FlatOut {
            role,
            tasks,
            start_ns,
            seconds,
        })
    };
    let measures = [Measure::more("switches", "1/s")];
    rows.extend(held(plan, arena, place, &measures, &waits, move |entry| {
        let (one, other) = flat_out(entry, 1)?;
        Ok(vec![
            one.value("switches_per_s")? + other.value("switches_per_s")?,
        ])
    }));
    let measures = [
        Measure::more("hot", "cycles/s"),
        Measure::less("hot-longest", "ms"),
    ];
    let entries = [KEEPS, REDIS_POLLS, REDIS_QUEUE, POSTGRES];
    rows.extend(held(
        plan,
        arena,
        place,
        &measures,
        &entries,
        move |entry| {
            let (one, other) = flat_out(entry, 8)?;
            let cycles = one.value("cycles_per_s")? + other.value("cycles_per_s")?;
            let longest = one.value("longest_ms")?.max(other.value("longest_ms")?);
            Ok(vec![cycles, longest])
        },
    ));
    rows
}

fn durable(plan: &mut Plan<'_>, arena: &Arena, place: Place) -> Vec<Row> {
    let entries = [DURABLE, COMMITS, REDIS_ALWAYS, POSTGRES_SYNC];
    let seconds = plan.size(0.6, 2.0);
    let measures = [Measure::less("durable-1", "us")];
    let mut rows = held(plan, arena, place, &measures, &entries, move |entry| {
        let cycles = Cycles::of(1, 2, seconds);
        let report = arena.cycles(entry, place, cycles)?;
        Ok(vec![report.value("cycle_p50_us")?])
    });
    let measures = [Measure::more("durable-64", "cycles/s")];
    rows.extend(held(
        plan,
        arena,
        place,
        &measures,
        &entries,
        move |entry| {
            let cycles = Cycles::of(64, 0, seconds);
            let report = arena.cycles(entry, place, cycles)?;
            Ok(vec![report.value("cycles_per_s")?])
        },
    ));
    rows
}
