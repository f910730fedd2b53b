//! What cannot be seen: when somebody took what is under way to it, and which of its timers passed meanwhile.
//!
//! Everything that explains what came so far is kept as a world of its own. The worlds that take what comes next are those
//! from which as few timers as will do lead to it. What was seen on the way, and may be taken at any time, costs nothing: all
//! orders in which that can have been taken are tried.

use std::collections::HashSet;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher, Hash};

/// How many timers may have passed in a row unseen.
const HIDDEN_MAX: usize = 2;
/// How many explanations are kept, and how many are looked at while one is looked for.
const WORLDS_MAX: usize = 48;
const LOOKED_AT_MAX: usize = 1_500;

/// One explanation of what came so far.
pub(super) trait World<A>: Clone + Hash {
    /// Every way in which something may have been taken that is under way.
    fn taken(&self, around: &A) -> Vec<Self>;
    /// Every way in which a timer may have passed.
    fn passed(&self, around: &A) -> Vec<Self>;
}

/// The worlds that take it.
pub(super) fn explain<A, W: World<A>>(
    worlds: &[W],
    around: &A,
    mut take: impl FnMut(&mut W) -> bool,
) -> Vec<W> {
    let mut found = worlds.to_vec();
    found.retain_mut(&mut take);
    if !found.is_empty() {
        return each_once(found, WORLDS_MAX);
    }
    let mut from = worlds.to_vec();
    for hidden in 0..=HIDDEN_MAX {
        if hidden > 0 {
            from = each_once(
                from.iter().flat_map(|world| world.passed(around)),
                LOOKED_AT_MAX,
            );
        }
        from = closure(from, around);
        let mut found = from.clone();
        found.retain_mut(&mut take);
        if !found.is_empty() {
            return each_once(found, WORLDS_MAX);
        }
    }
    Vec::new()
}

/// These and all that they become when what is under way is taken.
pub(super) fn closure<A, W: World<A>>(worlds: Vec<W>, around: &A) -> Vec<W> {
    let mut all = each_once(worlds, LOOKED_AT_MAX);
    let mut seen: HashSet<u64> = all.iter().map(hash).collect();
    let mut at = 0;
    while at < all.len() && all.len() < LOOKED_AT_MAX {
        for world in all[at].taken(around) {
            if seen.insert(hash(&world)) {
                all.push(world);
            }
        }
        at += 1;
    }
    all
}

/// Not too many.
pub(super) fn few<W: Hash>(worlds: impl IntoIterator<Item = W>) -> Vec<W> {
    each_once(worlds, WORLDS_MAX)
}

fn each_once<W: Hash>(worlds: impl IntoIterator<Item = W>, max: usize) -> Vec<W> {
    let mut seen = HashSet::new();
    let is_new = |world: &W| seen.insert(hash(world));
    worlds.into_iter().filter(is_new).take(max).collect()
}

fn hash(world: &impl Hash) -> u64 {
    BuildHasherDefault::<DefaultHasher>::default().hash_one(world)
}
