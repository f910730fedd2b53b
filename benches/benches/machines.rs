//! What a step of the machines costs on the common paths.
//!
//! Targets: under 100 ns for a cached local lock and unlock, under 1 µs for acquire and grant at the store with 100,000
//! sessions resident.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use std::time::{Duration, Instant};
use tenure_benches::{
    NOW, Rig, THREAD, acquire, attribute, delta, from, holding, lock, process, session, shuffled,
    store, unlock, value, write,
};
use tenure_protocol::message::Release;
use tenure_protocol::process::Call;
use tenure_protocol::{ProcessMachine, SessionId, StoreMachine, ToStore, Token, Version};

fn local(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("process");
    for kept in [1, 10_000] {
        let mut process = holding(&mut store(kept), 0, kept);
        let (session, name) = (session(kept / 2), attribute(0));
        let (lock, write, unlock) = (lock(&name), write(&name, &value()), unlock(&name));
        let mut out = Vec::new();
        let mut use_by = |calls: &[&Call]| {
            for call in calls {
                process.call(NOW, THREAD, &session, call, &mut out);
            }
            black_box(&out);
            out.clear();
        };
        group.bench_function(BenchmarkId::new("lock and unlock", kept), |bencher| {
            bencher.iter(|| use_by(&[&lock, &unlock]));
        });
        group.bench_function(
            BenchmarkId::new("lock, write and unlock", kept),
            |bencher| bencher.iter(|| use_by(&[&lock, &write, &unlock])),
        );
    }
    group.finish();
}

/// The token and version that the store has for a session.
fn held(store: &StoreMachine, id: &SessionId) -> (Token, Version) {
    let head = &store.session(id).expect("resident").record().head;
    (head.holder.as_ref().expect("held").token, head.version)
}

fn release(store: &StoreMachine, id: &SessionId, is_changed: bool) -> ToStore {
    let (token, base) = held(store, id);
    ToStore::Release(Release {
        session: id.clone(),
        token,
        base,
        delta: if is_changed {
            delta()
        } else {
            tenure_protocol::Delta::default()
        },
        requeue: None,
        idle_ms: 0,
    })
}

/// Acquires and releases all sessions of a chunk in turn, and answers how long the acquires, or the releases, took.
fn store_time(
    store: &mut StoreMachine,
    order: &[SessionId],
    rounds: u64,
    times_release: bool,
    is_changed: bool,
) -> Duration {
    const CHUNK: usize = 512;
    let me = process(0);
    let mut out = Vec::with_capacity(8);
    let (mut done, mut elapsed, mut at) = (0, Duration::ZERO, 0);
    while done < rounds {
        let count = CHUNK.min(usize::try_from(rounds - done).unwrap_or(CHUNK));
        let chunk: Vec<&SessionId> = (0..count)
            .map(|next| &order[(at + next) % order.len()])
            .collect();
        let acquires: Vec<_> = chunk.iter().map(|id| from(&me, acquire(id, 1))).collect();
        let start = Instant::now();
        for input in acquires {
            store.step(NOW, input, &mut out);
            black_box(&out);
            out.clear();
        }
        let acquired = start.elapsed();
        let releases: Vec<_> = chunk
            .iter()
            .map(|id| from(&me, release(store, id, is_changed)))
            .collect();
        let start = Instant::now();
        for input in releases {
            store.step(NOW, input, &mut out);
            black_box(&out);
            out.clear();
        }
        elapsed += if times_release {
            start.elapsed()
        } else {
            acquired
        };
        done += count as u64;
        at += count;
    }
    elapsed
}

fn at_the_store(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("store");
    for count in [1_000, 100_000] {
        let mut resident = store(count);
        let order: Vec<SessionId> = shuffled(count).into_iter().map(session).collect();
        group.bench_function(BenchmarkId::new("acquire and grant", count), |bencher| {
            bencher.iter_custom(|rounds| store_time(&mut resident, &order, rounds, false, false));
        });
        group.bench_function(BenchmarkId::new("release", count), |bencher| {
            bencher.iter_custom(|rounds| store_time(&mut resident, &order, rounds, true, false));
        });
        group.bench_function(
            BenchmarkId::new("release with a change", count),
            |bencher| {
                bencher.iter_custom(|rounds| store_time(&mut resident, &order, rounds, true, true));
            },
        );
    }
    group.finish();
}

/// A keep-alive of a process with `count` cached grants, none of them recalled.
fn keep_alives(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("keep-alive");
    for count in [1, 1_000, 65_536] {
        let mut store = store(count);
        drop(holding(&mut store, 0, count));
        assert_eq!(store.held(), count);
        let me = process(0);
        let mut out = Vec::with_capacity(8);
        group.bench_function(BenchmarkId::from_parameter(count), |bencher| {
            bencher.iter(|| {
                store.step(NOW, from(&me, ToStore::KeepAlive { sent: NOW }), &mut out);
                black_box(&out);
                out.clear();
            });
        });
    }
    group.finish();
}

/// One process uses a session that the other one keeps: request, recall, release, grant, use.
fn handoff(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("both");
    group.throughput(Throughput::Elements(1));
    for count in [1, 100_000] {
        let mut rig = Rig::new(count);
        let (session, name, value) = (session(count / 2), attribute(0), value());
        let mut at = 0;
        group.bench_function(BenchmarkId::new("handoff", count), |bencher| {
            bencher.iter(|| {
                at = 1 - at;
                let sent = rig.thread(at, &session, &lock(&name));
                rig.thread(at, &session, &write(&name, &value));
                rig.thread(at, &session, &unlock(&name));
                sent
            });
        });
    }
    group.finish();
}

/// Cloning is what the checker does most.
fn clones(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("clone");
    let mut store = store(1);
    let process: ProcessMachine = holding(&mut store, 0, 1);
    group.bench_function("store", |bencher| bencher.iter(|| black_box(store.clone())));
    group.bench_function("process", |bencher| {
        bencher.iter(|| black_box(process.clone()))
    });
    group.finish();
}

criterion_group! {
    name = machines;
    config = Criterion::default().warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    targets = local, at_the_store, keep_alives, handoff, clones
}
criterion_main!(machines);
