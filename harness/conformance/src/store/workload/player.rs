//! Plays a history: each process tracks its own knowledge, and turns steps into messages with the target's numbers.

use crate::end::{CaseEnd, Play};
use crate::store::oracle::{Connection, Judge};
use crate::store::workload::act::{Act, PROCESSES, SESSIONS, What};
use crate::store::workload::side::{Side, session, side};
use crate::store::{CaseContext, set};
use std::array;
use std::time::Duration;
use tenure_protocol::message::GrantRef;
use tenure_protocol::{Delta, Incarnation, Link, ToStore};

/// The approximate total of all rests in a history, in leases.
const LEASES: u64 = 5;

struct Stand {
    judge: Judge,
    sides: [Side; PROCESSES],
    ctx: CaseContext,
    /// The number of written values. Each value is different.
    written: u32,
}

/// Plays the history from the beginning. A failure carries the number of steps played.
pub(super) async fn play(ctx: &CaseContext, acts: &[Act]) -> Result<(), (usize, CaseEnd)> {
    let mut stand = Stand {
        judge: Judge::new(ctx.clone()),
        sides: array::from_fn(side),
        ctx: ctx.clone(),
        written: 0,
    };
    for process in 0..PROCESSES {
        stand.connect(process).await.map_err(|stop| (0, stop))?;
    }
    for (place, act) in acts.iter().enumerate() {
        ctx.trace().did("history", format!("{}. {act}", place + 1));
        let acted = stand.act(*act).await;
        acted.map_err(|stop| (place + 1, stop))?;
        stand.learn();
    }
    Ok(())
}

impl Stand {
    async fn act(&mut self, act: Act) -> Play {
        let side = &mut self.sides[act.process];
        match act.what {
            What::Cut => match side.connection.take() {
                Some(connection) => self.judge.cut(&connection).await,
                None => Ok(()),
            },
            What::Silence => {
                if let Some(connection) = side.connection.take() {
                    self.judge.silence(&connection);
                }
                Ok(())
            }
            What::Connect => self.connect(act.process).await,
            What::Forget => {
                side.forget();
                self.connect(act.process).await
            }
            What::Start => {
                side.is_gone = true;
                self.connect(act.process).await
            }
            What::Goodbye => {
                side.is_gone = true;
                let Some(connection) = side.connection.take() else {
                    return Ok(());
                };
                self.judge.silence(&connection);
                self.judge.say(&connection, ToStore::Goodbye).await
            }
            What::Rest => self.rest(act.value).await,
            What::Restart => {
                self.sides
                    .iter_mut()
                    .for_each(|side| side.connection = None);
                self.judge.restart().await
            }
            _ => self.say(act).await,
        }
    }

    async fn rest(&mut self, value: u8) -> Play {
        let (lease, recall) = self.judge.spans();
        let longest = lease.max(recall).as_millis() as u64;
        self.ctx.may_wait(
            "rests that are several leases or recalls long",
            LEASES * longest,
        )?;
        let span = longest * u64::from(value % 4 + 1) / 4;
        self.judge.rest(Duration::from_millis(span)).await
    }

    /// Sends a hello on a new connection, with all grants and waits.
    async fn connect(&mut self, process: usize) -> Play {
        let side = &mut self.sides[process];
        if side.is_gone {
            side.forget();
            side.is_gone = false;
            side.link = Link {
                incarnation: Incarnation(side.link.incarnation.0 + 1),
                number: 0,
            };
        }
        side.link.number += 1;
        let connection = Connection {
            process: side.name.clone(),
            link: side.link,
        };
        side.connection = Some(connection.clone());
        let holds = (0..SESSIONS).filter_map(|index| {
            let token = side.own[index].grant?.token;
            let session = session(index);
            Some(GrantRef { session, token })
        });
        let waits = (0..SESSIONS).filter_map(|index| {
            let wait = side.own[index].wait?;
            Some(side.acquire_request(index, wait))
        });
        let (holds, waits) = (holds.collect(), waits.collect());
        self.judge.connect(&connection, holds, waits).await
    }

    async fn say(&mut self, act: Act) -> Play {
        let Some(connection) = self.sides[act.process].connection.clone() else {
            return Ok(());
        };
        let stranger = self
            .sides
            .iter()
            .enumerate()
            .filter(|(index, _)| *index != act.process)
            .find_map(|(_, side)| side.own[act.session].grant);
        let delta = self.delta(act);
        let side = &mut self.sides[act.process];
        let Some(message) = side.message(act, delta, stranger) else {
            return Ok(());
        };
        self.judge.say(&connection, message).await
    }

    /// Returns a change of the session: another value for an attribute, or the removal of an existing one.
    fn delta(&mut self, act: Act) -> Delta {
        self.written += 1;
        let name = ["a", "b", "c"][usize::from(act.value % 3)];
        let is_there = self
            .judge
            .attributes(&session(act.session))
            .keys()
            .any(|own| own.as_bytes() == name.as_bytes());
        if is_there && act.value.is_multiple_of(5) {
            return set([(name, None)]);
        }
        set([(name, Some(self.written.to_string().as_str()))])
    }

    fn learn(&mut self) {
        for (connection, message) in self.judge.heard() {
            let mut sides = self.sides.iter_mut();
            let side = sides.find(|side| side.connection.as_ref() == Some(&connection));
            if let Some(side) = side {
                side.hear(&message);
            }
        }
        for side in &mut self.sides {
            if let Some(connection) = &side.connection
                && !self.judge.is_open(connection)
            {
                side.connection = None;
            }
        }
    }
}
