//! The judge: plays steps to the target and to the machine, and compares their messages.

use crate::end::{CaseEnd, Play};
use crate::store::oracle::compare::Came;
use crate::store::oracle::explain::{Entry, HIDDEN_MAX, few, follow, hidden, replay};
use crate::store::oracle::hypothesis::{Around, Hypothesis, shown};
use crate::store::oracle::ledger::Ledger;
use crate::store::oracle::names::Kind;
use crate::store::oracle::sessions::{said, told};
use crate::store::{CaseContext, Heard, ScriptedProcess};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tenure_protocol::message::{AcquireRequest, GrantRef, Hello};
use tenure_protocol::store::Timer;
use tenure_protocol::{Link, ProcessId, SessionId, Stamp, Time, ToProcess, ToStore};
use tokio::time::{Instant, sleep_until};

/// The interval at which connections are polled when there is nothing else to wait for.
const LOOK: Duration = Duration::from_millis(5);

/// A connection of a process.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Connection {
    pub(crate) process: ProcessId,
    pub(crate) link: Link,
}

/// The suite's end of a connection.
#[derive(Debug)]
struct Line {
    player: ScriptedProcess,
    /// Whether keep-alives are sent automatically.
    is_kept: bool,
    /// The send time of the last keep-alive; the hello had 1.
    sent: u64,
    /// The keep-alives without an answer.
    unanswered: BTreeSet<u64>,
    pulsed: Instant,
}

/// The judge of a store. See the [module](self).
#[derive(Debug)]
pub(crate) struct Judge {
    ctx: CaseContext,
    lines: BTreeMap<Connection, Line>,
    /// The connections in `lines`, and those that were closed since the step began.
    open: BTreeSet<Connection>,
    ledger: Ledger,
    hypotheses: Vec<Hypothesis>,
    /// The hypotheses at the beginning of the step, followed by the events since.
    before: Vec<Hypothesis>,
    log: Vec<Entry>,
    heard: Vec<(Connection, ToProcess)>,
    expires: Option<Instant>,
}

impl Judge {
    pub(crate) fn new(ctx: CaseContext) -> Self {
        let expires = ctx.target().expires_ms;
        let expires = expires.map(|ms| Instant::now() + Duration::from_millis(ms));
        let hypothesis = Hypothesis::new(expires.is_some());
        Self {
            ctx,
            lines: BTreeMap::new(),
            open: BTreeSet::new(),
            ledger: Ledger::default(),
            hypotheses: vec![hypothesis.clone()],
            before: vec![hypothesis],
            log: Vec::new(),
            heard: Vec::new(),
            expires,
        }
    }

    // ---- steps ------------------------------------------------------------------------------------------------------

    /// Begins a step.
    fn begin(&mut self) {
        self.hypotheses.iter_mut().for_each(Hypothesis::turn);
        self.notice();
        self.before.clone_from(&self.hypotheses);
        self.log.clear();
        self.open = self.lines.keys().cloned().collect();
        self.ledger.begin();
    }

    /// Considers that the target may have noticed connection cuts, which it does not report. Its next actions depend on
    /// that, because a process without a connection is passed by.
    fn notice(&mut self) {
        let around = self.around();
        let blind = self
            .hypotheses
            .iter()
            .filter(|hypothesis| !hypothesis.unnoticed.is_empty());
        let mut hypotheses: Vec<Hypothesis> = blind
            .map(|hypothesis| hypothesis.noticed(&around))
            .collect();
        if !hypotheses.is_empty() {
            hypotheses.extend(std::mem::take(&mut self.hypotheses));
            self.hypotheses = few(hypotheses);
        }
    }

