//! The log of a store: a bounded queue, and one thread that writes the queue to standard error.
//!
//! No other thread of the store writes to standard error. If standard error blocks, as with a full pipe, a stopped
//! reader or a closed terminal, only that thread blocks. A line that finds the queue full is dropped and counted.
//!
//! `tracing-appender` offers such a writer too, with two problems. Its guard prints to standard output if the queue is
//! full at the end, so a process whose outputs are one full pipe never ends. Its bound is a number of lines, not of
//! bytes.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tracing_subscriber::fmt::MakeWriter;

/// The maximum number of queued bytes: some seconds of a busy log at level `debug`.
const QUEUE_BYTES_MAX: usize = 1 << 20;

/// The memory cost of a queued line beside its bytes.
const LINE_BYTES: usize = 64;

/// A handle to the log. All clones write to the same queue.
#[derive(Clone)]
pub(crate) struct Log(Arc<Shared>);

struct Shared {
    queue: Mutex<Queue>,
    filled: Condvar,
    written: Condvar,
    bytes_max: usize,
}

#[derive(Default)]
struct Queue {
    lines: VecDeque<Vec<u8>>,
    /// The bytes of the queued lines and of the line that is being written.
    bytes: usize,
    is_writing: bool,
    /// The number of lines dropped since the start.
    dropped: u64,
    /// The number of dropped lines that the log has not reported yet.
    untold: u64,
    /// The callback that receives the number of newly dropped lines.
    on_drop: Option<Box<dyn Fn(u64) + Send>>,
}

impl Log {
    /// Starts the thread that writes to standard error.
    ///
    /// # Errors
    /// The OS provides no thread.
    pub(crate) fn start() -> io::Result<Self> {
        Self::with_output(QUEUE_BYTES_MAX, write_to_stderr)
    }

    fn with_output(
        bytes_max: usize,
        output: impl FnMut(&[u8]) -> io::Result<()> + Send + 'static,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            filled: Condvar::new(),
            written: Condvar::new(),
            bytes_max,
        });
        let own = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("tenure-log".to_owned());
        thread.spawn(move || own.write_all(output))?;
        Ok(Self(shared))
    }

    /// Queues a line, or drops it if the queue is full. Never blocks on the output.
    pub(crate) fn push(&self, line: &[u8]) {
        let mut queue = self.0.queue();
        let bytes = queue.bytes + line.len() + LINE_BYTES;
        if bytes > self.0.bytes_max {
            return queue.count_dropped();
        }
        queue.bytes = bytes;
        queue.lines.push_back(line.to_owned());
        drop(queue);
        self.0.filled.notify_one();
    }

    /// Calls `tell` with the number of lines dropped so far, and later with each further number. `tell` must not log.
    pub(crate) fn on_drop(&self, tell: impl Fn(u64) + Send + 'static) {
        let mut queue = self.0.queue();
        tell(queue.dropped);
        queue.on_drop = Some(Box::new(tell));
    }

    /// Waits until every queued line is written, but at most for `wait_mode`.
    pub(crate) fn flush(&self, wait_mode: Duration) {
        let queue = self.0.queue();
        let is_busy = |queue: &mut Queue| queue.is_writing || !queue.lines.is_empty();
        let waited = self.0.written.wait_timeout_while(queue, wait_mode, is_busy);
        drop(waited);
    }
}

impl Queue {
    fn count_dropped(&mut self) {
        self.dropped += 1;
        self.untold += 1;
        if let Some(tell) = &self.on_drop {
            tell(1);
        }
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        // After a panic of another thread, the queue still holds whole lines, and the log must go on.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_all(&self, mut output: impl FnMut(&[u8]) -> io::Result<()>) {
        loop {
            let line = self.next();
            let written = output(&line);
            let mut queue = self.queue();
            queue.is_writing = false;
            queue.bytes -= line.len() + LINE_BYTES;
            if written.is_err() {
                queue.count_dropped();
            }
            let untold = match (&written, queue.lines.is_empty()) {
                (Ok(()), true) => std::mem::take(&mut queue.untold),
                _ => 0,
            };
            // Reported before `flush` wakes up, so that `flush` also waits for the line about dropped
            // lines.
            queue.is_writing = untold > 0;
            drop(queue);
            if untold > 0 {
                tracing::warn!(
                    lines = untold,
                    "lines of this log were dropped, because the reader of standard error is too slow or has stopped"
                );
                self.queue().is_writing = false;
            }
            self.written.notify_all();
        }
    }

