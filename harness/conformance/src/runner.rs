//! Plays cases: those that may run together at once, the others one after another.

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

/// What to play, and how.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Which cases.
    pub selection: Selection,
    /// Which of them are known to fail.
    pub known_failing: KnownFailing,
    /// How many may run at once; at least 1.
    pub jobs: usize,
    /// How often each is played, until it fails; at least 1.
    pub repeat: u32,
    /// The seed of all that is random.
    pub seed: u64,
}

impl Default for Plan {
    /// All cases, once.
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

/// Whom a run judges.
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

    /// Begins to play a case.
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

/// Who wants to know how far a run is.
pub trait Progress: Send + Sync {
    /// A case has ended: the so many-th of so many.
    fn ended(&self, outcome: &Outcome, done: usize, all: usize);
}

impl Progress for () {
    fn ended(&self, _: &Outcome, _: usize, _: usize) {}
}

/// Plays those of `cases` that judge such a `subject` and are selected.
///
/// # Errors
/// When the target cannot be reached: then nothing was judged.
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

/// What stops or restarts the target would disturb others.
fn is_alone(case: &Case) -> bool {
    let disturbs = |need: &Need| matches!(need, Need::Restart | Need::Pause | Need::Alone);
    case.needs.iter().any(disturbs)
}

/// How often a case is played again in which the store was too slow to keep leases.
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
        // A panic is a fault of the suite, and no reason not to judge the others.
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
    /// How it ended, and what is known of it.
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
            // It could be reached when the run began.
            (Some(CaseEnd::Unreachable(why)), _) => {
                (self.expected, self.seen) = (Some("a connection".to_owned()), Some(why));
                (Verdict::Fail, None)
            }
            (Some(CaseEnd::Fault(why)), _) => (Verdict::Fault, Some(why)),
        };
    }
}