    /// Connects a process and sends its hello.
    pub(crate) async fn connect(
        &mut self,
        connection: &Connection,
        holds: Vec<GrantRef>,
        waits: Vec<AcquireRequest>,
    ) -> Play {
        self.begin();
        let name = connection.process.to_string();
        let Link {
            incarnation,
            number,
        } = connection.link;
        let mut player = ScriptedProcess::connect(&self.ctx, &name, incarnation.0, number).await?;
        player.keeps_alive = false;
        for acquire in &waits {
            self.ledger.asks(
                &connection.process,
                &acquire.session,
                acquire.request,
                acquire.known,
            );
        }
        // The replaced connection is read to its end, and sends nothing more.
        let mut is_newest = true;
        for (other, line) in &mut self.lines {
            if other.process == connection.process {
                line.is_kept &= other.link > connection.link;
                is_newest &= other.link < connection.link;
            }
        }
        let sent = Time(1);
        let hello = ToStore::Hello(Hello {
            minor: player.minor_max,
            incarnation,
            sent,
            holds: holds.clone(),
            waits: waits.clone(),
        });
        self.open.insert(connection.clone());
        self.ledger.says_it_lives(connection, sent);
        self.tell(Entry::Heard(connection.clone(), hello));
        let theirs = |session: &SessionId| self.ctx.session(&session.to_string());
        let holds = holds.into_iter().map(|hold| GrantRef {
            session: theirs(&hold.session),
            ..hold
        });
        let waits = waits.into_iter().map(|acquire| AcquireRequest {
            session: theirs(&acquire.session),
            ..acquire
        });
        player.hello(holds.collect(), waits.collect()).await?;
        let line = Line {
            player,
            is_kept: is_newest,
            sent: sent.0,
            unanswered: BTreeSet::new(),
            pulsed: Instant::now(),
        };
        self.lines.insert(connection.clone(), line);
        self.settle(connection).await
    }

    /// Sends a message of a process.
    pub(crate) async fn say(&mut self, connection: &Connection, message: ToStore) -> Play {
        if !self.lines.contains_key(connection) {
            return Ok(()); // The store has closed the connection.
        }
        self.begin();
        self.ledger.said(&connection.process, &message);
        self.tell(Entry::Heard(connection.clone(), message.clone()));
        let message = said(message, &|session| self.ctx.session(&session.to_string()));
        let line = self.lines.get_mut(connection).expect("looked up");
        line.player.say(message).await?;
        self.settle(connection).await
    }

    /// Stops the keep-alives of a process, so that its lease ends.
    pub(crate) fn silence_process(&mut self, process: &ProcessId) {
        for (connection, line) in &mut self.lines {
            line.is_kept &= connection.process != *process;
        }
    }

    /// Cuts the connection of a process.
    pub(crate) async fn cut(&mut self, connection: &Connection) -> Play {
        let Some(line) = self.lines.remove(connection) else {
            return Ok(());
        };
        self.begin();
        self.tell(Entry::Cut(connection.clone()));
        line.player.cut();
        self.settle(connection).await
    }

    /// Stops all messages of a process without closing its connection.
    pub(crate) fn silence(&mut self, connection: &Connection) {
        if let Some(line) = self.lines.get_mut(connection) {
            line.is_kept = false;
        }
    }

    /// Kills and restarts the store.
    pub(crate) async fn restart(&mut self) -> Play {
        self.begin();
        self.lines.clear();
        self.ctx.restart().await?;
        self.ledger.restarted();
        self.open.clear();
        self.tell(Entry::Restarted);
        Ok(())
    }

    /// Lets time pass.
    pub(crate) async fn rest(&mut self, span: Duration) -> Play {
        self.begin();
        let until = Instant::now() + span;
        while Instant::now() < until {
            self.pulse().await?;
            self.look().await?;
            sleep_until(until.min(Instant::now() + LOOK)).await;
        }
        self.settle_all().await
    }

