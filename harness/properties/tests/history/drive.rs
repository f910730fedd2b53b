//! What the driver does: it sweeps, lets time pass, and ends every history.

use super::op::attribute;
use super::run::{Checked, Run, same};
use tenure_locks::Cached;
use tenure_protocol::SessionId;
use tenure_protocol::attributes::Value;
use tenure_protocol::process::Input;

/// How often what has no answer is said again at the end.
const REPEATS_MAX: usize = 3;

impl Run {
    pub(crate) fn sweep(&mut self, unused_ms: u64) -> Checked {
        self.lines
            .push(format!("sweep what is unused for {unused_ms} ms"));
        let expected = self.machine.idle(self.now, unused_ms);
        self.locks.sweep(unused_ms);
        self.settle()?;
        let mut idle = self.locks.idle(Cached::Grant, unused_ms, usize::MAX);
        let is_in_order = idle.is_sorted_by_key(|(since, _)| *since);
        same(
            || "whether the longest unused come first".to_owned(),
            &true,
            &is_in_order,
        )?;
        idle.sort_by(|(_, one), (_, two)| one.cmp(two));
        let idle: Vec<_> = idle.into_iter().map(|(since, id)| (id, since)).collect();
        same(|| "which sessions are idle".to_owned(), &expected, &idle)
    }

    /// Time passes; then the driver ticks, or is late and something else comes first.
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

    /// Everybody leaves, everything is carried: nobody waits any more, and the process can go.
    pub(crate) fn end(&mut self) -> Checked {
        self.lines
            .push("at last everybody drops what it has, and all messages arrive".to_owned());
        while !self.handles.is_empty() {
            self.drop_at(0)?;
            self.compare()?;
        }
        self.carry()?;
        // Twice at most: a welcome that was under way for longer than the lease ends the connection.
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
            || "who still waits, at the store and here".to_owned(),
            &(false, 0),
            &waits,
        )?;
        self.sweep(0)?;
        self.lines.push("and shuts down".to_owned());
        self.both(Input::Shutdown)?;
        self.carry()?;
        self.compare()?;
        // Some answers cross what they answer, and come when it is said again.
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
            || "whether it has left, and what it still holds".to_owned(),
            &(true, false),
            &ends,
        )
    }

    /// The other process gives back what it has; answers whether it had anything.
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
