//! Asking for locks: one future for tasks and OS threads, for one attribute, several or all.

use crate::cell::Entrance;
use crate::cells::Key;
use crate::entry::{Entered, Granted};
use crate::error::Error;
use crate::guard::Guard;
use crate::home::{Home, Of, Opened};
use crate::hub::Asked;
use crate::session::Session;
use crate::set::GuardSet;
use crate::sync::Arc;
use crate::thread;
use crate::wait::{Outcome, Wait, block_on};
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tenure_protocol::message::Patience;
use tenure_protocol::process::Names;
use tenure_protocol::{ThreadId, Time};

/// How long a request waits when it is not told otherwise, in milliseconds. Rule 17: every wait has a deadline.
pub const WAIT_MS: u64 = 60_000;

/// How a request is made.
#[derive(Clone, Copy, Debug)]
struct Manner {
    patience: Patience,
    /// On the manager's clock; [`Time::ZERO`]: [`WAIT_MS`] from when it begins to wait.
    until: Time,
    /// 0: whoever polls.
    thread: ThreadId,
    place: &'static Location<'static>,
}

/// A request that waits.
#[derive(Debug)]
struct Waiting<'s> {
    session: Opened<'s>,
    wait: Arc<Wait>,
    names: Names,
    thread: ThreadId,
    until: Time,
}

/// The answer, for whom, and to what.
type Answered<'s> = (Result<(Home<'s>, Granted), Error>, ThreadId, Names);

/// What both requests have in common.
#[derive(Debug)]
struct Request<'s> {
    of: Of<'s>,
    manner: Manner,
    /// Boxed, so that a request that need not wait is small.
    waiting: Option<Box<Waiting<'s>>>,
}

impl<'s> Request<'s> {
    #[inline(always)]
    fn new(of: Of<'s>, place: &'static Location<'static>) -> Self {
        Self {
            of,
            manner: Manner {
                patience: Patience::Wait,
                until: Time::ZERO,
                thread: ThreadId(0),
                place,
            },
            waiting: None,
        }
    }

    #[inline(always)]
    fn entrance(&self, thread: impl FnOnce() -> ThreadId) -> Entrance {
        Entrance {
            thread: match self.manner.thread {
                ThreadId(0) => thread(),
                own => own,
            },
            place: self.manner.place,
            now: self.of.hub().clock.coarse(),
        }
    }

    /// Asks the process.
    fn ask(
        &mut self,
        session: Opened<'s>,
        names: Names,
        entrance: Entrance,
    ) -> Option<Result<(Home<'s>, Granted), Error>> {
        let Session { hub, entry } = &*session;
        let until = match self.manner.until {
            Time::ZERO => hub.clock.now().after(WAIT_MS),
            until => until,
        };
        match hub.ask(entry, &names, entrance, (self.manner.patience, until)) {
            Asked::Locked(granted) => Some(Ok((session.home_of(&granted), granted))),
            Asked::Refused(error) => Some(Err(error)),
            Asked::Waits(wait) => {
                self.waiting = Some(Box::new(Waiting {
                    session,
                    wait,
                    names,
                    thread: entrance.thread,
                    until,
                }));
                None
            }
        }
    }

    /// The answer for which this waits.
    fn poll(&mut self, context: &Context<'_>) -> Poll<Answered<'s>> {
        let waiting = self
            .waiting
            .as_ref()
            .expect("it was asked, and not answered");
        let Poll::Ready(outcome) = waiting.wait.poll(context) else {
            return Poll::Pending;
        };
        let waiting = self.waiting.take().expect("just seen");
        let result = match outcome {
            Outcome::Locked(granted) => Ok((waiting.session.home_of(&granted), granted)),
            Outcome::Failed(error) => Err(error),
            _ => unreachable!("a lock is answered by a lock or a refusal"),
        };
        Poll::Ready((result, waiting.thread, waiting.names))
    }

    #[cold]
    #[inline(never)]
    fn abandon(&mut self) {
        if let Some(waiting) = self.waiting.take() {
            let Session { hub, entry } = &*waiting.session;
            hub.abandon(entry, &waiting.names, waiting.thread, &waiting.wait);
        }
    }

    /// How long an OS thread that waits may sleep. Past its deadline it ends its own wait: it needs no driver for that.
    fn left(&self) -> Duration {
        let Some(waiting) = &self.waiting else {
            return Duration::ZERO;
        };
        let Session { hub, entry } = &*waiting.session;
        let left = hub.clock.until(waiting.until);
        if left.is_zero() {
            hub.end_wait(entry, waiting.thread);
        }
        left
    }
}

impl Drop for Request<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.waiting.is_some() {
            self.abandon();
        }
    }
}

