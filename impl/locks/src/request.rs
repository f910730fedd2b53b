//! Lock requests: one future for tasks and OS threads, for one attribute, several, or all.

#[cfg(doc)]
use crate::asking::WAIT_MS;
use crate::asking::{Answer, Made, Request};
use crate::cell::{self, Entrance, Held};
use crate::entry::Entered;
use crate::error::Error;
use crate::guard::Guard;
use crate::key::Key;
use crate::session::Session;
use crate::session_ref::{GuardSession, Opened, SessionRef};
use crate::set::GuardSet;
use crate::thread;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tenure_protocol::message::WaitMode;
use tenure_protocol::process::Names;
use tenure_protocol::{AttributeName, ThreadId, Time};

impl Session {
    /// Requests the lock of one attribute. The attribute need not exist.
    #[track_caller]
    #[inline(always)]
    pub fn lock<'s, N: AsRef<[u8]> + ?Sized>(&'s self, name: &'s N) -> LockRequest<'s> {
        LockRequest::new(SessionRef::Handle(self), name.as_ref(), Location::caller())
    }

    /// Requests the locks of several attributes, all or none. A thread never waits while it holds some of these locks.
    #[track_caller]
    pub fn lock_many<N: AsRef<[u8]>>(
        &self,
        names: impl IntoIterator<Item = N>,
    ) -> LockSetRequest<'_> {
        let names: Result<Vec<AttributeName>, _> = names
            .into_iter()
            .map(|name| self.hub.name(name.as_ref()))
            .collect();
        let names = names.map(|mut names| {
            names.sort_unstable();
            names.dedup();
            Names::Many(names)
        });
        LockSetRequest::new(self, names, Location::caller())
    }

    /// Requests the lock of the whole session: of all attributes that exist or that another thread could create.
    #[track_caller]
    pub fn lock_all(&self) -> LockSetRequest<'_> {
        LockSetRequest::new(self, Ok(Names::All), Location::caller())
    }
}

macro_rules! manners {
    () => {
        /// Sets the time limit of the wait. The default is [`WAIT_MS`].
        pub fn timeout(self, limit: Duration) -> Self {
            let limit = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
            let until = self.request.of.hub().clock.now().after(limit);
            self.until(until)
        }

        /// Sets the deadline on the manager's clock ([`Locks::now`](crate::Locks::now)).
        fn until(mut self, until: Time) -> Self {
            self.request.manner.until = until.max(Time(1));
            self
        }

        /// Makes the request a try: it waits for no thread, in this process or in another. The try may ask the store
        /// whether another process only caches the session. Rule 13.
        pub fn try_lock(mut self) -> Self {
            self.request.manner.wait_mode = WaitMode::Try;
            self
        }

        /// Restricts the request to a session that exists: one written to since it was created or destroyed. For ids
        /// from outside, such as cookies. An unknown id costs a look-up at the store, and leaves no data there or here.
        ///
        /// The request fails with [`Error::Absent`] if the session does not exist. It fails with [`Error::Unsupported`]
        /// if the store would have to be asked and speaks version 1.0.
        pub fn existing(mut self) -> Self {
            self.request.manner.existing = true;
            self
        }

        /// Makes the request on behalf of the thread that holds another guard. Use this for tasks outside of
        /// [`task`](crate::task): their locks otherwise count as unrelated threads, so that a deadlock between them is
        /// not detected. If the number is not from a guard, only its lower 55 bits are used.
        pub fn beside(mut self, thread: ThreadId) -> Self {
            self.request.manner.thread = cell::known(thread);
            self
        }
    };
}

/// A request for the lock of one attribute, from [`Session::lock`] or [`Locks::lock`](crate::Locks::lock). Await it, or
/// call [`LockRequest::blocking`]. Dropping the request withdraws it.
#[derive(Debug)]
#[must_use = "a request locks nothing until it is awaited or `blocking` is called"]
pub struct LockRequest<'s> {
    request: Request<'s>,
    name: Key<'s>,
}

impl<'s> LockRequest<'s> {
    #[inline(always)]
    pub(crate) fn new(
        of: SessionRef<'s>,
        name: &'s [u8],
        place: &'static Location<'static>,
    ) -> Self {
        Self {
            request: Request::new(of, place),
            name: Key::new(name),
        }
    }

    manners!();

