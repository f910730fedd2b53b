//! A task that takes a lock and then executes commands: one request and its guard. The task is polled by hand, so that
//! it is deterministic, and its waker records wake-ups.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;
use tenure_locks::{Error, Guard, GuardSet, Locks, Session};
use tenure_protocol::attributes::Value;
use tenure_protocol::message::WaitMode;
use tenure_protocol::process::Names;
use tenure_protocol::{AttributeName, SessionId, ThreadId, Token, Version};

/// A lock request: the attributes, and the options.
#[derive(Clone, Debug)]
pub(crate) struct LockCall {
    pub(crate) thread: ThreadId,
    pub(crate) names: Names,
    pub(crate) wait_mode: WaitMode,
    /// Lock only a session that exists.
    pub(crate) existing: bool,
    pub(crate) within_ms: Option<u64>,
}

/// A command for a task with a guard.
#[derive(Debug)]
pub(crate) enum Do {
    /// Replace a value, or remove it.
    Set(AttributeName, Option<Value>),
    /// Replace a value with the guard's `edit`.
    Edit(AttributeName, Value),
    /// Check that the grant is still valid.
    Check,
    /// Return the values that the guard sees.
    Look,
    Commit,
    Rename(SessionId),
    Destroy,
    Unlock,
    Discard,
}

/// The result of a command.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Said {
    Locked,
    Done,
    Committed(Version),
    Renamed,
    Destroyed,
    Failed(Error),
}

/// The values and the state that a guard sees.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct View {
    pub(crate) token: Token,
    pub(crate) recalled: bool,
    pub(crate) values: BTreeMap<String, Value>,
}

#[derive(Debug, Default)]
struct Port {
    todo: RefCell<Option<Do>>,
    said: RefCell<Option<Said>>,
    view: RefCell<View>,
    /// Whether to drop the future of a commit or a rename, but not its guard.
    cancels: Cell<bool>,
}

/// A task with a request or a guard. See the [module](self). Dropping the task drops its request or its guard.
pub(crate) struct Task {
    future: Pin<Box<dyn Future<Output = ()>>>,
    port: Rc<Port>,
    flag: Arc<Flag>,
    waker: Waker,
}

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Task {
    /// Creates a task. Every second thread has a handle to the session, if it locks one attribute. The others lock by
    /// session id.
    pub(crate) fn new(locks: Locks, id: SessionId, acquire: LockCall) -> Self {
        let port = Rc::new(Port::default());
        let flag = Arc::new(Flag(AtomicBool::new(false)));
        Self {
            future: Box::pin(work(locks, id, acquire, Rc::clone(&port))),
            port,
            waker: Waker::from(Arc::clone(&flag)),
            flag,
        }
    }

    /// Polls the task once. Returns the result of its last command, if there is one.
    pub(crate) fn poll(&mut self) -> Option<Said> {
        self.flag.0.store(false, Ordering::Relaxed);
        let polled = self
            .future
            .as_mut()
            .poll(&mut Context::from_waker(&self.waker));
        let said = self.port.said.take();
        assert!(
            polled.is_pending() || said.is_some(),
            "the task ended without a result"
        );
        said
    }

    /// Gives the task a command, and polls it once.
    pub(crate) fn tell(&mut self, what: Do) -> Option<Said> {
        *self.port.todo.borrow_mut() = Some(what);
        self.poll()
    }

    /// Makes the task drop its awaited future, and keep its guard.
    pub(crate) fn cancel(&mut self) {
        self.port.cancels.set(true);
        let said = self.poll();
        assert_eq!(said, None, "a cancelled future returned a result");
        self.port.cancels.set(false);
    }

    /// Returns whether the task was woken since it was last polled.
    pub(crate) fn is_woken(&self) -> bool {
        self.flag.0.load(Ordering::Relaxed)
    }

    /// Returns the view of its guard.
    pub(crate) fn look(&mut self) -> View {
        let said = self.tell(Do::Look);
        assert_eq!(said, Some(Said::Done), "the guard did not return its view");
        self.port.view.borrow().clone()
    }
}

impl Port {
    fn say(&self, said: Result<Said, Error>) {
        *self.said.borrow_mut() = Some(said.unwrap_or_else(Said::Failed));
    }

    async fn next(&self) -> Do {
        poll_fn(|_| self.todo.take().map_or(Poll::Pending, Poll::Ready)).await
    }

    /// Awaits `future` until it is cancelled.
    async fn unless_cancelled<F: Future>(&self, future: F) -> Option<F::Output> {
        let mut future = pin!(future);
        poll_fn(|context| {
            if self.cancels.get() {
                return Poll::Ready(None);
            }
            future.as_mut().poll(context).map(Some)
        })
        .await
    }
}

/// A guard of one attribute or of several.
enum Held<'s> {
    One(Guard<'s>),
    Many(GuardSet),
}