    /// Waits for a timer of the store, for the given time at most.
    pub(crate) async fn pass(&mut self, timer: Timer, span: Duration) -> Play {
        self.begin();
        // A timer takes so long that the store has noticed all cuts.
        let around = self.around();
        let noticed = self
            .hypotheses
            .iter()
            .map(|hypothesis| hypothesis.noticed(&around));
        self.hypotheses = few(noticed.collect());
        self.before.clone_from(&self.hypotheses);
        let without = self.hypotheses.clone();
        self.tell(Entry::Passed(timer));
        let is_seen = !self.hypotheses.iter().all(Hypothesis::is_satisfied);
        let slack = self.ctx.target().slack();
        let silence = Duration::from_millis(300).min(slack);
        let until = Instant::now() + span + if is_seen { slack } else { silence };
        if !is_seen {
            // It is unknown whether the timer has fired, until a message depends on it.
            self.hypotheses.extend(without);
        }
        while Instant::now() < until && !(is_seen && self.is_satisfied()) {
            self.pulse().await?;
            self.look().await?;
            sleep_until(until.min(Instant::now() + LOOK)).await;
        }
        self.settle_all().await
    }

    /// Returns the messages received since the last call.
    pub(crate) fn heard(&mut self) -> Vec<(Connection, ToProcess)> {
        std::mem::take(&mut self.heard)
    }

    /// Returns whether a process has a connection.
    pub(crate) fn is_connected(&self, process: &ProcessId) -> bool {
        let mut lines = self.lines.keys();
        lines.any(|connection| connection.process == *process)
    }

    pub(crate) fn is_open(&self, connection: &Connection) -> bool {
        self.lines.contains_key(connection)
    }

    /// Returns the attributes of a session according to the likeliest hypothesis.
    pub(crate) fn attributes(&self, session: &SessionId) -> super::ledger::Attributes {
        self.hypotheses[0].attributes(session)
    }

    /// Returns the target's number for one of the machine's, if the target has sent it.
    pub(crate) fn theirs(&self, kind: Kind, session: &SessionId, ours: Stamp) -> Option<Stamp> {
        let mut hypotheses = self.hypotheses.iter();
        hypotheses.find_map(|hypothesis| hypothesis.names.theirs(kind, session, ours))
    }

    /// Returns the lease time, and the longest time that a recall left to a holder, as the target stated them.
    pub(crate) fn spans(&self) -> (Duration, Duration) {
        (self.ledger.lease, self.ledger.recall)
    }

    // ---- settling ---------------------------------------------------------------------------------------------------

    /// Waits until all messages to which the step leads have come.
    async fn settle(&mut self, actor: &Connection) -> Play {
        // Settle the acting process first: once it is answered, its step was processed.
        if self.lines.get(actor).is_some_and(|line| line.is_kept) {
            self.keep_alive(actor).await?;
            self.answered().await?;
        } else {
            // The acting process receives no answers, so wait for the required messages.
            self.satisfied().await?;
            sleep_until(Instant::now() + LOOK).await;
        }
        self.settle_all().await
    }

    async fn settle_all(&mut self) -> Play {
        let kept: Vec<Connection> = self
            .lines
            .iter()
            .filter(|(_, line)| line.is_kept)
            .map(|(connection, _)| connection.clone())
            .collect();
        for connection in &kept {
            self.keep_alive(connection).await?;
        }
        self.answered().await?;
        self.satisfied().await
    }

    /// Waits until all required messages have come.
    async fn satisfied(&mut self) -> Play {
        let until = Instant::now() + self.ctx.target().slack();
        while !self.is_satisfied() {
            if Instant::now() >= until {
                // A recent keep-alive is answered separately. Without its answer no hypothesis would be complete, even
                // if it explains everything else.
                self.answered().await?;
                if !self.is_satisfied() {
                    self.missing()?;
                }
                continue;
            }
            self.pulse().await?;
            self.look().await?;
            sleep_until(Instant::now() + LOOK.min(Duration::from_millis(1))).await;
        }
        Ok(())
    }

    fn is_satisfied(&self) -> bool {
        self.hypotheses.iter().any(Hypothesis::is_satisfied)
    }

