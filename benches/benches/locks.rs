//! What a lock of an attribute costs, beside what a user would take instead, in one run: `cargo bench --bench locks`.
//!
//! Each path is lock, write a byte, unlock. The sessions are kept: nothing is sent.

#[path = "../../impl/locks/tests/support/mod.rs"]
mod support;

use criterion::{Criterion, criterion_group, criterion_main};
use dashmap::DashMap;
use std::hint::black_box;
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::time::{Duration, Instant};
use support::{Rig, session};
use tenure_benches::shuffled;
use tenure_locks::{Locks, Session};
use tenure_protocol::SessionId;

const BYTES: usize = 64;

fn value() -> Vec<u8> {
    vec![b'0'; BYTES]
}

/// A manager that holds sessions of four attributes, of which "cart" has the value.
fn holding(ids: &[SessionId]) -> Locks {
    let mut rig = Rig::new();
    let cart: &'static [u8] = Box::leak(value().into_boxed_slice());
    for id in ids {
        rig.hold(
            id,
            &[
                ("cart", cart),
                ("user", b"1"),
                ("seen", b"2"),
                ("lang", b"3"),
            ],
        );
    }
    rig.locks
}

fn one() -> Session {
    holding(&[session()]).session(&session())
}

/// The future, which is ready at once: what an executor adds is not measured.
fn run<F: Future>(future: F) -> F::Output {
    let mut future = std::pin::pin!(future);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match future.as_mut().poll(&mut context) {
        std::task::Poll::Ready(output) => output,
        std::task::Poll::Pending => unreachable!("nobody else has it"),
    }
}

fn uncontended(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("handle, blocking");
    let std = Mutex::new(value());
    group.bench_function("std", |bencher| {
        bencher.iter(|| black_box(&std).lock().expect("not poisoned")[0] += 1);
    });
    let parking_lot = parking_lot::Mutex::new(value());
    group.bench_function("parking_lot", |bencher| {
        bencher.iter(|| black_box(&parking_lot).lock()[0] += 1);
    });
    let s = one();
    group.bench_function("tenure", |bencher| {
        bencher.iter(|| {
            let mut guard = black_box(&s).lock("cart").wait().expect("free");
            guard
                .edit(|bytes| bytes[0] += 1)
                .expect("as long as before");
        });
    });
    group.finish();
    let mut group = criterion.benchmark_group("handle, async");
    let tokio = tokio::sync::Mutex::new(value());
    group.bench_function("tokio", |bencher| {
        bencher.iter(|| run(async { black_box(&tokio).lock().await[0] += 1 }));
    });
    group.bench_function("tenure", |bencher| {
        bencher.iter(|| {
            run(async {
                let mut guard = black_box(&s).lock("cart").await.expect("free");
                guard
                    .edit(|bytes| bytes[0] += 1)
                    .expect("as long as before");
            });
        });
    });
    group.finish();
}

fn by_id(criterion: &mut Criterion) {
    const SESSIONS: usize = 100_000;
    let ids: Vec<SessionId> = (0..SESSIONS).map(tenure_benches::session).collect();
    let order: Vec<SessionId> = shuffled(SESSIONS)
        .into_iter()
        .map(|at| ids[at].clone())
        .collect();
    let mut group = criterion.benchmark_group("by id, 100,000 sessions");
    let map: DashMap<SessionId, Arc<parking_lot::Mutex<Vec<u8>>>, foldhash::fast::FixedState> = ids
        .iter()
        .map(|id| (id.clone(), Arc::new(parking_lot::Mutex::new(value()))))
        .collect();
    let mut next = order.iter().cycle();
    group.bench_function("dashmap and parking_lot", |bencher| {
        bencher.iter(|| {
            let id = next.next().expect("a cycle");
            let lock = Arc::clone(&map.get(id).expect("there"));
            lock.lock()[0] += 1;
        });
    });
    let locks = holding(&ids);
    let mut next = order.iter().cycle();
    // The cells of all sessions are made before the measurement.
    for id in &ids {
        drop(locks.session(id).lock("cart").wait());
    }
    group.bench_function("tenure", |bencher| {
        bencher.iter(|| {
            let s = locks.session(next.next().expect("a cycle"));
            let mut guard = s.lock("cart").wait().expect("free");
            guard
                .edit(|bytes| bytes[0] += 1)
                .expect("as long as before");
        });
    });
    group.finish();
    // The same as for requests that come from elsewhere: which session is next is known only when the last one is done, so that
    // the processor cannot look several of them up at a time.
    let mut group = criterion.benchmark_group("by id, 100,000 sessions, one known after the other");
    let nothing = black_box(0);
    let mut at = 0;
    group.bench_function("dashmap and parking_lot", |bencher| {
        bencher.iter(|| {
            let lock = Arc::clone(&map.get(&order[at % SESSIONS]).expect("there"));
            let mut bytes = lock.lock();
            bytes[0] = bytes[0].wrapping_add(1);
            at += 1 + usize::from(bytes[0] & nothing);
        });
    });
    let mut at = 0;
    group.bench_function("tenure", |bencher| {
        bencher.iter(|| {
            let s = locks.session(&order[at % SESSIONS]);
            let mut guard = s.lock("cart").wait().expect("free");
            let byte = guard.edit(|bytes| {
                bytes[0] = bytes[0].wrapping_add(1);
                bytes[0]
            });
            at += 1 + usize::from(byte.expect("as long as before") & nothing);
        });
    });
    group.finish();
}

