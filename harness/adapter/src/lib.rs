//! The conformance suite's adapter for the library `tenure`, and an example for adapters of other libraries.
//!
//! An adapter is a program that the suite starts once per case. It reads one command per line and executes it with its
//! library. It answers each command once, on completion, in any order. It knows nothing of the protocol and judges
//! nothing. `command` contains the messages on standard input and output, and `held` the tasks of locks. The page
//! *Adapters* of the book is the reference.

mod command;
mod held;

use command::{Answer, Command, Connect, Refusal, What, answer};
use held::{Do, hold};
use serde_json::{Map, json};
use std::cell::RefCell;
use std::collections::HashMap;
use std::io::BufRead;
use std::rc::Rc;
use std::time::Duration;
use tenure::Process;
use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_local;

/// Executes and answers the commands on standard input until its end.
///
/// # Errors
/// An error if a line is not a command, or the runtime cannot be started.
pub fn run() -> Result<(), Box<dyn std::error::Error>> {
    let (lines, mut commands) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        let all = std::io::stdin().lock().lines();
        all.map_while(Result::ok)
            .all(|line| lines.send(line).is_ok())
    });
    // Use one thread, so that commands begin in their order.
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let everything = tokio::task::LocalSet::new();
    everything.block_on(&runtime, async {
        let mut adapter = Adapter::default();
        while let Some(line) = commands.recv().await {
            let command: Command =
                serde_json::from_str(&line).map_err(|why| format!("{why} in {line}"))?;
            adapter.take(command);
        }
        Ok(())
    })
}

#[derive(Default)]
struct Adapter {
    process: Rc<RefCell<Option<Process>>>,
    /// The locks that are held or waited for, by the number of their command.
    locks: HashMap<u64, mpsc::UnboundedSender<(u64, Do)>>,
    /// The commands that may be cancelled.
    pending: HashMap<u64, oneshot::Sender<()>>,
}

impl Adapter {
    /// Begins a command.
    fn take(&mut self, Command { id, what }: Command) {
        match what {
            What::About => answer(id, Ok(about())),
            What::Connect(connect) => {
                let process = Rc::clone(&self.process);
                spawn_local(async move { answer(id, connected(connect, &process).await) });
            }
            What::Lock(lock) => {
                let Some(process) = self.process() else {
                    return answer(id, Err(Refusal::new("not-connected", "connect first")));
                };
                let (sender, inbox) = mpsc::unbounded_channel();
                self.locks.insert(id, sender);
                spawn_local(hold(process, id, lock, inbox, self.cancellable(id)));
            }
            What::Cancel { command } => {
                if let Some(cancel) = self.pending.remove(&command) {
                    let _ = cancel.send(()); // The command may have been answered meanwhile.
                }
                answer(id, Ok(json!({})));
            }
            What::Read { lock, attribute } => self.tell(id, lock, Do::Read(attribute)),
            What::Write {
                lock,
                attribute,
                value,
            } => self.tell(id, lock, Do::Write(attribute, value)),
            What::Check { lock } => self.tell(id, lock, Do::Check),
            What::Recalled { lock } => self.tell(id, lock, Do::Recalled),
            What::Commit { lock } => {
                let cancel = self.cancellable(id);
                self.tell(id, lock, Do::Commit(cancel));
            }
            What::Rename { lock, to } => {
                let cancel = self.cancellable(id);
                self.tell(id, lock, Do::Rename(to, cancel));
            }
            What::Destroy { lock } => {
                let cancel = self.cancellable(id);
                self.tell(id, lock, Do::Destroy(cancel));
            }
            What::Unlock { lock } => self.tell(id, lock, Do::Unlock),
            What::Discard { lock } => self.tell(id, lock, Do::Discard),
            What::Release { session } => answer(
                id,
                self.process()
                    .ok_or_else(|| Refusal::new("not-connected", "connect first"))
                    .and_then(|process| Ok(process.release(&session.0)?))
                    .map(|()| json!({})),
            ),
            What::Shutdown { within_ms } => {
                let process = self.process();
                spawn_local(async move { answer(id, shut_down(process, within_ms).await) });
            }
            What::Unsupported => answer(
                id,
                Err(Refusal::new(
                    "unsupported",
                    "this adapter does not know the command",
                )),
            ),
        }
    }

    fn process(&self) -> Option<Process> {
        self.process.borrow().clone()
    }

    fn cancellable(&mut self, id: u64) -> oneshot::Receiver<()> {
        let (cancel, cancelled) = oneshot::channel();
        self.pending.insert(id, cancel);
        cancelled
    }

    /// Passes a command on to the task of the lock.
    fn tell(&self, id: u64, lock: u64, what: Do) {
        let is_told = self
            .locks
            .get(&lock)
            .is_some_and(|inbox| inbox.send((id, what)).is_ok());
        if !is_told {
            answer(id, Err(Refusal::new("not-held", "there is no such lock")));
        }
    }
}

fn about() -> serde_json::Value {
    json!({
        "adapter": 1,
        "library": concat!("tenure ", env!("CARGO_PKG_VERSION")),
        "features": ["all-attributes", "cancel", "destroy", "recalled", "release", "rename", "try"],
    })
}

async fn connected(connect: Connect, place: &RefCell<Option<Process>>) -> Answer {
    let mut builder = Process::builder(connect.store).name(connect.process);
    if let Some(incarnation) = connect.incarnation {
        builder = builder.incarnation(incarnation);
    }
    let mut settings = tenure::ProcessSettings::default();
    let limits = &mut settings.limits;
    let mut known: [(&str, &mut dyn Number); 9] = [
        ("margin_ms", &mut settings.margin_ms),
        ("keep_alive_ms", &mut settings.keep_alive_ms),
        ("resend_ms", &mut settings.resend_ms),
        ("recall_margin_ms", &mut settings.recall_margin_ms),
        ("attributes_max", &mut limits.attributes_max),
        ("attribute_bytes_max", &mut limits.attribute_bytes_max),
        ("session_bytes_max", &mut limits.session_bytes_max),
        ("grants_max", &mut limits.grants_max),
        ("threads_max", &mut limits.threads_max),
    ];
    let mut told = Map::new();
    for (name, number) in &mut known {
        if let Some(wanted) = connect.settings.get(*name) {
            number.set(*wanted);
        }
        told.insert((*name).to_owned(), number.get().into());
    }
    let process = builder.settings(settings).connect().await;
    let process = process.map_err(|error| {
        let kind = match &error {
            tenure::ConnectError::Superseded { .. } => "superseded",
            _ => "unreachable",
        };
        Refusal::new(kind, error)
    })?;
    *place.borrow_mut() = Some(process);
    Ok(json!({ "settings": told }))
}

async fn shut_down(process: Option<Process>, within_ms: u64) -> Answer {
    if let Some(process) = process {
        let ended = process.shutdown_within(Duration::from_millis(within_ms));
        ended.await.map_err(|error| Refusal::new("late", error))?;
    }
    Ok(json!({}))
}

/// A numeric setting of any type.
trait Number {
    fn get(&self) -> u64;
    fn set(&mut self, number: u64);
}

impl Number for u64 {
    fn get(&self) -> u64 {
        *self
    }
    fn set(&mut self, number: u64) {
        *self = number;
    }
}

impl Number for usize {
    fn get(&self) -> u64 {
        u64::try_from(*self).unwrap_or(u64::MAX)
    }
    fn set(&mut self, number: u64) {
        *self = Self::try_from(number).unwrap_or(Self::MAX);
    }
}
