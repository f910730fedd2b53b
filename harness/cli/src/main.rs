//! The binary `tenure`: one door for each of its users.
//!
//! `check`, `explore` and `replay` are for who runs the model checker; `serve`, `ctl` and `backup` for the operator of a store,
//! `crash` for who doubts it; `conform` for who writes another store or library; `verify` shows everything that works, on one machine, in one command. Exit codes are the same
//! everywhere: 0 all holds, 1 something does not, 2 usage, bad input, or a target that cannot be reached, 3 a fault of the
//! suite itself, 4 nothing fails but not everything was judged, 75 (`serve`) not now, but perhaps later.

mod backup;
mod check;
mod conform;
mod crash;
mod ctl;
mod explore;
mod hunt;
mod memory;
mod names;
mod progress;
mod replay;
mod report;
mod serve;
mod verify;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Two-level session locking: the model checker, the store, and the conformance suite.
#[derive(Parser)]
#[command(name = "tenure", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Check the protocol: explore universes whole and judge every property.
    Check(check::Check),
    /// Explore a universe by hand, in a browser.
    Explore(explore::Explore),
    /// Run a saved counterexample through the machines.
    Replay(replay::Replay),
    /// Run the store.
    Serve(Box<serve::Serve>),
    /// Ask a store that runs: who holds what, who waits and for how long; call a session back.
    Ctl(ctl::Ctl),
    /// Copy a store's folder; the store may be running.
    Backup(backup::Backup),
    /// Judge a store or a process library, whoever wrote it, by the rules of the book.
    #[command(subcommand)]
    Conform(Box<conform::Conform>),
    /// The adapter of `tenure conform process` for our own library.
    #[command(hide = true)]
    Adapter,
    /// Check everything that there is, on this machine, in a few minutes.
    Verify(verify::Verify),
    /// Kill a store and its processes under load, and count what is left.
    Crash(crash::Crash),
    /// One process of `tenure crash`.
    #[command(hide = true)]
    Work(crash::Work),
    /// The process that `tenure verify` stops.
    #[command(hide = true)]
    Hold(crash::Hold),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Check(check) => return ended(check.run()),
        Command::Explore(explore) => explore.run(),
        Command::Replay(replay) => replay.run(),
        Command::Serve(serve) => return serve.run(),
        Command::Ctl(ctl) => ctl.run(),
        Command::Backup(backup) => backup.run(),
        Command::Conform(conform) => return conform.run(),
        Command::Adapter => tenure_adapter::run()
            .map(|()| true)
            .map_err(|why| anyhow::anyhow!("{why}")),
        Command::Verify(verify) => verify.run(),
        Command::Crash(crash) => crash.run(),
        Command::Work(work) => work.run(),
        Command::Hold(hold) => hold.run(),
    };
    ended(result.map(exit_code))
}

/// The exit code of a run in which nothing fails and something was not judged.
pub(crate) const UNJUDGED: u8 = 4;

/// Returns the exit code of a run that judged everything.
pub(crate) fn exit_code(holds: bool) -> ExitCode {
    ExitCode::from(u8::from(!holds))
}

/// Reports an error on standard error.
fn ended(result: anyhow::Result<ExitCode>) -> ExitCode {
    match result {
        Ok(code) => code,
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tenure: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// The reader of our output has heard enough.
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let io = error.downcast_ref::<std::io::Error>();
    io.is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}
