//! The outbox: the bounded queue of messages to one connection. The shard appends messages in the order of the
//! machine's outputs. The connection's own task encodes and writes them, so that neither encoding nor the socket blocks
//! the shard.

use crate::size;
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard};
use tenure_protocol::ToProcess;
use tenure_wire::{Fault, FaultCode, FromStore};
use tokio::sync::Notify;

/// The message queue of one connection. See the [module](self).
#[derive(Debug)]
pub(crate) struct Outbox {
    queue: Mutex<Queue>,
    /// Notified when a message was appended, or the outbox was closed.
    filled: Notify,
    /// Notified when messages were taken out, or the outbox was closed.
    drained: Notify,
    /// Notified when the outbox was closed. Separate, so that a batch of messages does not wake the connection's task.
    closed: Notify,
    bytes_max: usize,
}

#[derive(Debug, Default)]
struct Queue {
    messages: VecDeque<FromStore>,
    bytes: usize,
    /// Bytes of the messages that were taken last and are being written.
    taken: usize,
    is_closed: bool,
    /// The reason why the outbox was closed, if one is to be sent.
    fault: Option<Fault>,
}

impl Outbox {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self {
            queue: Mutex::default(),
            filled: Notify::new(),
            drained: Notify::new(),
            closed: Notify::new(),
            bytes_max,
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue
            .lock()
            .expect("no code panics while it holds the outbox's mutex")
    }

    /// Appends a message. If the outbox is full, it is closed with the fault `slow`: a process that does not read its
    /// messages is disconnected.
    pub(crate) fn send(&self, message: ToProcess) {
        let mut queue = self.queue();
        // r[wire.fault-last]
        if queue.is_closed {
            return;
        }
        let bytes = size::of_message(&message);
        let waiting = queue.bytes + queue.taken;
        // r[limit.slow]
        if waiting > 0 && waiting + bytes > self.bytes_max {
            let max = self.bytes_max;
            let text = format!(
                "{waiting} bytes wait for this process to read them, and the next message would exceed the maximum of \
                {max}; read faster or reconnect"
            );
            *queue = Queue::default();
            drop(queue);
            self.close(Some(Fault::new(FaultCode::Slow, &text)));
        } else {
            queue.bytes += bytes;
            queue.messages.push_back(FromStore::Message(message));
            drop(queue);
            self.filled.notify_one();
        }
    }

    /// Closes the outbox. Messages already in the outbox are still written, followed by the fault.
    pub(crate) fn close(&self, fault: Option<Fault>) {
        let mut queue = self.queue();
        if !queue.is_closed {
            queue.is_closed = true;
            queue.fault.clone_from(&fault);
            // r[wire.fault]
            queue.messages.extend(fault.map(FromStore::Fault));
        }
        drop(queue);
        self.filled.notify_one();
        self.drained.notify_waiters();
        self.closed.notify_waiters();
    }

    /// Waits until the outbox is closed, and returns the reason.
    pub(crate) async fn closed(&self) -> Option<Fault> {
        until(&self.closed, || self.queue().is_closed).await;
        self.queue().fault.clone()
    }

    /// Moves all queued messages into `messages`, waiting for at least one. Returns `false` if the outbox is closed and
    /// empty. The caller has written the messages that it took before.
    pub(crate) async fn take(&self, messages: &mut VecDeque<FromStore>) -> bool {
        loop {
            let filled = self.filled.notified();
            {
                let mut queue = self.queue();
                queue.taken = 0;
                if !queue.messages.is_empty() {
                    std::mem::swap(&mut queue.messages, messages);
                    queue.taken = std::mem::take(&mut queue.bytes);
                }
                let is_closed = queue.is_closed;
                drop(queue);
                self.drained.notify_waiters();
                if !messages.is_empty() || is_closed {
                    return !messages.is_empty();
                }
            }
            filled.await;
        }
    }

    /// Waits until the outbox is at most half full. The connection reads nothing from its process until then
    /// (back-pressure).
    pub(crate) async fn room(&self) {
        until(&self.drained, || self.has_room()).await;
    }

    /// Returns whether [`Outbox::room`] would return at once.
    pub(crate) fn has_room(&self) -> bool {
        let queue = self.queue();
        queue.is_closed || queue.bytes + queue.taken <= self.bytes_max / 2
    }
}

/// Waits until `is_so`, which may change when `changed` is notified.
async fn until(changed: &Notify, is_so: impl Fn() -> bool) {
    loop {
        let notified = changed.notified();
        if is_so() {
            return;
        }
        notified.await;
    }
}
