//! The files of counterexamples: writing and reading.

use super::error::{BYTES_MAX, FORMAT, ReplayError, VERSION, quoted, to_json, unknown};
use super::run::{find_property, replay};
use crate::check::Counterexample;
use crate::property::Kind;
use crate::system::Action;
use crate::universe::{self, UNIVERSES};
use crate::{chart, render};
use serde::{Deserialize, Serialize};
use std::io::Read;
use tenure_protocol::ProtocolMutant;

/// Returns a counterexample as text for [`load`]. If [`replay`] rejects the counterexample, the text has no
/// fingerprint, and `load` returns the error.
#[must_use]
pub fn save(example: &Counterexample) -> String {
    let fingerprint = replay(example).map_or_else(
        |_| String::new(),
        |replayed| format!("{:016x}", replayed.fingerprint),
    );
    let chart = render::chart_of(example).ok();
    let chart: Option<serde_json::Value> =
        chart.and_then(|chart| serde_json::from_str(&chart::json(&chart)).ok());
    let mut out = String::from("{\n");
    member(&mut out, "format", &FORMAT);
    member(&mut out, "version", &VERSION);
    member(&mut out, "universe", &example.universe);
    member(
        &mut out,
        "mutant",
        &example.mutant.map(ProtocolMutant::name),
    );
    member(&mut out, "property", &example.property);
    members(&mut out, "stem", &example.stem);
    members(&mut out, "cycle", &example.cycle);
    member(&mut out, "waiting", &example.waiting);
    member(&mut out, "fingerprint", &fingerprint);
    out.push_str(&format!("  \"chart\": {}\n}}\n", to_json(&chart)));
    out
}

fn member(out: &mut String, name: &str, value: &impl Serialize) {
    out.push_str(&format!("  \"{name}\": {},\n", to_json(value)));
}

/// Writes one action on each line.
fn members(out: &mut String, name: &str, actions: &[Action]) {
    let lines: Vec<String> = actions
        .iter()
        .map(|action| format!("\n    {}", to_json(action)))
        .collect();
    let end = if lines.is_empty() { "" } else { "\n  " };
    out.push_str(&format!("  \"{name}\": [{}{end}],\n", lines.join(",")));
}

#[derive(Deserialize)]
struct Head {
    format: Option<serde_json::Value>,
    version: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct Body {
    universe: String,
    mutant: Option<String>,
    property: String,
    stem: Vec<Action>,
    #[serde(default)]
    cycle: Vec<Action>,
    waiting: Option<String>,
    fingerprint: String,
}

/// Reads a text from [`save`], replays it, and compares the reached state with the saved fingerprint.
///
/// # Errors
/// When the text is no valid counterexample for this program: see [`ReplayError`].
pub fn load(text: &str) -> Result<Counterexample, ReplayError> {
    if text.len() > BYTES_MAX {
        return Err(ReplayError::TooLarge);
    }
    let body = parse(text)?;
    let universe_name = body.universe.as_str();
    let universe = universe::find(universe_name).ok_or_else(|| {
        unknown(
            "universe",
            universe_name,
            UNIVERSES.iter().map(|universe| universe.name),
        )
    })?;
    let mutant = body.mutant.as_deref().map(find_mutant).transpose()?;
    let (property, _, kind, _) = find_property(universe, &body.property)?;
    let example = Counterexample {
        universe: universe.name,
        mutant,
        property,
        is_violation: kind != Kind::Sometimes,
        stem: body.stem,
        cycle: body.cycle,
        waiting: body.waiting,
    };
    let replayed = replay(&example)?;
    if u64::from_str_radix(&body.fingerprint, 16) != Ok(replayed.fingerprint) {
        let (saved, reached) = (quoted(&body.fingerprint), replayed.fingerprint);
        return Err(ReplayError::OtherState { saved, reached });
    }
    Ok(example)
}

/// Reads a counterexample as [`load`] does, from a file or a pipe. Reads at most [`BYTES_MAX`] bytes and one more.
///
/// # Errors
/// The errors of [`load`], and those of reading.
pub fn load_from(source: impl Read) -> Result<Counterexample, ReplayError> {
    let mut bytes = Vec::new();
    source.take(BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > BYTES_MAX {
        return Err(ReplayError::TooLarge);
    }
    let text =
        std::str::from_utf8(&bytes).map_err(|error| ReplayError::NotText(error.valid_up_to()))?;
    load(text)
}

fn parse(text: &str) -> Result<Body, ReplayError> {
    if text.trim().is_empty() {
        return Err(ReplayError::Empty);
    }
    let head: Head = serde_json::from_str(text).map_err(|error| match error.classify() {
        serde_json::error::Category::Eof => ReplayError::Truncated {
            line: error.line(),
            column: error.column(),
        },
        // The text is JSON, but not an object.
        serde_json::error::Category::Data => ReplayError::NoFormat,
        _ => ReplayError::NotJson(error),
    })?;
    match head.format.as_ref().and_then(serde_json::Value::as_str) {
        None => return Err(ReplayError::NoFormat),
        Some(FORMAT) => {}
        Some(format) => return Err(ReplayError::OtherFormat(quoted(format))),
    }
    match head.version.and_then(|version| version.as_u64()) {
        Some(version) if version != VERSION => return Err(ReplayError::OtherVersion(version)),
        _ => {}
    }
    serde_json::from_str(text).map_err(ReplayError::Malformed)
}

fn find_mutant(name: &str) -> Result<ProtocolMutant, ReplayError> {
    let found = ProtocolMutant::ALL
        .iter()
        .find(|mutant| mutant.name() == name);
    found.copied().ok_or_else(|| {
        unknown(
            "mutant",
            name,
            ProtocolMutant::ALL.iter().map(|mutant| mutant.name()),
        )
    })
}
