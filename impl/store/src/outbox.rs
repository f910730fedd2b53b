//! What one connection is to be sent. The shard puts messages in, in the order of the machine's outputs; the connection's own
//! task encodes and writes them, so that neither holds the shard up.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard};
use tenure_protocol::ToProcess;
use tenure_protocol::attributes::{Delta, State};
use tenure_wire::{Fault, FaultCode, FromStore};
use tokio::sync::Notify;

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Outbox {
    queue: Mutex<Queue>,
    /// Something was put in, or the box closed.
    filled: Notify,
    /// Something was taken out.
    drained: Notify,
    bytes_max: usize,
}

#[derive(Debug, Default)]
struct Queue {
    messages: VecDeque<FromStore>,
    bytes: usize,
    is_closed: bool,
}

impl Outbox {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self {
            queue: Mutex::default(),
            filled: Notify::new(),
            drained: Notify::new(),
            bytes_max,
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().expect("no panic while it is locked")
    }

    /// Puts a message in. A box that is full closes: whoever does not read its answers is not served.
    pub(crate) fn send(&self, message: ToProcess) {
        let mut queue = self.queue();
        if queue.is_closed {
            return;
        }
        let bytes = size(&message);
        if queue.bytes + bytes > self.bytes_max && !queue.messages.is_empty() {
            let text = format!(
                "{} bytes wait to be read, more than {}",
                queue.bytes, self.bytes_max
            );
            *queue = Queue::default();
            let fault = Fault::new(FaultCode::Slow, &text);
            queue.messages.push_back(FromStore::Fault(fault));
            queue.is_closed = true;
        } else {
            queue.bytes += bytes;
            queue.messages.push_back(FromStore::Message(message));
        }
        drop(queue);
        self.filled.notify_one();
    }

    /// Closes the box: what is in it is still written, and then why.
    pub(crate) fn close(&self, fault: Option<Fault>) {
        let mut queue = self.queue();
        if !queue.is_closed {
            queue.is_closed = true;
            queue.messages.extend(fault.map(FromStore::Fault));
        }
        drop(queue);
        self.filled.notify_one();
        self.drained.notify_waiters();
    }

    /// What there is, into `messages`; `false` when nothing will come any more.
    pub(crate) async fn take(&self, messages: &mut VecDeque<FromStore>) -> bool {
        loop {
            let filled = self.filled.notified();
            {
                let mut queue = self.queue();
                if !queue.messages.is_empty() {
                    std::mem::swap(&mut queue.messages, messages);
                    queue.bytes = 0;
                    drop(queue);
                    self.drained.notify_waiters();
                    return true;
                }
                if queue.is_closed {
                    return false;
                }
            }
            filled.await;
        }
    }

    /// Waits until less than half of what may wait does: until then nothing more is read from this process.
    pub(crate) async fn room(&self) {
        loop {
            let drained = self.drained.notified();
            {
                let queue = self.queue();
                if queue.is_closed || queue.bytes <= self.bytes_max / 2 {
                    return;
                }
            }
            drained.await;
        }
    }
}

/// About how many bytes a message takes.
fn size(message: &ToProcess) -> usize {
    const HEAD: usize = 128;
    let of_delta = |delta: &Delta| -> usize {
        let changes = delta.changes().iter();
        changes
            .map(|change| {
                change.name.as_bytes().len()
                    + change.value.as_ref().map_or(0, |value| value.len())
                    + 16
            })
            .sum()
    };
    HEAD + match message {
        ToProcess::Granted {
            state: State::Delta(delta) | State::Full(delta),
            ..
        } => of_delta(delta),
        ToProcess::Welcome { holds, gone, .. } => HEAD * (holds.len() + 2 * gone.len()),
        ToProcess::Alive { recalls, .. } => HEAD * recalls.len(),
        _ => 0,
    }
}
