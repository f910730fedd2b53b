//! The runner: plays independent cases concurrently, and all other cases one after another.

use crate::case::{Case, Need, Playing, Run};
use crate::end::CaseEnd;
use crate::report::{Outcome, Report, SCHEMA, Verdict};
use crate::select::{KnownFailing, Selection};
use crate::trace::Trace;
use crate::{Side, process, store};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// The cases to play, and the way to play them.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The selected cases.
    pub selection: Selection,
    /// The cases that are known to fail.
    pub known_failing: KnownFailing,
    /// The most cases to play at once; at least 1.
    pub jobs: usize,
    /// The number of times to play each case until it fails; at least 1.
    pub repeat: u32,
    /// The seed of all random choices.
    pub seed: u64,
}

impl Default for Plan {
    /// Returns a plan that plays all cases once.
    fn default() -> Self {
        Self {
            selection: Selection::default(),
            known_failing: KnownFailing::default(),
            jobs: 32,
            repeat: 1,
            seed: 1,
        }
    }
}

/// The target of a run.
#[derive(Clone, Debug)]
pub enum Subject {
    /// A store.
    Store(Arc<store::Target>),
    /// A process library.
    Process(Arc<process::Target>),
}

impl Subject {
    fn side(&self) -> Side {
        match self {
            Self::Store(_) => Side::Store,
            Self::Process(_) => Side::Process,
        }
    }

    fn name(&self) -> String {
        match self {
            Self::Store(target) => target.name(),
            Self::Process(target) => target.name(),
        }
    }

    fn time_to_live_ms(&self) -> Option<u64> {
        match self {
            Self::Store(target) => target.expires_ms,
            Self::Process(_) => None,
        }
    }

    fn has(&self, need: Need) -> bool {
        match self {
            Self::Store(target) => target.has(need),
            Self::Process(target) => target.has(need),
        }
    }

    async fn reach(&self) -> Result<(), String> {
        match self {
            Self::Store(target) => target.reach().await,
            Self::Process(target) => target.reach().await,
        }
    }

    /// Starts to play a case. Returns `None` if the case judges the other side.
    fn play(&self, case: &Case, seed: u64, trace: Trace) -> Option<Playing> {
        let run = case.run;
        Some(match self {
            Self::Store(target) => {
                let ctx = store::CaseContext::new(Arc::clone(target), case.id, seed, trace);
                let left = ctx.clone();
                let playing = match run {
                    Run::Store(run) => run(ctx),
                    Run::Script(script) => Box::pin(store::play_script(ctx, script)),
                    Run::Process(_) => return None,
                };
                Box::pin(async move {
                    let play = playing.await;
                    left.leave().await;
                    left.judged(play)
                })
            }
            Self::Process(target) => match run {
                Run::Process(run) => run(process::CaseContext::new(
                    Arc::clone(target),
                    case.id,
                    seed,
                    trace,
                )),
                Run::Store(_) | Run::Script(_) => return None,
            },
        })
    }
}

/// A receiver of progress reports.
pub trait Progress: Send + Sync {
    /// Reports that a case has ended. `done` of `all` cases have now ended.
    fn ended(&self, outcome: &Outcome, done: usize, all: usize);
}

impl Progress for () {
    fn ended(&self, _: &Outcome, _: usize, _: usize) {}
}

