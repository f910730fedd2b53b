//! Names that a user typed, and what was probably meant.

use anyhow::{Result, bail};
use tenure_checker::universe::{UNIVERSES, Universe};
use tenure_protocol::ProtocolMutant;

/// A universe by its name.
pub(crate) fn universe(name: &str) -> Result<&'static Universe> {
    if let Some(universe) = tenure_checker::universe::find(name) {
        return Ok(universe);
    }
    let names: Vec<&str> = UNIVERSES.iter().map(|universe| universe.name).collect();
    bail!(
        "there is no universe '{name}'.{} `tenure check --list` shows all.",
        nearest(name, &names)
    )
}

/// A mutant by its name.
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
        "there is no mutant '{name}'.{} `tenure check --list` shows all.",
        nearest(name, &names)
    )
}

/// A sentence that suggests the most similar name, if one is similar at all.
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
    fn the_nearest_name_is_suggested() {
        let message =
            |result: anyhow::Result<_>| format!("{:#}", result.map(|_| ()).expect_err("unknown"));
        assert!(message(super::universe("crwod").map(drop)).contains("'crowd'"));
        assert!(message(super::mutant("lifo-at-stoer").map(drop)).contains("'lifo-at-store'"));
        assert!(!message(super::universe("zzzzqqqq").map(drop)).contains("Did you mean"));
    }
}
