//! An adapter of the conformance suite for a process with one mutant: `mutant-process NAME`.

use std::process::ExitCode;
use tenure_mutants::{Mutant, process};

fn main() -> ExitCode {
    let name = std::env::args().nth(1).unwrap_or_default();
    let Some(mutant) = Mutant::named(&name) else {
        eprintln!("there is no mutant `{name}`");
        return ExitCode::from(2);
    };
    match process::run(mutant) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
