//! Plays a script, with the target's numbers in place of the machine's.

use crate::end::{CaseEnd, Play};
use crate::store::CaseContext;
use crate::store::derived::message::ANOTHER_WAY;
use crate::store::derived::script::{Script, Step};
use crate::store::derived::shows::{self, Event};
use crate::store::oracle::{Connection, Judge, Kind};
use std::time::Duration;
use tenure_protocol::message::{AcquireRequest, GrantRef, Hello, Refusal};
use tenure_protocol::store::Timer;
use tenure_protocol::{ProcessId, SessionId, Stamp, Time, ToProcess, ToStore};

/// The number of recalls for which a store presumably lets others wait.
const WAIT_RECALLS: u32 = 4;
/// The length of one rest while waiting.
const NAP: Duration = Duration::from_millis(50);

pub(crate) async fn play(ctx: CaseContext, script: &'static Script) -> Play {
    let mut player = Player {
        judge: Judge::new(ctx.clone()),
        events: Vec::new(),
        ctx,
    };
    for (place, step) in script.steps.iter().enumerate() {
        let told = script.told(place + 1, &step.what);
        player.ctx.trace().did("script", told);
        match player.take(step).await {
            Err(CaseEnd::Skipped(why)) if why == ANOTHER_WAY => {
                // All received messages were allowed, so this is not a failure, and the played part remains valid.
                player.ctx.trace().did("script", why);
                break;
            }
            other => other?,
        }
        player.listen();
    }
    match script.property() {
        Some(property) if !shows::shows(property, &player.events) => Err(CaseEnd::Skipped(
            format!("all received messages were allowed, but the property {property} did not show"),
        )),
        _ => Ok(()),
    }
}

struct Player {
    ctx: CaseContext,
    judge: Judge,
    /// All events that are visible from outside.
    events: Vec<Event>,
}

impl Player {
    async fn take(&mut self, step: &Step) -> Play {
        match step.what.as_str() {
            "restart" => {
                self.events.push(Event::Restarted);
                self.judge.restart().await
            }
            "cut" => {
                let connection = step.connection()?;
                self.events.push(Event::Cut(connection.clone()));
                self.judge.cut(&connection).await
            }
            "silence" => {
                self.judge.silence_process(&step.process()?);
                Ok(())
            }
            "rest" => self.rest().await,
            "reminds" => self.reminded(&step.session()?).await,
            "expires" => self.expire(step.session()?).await,
            "wait ends" => self.wait_ends(step.session()?, step.process()?).await,
            "lease ends" => {
                let process = step.process()?;
                self.judge.silence_process(&process);
                let (lease, _) = self.judge.spans();
                self.pass(Timer::Lease(process), lease).await
            }
            "revokes" => {
                let (_, recall) = self.judge.spans();
                self.pass(Timer::Revoke(step.session()?), recall).await
            }
            "keep alive" => Ok(()), // Every step is settled by some.
            "connect" => self.connect(step).await,
            "goodbye" => {
                let connection = step.connection()?;
                self.judge.silence(&connection);
                self.judge.say(&connection, ToStore::Goodbye).await
            }
            _ => {
                let (connection, message) = (step.connection()?, step.message(&self.theirs())?);
                self.said(&connection, message.clone());
                self.judge.say(&connection, message).await
            }
        }
    }