    /// Blocks this OS thread until the attribute is locked. For OS threads: inside of a task, the call would block the
    /// runtime's thread.
    ///
    /// # Errors
    /// The errors of the future. [`Error::BlocksRuntime`] inside of a task whose wait might never end.
    #[inline(always)]
    pub fn blocking(self) -> Result<Guard<'s>, Error> {
        if self.request.may_enter_cell() {
            let entrance = self.request.entrance(thread::blocking);
            if let Some((home, held)) = self.request.of.enter_cell(self.name, entrance) {
                std::mem::forget(self); // The request waits for nothing, so its drop would do nothing.
                return Ok(Guard::in_cell(home, held));
            }
        }
        match self.wait_slowly() {
            Slowly::Cell(home, held) => Ok(Guard::in_cell(home, held)),
            Slowly::Otherwise(result) => *result,
        }
    }

    #[cold]
    #[inline(never)]
    fn wait_slowly(mut self) -> Slowly<'s> {
        let entrance = self.request.entrance(thread::blocking);
        let mut waiting = match self.request.waiting.take() {
            Some(waiting) => *waiting,
            None => match self.enter(entrance) {
                Tried::Answered(result) => return result,
                Tried::Asks(session, names) => match self.request.ask(session, &names, entrance) {
                    Made::Answered(answer) => {
                        return Slowly::answered(answer, &names, entrance.thread);
                    }
                    Made::Waits(waiting) => waiting,
                },
            },
        };
        let answer = waiting.block();
        let waiter = &waiting.waiter;
        Slowly::answered(answer, &waiter.names, waiter.entrance.thread)
    }

    /// Enters the attribute without the machine, if possible.
    #[cold]
    #[inline(never)]
    fn enter(&self, entrance: Entrance) -> Tried<'s> {
        let of = self.request.of;
        let existing = self.request.manner.existing;
        if existing && let Some((home, held)) = of.enter_cell(self.name, entrance) {
            // A session with a value in an attribute exists.
            if held.bytes().is_some() {
                return Tried::Answered(Slowly::Cell(home, held));
            }
            drop(Guard::in_cell(home, held));
        }
        let name = match of.hub().name(self.name.name()) {
            Ok(name) => name,
            Err(error) => return Tried::Answered(Slowly::Otherwise(Box::new(Err(error)))),
        };
        let session = of.open();
        let entered = session.enter_one(&name, entrance, existing);
        let names = Names::One(name);
        match entered {
            Some(entered) => {
                Tried::Answered(Slowly::answered(Ok(entered), &names, entrance.thread))
            }
            None => Tried::Asks(session, names),
        }
    }

    #[cold]
    #[inline(never)]
    fn poll_slowly(&mut self, context: &Context<'_>) -> Option<Slowly<'s>> {
        if self.request.waiting.is_none() {
            let entrance = self.request.entrance(thread::awaiting);
            let (session, names) = match self.enter(entrance) {
                Tried::Answered(result) => return Some(result),
                Tried::Asks(session, names) => (session, names),
            };
            match self.request.ask(session, &names, entrance) {
                Made::Answered(answer) => {
                    return Some(Slowly::answered(answer, &names, entrance.thread));
                }
                Made::Waits(waiting) => self.request.waiting = Some(Box::new(waiting)),
            }
        }
        let Poll::Ready((answer, waiting)) = self.request.poll(context) else {
            return None;
        };
        let waiter = &waiting.waiter;
        let thread = waiter.entrance.thread;
        Some(Slowly::answered(answer, &waiter.names, thread))
    }
}

