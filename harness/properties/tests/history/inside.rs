//! The operations of a guard with an immediate result: writing, checking the grant, and leaving.

use super::handle::{poisoned, refused, said as answered};
use super::run::{Checked, Run, same};
use super::task::{Do, Said};
use tenure_locks::Error;
use tenure_protocol::attributes::Value;
use tenure_protocol::process::{Answer, Call};
use tenure_protocol::{AttributeName, ThreadId};

impl Run {
    /// Lets a guard leave in the machine. Returns the expected result for its thread.
    pub(crate) fn let_out(&mut self, at: usize, keeps: bool) -> Said {
        let own = &self.handles[at];
        let (thread, session, names) =
            (own.thread(), own.session.clone(), own.acquire.names.clone());
        let lost = self.machine.lost(thread, &session);
        let others = self.handles.iter().enumerate();
        let mut others = others.filter(|(other, _)| *other != at);
        let is_last = !others.any(|(_, other)| other.is_of(thread, &session) && other.is_inside());
        let mut told = None;
        // The machine forgets the lost grant of a thread when one of its guards leaves. The manager remembers
        // it for all guards of the thread, and lets the machine forget it with the last.
        if lost.is_none() || is_last {
            let call = if keeps {
                Call::Unlock(names)
            } else {
                Call::Discard(names)
            };
            told = self.call(thread, &session, &call, true);
        }
        match (lost, told) {
            (Some(why), _) => Said::Failed(poisoned(&session, why)),
            (None, Some(Answer::Refused(why))) => Said::Failed(refused(&session, &why)),
            (None, _) => Said::Done,
        }
    }

    pub(crate) fn leave(&mut self, at: usize, keeps: bool) -> Checked {
        let mut expected = self.let_out(at, keeps);
        let what = if keeps {
            Do::Unlock
        } else {
            expected = Said::Done; // A discard returns no result.
            Do::Discard
        };
        let mut own = self.handles.remove(at);
        let said = own.task.tell(what);
        same(
            || "the result of leaving".to_owned(),
            &Some(expected),
            &said,
        )?;
        self.settle().map(drop)
    }

    pub(crate) fn check(&mut self, at: usize) -> Checked {
        let own = &mut self.handles[at];
        let lost = self.machine.lost(own.thread(), &own.session);
        let expected = lost.map_or(Said::Done, |why| Said::Failed(poisoned(&own.session, why)));
        let said = own.task.tell(Do::Check);
        same(
            || "the result of the check".to_owned(),
            &Some(expected),
            &said,
        )?;
        self.settle().map(drop)
    }

    pub(crate) fn write(
        &mut self,
        thread: ThreadId,
        which: usize,
        name: &AttributeName,
        value: Option<Value>,
        edits: bool,
    ) -> Checked {
        let Some(at) = self.held(thread, which) else {
            return Ok(());
        };
        let own = &mut self.handles[at];
        own.has_acted = true;
        own.has_written = true;
        let (name, session) = (own.own(name), own.session.clone());
        let how = if edits { "edit" } else { "write" };
        let line = format!(
            "t{thread}: {how} {session}/{name} = {}",
            shown(value.as_ref())
        );
        self.lines.push(line);
        let what = match &value {
            Some(value) if edits => Do::Edit(name.clone(), value.clone()),
            value => Do::Set(name.clone(), value.clone()),
        };
        let call = Call::Write { name, value };
        if let Some(why) = self.machine.lost(thread, &session) {
            // The write fails if the manager already knows of the loss. The write is discarded in any case.
            let said = self.handles[at].task.tell(what);
            if said != Some(Said::Done) {
                let expected = Some(Said::Failed(poisoned(&session, why)));
                same(|| "the result of a late write".to_owned(), &expected, &said)?;
            }
            return self.settle().map(drop);
        }
        let said = self.handles[at].task.tell(what);
        // Only the manager limits sizes, and only in small sessions. A refused write changes nothing.
        let is_limited = matches!(said, Some(Said::Failed(Error::Limit(..))));
        if self.setup.is_small && is_limited {
            if edits {
                self.fall_back(at, &call)?;
            }
            return self.settle().map(drop);
        }
        let refused_by = self.call(thread, &session, &call, true);
        let expected = refused_by.map_or(Said::Done, |why| answered(&session, &why));
        same(
            || "the result of a write".to_owned(),
            &Some(expected),
            &said,
        )?;
        if let Call::Write { value, .. } = call {
            self.handles[at].wrote.push(value);
        }
        self.settle().map(drop)
    }

    /// Handles a refused edit. The edit was made in place, so the guard falls back to the last value that the session
    /// has accepted from it. The machine continues with that value. It must be the value before the guard wrote, or a
    /// value that the guard wrote.
    fn fall_back(&mut self, at: usize, edit: &Call) -> Checked {
        let Call::Write { name, .. } = edit else {
            unreachable!("the caller handles only edits here, which are writes")
        };
        let own = &mut self.handles[at];
        let (thread, id) = (own.thread(), own.session.clone());
        let value = own.task.look().values.remove(&name.to_string());
        let session = self.machine.process().session(&id);
        let session = session.expect("a thread with a guard is inside its session");
        let mut slots = session.slots().iter();
        let before = slots.find(|slot| slot.name == *name);
        let before = before.and_then(|slot| slot.value.clone());
        if value.as_ref() == session.value(thread, name) {
            return Ok(());
        }
        if value != before && !own.wrote.contains(&value) {
            let what = || "the value after a refused edit".to_owned();
            same(what, &before, &value)?;
        }
        let name = name.clone();
        let told = self.call(thread, &id, &Call::Write { name, value }, true);
        same(
            || "the machine's answer to the fallback".to_owned(),
            &None,
            &told,
        )
    }
}

/// Formats a value for a script. Most values have one byte.
pub(crate) fn shown(value: Option<&Value>) -> String {
    match value {
        None => "nothing".to_owned(),
        Some(value) if value.len() <= 1 => format!("{:?}", String::from_utf8_lossy(value)),
        Some(value) => format!("{} × {:?}", value.len(), char::from(value[0])),
    }
}
