//! The hunt for mutants: each mutant must be killed, by name, with a short counterexample.
//!
//! The hunt tries first the universe that is known to kill the mutant, and then all others. If a change hides the
//! mutant in the known universe, the hunt takes longer but still succeeds.

use crate::check::{Counterexample, Outcome, Settings, check_mutant};
use crate::property::Kind;
use crate::universe::{UNIVERSES, Universe, find};
use tenure_protocol::ProtocolMutant;

/// A universe that kills a mutant, and how.
#[derive(Clone, Debug)]
pub struct Kill {
    /// The universe.
    pub universe: &'static Universe,
    /// The property that fails.
    pub property: &'static str,
    /// The number of steps of the shortest counterexample; 0 when a race is never reached, which no path can show.
    pub steps: usize,
    /// The counterexample; `None` when no path can show the failure.
    pub counterexample: Option<Counterexample>,
}

/// For each mutant, a universe that kills it with few states. The table was found by trying all, and saves the search.
const SHOWS: &[(ProtocolMutant, &str)] = &[
    (ProtocolMutant::GrantsToTwo, "crossing"),
    (ProtocolMutant::ForgetsRecall, "crossing"),
    (ProtocolMutant::KeepsRecallOfDead, "crash"),
    (ProtocolMutant::GrantsBeforeDurable, "restart"),
    (ProtocolMutant::AcknowledgesBeforeDurable, "restart"),
    (ProtocolMutant::AcceptsOldToken, "expiry"),
    (ProtocolMutant::ReleaseByStranger, "expiry"),
    (ProtocolMutant::LifoAtStore, "crowd"),
    (ProtocolMutant::SkipsHead, "crowd"),
    (ProtocolMutant::RequeuesAtHead, "crowd"),
    (ProtocolMutant::RequeuesUntold, "nested"),
    (ProtocolMutant::LosesWaitersOnRestart, "restart"),
    (ProtocolMutant::IgnoresTicket, "restart"),
    (ProtocolMutant::FreesBeforeWriting, "crossing"),
    (ProtocolMutant::TryNeverRecalls, "try"),
    (ProtocolMutant::TryWaitsForThread, "try"),
    (ProtocolMutant::ResurrectsDestroyed, "expiry"),
    (ProtocolMutant::DestroyForgetsWaiters, "expiry"),
    (ProtocolMutant::DeltaAcrossLives, "expiry"),
    (ProtocolMutant::ExpiresWhileHeld, "expiry"),
    (ProtocolMutant::FreesOnDisconnect, "tcp"),
    (ProtocolMutant::LeaseOutlivesGoodbye, "goodbye"),
    (ProtocolMutant::KeepsOrphanedWaiter, "lease"),
    (ProtocolMutant::ForgetsGrantsOfDead, "drift"),
    (ProtocolMutant::KeepsOldIncarnation, "crash"),
    (ProtocolMutant::ReusesTokens, "restart"),
    (ProtocolMutant::ForgetsHolderOnRestart, "restart"),
    (ProtocolMutant::CommitsOnWrongVersion, "expiry"),
    (ProtocolMutant::SendsNoState, "crossing"),
    (ProtocolMutant::QueuesTwice, "lease"),
    (ProtocolMutant::CancelDropsGrant, "try"),
    (ProtocolMutant::BusyStopsRevoke, "lease"),
    (ProtocolMutant::OverlooksDeadlock, "crossing"),
    (ProtocolMutant::QueueWithoutLimit, "limits"),
    (ProtocolMutant::DrainRecallsNothing, "closing"),
    (ProtocolMutant::StopRecalls, "closing"),
    (ProtocolMutant::GrantsWhileStopping, "closing"),
    (ProtocolMutant::GrantsWhenFull, "full"),
    (ProtocolMutant::GrantsToUnconnected, "tcp"),
    (ProtocolMutant::RevokesForNobody, "absent"),
    (ProtocolMutant::KeepsLimitsSecret, "narrow"),
    (ProtocolMutant::PassesOnUnheard, "deaf"),
    (ProtocolMutant::IgnoresStoreLimits, "narrow"),
    (ProtocolMutant::GrantsAbsent, "unknown"),
    (ProtocolMutant::DeniesExisting, "unknown"),
    (ProtocolMutant::RemembersAbsent, "unknown"),
    (ProtocolMutant::EntersAbsent, "unknown"),
    (ProtocolMutant::RefusesByOldAnswer, "unknown"),
    (ProtocolMutant::AsksOlderStore, "older"),
    (ProtocolMutant::GreetsWithNewRequests, "older"),
    (ProtocolMutant::LifoAtAttribute, "threads"),
    (ProtocolMutant::Barges, "threads"),
    (ProtocolMutant::AdmitsAfterRecall, "expiry"),
    (ProtocolMutant::RefusesInsiders, "nested"),
    (ProtocolMutant::GrantWithoutUse, "expiry"),
    (ProtocolMutant::ReleasesWhileInside, "crossing"),
    (ProtocolMutant::AppliesLateWrites, "lease"),
    (ProtocolMutant::DiscardKeepsWrites, "threads"),
    (ProtocolMutant::UnlockByStranger, "drift"),
    (ProtocolMutant::AbandonLeavesWaiter, "try"),
    (ProtocolMutant::KeepsDirtyBase, "lease"),
    (ProtocolMutant::KeepsGuardsPastLease, "drift"),
    (ProtocolMutant::LeaseFromReceipt, "drift"),
    (ProtocolMutant::LeaseWithoutMargin, "drift"),
    (ProtocolMutant::StaysOnSilentLink, "silent"),
    (ProtocolMutant::NeverKeeps, "crossing"),
    (ProtocolMutant::OverlooksLocalDeadlock, "nested"),
    (ProtocolMutant::DuplicateReleaseFrees, "wild"),
    (ProtocolMutant::ForgetsEarlyRecall, "wild"),
    (ProtocolMutant::AcceptsOldGrant, "wild"),
    (ProtocolMutant::ReadBumpsToken, "wild"),
    (ProtocolMutant::ReleaseNotRepeated, "tcp"),
    (ProtocolMutant::ReleaseForgetsCommit, "late"),
    (ProtocolMutant::RenameKeepsFloor, "parting"),
    (ProtocolMutant::RenameKeepsToken, "parting"),
];

