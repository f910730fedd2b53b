//! The search loop: level after level, all threads expand chunks while the first one merges the results.
//!
//! Threads live for one batch of chunks. That costs some 50 µs for each batch. In return the search needs no locks and
//! no channels, and the visited set can grow between two batches, when there is only one thread.

use std::iter;
use std::mem;
use std::panic;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use stateright::{Expectation, Property};

use super::expand::{Expanded, Expander};
use super::merge::{CHUNK, Merger};
use super::visited::Visited;
use super::{Exploration, ExploreError, FairModel, Live, Options, Verdict};

/// The number of chunks in a batch for each thread. It bounds the successors that wait to be merged.
const BATCH: usize = 32;

/// The shortest time between two reports of progress.
const REPORT_EVERY: Duration = Duration::from_millis(100);

pub(super) struct Search<'s, M: FairModel> {
    expander: Expander<'s, M>,
    merger: Merger<M::State>,
    options: &'s Options<'s>,
    depth: usize,
    /// For each level, the number of its last state plus one.
    levels: Vec<u32>,
    started: Instant,
    reported: Instant,
    peak_bytes: usize,
}

impl<'s, M: FairModel> Search<'s, M> {
    pub(super) fn new(model: &'s M, options: &'s Options<'s>) -> Result<Self, ExploreError> {
        let properties = accept(model.properties())?;
        let mut initial = model.init_states();
        initial.retain(|state| model.within_boundary(state));
        if initial.is_empty() {
            return Err(ExploreError::NoInitialState);
        }
        let verdicts = properties.iter().map(Verdict::open).collect();
        // The two largest numbers are reserved for an unknown target and for no parent.
        let states_max = options
            .states_max
            .unwrap_or(u64::MAX)
            .min(u64::from(u32::MAX - 1)) as u32;
        let mut search = Self {
            expander: Expander {
                model,
                wanted: vec![true; properties.len()],
                properties,
                visited: Visited::default(),
                edges: options.edges,
                halted: false,
            },
            merger: Merger::new(
                verdicts,
                options.edges,
                states_max,
                options.stop_at_violation,
            ),
            options,
            depth: 0,
            levels: Vec::new(),
            started: Instant::now(),
            reported: Instant::now(),
            peak_bytes: 0,
        };
        search.reserve(initial.len());
        search.merger.seed(&search.expander.visited, initial);
        Ok(search)
    }

    pub(super) fn run(mut self) -> Exploration {
        while !self.merger.next.is_empty() {
            if self.options.stop_at_violation && self.merger.violated() {
                break;
            }
            self.depth += 1;
            self.levels.push(self.merger.unique() as u32);
            self.level();
        }
        self.report();
        self.finish()
    }

    fn level(&mut self) {
        let frontier = mem::take(&mut self.merger.next);
        // A batch is at most a quarter of the level, so that merging overlaps with expanding.
        let threads = self.options.threads.max(1);
        let batch = match threads {
            1 => 1,
            _ => frontier.len().div_ceil(4).clamp(threads, BATCH * threads),
        };
        let mut queue = frontier.into_iter();
        let mut ready = Vec::new();
        loop {
            let chunks: Vec<_> = queue.by_ref().take(batch).collect();
            if chunks.is_empty() && ready.is_empty() {
                return;
            }
            self.reserve(
                ready
                    .iter()
                    .map(|expanded: &Expanded<_>| expanded.fresh.len())
                    .sum(),
            );
            self.narrow();
            self.weigh(&ready);
            ready = self.round(chunks, ready);
            if self.reported.elapsed() >= REPORT_EVERY {
                self.report();
            }
        }
    }

