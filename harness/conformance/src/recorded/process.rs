//! The judgement of a process: the shared machine receives the process's messages and its threads' actions. It
//! determines which messages the process may send and which answers its threads may receive.

use super::Finding;
use super::entry::{Place, ThreadAnswer};
use super::head::{Settings, Slack};
use super::process_hypothesis::{Around, Focus, Hypothesis, Under, Way, session_of};
use super::rule_process;
use super::search::{Breadth, Hypothesis as _};
use tenure_protocol::process::Timer;
use tenure_protocol::{SessionId, ThreadId, Time, ToStore};

/// The judge of one process. See the [module](self).
pub(super) struct ProcessSide {
    hypotheses: Vec<Hypothesis>,
    slack: Slack,
    now: Time,
    breadth: Breadth,
}

impl ProcessSide {
    pub(super) fn new(
        settings: &Settings,
        slack: Slack,
        incarnation: u64,
        breadth: Breadth,
    ) -> Self {
        Self {
            hypotheses: vec![Hypothesis::new(settings, incarnation)],
            slack,
            now: Time::ZERO,
            breadth: breadth.shortest(),
        }
    }

    fn around(&self, focus: Focus) -> Around {
        Around {
            now: self.now,
            slack_ms: self.slack.early_ms,
            focus,
        }
    }

    /// Advances the time. An overdue message is a finding.
    pub(super) fn turns(&mut self, line: usize, now: Time) -> Result<(), Finding> {
        self.now = now;
        let around = self.around(Focus::Nothing);
        let until = now.before(self.slack.late_ms);
        for own in &mut self.hypotheses {
            own.take_before(until, &around);
        }
        self.force(now.before(self.slack.early_ms.saturating_add(self.slack.late_ms)));
        let hypotheses = std::mem::take(&mut self.hypotheses);
        self.hypotheses = self.breadth.few(hypotheses);
        self.miss(line, false)
    }

    /// Fires the timers that must have fired: those of the lease and of waiting threads.
    fn force(&mut self, late: Time) {
        let around = self.around(Focus::Nothing);
        for own in &mut self.hypotheses {
            let timers: Vec<_> = own.machine.timers().collect();
            for (due, timer) in timers {
                if due < late && matches!(timer, Timer::Lease | Timer::Wait(..)) {
                    own.passes(due, timer, &around);
                }
            }
        }
    }

    fn miss(&mut self, line: usize, is_end: bool) -> Result<(), Finding> {
        let (now, slack) = (self.now, self.slack.late_ms);
        let is_late = |since: Time| {
            let until = since.after(slack);
            until < now || is_end && until <= now
        };
        let is_well = |own: &Hypothesis| !rule_process::is_overdue(own, is_late);
        if self.hypotheses.iter().any(is_well) {
            self.hypotheses.retain(is_well);
            return Ok(());
        }
        let around = self.around(Focus::Nothing);
        let found = self
            .breadth
            .explain(&self.hypotheses, &around, |own| is_well(own));
        if !found.is_empty() {
            self.hypotheses = found;
            return Ok(());
        }
        let Some(first) = self.hypotheses.first() else {
            return Ok(());
        };
        let seen = if is_end {
            "the end of the trace"
        } else {
            "something later"
        };
        let (rule, what) = rule_process::missing(first, is_late);
        let allowed = format!("the machine sends, with its own numbers: {what}");
        Err(Finding::new(line, rule, allowed, seen))
    }

    /// Finishes the judgement at the end of the trace.
    pub(super) fn ends(&mut self, line: usize) -> Result<(), Finding> {
        self.miss(line, true)
    }

    /// Records a message to the process, or a call of one of its threads.
    pub(super) fn comes(&mut self, at: Place, way: &Way, under: &Under) {
        let around = self.around(Focus::Nothing);
        for own in &mut self.hypotheses {
            own.comes(way.clone(), self.now, under.clone());
        }
        if at == Place::Process {
            let hypotheses = std::mem::take(&mut self.hypotheses);
            let mut hypotheses = with_silent(self.breadth, hypotheses, &around);
            hypotheses.iter_mut().for_each(|own| own.take(way, &around));
            self.hypotheses = self.breadth.few(hypotheses);
        }
    }

    /// Checks a message of the process.
    pub(super) fn says(
        &mut self,
        line: usize,
        who: &str,
        message: &ToStore,
    ) -> Result<(), Finding> {
        let focus = match message {
            ToStore::Hello(_) => Focus::Hello,
            ToStore::KeepAlive { .. } => Focus::KeepAlive,
            _ => session_of(message).map_or(Focus::Nothing, |own| Focus::Session(own.clone())),
        };
        let around = self.around(focus);
        let found = self
            .breadth
            .explain(&self.hypotheses, &around, |own| own.is_said(who, message));
        if found.is_empty() {
            let own = self.likely(&around);
            let rule = rule_process::wrong_said(&own, message);
            return Err(Finding::new(
                line,
                rule,
                rule_process::allowed(&own),
                format!("{message:?}"),
            ));
        }
        self.hypotheses = found;
        Ok(())
    }

    /// Checks an answer to a thread.
    pub(super) fn tells(
        &mut self,
        line: usize,
        (thread, session): (ThreadId, &SessionId),
        told: &ThreadAnswer,
    ) -> Result<(), Finding> {
        let around = self.around(Focus::Session(session.clone()));
        let found = self.breadth.explain(&self.hypotheses, &around, |own| {
            own.is_told(thread, session, told)
        });
        if found.is_empty() {
            let own = self.likely(&around);
            let rule = rule_process::wrong_answer(&own, thread, session, told);
            let seen = format!("thread {} receives: {told:?}", thread.0);
            return Err(Finding::new(line, rule, rule_process::allowed(&own), seen));
        }
        self.hypotheses = found;
        Ok(())
    }

    /// Returns the hypothesis that has processed most inputs.
    fn likely(&self, around: &Around) -> Hypothesis {
        let first = self.hypotheses.first().cloned();
        let all = self.breadth.closure(self.hypotheses.clone(), around);
        let idle = all.into_iter().find(Hypothesis::is_idle);
        idle.or(first)
            .expect("the judge keeps at least one hypothesis")
    }
}

/// Returns these hypotheses and those after an event that causes no message.
fn with_silent(
    breadth: Breadth,
    mut hypotheses: Vec<Hypothesis>,
    around: &Around,
) -> Vec<Hypothesis> {
    let silent = hypotheses.iter().flat_map(|own| {
        let passed = own.passed(around).into_iter();
        passed.filter(|other| other.says == own.says && other.tells == own.tells)
    });
    let silent: Vec<_> = silent.collect();
    hypotheses.extend(silent);
    breadth.few(hypotheses)
}
