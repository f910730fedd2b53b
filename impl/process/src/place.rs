//! The place where the driver runs: its own thread, or a runtime of the application.
//!
//! A message that a task sends through another thread, and its answer, cost two switches between threads. So while
//! tasks of the runtime that the application has named request sessions, the driver runs on that runtime, as a task of
//! its own: the *guest*. The guest writes the messages of all tasks that ran before it with one system call, and wakes
//! them without one.
//!
//! The driver's own thread remains responsible (decision 13). It handles every deadline, keep-alives among them. It
//! takes the driver back when the runtime ends, when the runtime is blocked, when the connection is lost, and when no
//! task has used the connection for a while. A thread without a runtime runs the driver itself for as long as it takes
//! to write its message.
//!
//! | who | when |
//! |---|---|
//! | the guest | a task of its runtime, or the connection, has rung |
//! | a thread outside of every runtime | it has rung, and there is no guest |
//! | the driver's own thread | at each deadline, and otherwise if there is no guest |

use crate::os;
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant as StdInstant};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// The interval between two checks of a guest.
const CHECK: Duration = Duration::from_millis(25);
/// The number of checks in a row without a poll of a guest that should have polled. Then its runtime is blocked.
const STRIKES: u32 = 2;
/// The number of checks in a row in which a guest had nothing to do. Then it leaves.
const QUIET: u32 = 40;
/// The time without a guest after a runtime was blocked.
const STAY: Duration = Duration::from_secs(10);
/// The maximum number of polls in a row by one thread. Further work goes to the responsible place.
const ROUNDS: u32 = 16;

/// Somebody has rung since the last poll began.
const RUNG: u8 = 1;
/// A thread polls the driver.
const POLLING: u8 = 2;

/// What runs at a place: a driver.
pub(crate) trait Polled: Send {
    /// Handles everything that is ready. Returns `Ready` when the driver has finished its work.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()>;

    /// Returns whether there is input that nobody has read.
    fn has_input(&self) -> bool;

    /// Ends the driver, on its own thread.
    fn finish(self: Box<Self>) -> Pin<Box<dyn Future<Output = ()>>>;
}

/// A driver together with the place where it runs. Its waker rings the bell of that place.
pub(crate) struct Place {
    /// The runtime of the driver's own thread.
    home: Handle,
    /// The runtime of the application that may run the driver.
    abroad: Option<Handle>,
    /// The counter of forks, and its value in the OS process that this place belongs to.
    forks: (&'static AtomicU64, u64),
    /// `None` before the start and after the end.
    driver: Mutex<Option<Box<dyn Polled>>>,
    /// [`RUNG`] and [`POLLING`]. A thread polls the driver only while it has set `POLLING`.
    stage: AtomicU8,
    guest: Mutex<Option<Guest>>,
    /// The number of the last guest.
    guests: AtomicU64,
    /// The guest has been rung since its last poll.
    is_guest_rung: AtomicBool,
    guest_polls: AtomicU64,
    /// Whether a guest or a thread of the application may run the driver: it is connected, and does not stop.
    may_leave: AtomicBool,
    /// No guest before this time.
    stays_until: Mutex<Option<StdInstant>>,
    /// The next deadline of the driver.
    wake_at: Mutex<Instant>,
    /// Wakes the driver's own thread.
    bell: Notify,
}

/// The task of a runtime of the application that runs the driver.
struct Guest {
    number: u64,
    runtime: Handle,
    /// `None` before its first poll.
    waker: Option<Waker>,
}

/// The runtime to which the connection is registered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Address(u64);

impl Place {
    /// Returns a place without a driver. `home` is the runtime of the driver's own thread, and `abroad` one of the
    /// application.
    ///
    /// # Errors
    /// The C library has no memory to register a function.
    pub(crate) fn new(home: Handle, abroad: Option<Handle>) -> io::Result<Self> {
        let forks = os::forks()?;
        Ok(Self {
            home,
            abroad,
            forks: (forks, forks.load(Ordering::Relaxed)),
            driver: Mutex::new(None),
            stage: AtomicU8::new(0),
            guest: Mutex::new(None),
            guests: AtomicU64::new(0),
            is_guest_rung: AtomicBool::new(false),
            guest_polls: AtomicU64::new(0),
            may_leave: AtomicBool::new(false),
            stays_until: Mutex::new(None),
            wake_at: Mutex::new(Instant::from_std(StdInstant::now())),
            bell: Notify::new(),
        })
    }

    /// Returns whether this OS process is a child of the one that the driver belongs to. A thread may have held the
    /// mutexes at the fork.
    fn is_forked(&self) -> bool {
        self.forks.0.load(Ordering::Relaxed) != self.forks.1
    }

