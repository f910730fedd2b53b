//! The initial state of a universe.

use super::player::value;
use super::{
    ATTRIBUTES, Action, InUniverse, Model, PROCESSES_MAX, ProcessSide, SESSIONS, Shared, StoreSide,
    System, Wire,
};
use tenure_protocol::attributes::{Change, Head};
use tenure_protocol::store::DurabilityBarrier;
use tenure_protocol::{
    Delta, Hook, Incarnation, ProcessMachine, Records, Stamp, StoreMachine, Update, Version,
};

impl<H: Hook> Model<H> {
    /// Returns the initial state: all processes are connected, every session has all its attributes, and no session is
    /// held.
    #[expect(clippy::too_many_lines, reason = "one value, a field at a time")]
    pub(crate) fn initial(&self) -> System<H> {
        let mut durable = Records::default();
        let delta: Delta = ATTRIBUTES
            .iter()
            .take(usize::from(self.universe.attributes))
            .map(|name| Change {
                name: name.clone(),
                value: Some(value(0)),
            })
            .collect();
        for (index, session) in SESSIONS
            .iter()
            .take(usize::from(self.universe.sessions))
            .enumerate()
        {
            let version = Version(Stamp {
                epoch: 1,
                sequence: index as u64 + 1,
            });
            let expires = self
                .store_settings
                .time_to_live_ms
                .map(|live| self.universe.now().0.after(live));
            let head = Head {
                version,
                floor: version,
                holder: None,
                expires,
            };
            durable.apply(&Update::Put {
                session: session.clone(),
                head,
                delta: delta.clone(),
                is_whole: false,
            });
        }
        let machine = StoreMachine::with_hook(
            self.hook,
            self.store_settings.clone(),
            2,
            &durable,
            self.universe.now().0,
        );
        if !self.universe.has_disk() {
            durable = Records::default();
        }
        let store = Shared::new(
            StoreSide {
                machine,
                durable,
                updates: Vec::new(),
                barrier: DurabilityBarrier::default(),
                universe: InUniverse(self.universe),
            },
            self.lister(),
        );
        let mut state = System {
            store,
            processes: [const { None }; PROCESSES_MAX],
            wires: [const { None }; PROCESSES_MAX],
            destroyed: [Stamp::default(); 2],
            absent: 0,
            violation: None,
        };
        for index in 0..self.universe.programs.len() {
            let machine =
                ProcessMachine::with_hook(self.hook, self.process_settings.clone(), Incarnation(1));
            let process = index as u8;
            let (machine, threads) = (Some(machine), Default::default());
            let side = ProcessSide {
                index: process,
                machine,
                incarnation: 1,
                threads,
                skew: 0,
            };
            let wire = Wire {
                index: process,
                is_open: true,
                up: Vec::new(),
                down: Vec::new(),
            };
            state.processes[index] = Some(Shared::new(side, self.lister()));
            state.wires[index] = Some(Shared::new(wire, self.lister()));
            state = self.moved(&state, Action::Connect { process });
            state = self.moved(
                &state,
                Action::ToStore {
                    process,
                    place: 0,
                    stays: false,
                },
            );
            state = self.moved(
                &state,
                Action::ToProcess {
                    process,
                    place: 0,
                    stays: false,
                },
            );
        }
        state
    }
}