macro_rules! manners {
    () => {
        /// Waits at most this long.
        pub fn within(self, limit: Duration) -> Self {
            let limit = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
            let until = self.request.of.hub().clock.now().after(limit);
            self.until(until)
        }

        /// Waits until then at most, on the manager's clock ([`Locks::now`](crate::Locks::now)).
        pub fn until(mut self, until: Time) -> Self {
            self.request.manner.until = until.max(Time(1));
            self
        }

        /// Waits for no thread, here or elsewhere; may ask the store whether the session is only kept elsewhere. Rule 13.
        pub fn trying(mut self) -> Self {
            self.request.manner.patience = Patience::Try;
            self
        }

        /// Asks on behalf of whoever has that guard. For tasks outside of [`task`](crate::task), whose locks are otherwise
        /// strangers to each other, so that a cycle through them is not seen.
        pub fn beside(mut self, thread: ThreadId) -> Self {
            self.request.manner.thread = thread;
            self
        }
    };
}

/// A request for one attribute, from [`Session::lock`] or [`Locks::lock`](crate::Locks::lock): to be awaited, or [`Lock::wait`]ed for. Dropping it takes it back.
#[derive(Debug)]
#[must_use = "nothing is locked until it is awaited or waited for"]
pub struct Lock<'s> {
    request: Request<'s>,
    name: Key<'s>,
}

impl<'s> Lock<'s> {
    #[inline(always)]
    pub(crate) fn new(of: Of<'s>, name: &'s [u8], place: &'static Location<'static>) -> Self {
        Self {
            request: Request::new(of, place),
            name: Key::new(name),
        }
    }

    manners!();

    /// Blocks this OS thread until the attribute is locked.
    ///
    /// # Errors
    /// As the future's.
    #[inline(always)]
    pub fn wait(self) -> Result<Guard<'s>, Error> {
        if self.request.waiting.is_none() {
            let entrance = self.request.entrance(thread::blocking);
            if let Some((home, held)) = self.request.of.enter_cell(self.name, entrance) {
                std::mem::forget(self); // It waits for nothing, so there is nothing to take back.
                return Ok(Guard::in_cell(home, held));
            }
        }
        *self.wait_slowly()
    }

    /// Boxed, as is [`Lock::poll_slowly`]: a result that comes back through memory would have to go through memory also when
    /// it did not come from here, which takes longer than the lock.
    #[cold]
    #[inline(never)]
    fn wait_slowly(mut self) -> Box<Result<Guard<'s>, Error>> {
        if self.request.waiting.is_none() {
            let entrance = self.request.entrance(thread::blocking);
            if let Some(result) = self.ask(entrance) {
                return Box::new(result);
            }
        }
        let own = std::cell::RefCell::new(self);
        Box::new(block_on(
            |context| own.borrow_mut().poll_answer(context),
            || own.borrow().request.left(),
        ))
    }

    #[cold]
    #[inline(never)]
    fn ask(&mut self, entrance: Entrance) -> Option<Result<Guard<'s>, Error>> {
        let of = self.request.of;
        let name = match of.hub().name(self.name.name()) {
            Ok(name) => name,
            Err(error) => return Some(Err(error)),
        };
        let session = of.open();
        Some(match session.enter_one(&name, entrance) {
            Some((home, Entered::Cell(held))) => Ok(Guard::in_cell(home, held)),
            Some((home, Entered::Session(granted))) => {
                Ok(Guard::in_session(home, name, entrance.thread, granted))
            }
            None => {
                let names = Names::One(name.clone());
                self.request
                    .ask(session, names, entrance)?
                    .map(|(home, granted)| Guard::in_session(home, name, entrance.thread, granted))
            }
        })
    }

    #[cold]
    #[inline(never)]
    fn poll_slowly(&mut self, context: &Context<'_>) -> Option<Box<Result<Guard<'s>, Error>>> {
        if self.request.waiting.is_none() {
            let entrance = self.request.entrance(thread::awaiting);
            if let Some(result) = self.ask(entrance) {
                return Some(Box::new(result));
            }
        }
        match self.poll_answer(context) {
            Poll::Ready(result) => Some(Box::new(result)),
            Poll::Pending => None,
        }
    }

    fn poll_answer(&mut self, context: &Context<'_>) -> Poll<Result<Guard<'s>, Error>> {
        self.request.poll(context).map(|(result, thread, names)| {
            let Names::One(name) = names else {
                unreachable!("one was asked for")
            };
            result.map(|(home, granted)| Guard::in_session(home, name, thread, granted))
        })
    }
}

impl<'s> Future for Lock<'s> {
    type Output = Result<Guard<'s>, Error>;

    #[inline(always)]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if self.request.waiting.is_none() {
            let entrance = self.request.entrance(thread::awaiting);
            if let Some((home, held)) = self.request.of.enter_cell(self.name, entrance) {
                return Poll::Ready(Ok(Guard::in_cell(home, held)));
            }
        }
        match self.poll_slowly(context) {
            Some(result) => Poll::Ready(*result),
            None => Poll::Pending,
        }
    }
}