    /// Waits for the answers to all keep-alives.
    async fn answered(&mut self) -> Play {
        let until = Instant::now() + self.ctx.target().slack();
        loop {
            self.look().await?;
            let waiting = self
                .lines
                .iter()
                .find(|(_, line)| line.is_kept && !line.unanswered.is_empty());
            let Some((connection, _)) = waiting else {
                return Ok(());
            };
            let connection = connection.clone();
            if Instant::now() >= until {
                return Err(self.failed(&connection, "nothing, though it is connected"));
            }
            let wakes = until.min(Instant::now() + LOOK);
            let line = self.lines.get_mut(&connection).expect(
                "unanswered keep-alives belong to connections in the \
            map",
            );
            let heard = line.player.hear_until(wakes).await?;
            self.accept(&connection, heard)?;
        }
    }

    async fn keep_alive(&mut self, connection: &Connection) -> Play {
        let Some(line) = self.lines.get_mut(connection) else {
            return Ok(());
        };
        line.sent += 1;
        let sent = Time(line.sent);
        line.unanswered.insert(sent.0);
        line.pulsed = Instant::now();
        self.ledger.says_it_lives(connection, sent);
        let message = ToStore::KeepAlive { sent };
        line.player.say(message.clone()).await?;
        self.tell(Entry::Heard(connection.clone(), message));
        Ok(())
    }

    /// Sends the automatic keep-alives that are due.
    async fn pulse(&mut self) -> Play {
        let every = (self.ledger.lease / 4).max(Duration::from_millis(20));
        let due: Vec<Connection> = self
            .lines
            .iter()
            .filter(|(_, line)| line.is_kept && line.pulsed.elapsed() >= every)
            .map(|(connection, _)| connection.clone())
            .collect();
        for connection in due {
            self.keep_alive(&connection).await?;
        }
        Ok(())
    }

    /// Processes the received messages without waiting.
    async fn look(&mut self) -> Play {
        let all: Vec<Connection> = self.lines.keys().cloned().collect();
        for connection in all {
            while let Some(line) = self.lines.get_mut(&connection) {
                match line.player.hear_until(Instant::now()).await? {
                    Heard::Nothing => break,
                    heard => self.accept(&connection, heard)?,
                }
            }
        }
        Ok(())
    }

    fn accept(&mut self, connection: &Connection, heard: Heard) -> Play {
        let came = match heard {
            Heard::Nothing | Heard::Fault(_) => return Ok(()), // The end of the connection follows a fault.
            Heard::Garbage(what) => return Err(self.failed(connection, &what)),
            Heard::Closed => {
                self.lines.remove(connection);
                Came::Closed
            }
            Heard::Message(message) => {
                let own = self.own(connection, message)?;
                if let Some(line) = self.lines.get_mut(connection) {
                    line.note(&own);
                }
                self.ledger.hears(connection, &own);
                let results = self.ledger.results_of(&connection.process, &own);
                self.heard.push((connection.clone(), own.clone()));
                Came::Said(own, results)
            }
        };
        self.log.push(Entry::Came(connection.clone(), came.clone()));
        let around = self.around();
        let next = follow(&self.hypotheses, connection, &came, &around, HIDDEN_MAX);
        let next = if next.is_empty() {
            self.again(|_| true)
        } else {
            next
        };
        if next.is_empty() {
            return Err(match &came {
                Came::Said(message, results) => {
                    let mut seen = format!("{message:?}");
                    if matches!(message, ToProcess::Granted(_)) {
                        seen += &format!(", which makes {results:?}");
                    }
                    self.failed(connection, &seen)
                }
                Came::Closed => self.failed(connection, "the end of the connection"),
            });
        }
        self.hypotheses = next;
        if let Came::Said(message, results) = &came {
            let own = &self.hypotheses[0];
            let now = |session: &SessionId| own.attributes(session);
            self.ledger.copy(&connection.process, message, results, now);
        }
        Ok(())
    }

