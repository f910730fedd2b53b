//! Renumbering changes no observable behaviour.
//!
//! The universes are finite because each state is replaced by its canonical form. Here random walks are taken twice:
//! with the numbers that the machines drew, which grow, and from canonical form to canonical form. At every step, both
//! states must allow the same actions, have the same verdicts, and be equal apart from their numbers.

use stateright::{Expectation, Model as _};
use tenure_checker::system::Model;
use tenure_checker::universe::{UNIVERSES, Universe};
use tenure_protocol::Sound;

/// The number of steps: enough to restart the store and fill the queues several times.
const WALKS: u64 = 40;
const STEPS: usize = 120;

/// Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014.
struct SplitMix(u64);

impl SplitMix {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % bound as u64).expect("below a usize")
    }
}

/// Walks both ways. Returns the number of steps, and the number of states in which the numbers differed.
fn walk(universe: &'static Universe, seed: u64) -> (usize, usize) {
    let model = Model::new(universe, Sound);
    let properties = model.properties();
    let mut random = SplitMix(seed);
    let mut canonical = model.init_states().remove(0);
    let mut raw = canonical.clone();
    let (mut taken, mut different) = (0, 0);
    for step in 0..STEPS {
        let at = || format!("{}, walk {seed}, step {step}", universe.name);
        let (mut choices, mut raw_choices) = (vec![], vec![]);
        model.actions(&canonical, &mut choices);
        model.actions(&raw, &mut raw_choices);
        assert_eq!(choices, raw_choices, "{}", at());
        if choices.is_empty() {
            break;
        }
        let action = choices[random.below(choices.len())];
        canonical = model.next_state(&canonical, action).expect("a successor");
        raw = model.raw_successor(&raw, action);
        assert!(
            model.canonical(raw.clone()) == canonical,
            "{}: {action}",
            at()
        );
        for property in &properties {
            let holds = (property.condition)(&model, &canonical);
            let holds_raw = (property.condition)(&model, &raw);
            assert_eq!(holds, holds_raw, "{}: {}", at(), property.name);
            assert!(
                holds || property.expectation != Expectation::Always,
                "{}",
                at()
            );
        }
        taken += 1;
        different += usize::from(raw != canonical);
    }
    (taken, different)
}

#[test]
fn a_canonical_state_behaves_like_the_state_that_it_replaces() {
    for universe in UNIVERSES {
        let (mut taken, mut different) = (0, 0);
        for seed in 0..WALKS {
            let (steps, apart) = walk(universe, seed);
            taken += steps;
            different += apart;
        }
        println!(
            "{}: {taken} steps, numbers differ after {different}",
            universe.name
        );
        assert!(
            different * 2 > taken,
            "{}: the numbers must differ",
            universe.name
        );
    }
}