/// Hunts for a mutant until a universe kills it.
#[must_use]
pub fn hunt(mutant: ProtocolMutant, settings: &Settings<'_>) -> Option<Kill> {
    let known = SHOWS
        .iter()
        .find(|(known, _)| *known == mutant)
        .and_then(|(_, name)| find(name));
    let mut others: Vec<&'static Universe> = UNIVERSES.iter().collect();
    others.sort_by_key(|universe| universe.unique_states);
    let others = others
        .into_iter()
        .filter(|universe| known.is_none_or(|known| known.name != universe.name));
    known
        .into_iter()
        .chain(others)
        .find_map(|universe| hunt_in(mutant, universe, settings))
}

/// Hunts for a mutant in one universe.
#[must_use]
pub fn hunt_in(
    mutant: ProtocolMutant,
    universe: &'static Universe,
    settings: &Settings<'_>,
) -> Option<Kill> {
    let outcome = check_mutant(
        universe,
        mutant,
        &Settings {
            is_hunt: true,
            ..*settings
        },
    );
    killed(universe, outcome)
}

/// Returns the part of an outcome that kills a mutant: a violation, or a race that a complete exploration never
/// reached.
fn killed(universe: &'static Universe, outcome: Outcome) -> Option<Kill> {
    let shortest = outcome
        .counterexamples
        .into_iter()
        .min_by_key(Counterexample::steps);
    if let Some(counterexample) = shortest {
        let (property, steps) = (counterexample.property, counterexample.steps());
        return Some(Kill {
            universe,
            property,
            steps,
            counterexample: Some(counterexample),
        });
    }
    let unreached = |kind: Kind| kind == Kind::Sometimes && outcome.is_complete;
    let failed = outcome
        .judgements
        .iter()
        .find(|judgement| !judgement.holds && unreached(judgement.kind))?;
    Some(Kill {
        universe,
        property: failed.name,
        steps: 0,
        counterexample: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mutant_has_a_universe_in_the_table_shows() {
        for mutant in ProtocolMutant::ALL {
            let known = SHOWS.iter().find(|(known, _)| known == mutant);
            let (_, universe) =
                known.unwrap_or_else(|| panic!("{} is not in SHOWS", mutant.name()));
            assert!(find(universe).is_some(), "there is no universe {universe}");
        }
    }
}