    fn next(&self) -> Vec<u8> {
        let mut queue = self.queue();
        loop {
            if let Some(line) = queue.lines.pop_front() {
                queue.is_writing = true;
                return line;
            }
            let waited = self.filled.wait(queue);
            queue = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Writes to the file descriptor directly. A thread that blocks inside [`io::stderr`] would hold the lock of that
/// handle.
fn write_to_stderr(mut bytes: &[u8]) -> io::Result<()> {
    use rustix::event::{PollFd, PollFlags, poll};
    use rustix::io::Errno;
    let output = rustix::stdio::stderr();
    while !bytes.is_empty() {
        match rustix::io::write(output, bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => bytes = &bytes[count..],
            Err(Errno::INTR) => {}
            // Another program has set the pipe or terminal to non-blocking mode.
            Err(Errno::AGAIN) => {
                let ready = poll(&mut [PollFd::new(&output, PollFlags::OUT)], None);
                if !matches!(ready, Ok(_) | Err(Errno::INTR)) {
                    return Err(io::ErrorKind::Other.into());
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.push(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Receiver, Sender, channel};

    const LONG: Duration = Duration::from_secs(60);

    /// Returns a log whose output accepts one line per message of the test, and the receiver of the written lines.
    fn gated(lines_max: usize) -> (Log, Sender<()>, Receiver<Vec<u8>>) {
        let (open, gate) = channel::<()>();
        let (tell, written) = channel();
        let bytes_max = lines_max * (LINE_BYTES + 1);
        let log = Log::with_output(bytes_max, move |line| {
            gate.recv().map_err(io::Error::other)?;
            tell.send(line.to_owned()).map_err(io::Error::other)
        });
        (log.expect("the OS provides a thread"), open, written)
    }

    #[test]
    fn a_full_queue_drops_and_counts_lines_without_blocking() {
        let (log, open, written) = gated(3);
        for line in b'0'..=b'9' {
            log.push(&[line]);
        }
        let (tell, dropped) = channel();
        log.on_drop(move |lines| tell.send(lines).expect("the test listens"));
        assert_eq!(
            dropped.try_recv(),
            Ok(7),
            "three of ten lines fit into the queue"
        );
        log.push(b"x");
        assert_eq!(dropped.try_recv(), Ok(1));
        // `flush` returns at its time limit although the output is blocked.
        log.flush(Duration::ZERO);
        for line in [b"0", b"1", b"2"] {
            open.send(()).expect("it writes");
            assert_eq!(written.recv_timeout(LONG).as_deref(), Ok(&line[..]));
        }
        log.flush(LONG);
        log.push(b"y");
        open.send(()).expect("it writes");
        log.flush(LONG);
        assert_eq!(written.try_recv().as_deref(), Ok(&b"y"[..]));
    }

    #[test]
    fn after_a_failed_write_the_next_line_is_written() {
        let (tell, written) = channel();
        let mut is_closed = true;
        let log = Log::with_output(1 << 10, move |line| {
            if std::mem::take(&mut is_closed) {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            tell.send(line.to_owned()).map_err(io::Error::other)
        });
        let log = log.expect("a thread");
        log.push(b"lost");
        log.push(b"written");
        log.flush(LONG);
        assert_eq!(written.try_recv().as_deref(), Ok(&b"written"[..]));
        assert_eq!(log.0.queue().dropped, 1);
    }
}
