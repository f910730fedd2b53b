//! The choices that the rules leave open: alternative hypotheses in which the target decided differently from the
//! machine.
//!
//! | open choice | the machine's choice |
//! |---|---|
//! | which wait of a cycle is refused | one by its own order |
//! | whether a repeated grant message ends the tries that recall the grant, or a recall for expiry | it ends them |
//! | whether a time to live that may have ended had ended before a message came | it had not |

use crate::store::oracle::Connection;
use crate::store::oracle::hypothesis::{Around, Hypothesis, Owed, What};
use tenure_protocol::message::{AcquireRequest, Granted, Hello, RecallInfo, Refusal, WaitMode};
use tenure_protocol::store::{Input, Timer};
use tenure_protocol::{ProcessId, Request, SessionId, Ticket, ToProcess, ToStore};

/// A place in a queue.
#[derive(Clone, Debug)]
struct Wait {
    process: ProcessId,
    session: SessionId,
    request: Request,
    ticket: Ticket,
}

impl Hypothesis {
    /// Returns the hypotheses in which the target took the message differently. `self` is the state before the message,
    /// `after` the machine's state after it.
    pub(crate) fn others(
        &self,
        connection: &Connection,
        message: &ToStore,
        after: &Self,
        around: &Around,
    ) -> Vec<Self> {
        let mut all = self.other_victims(connection, message, after, around);
        all.extend(self.told_again(connection, message, after));
        all.extend(self.aged(connection, message, around));
        all
    }

    // ---- times to live ----------------------------------------------------------------------------------------------

    /// The time to live of a session in the message had ended before the message came. This is invisible if the session
    /// is free, or its holder is not connected.
    fn aged(&self, connection: &Connection, message: &ToStore, around: &Around) -> Option<Self> {
        let named: Vec<&SessionId> = match message {
            ToStore::Hello(Hello { holds, waits, .. }) => {
                let holds = holds.iter().map(|hold| &hold.session);
                holds
                    .chain(waits.iter().map(|acquire| &acquire.session))
                    .collect()
            }
            ToStore::Acquire(acquire) => vec![&acquire.session],
            ToStore::Rename { to, .. } => vec![to],
            ToStore::Destroy { session, .. } => vec![session],
            _ => return None,
        };
        let timers = named.into_iter().flat_map(|id| self.store.timers_of(id));
        let timers = timers.map(|(_, timer)| timer);
        let ended = timers.filter(|timer| matches!(timer, Timer::Expire(_)));
        let ended: Vec<_> = ended.filter(|timer| self.may_pass(timer, around)).collect();
        if ended.is_empty() {
            return None;
        }
        let mut hypothesis = self.clone();
        for timer in ended {
            hypothesis.step(Input::Timer(timer), around);
        }
        hypothesis.hear(connection, message, around);
        Some(hypothesis)
    }