    /// Replaces the session ids of the case by the machine's.
    fn own(&self, connection: &Connection, message: ToProcess) -> Play<ToProcess> {
        let ctx = &self.ctx;
        let strange = std::cell::Cell::new(false);
        let own = told(message.clone(), &|session| {
            ctx.short(session).unwrap_or_else(|| {
                strange.set(true);
                session.clone()
            })
        });
        if strange.get() {
            return Err(self.failed(
                connection,
                &format!("{message:?}, about a session that no process has requested"),
            ));
        }
        Ok(own)
    }

    // ---- explanations -----------------------------------------------------------------------------------------------

    fn around(&self) -> Around<'_> {
        Around {
            open: &self.open,
            ledger: &self.ledger,
            is_before: false,
            at_any_time: false,
            may_expire: self.expires.is_some_and(|at| Instant::now() >= at),
        }
    }

    fn tell(&mut self, entry: Entry) {
        let mut hypotheses = std::mem::take(&mut self.hypotheses);
        replay(
            &mut hypotheses,
            &entry,
            &self.around(),
            self.expires.is_some(),
        );
        self.hypotheses = hypotheses;
        self.log.push(entry);
    }

    /// Returns the hypotheses that explain the whole step with the least number of invisible events before it.
    fn again(&self, is_it: impl Fn(&Hypothesis) -> bool) -> Vec<Hypothesis> {
        let around = self.around();
        let mut from = self.before.clone();
        for _ in 0..=HIDDEN_MAX {
            let mut found = Vec::new();
            for hypothesis in &from {
                let hypotheses = self.retold(hypothesis, &around);
                found.extend(
                    hypotheses
                        .into_iter()
                        .filter(|hypothesis| is_it(hypothesis)),
                );
            }
            if !found.is_empty() {
                return few(found);
            }
            let around = Around {
                is_before: true,
                ..self.around()
            };
            from = hidden(&from, &around);
        }
        Vec::new()
    }

    /// Replays the step on a hypothesis.
    fn retold(&self, hypothesis: &Hypothesis, around: &Around) -> Vec<Hypothesis> {
        let mut hypotheses = vec![hypothesis.clone()];
        for entry in &self.log {
            if let Entry::Came(connection, came) = entry {
                hypotheses = follow(&hypotheses, connection, came, around, 1);
            } else {
                replay(&mut hypotheses, entry, around, self.expires.is_some());
            }
        }
        hypotheses
    }

    /// Handles a required message that has not come.
    fn missing(&mut self) -> Play {
        let mut found = hidden(&self.hypotheses, &self.around());
        found.retain(Hypothesis::is_satisfied);
        if found.is_empty() {
            found = self.again(Hypothesis::is_satisfied);
        }
        if found.is_empty() {
            let what = self.allowed(|owed| !owed.may_be_missing());
            return Err(CaseEnd::told(what, "this message did not come"));
        }
        self.hypotheses = few(found);
        Ok(())
    }

    fn failed(&self, connection: &Connection, seen: &str) -> CaseEnd {
        CaseEnd::told(
            self.allowed(|_| true),
            format!("{}: {seen}", shown(connection)),
        )
    }

    /// Describes the messages that the machine allows.
    fn allowed(&self, is_meant: impl Fn(&super::hypothesis::Owed) -> bool) -> String {
        let Some(hypothesis) = self.hypotheses.first() else {
            return "nothing".to_owned();
        };
        let all = hypothesis.allowed(is_meant);
        let more = match self.hypotheses.len() {
            1 => String::new(),
            hypotheses => format!(" (or {} other ways)", hypotheses - 1),
        };
        format!("the machine allows, with its own numbers: {}{more}", all)
    }
}

impl Line {
    /// Records an answer that settles the connection.
    fn note(&mut self, message: &ToProcess) {
        match message {
            ToProcess::Alive { sent, .. } => {
                self.unanswered.remove(&sent.0);
            }
            ToProcess::LeaseEnded | ToProcess::Superseded | ToProcess::Full => {
                self.unanswered.clear();
                self.is_kept = false;
            }
            _ => {}
        }
    }
}
