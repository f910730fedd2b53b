//! Plays a script: what it says with the machine's numbers is said with the target's.

use crate::stop::{Play, Stop};
use crate::store::Stage;
use crate::store::derived::script::{Script, Step, stamp};
use crate::store::oracle::{Connection, Judge, Kind};
use crate::store::set;
use std::time::Duration;
use tenure_protocol::message::{Hold, Patience, Wish};
use tenure_protocol::store::Timer;
use tenure_protocol::{
    Delta, Incarnation, Link, ProcessId, Request, SessionId, Stamp, Ticket, ToStore, Token, Version,
};

/// Longer than that no store of a script's needs lets others wait, as far as anybody knows.
const WAIT_RECALLS: u32 = 4;

pub(crate) async fn play(stage: Stage, script: &'static Script) -> Play {
    let mut judge = Judge::new(stage.clone());
    for (place, step) in script.steps.iter().enumerate() {
        let told = format!("{}. {}", place + 1, step.what);
        stage.trace().did("script", told);
        take(&stage, &mut judge, step).await?;
    }
    Ok(())
}

async fn take(stage: &Stage, judge: &mut Judge, step: &Step) -> Play {
    match step.what.as_str() {
        "restart" => judge.restart().await,
        "cut" => judge.cut(&step.connection()?).await,
        "lease ends" | "revokes" | "wait ends" => pass(stage, judge, step).await,
        "connect" => {
            let holds = step.holds.iter().map(|own| own.hold(judge));
            let holds = holds.collect::<Play<Vec<Hold>>>()?;
            let waits = step.waits.iter().map(|own| own.wish(judge));
            let waits = waits.collect::<Play<Vec<Wish>>>()?;
            judge.connect(&step.connection()?, holds, waits).await
        }
        "keep alive" => Ok(()), // Every step is settled by some.
        "goodbye" => {
            let connection = step.connection()?;
            judge.silence(&connection);
            judge.say(&connection, ToStore::Goodbye).await
        }
        _ => {
            let message = step.message(judge)?;
            judge.say(&step.connection()?, message).await
        }
    }
}

/// Waits for a timer of the store.
async fn pass(stage: &Stage, judge: &mut Judge, step: &Step) -> Play {
    let (lease, recall) = judge.spans();
    let millis = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    let (timer, span) = match step.what.as_str() {
        "lease ends" => {
            let process = step.process()?;
            judge.silence_process(&process);
            (Timer::Lease(process), lease)
        }
        "revokes" => (Timer::Revoke(step.session()?), recall),
        _ => {
            let timer = Timer::Wait(step.session()?, step.process()?);
            (timer, WAIT_RECALLS * recall.max(lease))
        }
    };
    stage.may_wait(&format!("a timer ({})", step.what), millis(span))?;
    judge.pass(timer, span).await
}

fn missing(what: &str) -> Stop {
    Stop::fault(format!("a script's step has no {what}"))
}

impl Step {
    fn process(&self) -> Play<ProcessId> {
        let name = self.process.clone().ok_or_else(|| missing("process"))?;
        ProcessId::new(name).map_err(Stop::fault)
    }

    fn session(&self) -> Play<SessionId> {
        let name = self.session.clone().ok_or_else(|| missing("session"))?;
        SessionId::new(name).map_err(Stop::fault)
    }

    fn request(&self) -> Play<Request> {
        self.request.map(Request).ok_or_else(|| missing("request"))
    }

    fn connection(&self) -> Play<Connection> {
        let [incarnation, number] = self.link.ok_or_else(|| missing("link"))?;
        let incarnation = Incarnation(incarnation);
        Ok(Connection {
            process: self.process()?,
            link: Link {
                incarnation,
                number,
            },
        })
    }

    /// The target's number for one of the machine's.
    fn theirs(&self, judge: &Judge, kind: Kind, ours: [u64; 2]) -> Play<Stamp> {
        let ours = stamp(ours);
        if ours == Stamp::default() {
            return Ok(ours);
        }
        judge.theirs(kind, &self.session()?, ours).ok_or_else(|| {
            let text = "what could come in several orders came in another than this script has";
            Stop::Skipped(text.to_owned())
        })
    }

    fn token(&self, judge: &Judge) -> Play<Token> {
        let ours = self.token.ok_or_else(|| missing("token"))?;
        self.theirs(judge, Kind::Token, ours).map(Token)
    }

    fn base(&self, judge: &Judge) -> Play<Version> {
        let ours = self.base.ok_or_else(|| missing("base"))?;
        self.theirs(judge, Kind::Version, ours).map(Version)
    }

    fn hold(&self, judge: &Judge) -> Play<Hold> {
        Ok(Hold {
            session: self.session()?,
            token: self.token(judge)?,
        })
    }

    fn wish(&self, judge: &Judge) -> Play<Wish> {
        let known = self
            .known
            .map(|ours| self.theirs(judge, Kind::Version, ours));
        // A place in the queue need not be told.
        let session = self.session()?;
        let ticket = self
            .ticket
            .and_then(|ours| judge.theirs(Kind::Ticket, &session, stamp(ours)));
        Ok(Wish {
            session,
            request: self.request()?,
            known: known.transpose()?.map(Version),
            patience: match self.patience.as_deref() {
                Some("try") => Patience::Try,
                _ => Patience::Wait,
            },
            ticket: ticket.map(Ticket),
        })
    }

    fn delta(&self) -> Delta {
        let changes = self.set.iter().flatten();
        set(changes.map(|(name, value)| (name.as_str(), value.as_deref())))
    }

    fn message(&self, judge: &Judge) -> Play<ToStore> {
        let session = self.session()?;
        Ok(match self.what.as_str() {
            "acquire" => ToStore::Acquire(self.wish(judge)?),
            "cancel" => ToStore::Cancel {
                session,
                request: self.request()?,
            },
            "commit" => ToStore::Commit {
                session,
                token: self.token(judge)?,
                base: self.base(judge)?,
                delta: self.delta(),
            },
            "release" => ToStore::Release {
                session,
                token: self.token(judge)?,
                base: self.base(judge)?,
                delta: self.delta(),
                requeue: self.requeue.map(Request),
                idle_ms: 0,
            },
            "busy" => {
                let all = self.blocked_on.iter().flatten().cloned();
                let all: Result<Vec<_>, _> = all.map(SessionId::new).collect();
                ToStore::Busy {
                    session,
                    token: self.token(judge)?,
                    inside: 1,
                    blocked_on: all.map_err(Stop::fault)?,
                }
            }
            "destroy" => ToStore::Destroy {
                session,
                token: self.token(judge)?,
            },
            "rename" => {
                let to = self.to.clone().ok_or_else(|| missing("new id"))?;
                ToStore::Rename {
                    session,
                    token: self.token(judge)?,
                    to: SessionId::new(to).map_err(Stop::fault)?,
                }
            }
            other => return Err(Stop::fault(format!("nobody knows how to {other}"))),
        })
    }
}
