//! Random histories of the lock manager, compared with the abstract machine. The header of `history/run.rs` lists the
//! compared items.

use crate::history::explore;
use std::hash::{BuildHasher, Hasher, RandomState};

/// The default number of histories, and the default seed. Both are fixed, so that a new failure means a new bug. To
/// search for other failures, set `TENURE_SEED=random TENURE_HISTORIES=1000000`.
const HISTORIES: u32 = 20_000;
const SEED: u64 = 20_261_125;

fn number<T: std::str::FromStr>(name: &str) -> Option<T> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

fn play(test: &str, is_small: bool) {
    let histories = number("TENURE_HISTORIES").unwrap_or(HISTORIES);
    let seed = match std::env::var("TENURE_SEED") {
        Ok(asked) if asked == "random" => RandomState::new().build_hasher().finish(),
        Ok(asked) => asked.parse().expect("TENURE_SEED is a number or `random`"),
        Err(_) => SEED,
    };
    let again = format!(
        "TENURE_SEED={seed} TENURE_HISTORIES={histories} cargo test -p tenure-properties -- {test}"
    );
    println!("{histories} histories; again: {again}");
    match explore(histories, seed, is_small) {
        Ok(acts) => println!("{acts} operations"),
        Err(failure) => panic!("\n{failure}\n   again: {again}"),
    }
}

#[test]
fn the_manager_behaves_like_the_machine() {
    play("the_manager_behaves_like_the_machine", false);
}

#[test]
fn the_manager_behaves_like_the_machine_in_small_sessions() {
    play("in_small_sessions", true);
}
