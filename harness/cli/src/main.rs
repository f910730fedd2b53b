//! The binary `tenure`, with one subcommand for each kind of user.
//!
//! `check`, `explore` and `replay` are for users of the model checker. `serve`, `ctl` and `backup` are for the operator
//! of a store. `crash` tests the durability of the store. `conform` is for the author of another store or library.
//! `verify` runs all checks on one machine with one command. `bench` measures.
//!
//! Exit codes are the same for all commands: 0 everything holds; 1 something does not hold; 2 wrong usage, bad input,
//! or an unreachable target; 3 a bug of the suite itself; 4 nothing fails, but not everything was judged; 75 (`serve`
//! only) a temporary failure: try again later.

mod backup;
#[cfg(feature = "bench")]
mod bench;
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

/// Two-level session locking: the store, the model checker and the conformance suite.
#[derive(Parser)]
#[command(name = "tenure", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Check the protocol: explore universes exhaustively and judge every property.
    Check(check::Check),
    /// Explore a universe step by step in a browser.
    Explore(explore::Explore),
    /// Replay a saved counterexample through the protocol machines.
    Replay(replay::Replay),
    /// Run the store.
    Serve(Box<serve::Serve>),
    /// Show the holders and waiters of a running store, or recall a session.
    Ctl(ctl::Ctl),
    /// Copy the folder of a store, which may be running.
    Backup(backup::Backup),
    /// Judge any store or process library by the rules of the book.
    #[command(subcommand)]
    Conform(Box<conform::Conform>),
    /// Run the adapter of `tenure conform process` for the library of this repository.
    #[command(hide = true)]
    Adapter,
    /// Run all checks on this machine, in a few minutes.
    Verify(verify::Verify),
    /// Kill a store and its processes under load, and check that nothing acknowledged is lost.
    Crash(crash::Crash),
    /// Measure Tenure beside Redis, PostgreSQL and the floors of this machine.
    #[cfg(feature = "bench")]
    #[command(subcommand)]
    Bench(bench::Bench),
    /// Run one process of `tenure crash`.
    #[command(hide = true)]
    Work(crash::Work),
    /// Run the process that `tenure verify` stops.
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
        #[cfg(feature = "bench")]
        Command::Bench(bench) => bench.run(),
        Command::Work(work) => work.run(),
        Command::Hold(hold) => hold.run(),
    };
    ended(result.map(exit_code))
}

/// The exit code of a run in which nothing fails and some property was not judged.
pub(crate) const UNJUDGED: u8 = 4;

/// Returns the exit code of a run that judged everything: 0 if everything holds, else 1.
pub(crate) fn exit_code(holds: bool) -> ExitCode {
    ExitCode::from(u8::from(!holds))
}

/// Prints an error on standard error, and returns the exit code.
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

/// Returns whether the reader of standard output has closed the pipe.
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let io = error.downcast_ref::<std::io::Error>();
    io.is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}
