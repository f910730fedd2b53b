//! `tenure bench`: Tenure beside Redis, PostgreSQL and the floors of this machine.

use crate::progress::Line;
use anyhow::{Context, Result};
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use tenure_bench::{Group, Options, measure};

/// Measure this machine, and Tenure beside its peers.
#[derive(clap::Subcommand)]
pub(crate) enum Bench {
    /// Compare Tenure with Redis and PostgreSQL at the same work.
    Peers(Selection),
    /// Measure the floors of this machine: mutexes, round trips, a relay, a synced write.
    Floors(Selection),
    /// Measure one acquire while sessions, waiters, connections or processes grow.
    Curves(Selection),
    /// Run one client process of a measurement.
    #[command(hide = true)]
    Party(Party),
    /// Turn this process into a pinned program that ends with its parent.
    #[command(hide = true)]
    Become(Become),
}

const AFTER: &str = "\
Redis and PostgreSQL are found on PATH and started in a temporary folder on free loopback ports. A missing one is
skipped by name. The samples of all contestants are interleaved. A figure whose samples differ by more than 30 % of
their median is marked `disturbed`: wait for a quiet machine, and repeat.

Exit codes: 0 measured; 2 wrong usage, or a machine on which nothing can be measured.";

/// The selection and the output of a run.
#[derive(clap::Args)]
#[command(after_help = AFTER)]
pub(crate) struct Selection {
    /// Measure with 3 interleaved runs instead of 5, each of them shorter, in less than 5 minutes.
    #[arg(long)]
    quick: bool,
    /// Measure only this row. Repeat the flag for several rows [default: all rows].
    #[arg(long = "row", value_name = "NAME")]
    rows: Vec<String>,
    /// List the rows and exit.
    #[arg(long)]
    list: bool,
    /// Print one JSON document instead of a table.
    #[arg(long, conflicts_with = "list")]
    json: bool,
    /// Also write a picture of the ratios to this file.
    #[arg(long, value_name = "FILE", conflicts_with = "list")]
    svg: Option<PathBuf>,
}

/// The orders of a client process.
#[derive(clap::Args)]
pub(crate) struct Party {
    /// The orders as JSON.
    orders: String,
}

/// The program to become.
#[derive(clap::Args)]
pub(crate) struct Become {
    /// The program and its surroundings as JSON.
    launch: String,
}

impl Bench {
    pub(crate) fn run(self) -> Result<bool> {
        match self {
            Self::Peers(selection) => selection.run(Group::Peers),
            Self::Floors(selection) => selection.run(Group::Floors),
            Self::Curves(selection) => selection.run(Group::Curves),
            Self::Party(party) => tenure_bench::run_party(&party.orders).map(|()| true),
            Self::Become(program) => Err(tenure_bench::become_program(&program.launch)),
        }
    }
}

impl Selection {
    fn run(self, group: Group) -> Result<bool> {
        let mut out = std::io::stdout().lock();
        if self.list {
            for (name, what) in group.rows() {
                writeln!(out, "{name:20} {what}")?;
            }
            return Ok(true);
        }
        tenure_bench::remove_on_signals()?;
        let options = Options {
            group,
            quick: self.quick,
            rows: self.rows,
        };
        let line = Line::new("bench");
        let document = measure(&options, &mut |text| line.say(text.to_owned()))?;
        drop(line);
        if let Some(path) = &self.svg {
            std::fs::write(path, tenure_bench::svg(&document))
                .with_context(|| format!("cannot write the picture to {}", path.display()))?;
        }
        if self.json {
            serde_json::to_writer_pretty(&mut out, &document)?;
            writeln!(out)?;
        } else {
            let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
            let colours = std::io::stdout().is_terminal() && !no_colour;
            out.write_all(tenure_bench::render(&document, colours).as_bytes())?;
        }
        Ok(true)
    }
}
