//! What a frame costs: `cargo bench -p tenure-benches --bench wire`.
//!
//! A grant that carries four attributes of 512 bytes, as a store writes it and a process reads it, and the smallest
//! messages of a handoff.

use bytes::{Buf, BytesMut};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use tenure_benches::{acquire, attribute, session};
use tenure_protocol::attributes::{Change, State};
use tenure_protocol::message::Granted;
use tenure_protocol::{Request, Stamp, ToProcess, Token, Version};
use tenure_wire::{Decoder, FrameLimits, FromProcess, FromStore, Item, Outgoing};

const ATTRIBUTES: usize = 4;
const VALUE_BYTES: usize = 512;

fn granted() -> FromStore {
    let change = |at| Change {
        name: attribute(at),
        value: Some(vec![7; VALUE_BYTES].into()),
    };
    let stamp = Stamp {
        epoch: 1,
        sequence: 1_000_000,
    };
    FromStore::Message(ToProcess::Granted(Granted {
        session: session(1),
        request: Request(1_000),
        token: Token(stamp),
        version: Version(stamp),
        state: State::Full((0..ATTRIBUTES).map(change).collect()),
        recall: None,
        give_back: false,
    }))
}

/// Appends a frame, and takes what was written away, as a socket does.
fn encode<T: Item>(c: &mut Criterion, name: &str, item: &T) {
    let limits = FrameLimits::default();
    let mut out = Outgoing::new();
    let mut group = c.benchmark_group("wire");
    out.push(item, &limits).expect("it fits");
    group.throughput(Throughput::Bytes(out.len() as u64));
    out.advance(out.len());
    group.bench_function(format!("encode {name}"), |b| {
        b.iter(|| {
            out.push(black_box(item), &limits).expect("it fits");
            out.advance(out.len());
        });
    });
}

/// Reads a frame off a stream that holds many, as a socket leaves them.
fn decode<T: Item>(c: &mut Criterion, name: &str, item: &T) {
    const FRAMES: usize = 64;
    let limits = FrameLimits::default();
    let mut out = Outgoing::new();
    for _ in 0..FRAMES {
        out.push(item, &limits).expect("it fits");
    }
    let bytes = out.copy_to_bytes(out.len());
    let mut group = c.benchmark_group("wire");
    group.throughput(Throughput::Elements(FRAMES as u64));
    group.bench_function(format!("decode {FRAMES} x {name}"), |b| {
        b.iter_batched(
            || {
                (
                    Decoder::<T>::new(limits.clone()),
                    BytesMut::from(&bytes[..]),
                )
            },
            |(mut decoder, mut stream)| {
                while let Some(item) = decoder.decode(&mut stream).expect("well-formed") {
                    black_box(item);
                }
                (decoder, stream)
            },
            BatchSize::SmallInput,
        );
    });
}

fn frames(c: &mut Criterion) {
    let granted = granted();
    encode(c, "granted, 4 x 512 bytes", &granted);
    decode(c, "granted, 4 x 512 bytes", &granted);
    let acquire = FromProcess::Message(acquire(&session(1), 1_000));
    encode(c, "acquire", &acquire);
    decode(c, "acquire", &acquire);
}

criterion_group!(benches, frames);
criterion_main!(benches);