async fn work(locks: Locks, id: SessionId, acquire: LockCall, port: Rc<Port>) {
    let is_by_id = matches!(acquire.names, Names::One(_)) && acquire.thread.0.is_multiple_of(2);
    let session = (!is_by_id).then(|| locks.session(&id));
    let from = session.as_ref().map_or(From::Id(&locks, &id), From::Handle);
    let mut held = match lock(from, &acquire).await {
        Ok(held) => held,
        Err(error) => return port.say(Err(error)),
    };
    port.say(Ok(Said::Locked));
    loop {
        match port.next().await {
            Do::Unlock => return port.say(held.unlock().map(|()| Said::Done)),
            Do::Discard => {
                held.discard();
                return port.say(Ok(Said::Done));
            }
            Do::Destroy => {
                let Held::Many(set) = held else {
                    unreachable!("the history destroys and renames only with a guard set")
                };
                return port.say(set.destroy().await.map(|()| Said::Destroyed));
            }
            Do::Look => {
                *port.view.borrow_mut() = held.view(&acquire.names);
                port.say(Ok(Said::Done));
            }
            what => {
                if let Some(said) = port.unless_cancelled(held.act(what)).await {
                    port.say(said);
                }
            }
        }
    }
}

/// The way in which a task names its session.
#[derive(Clone, Copy)]
enum From<'s> {
    Handle(&'s Session),
    Id(&'s Locks, &'s SessionId),
}

async fn lock<'s>(from: From<'s>, acquire: &LockCall) -> Result<Held<'s>, Error> {
    macro_rules! in_this_manner {
        ($lock:expr) => {{
            let mut lock = $lock.beside(acquire.thread);
            if let Some(ms) = acquire.within_ms {
                lock = lock.timeout(Duration::from_millis(ms));
            }
            if acquire.wait_mode == WaitMode::Try {
                lock = lock.try_lock();
            }
            if acquire.existing {
                lock = lock.existing();
            }
            lock.await
        }};
    }
    match (from, &acquire.names) {
        (_, Names::One(name)) => {
            // The handle is borrowed for as long as its session.
            let name = KNOWN.iter().find(|own| own.as_bytes() == name.as_bytes());
            let name = *name.expect("the history uses only names from this list");
            match from {
                From::Handle(session) => in_this_manner!(session.lock(name)),
                From::Id(locks, id) => in_this_manner!(locks.lock(id, name)),
            }
            .map(Held::One)
        }
        (From::Handle(session), Names::Many(names)) => {
            let names = names.iter().map(AttributeName::as_bytes);
            in_this_manner!(session.lock_many(names)).map(Held::Many)
        }
        (From::Handle(session), Names::All) => in_this_manner!(session.lock_all()).map(Held::Many),
        (From::Id(..), _) => unreachable!("only a request for one attribute locks by session id"),
    }
}

/// The names of all attributes.
pub(crate) const KNOWN: [&str; 4] = ["a", "b", "c", "d"];

impl Held<'_> {
    fn unlock(self) -> Result<(), Error> {
        match self {
            Held::One(guard) => guard.unlock(),
            Held::Many(set) => set.unlock(),
        }
    }

    fn discard(self) {
        match self {
            Held::One(guard) => guard.discard(),
            Held::Many(set) => set.discard(),
        }
    }

    fn view(&self, names: &Names) -> View {
        let text = |name: &AttributeName| name.to_string();
        match (self, names) {
            (Held::One(guard), Names::One(name)) => View {
                token: guard.token(),
                recalled: guard.recalled(),
                values: guard
                    .bytes()
                    .map(|bytes| (text(name), Value::copy_from_slice(bytes)))
                    .into_iter()
                    .collect(),
            },
            (Held::Many(set), _) => View {
                token: set.token(),
                recalled: set.recalled(),
                values: set
                    .attributes()
                    .map(|(name, bytes)| (text(name), Value::copy_from_slice(bytes)))
                    .collect(),
            },
            _ => unreachable!(
                "a request for one attribute returns a guard, and a request for several returns a set"
            ),
        }
    }

    async fn act(&mut self, what: Do) -> Result<Said, Error> {
        match (self, what) {
            (Held::One(guard), Do::Set(_, Some(value))) => guard.set(value)?,
            (Held::One(guard), Do::Set(_, None)) => guard.remove()?,
            (Held::One(guard), Do::Edit(_, value)) => guard.edit(|bytes| replace(bytes, &value))?,
            (Held::One(guard), Do::Check) => guard.check()?,
            (Held::One(guard), Do::Commit) => return Ok(Said::Committed(guard.commit().await?)),
            (Held::Many(set), Do::Set(name, Some(value))) => set.set(name.as_bytes(), value)?,
            (Held::Many(set), Do::Set(name, None)) => set.remove(name.as_bytes())?,
            (Held::Many(set), Do::Edit(name, value)) => {
                set.edit(name.as_bytes(), |bytes| replace(bytes, &value))?;
            }
            (Held::Many(set), Do::Check) => set.check()?,
            (Held::Many(set), Do::Commit) => return Ok(Said::Committed(set.commit().await?)),
            (Held::Many(set), Do::Rename(to)) => {
                set.rename(&to).await?;
                return Ok(Said::Renamed);
            }
            (_, what) => unreachable!("{what:?} is handled elsewhere, or needs a guard set"),
        }
        Ok(Said::Done)
    }
}

fn replace(bytes: &mut Vec<u8>, value: &[u8]) {
    bytes.clear();
    bytes.extend_from_slice(value);
}