/// Plays the selected cases that judge this side, and returns the report.
///
/// # Errors
/// A text that describes why the target cannot be reached. No case was played then.
pub async fn run(
    cases: &[Case],
    subject: &Subject,
    plan: &Plan,
    progress: &dyn Progress,
) -> Result<Report, String> {
    let began = Instant::now();
    subject.reach().await?;
    let own = cases.iter().filter(|case| case.side == subject.side());
    let all = own.count();
    let cases: Vec<Case> = cases
        .iter()
        .filter(|case| case.side == subject.side() && plan.selection.has(case))
        .copied()
        .collect();
    let mut outcomes: Vec<Option<Outcome>> = vec![None; cases.len()];
    let mut done = 0;
    let gate = Arc::new(Semaphore::new(plan.jobs.max(1)));
    let mut playing = JoinSet::new();
    let (alone, together): (Vec<_>, Vec<_>) =
        (0..cases.len()).partition(|at| is_alone(&cases[*at]));
    for at in together {
        let (case, subject) = (cases[at], subject.clone());
        let (plan, gate) = (plan.clone(), Arc::clone(&gate));
        playing.spawn(async move {
            let _turn = gate.acquire().await.expect("never closed");
            (at, play(&case, &subject, &plan).await)
        });
    }
    while let Some(ended) = playing.join_next().await {
        let (at, outcome) = ended.map_err(|error| format!("a case panicked: {error}"))?;
        done += 1;
        progress.ended(&outcome, done, cases.len());
        outcomes[at] = Some(outcome);
    }
    for at in alone {
        let outcome = play(&cases[at], subject, plan).await;
        done += 1;
        progress.ended(&outcome, done, cases.len());
        outcomes[at] = Some(outcome);
    }
    let report = Report {
        schema: SCHEMA,
        suite: env!("CARGO_PKG_VERSION").to_owned(),
        protocol: format!("{}.{}", tenure_wire::MAJOR, tenure_wire::MINOR),
        side: subject.side(),
        target: subject.name(),
        time_to_live_ms: subject.time_to_live_ms(),
        seed: plan.seed,
        seconds: began.elapsed().as_secs_f64(),
        claim: String::new(),
        is_part: cases.len() < all,
        conforms: false,
        cases: outcomes.into_iter().flatten().collect(),
    };
    Ok(report.judged())
}

/// Returns whether the case must run alone, because it stops or restarts the target.
fn is_alone(case: &Case) -> bool {
    let disturbs = |need: &Need| matches!(need, Need::Restart | Need::Pause | Need::Alone);
    case.needs.iter().any(disturbs)
}

/// The number of times that a case is repeated if the store was too slow to keep leases alive.
const STARVED_MAX: u32 = 2;

async fn play(case: &Case, subject: &Subject, plan: &Plan) -> Outcome {
    let began = Instant::now();
    let mut outcome = Outcome::of(case);
    let known = plan.known_failing.why(case.id);
    if let Some(missing) = case.needs.iter().find(|need| !subject.has(**need)) {
        outcome.why = Some(format!("without {}", missing.option()));
        return outcome;
    }
    let mut turn = 0;
    let mut starved = 0;
    while turn < plan.repeat.max(1) {
        let trace = Trace::default();
        let seed = plan.seed.wrapping_add(u64::from(turn));
        let Some(playing) = subject.play(case, seed, trace.clone()) else {
            outcome.note(Some(CaseEnd::fault("a case of the other side")), known);
            break;
        };
        // A panic is a bug of the suite. The other cases are still judged.
        let ended = tokio::spawn(playing).await;
        outcome.played += 1;
        outcome.trace = trace.all();
        let stop = match ended {
            Ok(Ok(())) => None,
            Ok(Err(stop)) => Some(stop),
            Err(error) => Some(CaseEnd::fault(error)),
        };
        if matches!(stop, Some(CaseEnd::Starved { .. })) && starved < STARVED_MAX {
            starved += 1;
            continue;
        }
        turn += 1;
        outcome.note(stop, known);
        if outcome.verdict != Verdict::Pass && outcome.verdict != Verdict::UnexpectedPass {
            break;
        }
    }
    outcome.seconds = began.elapsed().as_secs_f64();
    outcome
}

impl Outcome {
    /// Records the verdict of a play, considering the list of known failures.
    fn note(&mut self, stop: Option<CaseEnd>, known: Option<&str>) {
        let known = known.map(str::to_owned);
        (self.verdict, self.why) = match (stop, known) {
            (None, None) => (Verdict::Pass, None),
            (None, Some(why)) => (
                Verdict::UnexpectedPass,
                Some(format!("was known to fail: {why}")),
            ),
            (
                Some(CaseEnd::Failed { expected, seen } | CaseEnd::Starved { expected, seen }),
                known,
            ) => {
                (self.expected, self.seen) = (Some(expected), Some(seen));
                let verdict = if known.is_some() {
                    Verdict::KnownFailing
                } else {
                    Verdict::Fail
                };
                (verdict, known)
            }
            (Some(CaseEnd::Skipped(why)), _) => (Verdict::Skip, Some(why)),
            // The target was reachable when the run began, so this is a failure.
            (Some(CaseEnd::Unreachable(why)), _) => {
                (self.expected, self.seen) = (Some("a connection".to_owned()), Some(why));
                (Verdict::Fail, None)
            }
            (Some(CaseEnd::Fault(why)), _) => (Verdict::Fault, Some(why)),
        };
    }
}