    /// Returns a function that maps the machine's numbers to the target's.
    fn theirs(&self) -> impl Fn(Kind, &SessionId, Stamp) -> Option<Stamp> + '_ {
        |kind, session, ours| self.judge.theirs(kind, session, ours)
    }

    fn said(&mut self, connection: &Connection, message: ToStore) {
        self.events.push(Event::Said(connection.clone(), message));
    }

    /// Records the received messages as events.
    fn listen(&mut self) {
        let heard = self.judge.heard().into_iter();
        let heard = heard.map(|(connection, message)| Event::Heard(connection, message));
        self.events.extend(heard);
        self.events.push(Event::Settled);
    }

    async fn connect(&mut self, step: &Step) -> Play {
        let connection = step.connection()?;
        let holds = step.holds.iter().map(|own| own.hold(&self.theirs()));
        let holds = holds.collect::<Play<Vec<GrantRef>>>()?;
        let waits = step
            .waits
            .iter()
            .map(|own| own.acquire_request(&self.theirs()));
        let waits = waits.collect::<Play<Vec<AcquireRequest>>>()?;
        let hello = ToStore::Hello(Hello {
            minor: tenure_protocol::MINOR,
            incarnation: connection.link.incarnation,
            sent: Time(1),
            holds: holds.clone(),
            waits: waits.clone(),
        });
        self.said(&connection, hello);
        self.judge.connect(&connection, holds, waits).await
    }

    // ---- time -------------------------------------------------------------------------------------------------------

    fn may_wait(&self, what: &str, span: Duration) -> Play {
        let millis = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        self.ctx.may_wait(what, millis)
    }

    /// Waits for a timer of the store whose end the store has stated.
    async fn pass(&mut self, timer: Timer, span: Duration) -> Play {
        self.may_wait(&format!("a timer ({timer:?})"), span)?;
        self.judge.pass(timer, span).await
    }

    /// Rests for half of a lease or a recall, so that consecutive ends are well separated.
    async fn rest(&mut self) -> Play {
        let (lease, recall) = self.judge.spans();
        let span = lease.max(recall) / 2;
        self.may_wait("half of a lease or a recall", span)?;
        self.judge.rest(span).await
    }

    /// Rests until a matching message has come, for the given time at most. Returns whether it has come.
    async fn comes(&mut self, most: Duration, is_it: impl Fn(&ToProcess) -> bool) -> Play<bool> {
        self.listen();
        let from = self.events.len();
        let until = tokio::time::Instant::now() + most;
        while tokio::time::Instant::now() < until {
            self.judge.rest(NAP).await?;
            self.listen();
            let mut new = self.events[from..].iter();
            if new.any(|event| matches!(event, Event::Heard(_, message) if is_it(message))) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Waits until a recall is repeated.
    async fn reminded(&mut self, session: &SessionId) -> Play {
        let (lease, recall) = self.judge.spans();
        let most = lease.max(recall);
        self.may_wait("a lease or a recall", most)?;
        let is_it = |message: &ToProcess| matches!(message, ToProcess::Recall { hold, .. } if hold.session == *session);
        if self.comes(most, is_it).await? {
            return Ok(());
        }
        let text = "recalls are repeated only after more than a lease or a recall time";
        Err(CaseEnd::Skipped(text.to_owned()))
    }

    async fn expire(&mut self, session: SessionId) -> Play {
        let Some(ms) = self.ctx.target().expires_ms else {
            return Err(CaseEnd::Skipped("without --expires-ms".to_owned()));
        };
        self.pass(Timer::Expire(session), Duration::from_millis(ms))
            .await
    }

    /// Waits for the end of a wait, whose length a store does not state.
    async fn wait_ends(&mut self, session: SessionId, process: ProcessId) -> Play {
        let (lease, recall) = self.judge.spans();
        if !self.judge.is_connected(&process) {
            let timer = Timer::Wait(session, process);
            return self.pass(timer, WAIT_RECALLS * recall.max(lease)).await;
        }
        let most = Duration::from_millis(self.ctx.target().wait_max_ms);
        let is_it = |message: &ToProcess| {
            let is_end = |why: &Refusal| matches!(why, Refusal::Deadline | Refusal::WouldBlock);
            matches!(message, ToProcess::Refused { session: own, why, .. } if *own == session && is_end(why))
        };
        if self.comes(most, is_it).await? {
            return Ok(());
        }
        Err(CaseEnd::Skipped(format!(
            "its waits are longer than --wait-max-ms {}",
            most.as_millis()
        )))
    }
}