    /// Runs a driver to its end, on the driver's own thread.
    pub(crate) async fn run(self: &Arc<Self>, driver: Box<dyn Polled>) {
        *lock(&self.driver) = Some(driver);
        let mut watch = Watch::default();
        while self.poll().is_pending() {
            // Until the driver has to be polled here.
            loop {
                let wake_at = *lock(&self.wake_at);
                let check_at = Instant::now() + CHECK;
                let has_guest = lock(&self.guest).is_some();
                let until = if has_guest {
                    wake_at.min(check_at)
                } else {
                    wake_at
                };
                let is_rung = tokio::select! {
                    biased;
                    () = self.bell.notified() => true,
                    () = sleep_until(until) => false,
                };
                if has_guest {
                    watch.look(self);
                }
                if is_rung || Instant::now() >= *lock(&self.wake_at) {
                    break;
                }
            }
        }
        self.may_leave.store(false, Ordering::Relaxed);
        self.take_back(None);
        assert!(
            !self.driver.is_poisoned(),
            "the driver has panicked on a thread of the application"
        );
        let driver = lock(&self.driver).take();
        if let Some(driver) = driver {
            driver.finish().await;
        }
    }

    /// Polls the driver, unless another thread does. That thread then polls once more. Returns `Ready` after the end.
    fn poll(self: &Arc<Self>) -> Poll<()> {
        self.stage.fetch_or(RUNG, Ordering::AcqRel);
        if self.stage.fetch_or(POLLING, Ordering::AcqRel) & POLLING != 0 {
            return Poll::Pending;
        }
        let polling = Polling(self);
        let waker = Waker::from(Arc::clone(self));
        let mut context = Context::from_waker(&waker);
        // Timers and attempts to connect belong to the driver's own runtime, whichever thread polls.
        let _home = self.home.enter();
        for _ in 0..ROUNDS {
            self.stage.fetch_and(!RUNG, Ordering::AcqRel);
            let polled = match self.driver.lock() {
                Ok(mut driver) => driver.as_mut().map(|driver| driver.poll(&mut context)),
                Err(_) => None,
            };
            if polled != Some(Poll::Pending) {
                self.bell.notify_one();
                return Poll::Ready(());
            }
            let left = self
                .stage
                .compare_exchange(POLLING, 0, Ordering::AcqRel, Ordering::Acquire);
            if left.is_ok() {
                std::mem::forget(polling);
                return Poll::Pending;
            }
        }
        drop(polling);
        if !self.wake_guest() {
            self.bell.notify_one();
        }
        Poll::Pending
    }

    /// Notes that there is work, and wakes the place that does it.
    fn ring(self: &Arc<Self>) {
        if self.is_forked() {
            return;
        }
        // With `POLLING`, the polling thread sees the bell before it leaves.
        if self.stage.fetch_or(RUNG, Ordering::AcqRel) & POLLING == 0 {
            self.tell();
        }
    }

    /// Wakes the guest or the driver's own thread, or polls on this thread.
    fn tell(self: &Arc<Self>) {
        if self.wake_guest() {
            return;
        }
        if self.may_leave.load(Ordering::Relaxed) {
            match Handle::try_current() {
                Ok(runtime) if self.is_abroad(&runtime) && self.board(&runtime) => return,
                Err(error) if error.is_missing_context() => {
                    // After the end, there is nothing left to do.
                    let _ = self.poll();
                    return;
                }
                _ => {}
            }
        }
        self.bell.notify_one();
    }

    fn is_abroad(&self, runtime: &Handle) -> bool {
        let abroad = self.abroad.as_ref();
        abroad.is_some_and(|abroad| abroad.id() == runtime.id())
    }

    fn wake_guest(&self) -> bool {
        let waker = match &*lock(&self.guest) {
            None => return false,
            Some(guest) => {
                self.is_guest_rung.store(true, Ordering::Relaxed);
                guest.waker.clone()
            }
        };
        // Without a waker, the guest's first poll is still to come.
        if let Some(waker) = waker {
            waker.wake();
        }
        true
    }

    /// Moves the driver to the runtime of the application. Returns whether there is a guest now.
    fn board(self: &Arc<Self>, runtime: &Handle) -> bool {
        let number = {
            let stays = lock(&self.stays_until);
            if stays.is_some_and(|until| until > StdInstant::now()) {
                return false;
            }
            let mut guest = lock(&self.guest);
            if guest.is_some() {
                drop((stays, guest));
                return self.wake_guest();
            }
            let number = self.guests.fetch_add(1, Ordering::Relaxed) + 1;
            *guest = Some(Guest {
                number,
                runtime: runtime.clone(),
                waker: None,
            });
            number
        };
        self.is_guest_rung.store(true, Ordering::Relaxed);
        runtime.spawn(Visit {
            place: Arc::clone(self),
            number,
        });
        self.bell.notify_one(); // From now on, the driver's own thread watches the guest.
        true
    }