    /// Merges the finished chunks while the new chunks are expanded.
    fn round(
        &mut self,
        chunks: Vec<Vec<M::State>>,
        ready: Vec<Expanded<M::State>>,
    ) -> Vec<Expanded<M::State>> {
        let Self {
            expander, merger, ..
        } = self;
        let expander = &*expander;
        let merge = |merger: &mut Merger<_>| {
            for expanded in ready {
                merger.merge(&expander.visited, expanded);
            }
        };
        let helpers = self.options.threads.min(chunks.len()).saturating_sub(1);
        if helpers == 0 {
            merge(merger);
            return chunks
                .into_iter()
                .map(|chunk| expander.expand(chunk))
                .collect();
        }
        let work = Mutex::new(chunks.into_iter().enumerate());
        let next = || {
            work.lock()
                .expect("taking the next chunk cannot panic, so the lock is never poisoned")
                .next()
        };
        let expand = || -> Vec<_> {
            iter::from_fn(next)
                .map(|(index, chunk)| (index, expander.expand(chunk)))
                .collect()
        };
        let mut expanded = thread::scope(|scope| {
            let helpers: Vec<_> = (0..helpers).map(|_| scope.spawn(expand)).collect();
            merge(merger);
            let mut expanded = expand();
            for helper in helpers {
                // The caller receives the model's own panic, not a panic about a thread.
                expanded.extend(
                    helper
                        .join()
                        .unwrap_or_else(|payload| panic::resume_unwind(payload)),
                );
            }
            expanded
        });
        expanded.sort_unstable_by_key(|&(index, _)| index);
        expanded.into_iter().map(|(_, expanded)| expanded).collect()
    }

    fn reserve(&mut self, more: usize) {
        self.expander.visited.reserve(self.merger.unique() + more);
        self.merger.reserve(self.expander.visited.len_max());
    }

    /// Passes on to the workers which evaluations are no longer needed.
    fn narrow(&mut self) {
        self.expander.halted = self.merger.halted;
        for (wanted, verdict) in self.expander.wanted.iter_mut().zip(&self.merger.verdicts) {
            *wanted = verdict.witness.is_none();
        }
    }

    fn queue(&self) -> u64 {
        self.merger.unique() as u64 - u64::from(self.merger.evaluated)
    }

    fn weigh(&mut self, ready: &[Expanded<M::State>]) {
        let waiting = self.queue() as usize + CHUNK;
        let bytes = self.expander.visited.bytes()
            + self.merger.bytes()
            + waiting * size_of::<M::State>()
            + ready.iter().map(Expanded::bytes).sum::<usize>();
        self.peak_bytes = self.peak_bytes.max(bytes);
    }

    fn report(&mut self) {
        self.reported = Instant::now();
        if let Some(on_progress) = self.options.on_progress {
            let seconds = self.started.elapsed().as_secs_f64();
            on_progress(&Live {
                states: self.merger.generated,
                unique_states: self.merger.unique() as u64,
                depth: self.depth,
                queue: self.queue(),
                seconds,
                rate: self.merger.unique() as f64 / seconds.max(1e-9),
            });
        }
    }

    fn finish(self) -> Exploration {
        let Self {
            expander, merger, ..
        } = self;
        let unique_states = merger.unique() as u64;
        let complete = !merger.halted;
        let mut verdicts = merger.verdicts;
        for verdict in &mut verdicts {
            verdict.exhaustive =
                complete && verdict.evaluated == unique_states && unique_states > 0;
        }
        Exploration {
            states: merger.generated,
            unique_states,
            depth: self.depth,
            seconds: self.started.elapsed().as_secs_f64(),
            complete,
            peak_bytes: self.peak_bytes,
            verdicts,
            graph: merger.graph,
            visited: expander.visited,
            origins: merger.origins,
            levels: self.levels,
        }
    }
}

/// Refuses models that would pass without a check.
fn accept<M: FairModel>(properties: Vec<Property<M>>) -> Result<Vec<Property<M>>, ExploreError> {
    if properties.is_empty() {
        return Err(ExploreError::NoProperties);
    }
    for (index, property) in properties.iter().enumerate() {
        let name = property.name;
        if property.expectation == Expectation::Eventually {
            return Err(ExploreError::Eventually { name });
        }
        if properties[..index].iter().any(|other| other.name == name) {
            return Err(ExploreError::TwoProperties { name });
        }
    }
    Ok(properties)
}
