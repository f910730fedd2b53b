//! The part of the driver: sweeps, the passing of time, and the end of every history.

use super::op::attribute;
use super::run::{Checked, Run, same};
use tenure_locks::Cached;
use tenure_protocol::SessionId;
use tenure_protocol::attributes::Value;
use tenure_protocol::process::Input;

/// The maximum number of resends at the end of a history.
const REPEATS_MAX: usize = 3;

impl Run {
    pub(crate) fn sweep(&mut self, unused_ms: u64) -> Checked {
        self.lines
            .push(format!("sweep sessions unused for {unused_ms} ms"));
        let expected = self.machine.idle(self.now, unused_ms);
        self.locks.sweep(unused_ms);
        self.settle()?;
        let mut idle = self.locks.idle(Cached::Grant, unused_ms, usize::MAX);
        let is_in_order = idle.is_sorted_by_key(|(since, _)| *since);
        same(
            || "the order of the idle sessions".to_owned(),
            &true,
            &is_in_order,
        )?;
        idle.sort_by(|(_, one), (_, two)| one.cmp(two));
        let idle: Vec<_> = idle.into_iter().map(|(since, id)| (id, since)).collect();
        same(|| "the list of idle sessions".to_owned(), &expected, &idle)
    }

    /// Lets time pass. Then the driver ticks, or another operation comes before the late tick.
    pub(crate) fn pass(&mut self, ms: u64, forgets: Option<SessionId>) -> Checked {
        self.now = self.now.after(ms);
        self.locks.set_time(self.now);
        if let Some(session) = forgets {
            self.lines
                .push(format!("{ms} ms pass without a tick; forget {session}"));
            self.both(Input::Forget(session))?;
        } else {
            self.lines.push(format!("{ms} ms pass"));
            self.tick_machine();
            self.take_unfetched();
            self.locks.tick();
            self.settle()?;
        }
        self.net.pass(self.now);
        self.twin.pass(self.now);
        Ok(())
    }

    /// Ends the history: all guards and requests are dropped, and all messages are carried. Then no thread waits, and
    /// the process can leave.
    pub(crate) fn end(&mut self) -> Checked {
        self.lines.push(
            "at the end, all guards and requests are dropped, and all messages arrive".to_owned(),
        );
        while !self.handles.is_empty() {
            self.drop_at(0)?;
            self.compare()?;
        }
        self.carry()?;
        // Twice at most: a welcome that was under way for longer than the lease ends its connection.
        while !self.net.is_up() && !self.locks.has_left() {
            self.both(Input::Connected)?;
            self.carry()?;
        }
        self.compare()?;
        while self.return_all() {
            self.carry()?;
            self.compare()?;
        }
        let waits = (self.net.has_waiters(), self.locks.busy().len());
        same(
            || "the list of waiters, at the store and in the process".to_owned(),
            &(false, 0),
            &waits,
        )?;
        self.sweep(0)?;
        self.lines.push("the process shuts down".to_owned());
        self.both(Input::Shutdown)?;
        self.carry()?;
        self.compare()?;
        // Some answers cross the messages that they answer, and come again after a resend.
        for _ in 0..REPEATS_MAX {
            if self.locks.has_left() {
                break;
            }
            self.pass(2_500, None)?;
            self.carry()?;
            self.compare()?;
        }
        let ends = (self.locks.has_left(), self.net.has_grants());
        same(
            || {
                "the state after the shutdown: whether the process has left, and its grants"
                    .to_owned()
            },
            &(true, false),
            &ends,
        )
    }

    /// Gives all sessions of the other process back. Returns whether it held any.
    pub(crate) fn return_all(&mut self) -> bool {
        let mut any = false;
        for session in ["s1", "s2", "s3"].map(SessionId::from_static) {
            if self.net.held_elsewhere(&session).is_some() {
                any = true;
                self.net.give_back(&session, attribute(0), Value::new());
                self.twin.give_back(&session, attribute(0), Value::new());
            }
        }
        any
    }
}