    /// Ends the stay of the guest, or only of the one with this number.
    fn take_back(&self, number: Option<u64>) {
        let guest = lock(&self.guest).take_if(|guest| number.is_none_or(|own| guest.number == own));
        let Some(guest) = guest else { return };
        self.stage.fetch_or(RUNG, Ordering::AcqRel);
        self.bell.notify_one();
        if let Some(waker) = guest.waker {
            waker.wake(); // Its next poll is its last.
        }
    }

    /// Notes that a thread of the current runtime is about to block: if the guest is there, it would not run.
    pub(crate) fn note_blocking(&self) {
        if self.is_forked() {
            return;
        }
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        if lock(&self.guest)
            .as_ref()
            .is_some_and(|guest| guest.runtime.id() == runtime.id())
        {
            self.stay();
        }
    }

    /// Takes the driver back from a blocked runtime.
    fn stay(&self) {
        *lock(&self.stays_until) = Some(StdInstant::now() + STAY);
        self.take_back(None);
    }

    /// Returns the runtime where the connection belongs.
    pub(crate) fn runtime(&self) -> (Address, Handle) {
        match &*lock(&self.guest) {
            Some(guest) => (Address(guest.number), guest.runtime.clone()),
            None => (Address::default(), self.home.clone()),
        }
    }

    /// Notes the state of the driver at the end of a poll.
    pub(crate) fn note(&self, wake_at: Instant, may_leave: bool) {
        self.may_leave.store(may_leave, Ordering::Relaxed);
        let earlier = {
            let mut own = lock(&self.wake_at);
            std::mem::replace(&mut *own, wake_at)
        };
        if !may_leave {
            self.take_back(None);
        }
        if wake_at < earlier {
            self.bell.notify_one();
        }
    }

    /// Notes an order to the driver.
    pub(crate) fn order(self: &Arc<Self>) {
        self.stage.fetch_or(RUNG, Ordering::AcqRel);
        self.bell.notify_one();
    }
}

impl Wake for Place {
    fn wake(self: Arc<Self>) {
        self.ring();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.ring();
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Place").finish_non_exhaustive()
    }
}

/// The thread that polls the driver. The drop ends the poll, even after a panic.
struct Polling<'p>(&'p Place);

impl Drop for Polling<'_> {
    fn drop(&mut self) {
        self.0.stage.fetch_and(!POLLING, Ordering::AcqRel);
    }
}

/// The task of a guest.
struct Visit {
    place: Arc<Place>,
    number: u64,
}

impl Future for Visit {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let place = &self.place;
        if place.is_forked() {
            return Poll::Pending;
        }
        match &mut *lock(&place.guest) {
            Some(guest) if guest.number == self.number => match &mut guest.waker {
                Some(waker) => waker.clone_from(context.waker()),
                waker => *waker = Some(context.waker().clone()),
            },
            _ => return Poll::Ready(()),
        }
        place.is_guest_rung.store(false, Ordering::Relaxed);
        place.guest_polls.fetch_add(1, Ordering::Relaxed);
        place.poll()
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        if !self.place.is_forked() {
            self.place.take_back(Some(self.number));
        }
    }
}

/// The view of the driver's own thread on a guest.
#[derive(Debug, Default)]
struct Watch {
    next: Option<Instant>,
    polls: u64,
    strikes: u32,
    quiet: u32,
}

impl Watch {
    /// Checks the guest, if the last check is long enough ago. Takes the driver back from a guest that does not run, or
    /// has nothing to do.
    fn look(&mut self, place: &Place) {
        let now = Instant::now();
        if self.next.is_some_and(|next| now < next) {
            return;
        }
        self.next = Some(now + CHECK);
        let polls = place.guest_polls.load(Ordering::Relaxed);
        if std::mem::replace(&mut self.polls, polls) != polls {
            (self.strikes, self.quiet) = (0, 0);
            return;
        }
        let has_input = || {
            lock(&place.driver)
                .as_ref()
                .is_some_and(|driver| driver.has_input())
        };
        if place.is_guest_rung.load(Ordering::Relaxed) || has_input() {
            self.strikes += 1;
            self.quiet = 0;
            if self.strikes >= STRIKES {
                place.stay();
                self.strikes = 0; // The next guest has not failed yet.
            }
        } else {
            self.strikes = 0;
            self.quiet += 1;
            if self.quiet >= QUIET {
                place.take_back(None);
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
