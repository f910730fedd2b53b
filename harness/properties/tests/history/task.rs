//! A task that takes a lock and then does what it is told: one request and its guard. Polled by hand, so that nothing happens
//! by chance, and with a waker that tells whether it was woken.

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

/// What a task is to lock, and how.
#[derive(Clone, Debug)]
pub(crate) struct LockCall {
    pub(crate) thread: ThreadId,
    pub(crate) names: Names,
    pub(crate) wait_mode: WaitMode,
    /// Only if the session exists.
    pub(crate) existing: bool,
    pub(crate) within_ms: Option<u64>,
}

/// What a task that is inside is to do.
#[derive(Debug)]
pub(crate) enum Do {
    /// Replace a value, or remove it.
    Set(AttributeName, Option<Value>),
    /// Replace a value by way of the guard's `edit`.
    Edit(AttributeName, Value),
    /// Ask whether the grant still stands.
    Check,
    /// Say what it sees.
    Look,
    Commit,
    Rename(SessionId),
    Destroy,
    Unlock,
    Discard,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Said {
    Locked,
    Done,
    Committed(Version),
    Renamed,
    Destroyed,
    Failed(Error),
}

/// What a guard sees.
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
    /// The future of a commit or a rename is to be dropped, its guard is not.
    cancels: Cell<bool>,
}

/// See the [module](self). Dropping it drops its request or its guard.
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
    /// Every other thread has a handle to the session, if it wants one attribute of it; the others lock by id.
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

    /// Polls it once; answers what came of what it was to do last.
    pub(crate) fn poll(&mut self) -> Option<Said> {
        self.flag.0.store(false, Ordering::Relaxed);
        let polled = self
            .future
            .as_mut()
            .poll(&mut Context::from_waker(&self.waker));
        let said = self.port.said.take();
        assert!(
            polled.is_pending() || said.is_some(),
            "a task ended without a word"
        );
        said
    }

    /// Tells it what to do, and polls it once.
    pub(crate) fn tell(&mut self, what: Do) -> Option<Said> {
        *self.port.todo.borrow_mut() = Some(what);
        self.poll()
    }

    /// Makes it drop the future that it awaits, and keep its guard.
    pub(crate) fn cancel(&mut self) {
        self.port.cancels.set(true);
        let said = self.poll();
        assert_eq!(said, None, "a cancelled future said something");
        self.port.cancels.set(false);
    }

    /// Whether it was woken since it was polled last.
    pub(crate) fn is_woken(&self) -> bool {
        self.flag.0.load(Ordering::Relaxed)
    }

    /// What its guard sees.
    pub(crate) fn look(&mut self) -> View {
        let said = self.tell(Do::Look);
        assert_eq!(said, Some(Said::Done), "a guard could not look");
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

    /// Awaits `future` unless that is cancelled.
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

/// Either kind of guard.
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
                    unreachable!("only a set can end its session")
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

/// How a session is named.
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
            // It is borrowed for as long as its session.
            let name = KNOWN.iter().find(|own| own.as_bytes() == name.as_bytes());
            let name = *name.expect("a known name");
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
        (From::Id(..), _) => unreachable!("one attribute is locked by id"),
    }
}

/// The attributes of all sessions.
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
            _ => unreachable!("one attribute has a guard, several have a set"),
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
            (_, what) => unreachable!("{what:?} is done elsewhere, or by a set"),
        }
        Ok(Said::Done)
    }
}

fn replace(bytes: &mut Vec<u8>, value: &[u8]) {
    bytes.clear();
    bytes.extend_from_slice(value);
}
