//! The progress pass, tested against graphs with known answers and against an independent form of its definition.
//!
//! A wrong progress pass is silent: it reports nothing. The random suite therefore compares it with brute force over
//! all subsets of states. It also checks that both verdicts are frequent, and that each tempting misreading of the
//! definition gives another verdict. Every failure prints the seed that repeats it. Graphs of real universes are
//! deliberately left out.

use std::collections::VecDeque;

use tenure_checker::graph::Class::{self, Fair, Fault, Free};
use tenure_checker::graph::Graph;
use tenure_checker::progress::{Lasso, Report, check, is_fair_lasso};

// Graphs with known answers. Obligation 0 is "a waiter is served". The wait begins in state 0, unless stated otherwise.

type State<'a> = (u64, &'a [(u32, Class)]);

fn graph(states: &[State<'_>]) -> Graph {
    let mut graph = Graph::default();
    for &(pending, edges) in states {
        graph.push(pending, edges.iter().copied());
    }
    graph
}

/// Returns the length of the shortest path to each state from state 0, by any edge.
fn depths(graph: &Graph) -> Vec<u32> {
    let mut depths = vec![u32::MAX; graph.len()];
    let mut queue = VecDeque::from([0]);
    depths[0] = 0;
    while let Some(state) = queue.pop_front() {
        for (target, _) in graph.edges(state) {
            if depths[target as usize] == u32::MAX {
                depths[target as usize] = depths[state as usize] + 1;
                queue.push_back(target);
            }
        }
    }
    depths
}

fn report(graph: &Graph) -> Report {
    let depths = depths(graph);
    check(graph, |state| depths[state as usize])
}

/// Returns the lasso of a graph that has exactly one.
fn lasso(states: &[State<'_>]) -> Lasso {
    let mut lassos = report(&graph(states)).lassos;
    assert_eq!(lassos.len(), 1, "{lassos:?}");
    lassos.remove(0)
}

fn assert_progress(states: &[State<'_>]) {
    let report = report(&graph(states));
    assert_eq!(report.checked, 1);
    assert_eq!(report.lassos, []);
}

#[test]
fn a_waiter_passed_over_for_ever_is_found() {
    // Two others take turns, each action fair; the waiter's grant never becomes possible.
    let found = lasso(&[
        (0, &[(1, Free)]),
        (1, &[(2, Fair(0))]),
        (1, &[(3, Fair(1))]),
        (1, &[(1, Fair(2))]),
    ]);
    assert_eq!(found.start, 1);
    assert_eq!(found.cycle, [(1, 0), (2, 0), (3, 0)]);
}

#[test]
fn a_join_of_paths_hides_nothing() {
    // Both paths from 0 lead to 3 and end in 4. The obligation is pending only on the path through 2, and the run may
    // rest there. The state after it is known to be harmless, which is where a search with one bit per state looks
    // away.
    let found = lasso(&[
        (0, &[(1, Free), (2, Free)]),
        (0, &[(3, Fair(0))]),
        (1, &[(3, Free)]),
        (0, &[(4, Fair(0))]),
        (0, &[]),
    ]);
    assert_eq!((found.start, found.cycle.len()), (2, 0));
    assert_progress(&[
        (0, &[(1, Free), (2, Free)]),
        (0, &[(3, Fair(0))]),
        (1, &[(3, Fair(0))]),
        (0, &[(4, Fair(0))]),
        (0, &[]),
    ]);
}

#[test]
fn a_joined_dead_end_that_is_pending_is_found() {
    // The obligation begins at 1 and is a bit of the state, so the joined state 3 differs from one without it.
    let found = lasso(&[
        (0, &[(1, Free), (2, Free)]),
        (1, &[(3, Fair(0))]),
        (0, &[(4, Fair(0))]),
        (1, &[]),
        (0, &[]),
    ]);
    assert_eq!((found.start, found.cycle.len()), (3, 0));
}

#[test]
fn an_unfair_cycle_is_no_violation() {
    // The grant (class 1) is possible in both states and never taken in the cycle.
    assert_progress(&[
        (1, &[(1, Fair(0)), (2, Fair(1))]),
        (1, &[(0, Fair(0)), (2, Fair(1))]),
        (0, &[]),
    ]);
}

#[test]
fn weak_fairness_does_not_help_where_the_grant_comes_and_goes() {
    let found = lasso(&[
        (1, &[(1, Fair(0)), (2, Fair(1))]),
        (1, &[(0, Fair(0))]),
        (0, &[]),
    ]);
    assert_eq!(found.cycle, [(0, 0), (1, 0)]);
}

#[test]
fn a_class_taken_elsewhere_in_the_component_is_met() {
    // Class 1 is always enabled: as an exit in 0, but as an inner edge in 1. A cycle must make the detour over 1.
    let found = lasso(&[
        (1, &[(0, Fair(0)), (1, Free), (2, Fair(1))]),
        (1, &[(0, Fair(1)), (2, Fair(0))]),
        (0, &[]),
    ]);
    assert_eq!(found.cycle.len(), 3);
    assert!(found.cycle.contains(&(1, 0)));
}

#[test]
fn a_pending_dead_end_is_found() {
    let found = lasso(&[(1, &[(1, Fair(0))]), (1, &[])]);
    assert_eq!((found.start, found.cycle.len()), (1, 0));
}

#[test]
fn free_and_fault_edges_do_not_drive_a_run_on() {
    let found = lasso(&[
        (1, &[(1, Fair(0))]),
        (1, &[(2, Free), (2, Fault)]),
        (0, &[]),
    ]);
    assert_eq!((found.start, found.cycle.len()), (1, 0));
}

#[test]
fn a_fault_may_stand_in_the_stem_but_not_in_the_cycle() {
    let found = lasso(&[
        (1, &[(1, Fault), (3, Fair(0))]),
        (1, &[(2, Fair(0))]),
        (1, &[(1, Fair(1))]),
        (0, &[]),
    ]);
    assert_eq!(found.start, 1);
    // The only way back from 1 is a fault.
    assert_progress(&[
        (1, &[(1, Fair(0))]),
        (1, &[(0, Fault), (2, Fair(1))]),
        (0, &[]),
    ]);
    // A fault beside an equal edge of another class is not mistaken for that edge.
    let found = lasso(&[
        (1, &[(1, Fault), (1, Fair(0))]),
        (1, &[(0, Fault), (0, Fair(1))]),
    ]);
    assert_eq!(found.cycle, [(0, 1), (1, 1)]);
}

#[test]
fn self_loops_are_cycles() {
    let found = lasso(&[(1, &[(0, Fair(0))])]);
    assert_eq!(found.cycle, [(0, 0)]);
    // The self-loop is free and nothing else is possible, so the run may rest.
    let found = lasso(&[(1, &[(0, Free)])]);
    assert_eq!((found.start, found.cycle.len()), (0, 0));
    // The self-loop is free or fair while the grant is possible, so staying is not fair.
    assert_progress(&[(1, &[(0, Free), (0, Fair(1)), (1, Fair(0))]), (0, &[])]);
    assert_progress(&[(1, &[(0, Fault), (1, Fair(0))]), (0, &[])]);
}

#[test]
fn a_small_cycle_far_away_beats_a_large_one_nearby() {
    // The graph is a ring of 30 states. Class 1 is enabled everywhere, as the way out, and taken only from 20 to 21 and
    // back.
    let mut graph = Graph::default();
    for state in 0..30 {
        let class = if state == 20 { Fair(1) } else { Fair(0) };
        let back = (state == 21).then_some((20, Fair(0)));
        let ring = [((state + 1) % 30, class), (30, Fair(1))];
        graph.push(1, ring.into_iter().chain(back));
    }
    graph.push(0, []);
    let lassos = report(&graph).lassos;
    assert_eq!((lassos[0].start, lassos[0].cycle.len()), (20, 2));
}

#[test]
fn a_cycle_through_a_state_without_the_obligation_is_no_violation() {
    assert_progress(&[(1, &[(1, Fair(0))]), (0, &[(0, Fair(0))])]);
}

#[test]
fn obligations_and_classes_up_to_63_are_told_apart() {
    let both = 1 << 63 | 1 << 5;
    let graph = graph(&[
        (both, &[(1, Fair(63))]),
        (1 << 63, &[(2, Fair(62))]),
        (1 << 63, &[(1, Fair(63)), (0, Fair(62))]),
    ]);
    let report = report(&graph);
    assert_eq!(report.checked, both);
    assert_eq!(report.lassos.len(), 1);
    assert_eq!(report.lassos[0].obligation, 63);
    assert_eq!(report.lassos[0].cycle.len(), 2);
}

#[test]
fn nothing_pending_costs_nothing() {
    for graph in [Graph::default(), graph(&[(0, &[])])] {
        let report = check(&graph, |_| 0);
        assert_eq!(
            (report.checked, report.bytes, report.lassos.len()),
            (0, 0, 0)
        );
    }
}

#[test]
fn a_false_lasso_is_refused_with_a_reason() {
    let graph = graph(&[
        (1, &[(1, Fair(0)), (1, Fault), (2, Fair(1))]),
        (1, &[(0, Free), (1, Fair(0)), (2, Fair(1))]),
        (0, &[(2, Fair(0)), (1, Free)]),
    ]);
    let refused = |obligation, start, cycle: &[(u32, usize)], expected: &str| {
        let cycle = cycle.to_vec();
        let lasso = Lasso {
            obligation,
            cycle,
            start,
        };
        let reason = is_fair_lasso(&graph, &lasso).expect_err("a false lasso");
        assert!(reason.contains(expected), "{lasso:?}: {reason}");
    };
    refused(64, 0, &[], "no obligation");
    refused(0, 9, &[], "no state");
    refused(0, 0, &[], "cannot rest");
    refused(0, 2, &[], "not pending");
    refused(1, 0, &[], "not pending");
    refused(0, 0, &[(1, 0)], "goes on from");
    refused(0, 0, &[(0, 0)], "ends at");
    refused(0, 0, &[(0, 0), (0, 0)], "goes on from");
    refused(0, 0, &[(0, 3)], "no edge");
    refused(0, 0, &[(0, 1), (1, 0)], "fault");
    refused(0, 0, &[(0, 2), (2, 1)], "not pending");
    refused(0, 0, &[(0, 0), (1, 0)], "class 1");
}

// Random graphs against brute force.

struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// A number below `end`, the bias of which does not matter here.
    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

/// A graph of 1 to 7 states, all reachable and in the order of their discovery, with self-loops, parallel edges, up to
/// 4 fair classes, and the obligations 3 and 40.
fn random_graph(seed: u64) -> Graph {
    let mut random = SplitMix(seed);
    let states = 2 + random.below(6);
    let fair = 1 + random.below(4);
    let obligations = 1 + random.below(2);
    let degree = 2 + random.below(3);
    let mut pending = Vec::new();
    let mut rows: Vec<Vec<(u32, Class)>> = Vec::new();
    for _ in 0..states {
        let first = u64::from(random.below(3) > 0) << 3;
        let second = u64::from(obligations > 1 && random.below(2) > 0) << 40;
        pending.push(first | second);
        let edges = if random.below(16) == 0 {
            0
        } else {
            1 + random.below(degree)
        };
        let row = (0..edges).map(|_| {
            let class = match random.below(16) {
                0 | 1 => Fault,
                2 | 3 => Free,
                _ => Fair([0, 17, 62, 63][random.below(fair) as usize]),
            };
            (random.below(states) as u32, class)
        });
        rows.push(row.collect());
    }
    reachable(&pending, &rows)
}

/// Returns the part that is reachable from state 0, renumbered in the order of breadth-first discovery.
fn reachable(pending: &[u64], rows: &[Vec<(u32, Class)>]) -> Graph {
    let mut order = vec![0];
    let mut at = 0;
    while let Some(&state) = order.get(at) {
        for &(target, _) in &rows[state as usize] {
            if !order.contains(&target) {
                order.push(target);
            }
        }
        at += 1;
    }
    let renumber = |old: u32| order.iter().position(|&state| state == old).unwrap() as u32;
    let mut graph = Graph::default();
    for &old in &order {
        let row = rows[old as usize].iter();
        let edges = row.map(|&(target, class)| (renumber(target), class));
        graph.push(pending[old as usize], edges);
    }
    graph
}

/// The definition of a violation, and its misreadings.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Definition {
    Right,
    OnlyDeadEnds,
    NoRest,
    AnyCycle,
    FaultsInCycles,
    FaultsDisable,
    NoSelfLoops,
    EnabledOnlyInside,
    MustBeTaken,
    StrongFairness,
    FreeIsFair,
}

const MISREADINGS: [Definition; 10] = [
    Definition::OnlyDeadEnds,
    Definition::NoRest,
    Definition::AnyCycle,
    Definition::FaultsInCycles,
    Definition::FaultsDisable,
    Definition::NoSelfLoops,
    Definition::EnabledOnlyInside,
    Definition::MustBeTaken,
    Definition::StrongFairness,
    Definition::FreeIsFair,
];

/// Returns whether `obligation` may stay pending for ever: whether a fair run may rest, or visit exactly the states of
/// some set infinitely often.
fn may_stay_pending(graph: &Graph, obligation: u8, definition: Definition) -> bool {
    let states = || 0..graph.len() as u32;
    let pending = |state: u32| graph.pending(state) >> obligation & 1 == 1;
    let mut classes: Vec<Class> = states()
        .flat_map(|state| graph.edges(state))
        .map(|(_, class)| class)
        .filter(|&class| {
            matches!(class, Fair(_)) || definition == Definition::FreeIsFair && class == Free
        })
        .collect();
    classes.sort_unstable();
    classes.dedup();
    let rests = |state: u32| match definition {
        Definition::NoRest => false,
        Definition::OnlyDeadEnds => graph.edges(state).len() == 0,
        _ => !graph
            .edges(state)
            .any(|(_, class)| classes.contains(&class)),
    };
    let mut sets = 1_u32..1 << graph.len();
    states().any(|state| pending(state) && rests(state))
        || definition != Definition::OnlyDeadEnds
            && sets.any(|set| {
                states().all(|state| set >> state & 1 == 0 || pending(state))
                    && is_closed_walk(graph, set, definition)
                    && (definition == Definition::AnyCycle
                        || classes
                            .iter()
                            .all(|&class| is_met(graph, set, class, definition)))
            })
}

/// Returns whether a cycle may visit exactly `set`: each of its states reaches all of it by at least one step inside.
fn is_closed_walk(graph: &Graph, set: u32, definition: Definition) -> bool {
    let successors: [u32; 7] = std::array::from_fn(|state| {
        let edges = (state < graph.len()).then(|| graph.edges(state as u32));
        edges
            .into_iter()
            .flatten()
            .filter(|&(_, class)| class != Fault || definition == Definition::FaultsInCycles)
            .filter(|&(target, _)| {
                target as usize != state || definition != Definition::NoSelfLoops
            })
            .fold(0, |all, (target, _)| all | 1 << target)
    });
    (0..7).filter(|state| set >> state & 1 == 1).all(|state| {
        let mut reached = successors[state] & set;
        for _ in 0..7 {
            for (state, next) in successors.iter().enumerate() {
                if reached >> state & 1 == 1 {
                    reached |= next & set;
                }
            }
        }
        reached == set
    })
}

/// Returns whether a run that visits exactly the states of `set` infinitely often, by all its edges, is fair to
/// `class`.
fn is_met(graph: &Graph, set: u32, class: Class, definition: Definition) -> bool {
    let inside = |state: u32| set >> state & 1 == 1;
    let has = |state: u32, only_inside: bool| {
        graph
            .edges(state)
            .any(|(target, other)| other == class && (!only_inside || inside(target)))
    };
    let enabled = |state: u32| match definition {
        Definition::EnabledOnlyInside => has(state, true),
        Definition::FaultsDisable => {
            has(state, false) && graph.edges(state).all(|(_, class)| class != Fault)
        }
        _ => has(state, false),
    };
    let mut states = (0..7).filter(|&state| inside(state));
    let taken = states.clone().any(|state| has(state, true));
    taken
        || match definition {
            Definition::MustBeTaken => false,
            Definition::StrongFairness => !states.any(enabled),
            _ => states.any(|state| !enabled(state)),
        }
}

/// Returns the length of the shortest lasso, stem and cycle, by breadth-first search over states and unmet classes.
fn shortest_lasso(graph: &Graph, depths: &[u32], obligation: u8) -> Option<usize> {
    let bit = |class| match class {
        Fair(class) => 1_u64 << class,
        Free | Fault => 0,
    };
    let enabled = |state: u32| {
        graph
            .edges(state)
            .fold(0, |set, (_, class)| set | bit(class))
    };
    let pending = |state: u32| graph.pending(state) >> obligation & 1 == 1;
    let from = |start: u32| {
        if enabled(start) == 0 {
            return Some(depths[start as usize] as usize);
        }
        let mut seen = vec![(start, enabled(start))];
        let mut level = 0..1;
        for length in 1.. {
            for at in level.clone() {
                let (state, unmet) = seen[at];
                for (target, class) in graph.edges(state) {
                    let node = (target, unmet & enabled(target) & !bit(class));
                    if class == Fault || !pending(target) {
                        continue;
                    }
                    if node == (start, 0) {
                        return Some(depths[start as usize] as usize + length);
                    }
                    if !seen.contains(&node) {
                        seen.push(node);
                    }
                }
            }
            level = level.end..seen.len();
            if level.is_empty() {
                break;
            }
        }
        None
    };
    (0..graph.len() as u32)
        .filter(|&state| pending(state))
        .filter_map(from)
        .min()
}

/// The coverage of the random suite, which shows that it could have found a bug.
#[derive(Debug, Default)]
struct Tally {
    /// The number of obligations that are not pending for ever.
    met: u64,
    /// The numbers of lassos that rest, and of lassos that go round.
    rests: u64,
    cycles: u64,
    /// The length of the lassos found, and the least possible length.
    length: usize,
    least: usize,
    /// How often each misreading gives another verdict.
    told_apart: [u64; MISREADINGS.len()],
}

impl Tally {
    fn compare(&mut self, seed: u64) {
        let graph = random_graph(seed);
        let depths = depths(&graph);
        let report = check(&graph, |state| depths[state as usize]);
        let context = || format!("random_graph({seed}): {graph:?}, {report:?}");
        let checked = (0..graph.len() as u32).fold(0, |all, state| all | graph.pending(state));
        assert_eq!(report.checked, checked, "{}", context());
        let mut lassos = report.lassos.iter().peekable();
        for obligation in [3, 40].into_iter().filter(|bit| checked >> bit & 1 == 1) {
            let found = lassos.next_if(|lasso| lasso.obligation == obligation);
            let expected = may_stay_pending(&graph, obligation, Definition::Right);
            assert_eq!(found.is_some(), expected, "{obligation}, {}", context());
            if let Some(lasso) = found {
                assert_eq!(is_fair_lasso(&graph, lasso), Ok(()), "{}", context());
                let least = shortest_lasso(&graph, &depths, obligation).expect("there is one");
                let length = depths[lasso.start as usize] as usize + lasso.cycle.len();
                assert!(length >= least, "{least}, {}", context());
                self.length += length;
                self.least += least;
                self.rests += u64::from(lasso.cycle.is_empty());
                self.cycles += u64::from(!lasso.cycle.is_empty());
            } else {
                self.met += 1;
            }
            for (count, wrong) in self.told_apart.iter_mut().zip(MISREADINGS) {
                *count += u64::from(may_stay_pending(&graph, obligation, wrong) != expected);
            }
        }
        assert_eq!(lassos.next(), None, "{}", context());
    }
}

#[test]
fn random_graphs_agree_with_brute_force() {
    let mut tally = Tally::default();
    for seed in 0..100_000 {
        tally.compare(seed);
    }
    println!("{tally:?}");
    let all = tally.met + tally.rests + tally.cycles;
    for count in [tally.met, tally.rests, tally.cycles] {
        assert!(count * 10 > all, "a verdict that is rare is hardly tested");
    }
    for (wrong, count) in MISREADINGS.iter().zip(tally.told_apart) {
        assert!(count * 1_000 > all, "{wrong:?} is hardly told apart");
    }
    // The lassos are not the shortest, but within a hundredth in total.
    assert!(tally.length * 100 <= tally.least * 101);
}

// Large graphs.

#[test]
fn a_million_states_on_one_path_do_not_recurse() {
    const STATES: u32 = 1_000_000;
    // The graph is a ring. Every state has a way out, to the end, by a class that the ring does not take. The waiter of
    // obligation 0 therefore leaves, unless the way out is closed in one place. Obligation 1 stays pending at the end.
    for closed in [None, Some(777_777)] {
        let mut graph = Graph::default();
        for state in 0..STATES {
            let ring = [((state + 1) % STATES, Fair(0))];
            let out = (closed != Some(state)).then_some((STATES, Fair(1)));
            graph.push(3, ring.into_iter().chain(out));
        }
        graph.push(2, [(STATES, Fair(0))]);
        let report = check(&graph, |state| if state == STATES { 1 } else { state });
        println!("{:.2} s, {} bytes", report.seconds, report.bytes);
        let (last, others) = report.lassos.split_last().expect("obligation 1");
        assert_eq!(
            (last.obligation, last.cycle.as_slice()),
            (1, [(STATES, 0)].as_slice())
        );
        let found: Vec<_> = others
            .iter()
            .map(|lasso| (lasso.start, lasso.cycle.len()))
            .collect();
        assert_eq!(found, Vec::from_iter(closed.map(|_| (0, STATES as usize))));
    }
}
