//! What follows when a driver passes an [`Admission`]: a store that drains recalls all grants. Rule 3.

use super::admission::{Admission, Stopping};
use super::step::Step;
use crate::id::SessionId;
use crate::mutant::Hook;
use alloc::vec::Vec;

impl<H: Hook> Step<'_, H> {
    pub(crate) fn on_admission(&mut self, admission: Admission) {
        let before = self.ctx.admission.stopping;
        let stopping = before.max(admission.stopping);
        *self.ctx.admission = Admission {
            stopping,
            ..admission
        };
        let is_draining = stopping == Stopping::Draining;
        // r[stop.keeps]
        if stopping == before || !self.ctx.rules.recalls_all(is_draining) {
            return;
        }
        let held: Vec<SessionId> = self.ctx.peers.all_held().cloned().collect();
        for id in held {
            // r[stop.drains]
            self.on_operator_recall(&id);
        }
    }
}