/// The result of an attempt without the machine.
enum Tried<'s> {
    Answered(Slowly<'s>),
    /// The machine must be asked.
    Asks(Opened<'s>, Names),
}

/// A result from the slow path. Boxed unless it is in a cell: returning a guard through memory would force the fast
/// path through memory too, and that takes longer than the lock itself.
enum Slowly<'s> {
    Cell(GuardSession<'s>, Held<'s>),
    Otherwise(Box<Result<Guard<'s>, Error>>),
}

impl<'s> Slowly<'s> {
    #[inline(always)]
    fn answered(answer: Answer<'s>, names: &Names, thread: ThreadId) -> Self {
        match answer {
            Ok((home, Entered::Cell(held))) => Self::Cell(home, held),
            answer => Self::otherwise(answer, names, thread),
        }
    }

    #[inline(never)]
    fn otherwise(answer: Answer<'s>, names: &Names, thread: ThreadId) -> Self {
        let Names::One(name) = names else {
            unreachable!(
                "the caller passes the names of a `LockRequest`, which are always `Names::One`"
            )
        };
        let guard = answer.map(|(home, entered)| {
            Guard::in_session(home, name.clone(), thread, entered.session())
        });
        Self::Otherwise(Box::new(guard))
    }
}

impl<'s> Future for LockRequest<'s> {
    type Output = Result<Guard<'s>, Error>;

    #[inline(always)]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if self.request.may_enter_cell() {
            let entrance = self.request.entrance(thread::awaiting);
            if let Some((home, held)) = self.request.of.enter_cell(self.name, entrance) {
                return Poll::Ready(Ok(Guard::in_cell(home, held)));
            }
        }
        match self.poll_slowly(context) {
            Some(Slowly::Cell(home, held)) => Poll::Ready(Ok(Guard::in_cell(home, held))),
            Some(Slowly::Otherwise(result)) => Poll::Ready(*result),
            None => Poll::Pending,
        }
    }
}

/// A request for the locks of several attributes or all, from [`Session::lock_many`] or [`Session::lock_all`]. Await
/// it, or call [`LockSetRequest::blocking`]. Dropping the request withdraws it.
#[derive(Debug)]
#[must_use = "a request locks nothing until it is awaited or `blocking` is called"]
pub struct LockSetRequest<'s> {
    session: &'s Session,
    request: Request<'s>,
    names: Option<Result<Names, Error>>,
}

impl<'s> LockSetRequest<'s> {
    pub(crate) fn new(
        session: &'s Session,
        names: Result<Names, Error>,
        place: &'static Location<'static>,
    ) -> Self {
        Self {
            session,
            request: Request::new(SessionRef::Handle(session), place),
            names: Some(names),
        }
    }

    manners!();

    /// Blocks this OS thread until all attributes are locked. For OS threads, as [`LockRequest::blocking`].
    ///
    /// # Errors
    /// As [`LockRequest::blocking`].
    pub fn blocking(mut self) -> Result<GuardSet, Error> {
        let entrance = self.request.entrance(thread::blocking);
        let mut waiting = match self.request.waiting.take() {
            Some(waiting) => *waiting,
            None => match self.ask(entrance) {
                Made::Answered(answer) => return self.answered(answer, entrance.thread),
                Made::Waits(waiting) => waiting,
            },
        };
        self.answered(waiting.block(), waiting.waiter.entrance.thread)
    }

    /// Makes the request: first to the session, then to the machine.
    fn ask(&self, entrance: Entrance) -> Made<'s, Answer<'s>> {
        let names = match self
            .names
            .as_ref()
            .expect("a future must not be polled after it has returned `Ready`")
        {
            Ok(names) => names,
            Err(error) => return Made::Answered(Err(error.clone())),
        };
        let session = Opened::Handle(self.session);
        let Session { hub, entry } = self.session;
        if let Err(forked) = hub.refuse_forked() {
            return Made::Answered(Err(forked));
        }
        let existing = self.request.manner.existing;
        match hub.enter_session(entry, names, entrance, existing) {
            Some(granted) => Made::Answered(Ok(session.enter(granted))),
            None => self.request.ask(session, names, entrance),
        }
    }

    fn answered(&mut self, answer: Answer<'s>, thread: ThreadId) -> Result<GuardSet, Error> {
        let names = self
            .names
            .take()
            .expect("a request has exactly one result, and the names are taken only with it");
        let (_, entered) = answer?;
        let granted = entered.session();
        Ok(GuardSet::new(self.session, names?, thread, granted))
    }
}

impl<'s> Future for LockSetRequest<'s> {
    type Output = Result<GuardSet, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if self.request.waiting.is_none() {
            let entrance = self.request.entrance(thread::awaiting);
            match self.ask(entrance) {
                Made::Answered(answer) => {
                    return Poll::Ready(self.answered(answer, entrance.thread));
                }
                Made::Waits(waiting) => self.request.waiting = Some(Box::new(waiting)),
            }
        }
        let Poll::Ready((answer, waiting)) = self.request.poll(context) else {
            return Poll::Pending;
        };
        Poll::Ready(self.answered(answer, waiting.waiter.entrance.thread))
    }
}
