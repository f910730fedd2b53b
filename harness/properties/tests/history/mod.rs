//! Random histories of the lock manager, in lock step with the machine. A failing history is printed as a readable
//! script.

mod act;
mod drive;
mod handle;
mod inside;
mod machine;
mod net;
pub(crate) mod op;
mod run;
mod task;
mod waits;

use op::{History, histories};
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use run::{Checked, Run, Wrong};
use std::cell::{Cell, RefCell};
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook};

/// The maximum length of a history, in operations.
const LENGTH: usize = 120;

/// A history in which the manager behaved differently from the machine.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The lines of the script. The difference is in the last one.
    pub(crate) script: Vec<String>,
    pub(crate) wrong: Wrong,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let last = self.script.len();
        for (line, at) in self.script.iter().zip(1..) {
            let mark = if at == last { "->" } else { "  " };
            writeln!(f, "{mark} {line}")?;
        }
        writeln!(f, "   {} differs:", self.wrong.what)?;
        writeln!(f, "   expected {}", self.wrong.expected)?;
        write!(f, "   actually {}", self.wrong.actual)
    }
}

thread_local! {
        /// The message of the last panic of this thread.
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Plays a history to its end.
pub(crate) fn play(history: &History) -> Result<usize, Failure> {
    // Leaked after a panic: a guard that was dropped then would find the manager in the middle of a step, and panic
    // too.
    let mut run = ManuallyDrop::new(Run::new(history.setup));
    let mut acts = 0;
    let played = catch_unwind(AssertUnwindSafe(|| -> Checked {
        run.start()?;
        for op in &history.ops {
            acts += usize::from(run.act(op)?);
        }
        run.end()
    }));
    let wrong = match played {
        Ok(Ok(())) => {
            drop(ManuallyDrop::into_inner(run));
            return Ok(acts);
        }
        Ok(Err(wrong)) => wrong,
        Err(_) => Wrong {
            what: "the occurrence of a panic".to_owned(),
            expected: "no panic".to_owned(),
            actual: PANIC
                .take()
                .unwrap_or_else(|| "the panic message is above".to_owned()),
        },
    };
    let mut script = vec![format!("{:?}", history.setup)];
    script.append(&mut run.lines);
    Err(Failure { script, wrong })
}

/// Records panics as failures of the history, and does not print them.
fn note_panics() {
    set_hook(Box::new(|info| {
        PANIC.set(Some(info.to_string()));
    }));
}

/// Plays this number of histories. Returns the total number of operations, or the shortest failing history.
pub(crate) fn explore(cases: u32, seed: u64, is_small: bool) -> Result<usize, Failure> {
    note_panics();
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let config = Config {
        cases,
        max_shrink_iters: 50_000,
        failure_persistence: None,
        ..Config::default()
    };
    let acts = Cell::new(0);
    let mut runner = TestRunner::new_with_rng(config, rng);
    let found = runner.run(&histories(LENGTH, is_small), |history| {
        match play(&history) {
            Ok(own) => {
                acts.set(acts.get() + own);
                Ok(())
            }
            Err(failure) => Err(TestCaseError::fail(failure.wrong.what)),
        }
    });
    drop(std::panic::take_hook());
    match found {
        Ok(()) => Ok(acts.get()),
        Err(TestError::Fail(_, history)) => {
            note_panics();
            let failure = play(&history).expect_err("the shrunk history has failed before");
            drop(std::panic::take_hook());
            Err(failure)
        }
        Err(TestError::Abort(why)) => panic!("the histories were not played: {why}"),
    }
}