/// How long it takes until each of these threads has done `rounds` of its work.
fn together(rounds: u64, works: &[&(dyn Fn() + Sync)]) -> Duration {
    let barrier = Barrier::new(works.len() + 1);
    std::thread::scope(|scope| {
        let threads = works.iter().map(|work| {
            let barrier = &barrier;
            scope.spawn(move || {
                barrier.wait();
                (0..rounds).for_each(|_| work());
            })
        });
        let threads: Vec<_> = threads.collect();
        barrier.wait();
        let start = Instant::now();
        for thread in threads {
            thread.join().expect("no panic");
        }
        start.elapsed()
    })
}

fn two_threads(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("two attributes of one session");
    let s = one();
    let use_of = |name: &'static str| {
        let s = &s;
        move || {
            let mut guard = s.lock(name).wait().expect("nobody else's");
            guard
                .edit(|bytes| bytes[0] = bytes[0].wrapping_add(1))
                .expect("as long as before");
        }
    };
    let (cart, user) = (use_of("cart"), use_of("user"));
    group.bench_function("one thread", |bencher| {
        bencher.iter_custom(|rounds| together(rounds, &[&cart]));
    });
    group.bench_function("two threads, each", |bencher| {
        bencher.iter_custom(|rounds| together(rounds, &[&cart, &user]));
    });
    group.finish();
}

/// How long it takes from before an unlock until a thread that sleeps for the lock has it.
fn hand_over(rounds: u64, lock: impl Fn(&mut dyn FnMut()) + Sync) -> Duration {
    /// Long enough to fall asleep.
    const ASLEEP: Duration = Duration::from_micros(200);
    let (start, begin) = mpsc::channel::<()>();
    let (tell, told) = mpsc::channel::<Instant>();
    std::thread::scope(|scope| {
        let lock = &lock;
        scope.spawn(move || {
            while begin.recv().is_ok() {
                lock(&mut || tell.send(Instant::now()).expect("listening"));
            }
        });
        let total = (0..rounds).map(|_| {
            let mut unlocks = Instant::now();
            lock(&mut || {
                start.send(()).expect("listening");
                std::thread::sleep(ASLEEP);
                unlocks = Instant::now();
            });
            let locked = told.recv().expect("it gets it");
            locked.saturating_duration_since(unlocks)
        });
        let total = total.sum();
        drop(start);
        total
    })
}

fn hand_overs(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("hand-over to a sleeping waiter");
    group
        .sample_size(30)
        .measurement_time(Duration::from_secs(8));
    let fair = parking_lot::Mutex::new(());
    group.bench_function("parking_lot, fair", |bencher| {
        bencher.iter_custom(|rounds| {
            hand_over(rounds, |inside| {
                let guard = fair.lock();
                inside();
                parking_lot::MutexGuard::unlock_fair(guard);
            })
        });
    });
    let s = one();
    group.bench_function("tenure", |bencher| {
        bencher.iter_custom(|rounds| {
            hand_over(rounds, |inside| {
                let guard = s.lock("cart").wait().expect("granted");
                inside();
                drop(guard);
            })
        });
    });
    group.finish();
}

criterion_group!(locks, uncontended, by_id, two_threads, hand_overs);
criterion_main!(locks);
