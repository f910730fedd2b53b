//! The cost of one acquire of Tenure while one quantity grows.

use crate::arena::{Arena, Entry, FRAMES, TENURE, arena};
use crate::contest::{Contestant, Found, Measure, Plan, hold};
use crate::document::Row;
use crate::host::Place;
use crate::party::{Cycles, Party, Work};
use crate::restart;
use anyhow::Result;
use std::cell::RefCell;
use std::collections::HashMap;
use std::collections::hash_map::Entry as Filled;

/// All rows, each with its meaning.
pub(crate) const ROWS: [(&str, &str); 4] = [
    (
        "sessions",
        "acquire of a random session while a store of this many is resident, p50",
    ),
    (
        "waiters",
        "change of the holder while this many tasks want one session",
    ),
    (
        "connections",
        "acquire over one connection while this many others are open, p50",
    ),
    ("processes", "cycles of this many client processes at once"),
];

pub(crate) fn measure(plan: &mut Plan<'_>) -> Result<Found> {
    let mut found = Found::default();
    let (arena, places) = arena(&mut found)?;
    found.guarantees.clear();
    found.missing.retain(|missing| missing.name == "cross");
    // The last place needs only one core, the first one is better.
    let place = places[0];
    found.rows.extend(sessions(plan, &arena, place));
    found.rows.extend(waiters(plan, &arena, place));
    found.rows.extend(connections(plan, &arena, place));
    found.rows.extend(processes(plan, &arena, place));
    Ok(found)
}

fn one_task(filled: u64, seconds: f64) -> Work {
    Work::Cycles(Cycles {
        filled,
        ..Cycles::of(1, 2, seconds)
    })
}

/// Runs one contestant for each value of the quantity. The smallest value is what the others are compared with.
fn curve<'a>(
    plan: &mut Plan<'_>,
    place: Place,
    measure: Measure,
    values: &[u64],
    entry: Entry,
    run: impl Fn(u64) -> Result<f64> + Copy + 'a,
) -> Vec<Row> {
    if !plan.wants(measure.row) {
        return Vec::new();
    }
    let contestants = values.iter().map(|&value| Contestant {
        name: format!("{value}"),
        ..entry.contestant(move || run(value).map(|sample| vec![sample]))
    });
    hold(plan, place.name, &[measure], contestants.collect())
}

fn sessions(plan: &mut Plan<'_>, arena: &Arena, place: Place) -> Vec<Row> {
    let values: &[u64] = plan.size(
        &[1_000, 10_000, 100_000],
        &[1_000, 10_000, 100_000, 1_000_000],
    );
    let seconds = plan.size(0.6, 1.5);
    let servers = RefCell::new(HashMap::new());
    let servers = &servers;
    curve(
        plan,
        place,
        Measure::less("sessions", "us"),
        values,
        FRAMES,
        move |filled| {
            let mut servers = servers.borrow_mut();
            let server = match servers.entry(filled) {
                Filled::Occupied(server) => server.into_mut(),
                Filled::Vacant(entry) => {
                    entry.insert(restart::filled(arena, &FRAMES, place, filled)?)
                }
            };
            let orders = restart::order(server, &FRAMES, place, one_task(filled, seconds));
            orders.run()?.value("acquire_p50_us")
        },
    )
}

fn waiters(plan: &mut Plan<'_>, arena: &Arena, place: Place) -> Vec<Row> {
    let values: &[u64] = plan.size(&[2, 8, 32], &[2, 8, 32, 128]);
    let seconds = plan.size(0.6, 1.5);
    curve(
        plan,
        place,
        Measure::less("waiters", "us"),
        values,
        FRAMES,
        move |waiters| {
            let reports = arena.pair(&FRAMES, place, |role, start_ns| Work::FlatOut {
                role,
                tasks: waiters / 2,
                start_ns,
                seconds,
            })?;
            let cycles = reports.0.value("cycles_per_s")? + reports.1.value("cycles_per_s")?;
            Ok(1e6 / cycles)
        },
    )
}

fn connections(plan: &mut Plan<'_>, arena: &Arena, place: Place) -> Vec<Row> {
    let values: &[u64] = plan.size(&[0, 100, 1_000], &[0, 100, 1_000, 8_000]);
    let seconds = plan.size(0.6, 1.5);
    curve(
        plan,
        place,
        Measure::less("connections", "us"),
        values,
        TENURE,
        move |others| {
            let idle = Work::Hold {
                connections: others,
            };
            let _idle = arena
                .orders(&FRAMES, place.clients, idle)?
                .start()?
                .ready()?;
            let orders = arena.orders(&TENURE, place.clients, one_task(0, seconds))?;
            orders.run()?.value("acquire_p50_us")
        },
    )
}

fn processes(plan: &mut Plan<'_>, arena: &Arena, place: Place) -> Vec<Row> {
    let values: &[u64] = plan.size(&[1, 2, 4, 8], &[1, 2, 4, 8, 16]);
    let seconds = plan.size(0.8, 1.5);
    curve(
        plan,
        place,
        Measure::more("processes", "cycles/s"),
        values,
        TENURE,
        move |processes| {
            let mut all = Vec::new();
            for number in 0..processes {
                let work = Work::Cycles(Cycles {
                    first: number,
                    ..Cycles::of(1, 1, seconds)
                });
                all.push(arena.orders(&TENURE, place.clients, work)?.start()?);
            }
            let reports: Result<Vec<_>> = all.into_iter().map(Party::report).collect();
            let mut sum = 0.0;
            for report in reports? {
                sum += report.value("cycles_per_s")?;
            }
            Ok(sum)
        },
    )
}
