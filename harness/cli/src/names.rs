//! Look-ups of names that a user typed, with a suggestion for a misspelled name.

use anyhow::{Result, bail};
use tenure_checker::universe::{UNIVERSES, Universe};
use tenure_protocol::ProtocolMutant;

/// Returns the universe with this name.
pub(crate) fn universe(name: &str) -> Result<&'static Universe> {
    if let Some(universe) = tenure_checker::universe::find(name) {
        return Ok(universe);
    }
    let names: Vec<&str> = UNIVERSES.iter().map(|universe| universe.name).collect();
    bail!(
        "there is no universe '{name}'.{} `tenure check --list` lists all universes.",
        nearest(name, &names)
    )
}

/// Returns the mutant with this name.
pub(crate) fn mutant(name: &str) -> Result<ProtocolMutant> {
    if let Some(mutant) = ProtocolMutant::ALL
        .iter()
        .find(|mutant| mutant.name() == name)
    {
        return Ok(*mutant);
    }
    let names: Vec<&str> = ProtocolMutant::ALL
        .iter()
        .map(|mutant| mutant.name())
        .collect();
    bail!(
        "there is no mutant '{name}'.{} `tenure check --list` lists all mutants.",
        nearest(name, &names)
    )
}

/// Returns a sentence that suggests the most similar name, or an empty string if no name is similar.
pub(crate) fn nearest(name: &str, names: &[&str]) -> String {
    let similar = names
        .iter()
        .map(|known| (strsim::jaro_winkler(name, known), known));
    let best = similar.max_by(|(one, _), (two, _)| one.total_cmp(two));
    match best {
        Some((similarity, known)) if similarity > 0.6 => format!(" Did you mean '{known}'?"),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_misspelled_name_is_answered_with_the_nearest_name() {
        let message =
            |result: anyhow::Result<_>| format!("{:#}", result.map(|_| ()).expect_err("unknown"));
        assert!(message(super::universe("crwod").map(drop)).contains("'crowd'"));
        assert!(message(super::mutant("lifo-at-stoer").map(drop)).contains("'lifo-at-store'"));
        assert!(!message(super::universe("zzzzqqqq").map(drop)).contains("Did you mean"));
    }
}
