//! What one connection is to be sent. The shard puts messages in, in the order of the machine's outputs; the connection's own
//! task encodes and writes them, so that neither holds the shard up.

use crate::size;
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard};
use tenure_protocol::ToProcess;
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
    /// Bytes of what was taken last: it is being written.
    taken: usize,
    is_closed: bool,
    /// Why it is closed, if there is more to say than that.
    fault: Option<Fault>,
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
        // r[wire.fault-last]
        if queue.is_closed {
            return;
        }
        let bytes = size::of_message(&message);
        let waiting = queue.bytes + queue.taken;
        // r[limit.slow]
        if waiting > 0 && waiting + bytes > self.bytes_max {
            let max = self.bytes_max;
            let text = format!("{waiting} bytes wait to be read, and more to come; {max} may");
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

    /// Closes the box: what is in it is still written, and then why.
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
    }

    /// Waits until the box is closed. Answers why.
    pub(crate) async fn closed(&self) -> Option<Fault> {
        self.until(|queue| queue.is_closed).await;
        self.queue().fault.clone()
    }

    /// What there is, into `messages`; `false` when nothing will come any more. What was taken before is written.
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

    /// Waits until less than half of what may wait does: until then nothing more is read from this process.
    pub(crate) async fn room(&self) {
        let half = self.bytes_max / 2;
        self.until(|queue| queue.is_closed || queue.bytes + queue.taken <= half)
            .await;
    }

    async fn until(&self, is_so: impl Fn(&Queue) -> bool) {
        loop {
            let drained = self.drained.notified();
            if is_so(&self.queue()) {
                return;
            }
            drained.await;
        }
    }
}