    /// Returns the messages that are owed now and were not owed before.
    fn new_in<'a>(&self, after: &'a Self) -> impl Iterator<Item = (&'a Connection, &'a Owed)> {
        let before = |connection| self.owed.get(connection).map_or(0, Vec::len);
        let each = after.owed.iter();
        each.flat_map(move |(connection, owed)| {
            owed.iter()
                .skip(before(connection))
                .map(move |owed| (connection, owed))
        })
    }

    // ---- tries ------------------------------------------------------------------------------------------------------

    /// The holder receives its grant again, and tries for it continue.
    fn told_again(&self, connection: &Connection, message: &ToStore, after: &Self) -> Option<Self> {
        let (session, request) = match message {
            ToStore::Acquire(acquire) => (&acquire.session, acquire.request),
            ToStore::Cancel { session, request } => (session, *request),
            _ => return None,
        };
        let own = self.store.session(session)?;
        let recall = own.recall();
        let mut waiters = own.lock().waiters();
        let is_tried = recall.is_some_and(|recall| !recall.reason.insists())
            || waiters.any(|place| place.wait_mode == WaitMode::Try);
        let place = own.lock().holders().first()?;
        if !is_tried || place.process != connection.process || place.request != request {
            return None;
        }
        let mut granted = self
            .new_in(after)
            .map(|(_, owed)| owed)
            .find(|owed| {
                matches!(&owed.what, What::Said(ToProcess::Granted(granted)) if granted.session == *session)
            })?
            .clone();
        if let What::Said(ToProcess::Granted(Granted { recall: told, .. })) = &mut granted.what {
            *told = recall.map(|recall| RecallInfo {
                reason: recall.reason,
                deadline_ms: 0,
            });
        }
        let mut hypothesis = self.clone();
        hypothesis
            .owed
            .entry(connection.clone())
            .or_default()
            .push(granted);
        Some(hypothesis)
    }

    // ---- cycles -----------------------------------------------------------------------------------------------------

    /// Returns the hypotheses in which another wait of the cycle is refused.
    fn other_victims(
        &self,
        connection: &Connection,
        message: &ToStore,
        after: &Self,
        around: &Around,
    ) -> Vec<Self> {
        let refused = self.new_in(after).find_map(|(to, owed)| match &owed.what {
            What::Said(ToProcess::Refused {
                session,
                why: Refusal::Deadlock { cycle },
                ..
            }) => Some((to.process.clone(), session.clone(), cycle.clone())),
            _ => None,
        });
        let Some((spared, session, cycle)) = refused else {
            return Vec::new();
        };
        let spared = self.wait(&spared, &session);
        let others = (1..cycle.len()).filter_map(|turn| {
            let mut cycle = cycle.clone();
            cycle.rotate_left(turn);
            // The holder of the first session waits for the second.
            let holder = after.store.session(cycle.first()?)?.holder()?;
            let victim = after.wait(holder, cycle.get(1)?)?;
            let mut hypothesis = if self.wait(&victim.process, &victim.session).is_some() {
                let mut hypothesis = self.clone();
                hypothesis.cancel(&victim, around)?;
                hypothesis.hear(connection, message, around);
                hypothesis
            } else {
                // The wait begins with this very message. The victim that the machine chose must not wait meanwhile.
                let mut hypothesis = self.clone();
                hypothesis.cancel(spared.as_ref()?, around)?;
                hypothesis.hear(connection, message, around);
                hypothesis.cancel(&victim, around)?;
                hypothesis.present(spared.as_ref()?, around)?;
                hypothesis
            };
            hypothesis.refuse(victim, Refusal::Deadlock { cycle }, around)?;
            Some(hypothesis)
        });
        others.collect()
    }

    fn wait(&self, process: &ProcessId, session: &SessionId) -> Option<Wait> {
        let mut waiters = self.store.session(session)?.lock().waiters();
        let place = waiters.find(|place| place.process == *process)?;
        Some(Wait {
            process: process.clone(),
            session: session.clone(),
            request: place.request,
            ticket: place.ticket,
        })
    }

    /// Ends a wait without a message to its process.
    fn cancel(&mut self, wait: &Wait, around: &Around) -> Option<()> {
        let (session, request) = (wait.session.clone(), wait.request);
        self.quietly(&wait.process, ToStore::Cancel { session, request }, around)
    }

    /// Restores a wait at its place without a message to its process.
    fn present(&mut self, wait: &Wait, around: &Around) -> Option<()> {
        let acquire = AcquireRequest {
            session: wait.session.clone(),
            request: wait.request,
            known: None,
            wait_mode: WaitMode::Wait,
            ticket: Some(wait.ticket),
            existing: false,
        };
        self.quietly(&wait.process, ToStore::Acquire(acquire), around)
    }

    /// Passes a message to the machine without its answers. Returns `None` if the process is not connected, because the
    /// machine ignores it then.
    fn quietly(&mut self, process: &ProcessId, message: ToStore, around: &Around) -> Option<()> {
        let link = self.store.peer(process)?.link()?;
        let owed = self.owed.clone();
        let input = Input::Message {
            process: process.clone(),
            link,
            message,
        };
        self.step(input, around);
        self.owed = owed;
        Some(())
    }

    fn refuse(&mut self, wait: Wait, why: Refusal, around: &Around) -> Option<()> {
        let link = self.store.peer(&wait.process)?.link()?;
        let (process, session, request) = (wait.process, wait.session, wait.request);
        let refused = ToProcess::Refused {
            session,
            request,
            why,
        };
        self.owe(
            Connection { process, link },
            What::Said(refused),
            true,
            around,
        );
        Some(())
    }
}
