//! What a lock of an attribute costs, beside what a user would take instead, in one run.
//!
//! Run it with `cargo bench -p tenure-benches --bench locks`.
//!
//! Each path is lock, write a byte, unlock. The sessions are kept: nothing is sent.

#[path = "../../../impl/locks/tests/support/mod.rs"]
mod support;
mod turns;

use criterion::{Criterion, criterion_group};
use std::hint::black_box;
use std::sync::{Barrier, Mutex};
use std::time::{Duration, Instant};
use support::{Rig, session};
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
            let mut guard = black_box(&s).lock("cart").blocking().expect("free");
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
            let mut guard = s.lock(name).blocking().expect("nobody else's");
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

criterion_group!(locks, uncontended, two_threads);

fn main() {
    locks();
    Criterion::default().configure_from_args().final_summary();
    turns::print();
}
