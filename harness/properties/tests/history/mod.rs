//! Random histories of the lock manager, beside the machine, in lock step; and a failing one as a script to read.

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

/// How long a history is at most, in operations.
const LENGTH: usize = 120;

/// A history in which the manager did something else than the machine.
#[derive(Debug)]
pub(crate) struct Failure {
    /// Line by line, the last one is where they differ.
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
    /// What the last panic of this thread said.
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Plays a history to its end.
pub(crate) fn play(history: &History) -> Result<usize, Failure> {
    // Forgotten when something panics: a guard that were dropped then would find the manager in mid-step, and panic too.
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
            what: "whether it panics".to_owned(),
            expected: "no panic".to_owned(),
            actual: PANIC
                .take()
                .unwrap_or_else(|| "it says why above".to_owned()),
        },
    };
    let mut script = vec![format!("{:?}", history.setup)];
    script.append(&mut run.lines);
    Err(Failure { script, wrong })
}

/// Panics are failures of the history: they are noted, not printed.
fn note_panics() {
    set_hook(Box::new(|info| {
        PANIC.set(Some(info.to_string()));
    }));
}

/// Plays so many histories; answers how many operations they had, or the shortest that fails.
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
            let failure = play(&history).expect_err("it failed before");
            drop(std::panic::take_hook());
            Err(failure)
        }
        Err(TestError::Abort(why)) => panic!("the histories were not played: {why}"),
    }
}
