//! A restart after a crash, and the memory of sessions and connections.

use crate::arena::{Arena, Entry, FRAMES, POSTGRES, REDIS, TENURE, held};
use crate::client::Target;
use crate::contest::{Measure, Plan, hold};
use crate::document::Row;
use crate::fleet::{Server, Store};
use crate::host::{self, Place};
use crate::party::{Orders, Report, Work};
use anyhow::{Context, Result};
use std::cell::RefCell;
use std::collections::HashMap;
use std::thread;
use std::time::Duration;

/// Keeps all sessions in the memory of the store.
const RESIDENT: [&str; 4] = ["--memory-sessions-max", "3000000", "--evict-ms", "3600000"];

pub(crate) fn measure(plan: &mut Plan<'_>, arena: &Arena, place: Place) -> Vec<Row> {
    let mut rows = restarts(plan, arena, place);
    rows.extend(sessions(plan, arena, place));
    rows.extend(connections(plan, arena, place));
    rows
}

pub(crate) fn order(server: &Server, entry: &Entry, place: Place, work: Work) -> Orders {
    Orders {
        core: place.clients,
        target: Target {
            address: server.address.to_string(),
            recipe: entry.recipe,
        },
        work,
    }
}

/// Starts a store of its own.
fn start(arena: &Arena, store: Store) -> Result<Server> {
    let more: &[&str] = match store {
        Store::TenureBuffered | Store::TenureDurable => &RESIDENT,
        Store::Redis(_) | Store::Postgres => &[],
    };
    arena.fleet.borrow_mut().start(store, more)
}

/// Fills a store. Of Tenure, by frames: the library would measure its own threads.
fn fill(server: &Server, entry: &Entry, place: Place, sessions: u64) -> Result<()> {
    let by_frames = entry.store == Store::TenureBuffered;
    let filler = if by_frames { &FRAMES } else { entry };
    let connections = if by_frames { 32 } else { 1 };
    let work = Work::Fill {
        sessions,
        connections,
    };
    let filled = order(server, filler, place, work).run();
    filled.map(drop).context("cannot fill the store")
}

/// Starts a store of its own and fills it.
pub(crate) fn filled(arena: &Arena, entry: &Entry, place: Place, sessions: u64) -> Result<Server> {
    let server = start(arena, entry.store)?;
    fill(&server, entry, place, sessions)?;
    Ok(server)
}

fn restarts(plan: &mut Plan<'_>, arena: &Arena, place: Place) -> Vec<Row> {
    let measures = [
        Measure::less("restart-first", "ms"),
        Measure::less("restart-spread", "ms"),
    ];
    if !plan.wants_any(&measures) {
        return Vec::new();
    }
    let sessions = 100_000;
    let servers: RefCell<HashMap<&str, Server>> = RefCell::default();
    let crashed = |entry: &Entry| -> Result<Report> {
        let mut servers = servers.borrow_mut();
        if !servers.contains_key(entry.name) {
            let server = filled(arena, entry, place, sessions)?;
            // What the operating system still holds back would be written during the first restart.
            thread::sleep(Duration::from_secs(2));
            servers.insert(entry.name, server);
        }
        let server = servers.get_mut(entry.name);
        let server = server.context("the line above has inserted it")?;
        server.crash()?;
        let start_ns = host::now_ns();
        server.restart()?;
        let work = Work::Restart { sessions, start_ns };
        let report = order(server, entry, place, work).run();
        server.runs()?;
        report
    };
    let entries = [TENURE, REDIS, POSTGRES].into_iter();
    let entries = entries.filter(|entry| arena.has(entry));
    let contestants = entries.map(|entry| {
        let crashed = &crashed;
        entry.contestant(move || {
            let report = crashed(&entry)?;
            Ok(vec![report.value("first_ms")?, report.value("spread_ms")?])
        })
    });
    hold(plan, place.name, &measures, contestants.collect())
}

fn sessions(plan: &mut Plan<'_>, arena: &Arena, place: Place) -> Vec<Row> {
    let measures = [Measure::less("session-bytes", "B")];
    let count = plan.size(20_000, 100_000);
    held(
        plan,
        arena,
        place,
        &measures,
        &[TENURE, REDIS],
        move |entry| {
            let server = start(arena, entry.store)?;
            // The first sessions make the server allocate what it needs once.
            fill(&server, entry, place, 500)?;
            let before = host::resident_bytes(server.pid())?;
            fill(&server, entry, place, count)?;
            thread::sleep(Duration::from_millis(500));
            let grown = host::resident_bytes(server.pid())?.saturating_sub(before);
            Ok(vec![grown as f64 / (count - 500) as f64])
        },
    )
}

fn connections(plan: &mut Plan<'_>, arena: &Arena, place: Place) -> Vec<Row> {
    let measures = [
        Measure::less("connection-bytes", "B"),
        Measure::more("connects", "1/s"),
    ];
    let count = plan.size(2_000, 8_000);
    held(
        plan,
        arena,
        place,
        &measures,
        &[FRAMES, REDIS],
        move |entry| {
            let server = start(arena, entry.store)?;
            let pid = server.pid();
            let work = Work::Connect { count, pid };
            let report = order(&server, entry, place, work).run()?;
            Ok(vec![
                report.value("connection_bytes")?,
                report.value("connects_per_s")?,
            ])
        },
    )
}
