//! An adapter of the conformance suite for a process that makes one mistake: `defective-process NAME`.

use std::process::ExitCode;
use tenure_defects::{Mistake, process};

fn main() -> ExitCode {
    let name = std::env::args().nth(1).unwrap_or_default();
    let Some(mistake) = Mistake::named(&name) else {
        eprintln!("there is no mistake `{name}`");
        return ExitCode::from(2);
    };
    match process::run(mistake) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
