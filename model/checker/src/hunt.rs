//! Hunts for mutants: each must be killed, by name, with a short counterexample.
//!
//! A mutant is looked for where it is known to show first, then in every other universe, so that a change which hides it
//! there costs time and not the answer.

use crate::check::{Counterexample, Outcome, Settings, check_mutant};
use crate::property::Kind;
use crate::universe::{UNIVERSES, Universe, find};
use tenure_protocol::ProtocolMutant;

/// Where a mutant was killed.
#[derive(Clone, Debug)]
pub struct Kill {
    /// The universe.
    pub universe: &'static Universe,
    /// The property that fails.
    pub property: &'static str,
    /// The steps of the shortest counterexample; 0 where a race is never reached, which no steps can show.
    pub steps: usize,
    /// The counterexample, unless no steps can show it.
    pub counterexample: Option<Counterexample>,
}

/// Where a mutant shows with few states: found by trying all, kept here to save that.
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

/// Looks for a mutant until a universe kills it.
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

/// Looks for a mutant in one universe.
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

/// What of an outcome kills a mutant: a violation, or a race that a complete exploration never reached.
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
    fn every_mutant_is_known_to_show_somewhere() {
        for mutant in ProtocolMutant::ALL {
            let known = SHOWS.iter().find(|(known, _)| known == mutant);
            let (_, universe) =
                known.unwrap_or_else(|| panic!("{} is not in SHOWS", mutant.name()));
            assert!(find(universe).is_some(), "there is no universe {universe}");
        }
    }
}
