//! Random histories of the lock manager against the abstract machine: see `history/run.rs` for what is compared.

mod history;

use history::explore;
use std::hash::{BuildHasher, Hasher, RandomState};

/// How many histories are played when nobody asks for more.
const HISTORIES: u32 = 20_000;

fn number<T: std::str::FromStr>(name: &str) -> Option<T> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

fn play(test: &str, is_small: bool) {
    let histories = number("TENURE_HISTORIES").unwrap_or(HISTORIES);
    let seed = number("TENURE_SEED").unwrap_or_else(|| RandomState::new().build_hasher().finish());
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
fn the_manager_does_what_the_machine_does() {
    play("the_manager_does_what_the_machine_does", false);
}

#[test]
fn the_manager_does_what_the_machine_does_in_small_sessions() {
    play("in_small_sessions", true);
}