/// A request for several attributes or all, from [`Session::lock_many`] or [`Session::lock_all`]: to be awaited, or
/// [`LockSet::wait`]ed for. Dropping it takes it back.
#[derive(Debug)]
#[must_use = "nothing is locked until it is awaited or waited for"]
pub struct LockSet<'s> {
    session: &'s Session,
    request: Request<'s>,
    names: Option<Result<Names, Error>>,
}

impl<'s> LockSet<'s> {
    pub(crate) fn new(
        session: &'s Session,
        names: Result<Names, Error>,
        place: &'static Location<'static>,
    ) -> Self {
        Self {
            session,
            request: Request::new(Of::Handle(session), place),
            names: Some(names),
        }
    }

    manners!();

    /// Blocks this OS thread until all of them are locked.
    ///
    /// # Errors
    /// As the future's.
    pub fn wait(mut self) -> Result<GuardSet<'s>, Error> {
        let entrance = self.request.entrance(thread::blocking);
        if let Some(result) = self.ask(entrance) {
            return result;
        }
        let own = std::cell::RefCell::new(self);
        block_on(
            |context| own.borrow_mut().poll_answer(context),
            || own.borrow().request.left(),
        )
    }

    fn ask(&mut self, entrance: Entrance) -> Option<Result<GuardSet<'s>, Error>> {
        let session = self.session;
        let names = match self.names.take().expect("polled after it was ready") {
            Ok(names) => names,
            Err(error) => return Some(Err(error)),
        };
        let Session { hub, entry } = session;
        let granted = match hub.enter_session(entry, &names, entrance) {
            Some(granted) => Ok(granted),
            None => {
                let asked = Opened::Handle(session);
                let answer = self.request.ask(asked, names.clone(), entrance)?;
                answer.map(|(_, granted)| granted)
            }
        };
        Some(granted.map(|granted| GuardSet::new(session, names, entrance.thread, granted)))
    }

    fn poll_answer(&mut self, context: &Context<'_>) -> Poll<Result<GuardSet<'s>, Error>> {
        let session = self.session;
        self.request.poll(context).map(|(result, thread, names)| {
            result.map(|(_, granted)| GuardSet::new(session, names, thread, granted))
        })
    }
}

impl<'s> Future for LockSet<'s> {
    type Output = Result<GuardSet<'s>, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if self.request.waiting.is_none() {
            let entrance = self.request.entrance(thread::awaiting);
            if let Some(result) = self.ask(entrance) {
                return Poll::Ready(result);
            }
        }
        self.poll_answer(context)
    }
}
