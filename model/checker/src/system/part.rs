//! The parts of a state: the numbers in each, and the invariants that each must keep by itself.
//!
//! A part is judged once, when it is made. `property` reads the result, one bit for each violated invariant.

use super::canonical::Numbered;
use super::{PROCESSES, ProcessSide, StoreSide, Wire, thread_id};
use crate::universe::Universe;
use tenure_protocol::process::ThreadClaim;
use tenure_protocol::renumber::Numbers;
use tenure_protocol::{Hook, ProcessMachine, StoreMachine, invariant};

impl<H: Hook> Numbered for StoreSide<H> {
    fn visit(&mut self, numbers: &mut impl Numbers) {
        self.machine.visit(numbers);
        self.durable.visit(numbers);
        for update in &mut self.updates {
            update.visit(numbers);
        }
        self.barrier.visit(numbers);
    }

    fn broken(&self, _: &'static Universe) -> u32 {
        broken_in_store(&self.machine)
    }
}

impl<H: Hook> Numbered for ProcessSide<H> {
    fn visit(&mut self, numbers: &mut impl Numbers) {
        let name = &PROCESSES[usize::from(self.index)];
        let mut incarnation = tenure_protocol::Incarnation(self.incarnation);
        if let Some(machine) = &mut self.machine {
            machine.visit(name, numbers);
        }
        numbers.incarnation(name, &mut incarnation);
        self.incarnation = incarnation.0;
    }

    fn broken(&self, universe: &'static Universe) -> u32 {
        broken_in_process(self, universe)
    }
}

impl Numbered for Wire {
    fn visit(&mut self, numbers: &mut impl Numbers) {
        let name = &PROCESSES[usize::from(self.index)];
        for (link, message) in &mut self.up {
            numbers.link(name, link);
            if let Some(message) = message {
                message.visit(name, numbers);
            }
        }
        for (link, message) in &mut self.down {
            numbers.link(name, link);
            message.visit(name, numbers);
        }
    }
}

/// Returns one bit for each invariant of the store that does not hold.
fn broken_in_store<H: Hook>(store: &StoreMachine<H>) -> u32 {
    let invariants = invariant::of_store();
    invariants
        .iter()
        .enumerate()
        .map(|(place, invariant)| u32::from(!(invariant.holds)(store)) << place)
        .sum()
}

/// Returns one bit for each invariant of a process that does not hold, and one more when its threads are wrong about
/// their locks.
fn broken_in_process<H: Hook>(side: &ProcessSide<H>, universe: &Universe) -> u32 {
    let Some(machine) = &side.machine else {
        return 0;
    };
    let invariants = invariant::of_process();
    let broken = invariants
        .iter()
        .enumerate()
        .map(|(place, invariant)| u32::from(!(invariant.holds)(machine)) << place);
    broken.sum::<u32>() | u32::from(!told(side, machine, universe)) << invariants.len()
}

/// Returns whether each thread of the model holds the locks that it believes to hold, or is poisoned.
fn told<H: Hook>(side: &ProcessSide<H>, machine: &ProcessMachine<H>, universe: &Universe) -> bool {
    let programs = universe.programs[usize::from(side.index)];
    programs.iter().enumerate().all(|(thread, program)| {
        let id = thread_id(thread);
        let is_own = |claim: &&ThreadClaim| claim.thread == id;
        let clients = || machine.sessions().map(|(_, client)| client);
        let held: usize = clients()
            .map(|client| client.lock().holders().iter().filter(is_own).count())
            .sum();
        let is_poisoned = clients().any(|client| {
            client
                .poisoned()
                .iter()
                .any(|(poisoned, _)| *poisoned == id)
        });
        let believed = side.threads[thread].locks(program).len();
        held == believed || (held < believed && is_poisoned)
    })
}
