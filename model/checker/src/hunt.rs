//! Hunts for seeded defects: each must be caught, by name, with a short counterexample.
//!
//! A defect is looked for where it is known to show first, then in every other universe, so that a change which hides it
//! there costs time and not the answer.

use crate::check::{Counterexample, Outcome, Settings, check_defect};
use crate::property::Kind;
use crate::universe::{UNIVERSES, Universe, find};
use tenure_protocol::Defect;

/// Where a defect was caught.
#[derive(Clone, Debug)]
pub struct Catch {
    /// The universe.
    pub universe: &'static Universe,
    /// The property that fails.
    pub property: &'static str,
    /// The steps of the shortest counterexample; 0 where a race is never reached, which no steps can show.
    pub steps: usize,
    /// The counterexample, unless no steps can show it.
    pub counterexample: Option<Counterexample>,
}

/// Where a defect shows with few states: found by trying all, kept here to save that.
const SHOWS: &[(Defect, &str)] = &[
    (Defect::GrantsToTwo, "crossing"),
    (Defect::ForgetsRecall, "crossing"),
    (Defect::KeepsRecallOfDead, "crash"),
    (Defect::GrantsBeforeDurable, "restart"),
    (Defect::AcknowledgesBeforeDurable, "restart"),
    (Defect::AcceptsOldToken, "expiry"),
    (Defect::ReleaseByStranger, "expiry"),
    (Defect::LifoAtStore, "crowd"),
    (Defect::SkipsHead, "crowd"),
    (Defect::RequeuesAtHead, "crowd"),
    (Defect::RequeuesUntold, "nested"),
    (Defect::LosesWaitersOnRestart, "restart"),
    (Defect::IgnoresTicket, "restart"),
    (Defect::FreesBeforeWriting, "crossing"),
    (Defect::TryNeverRecalls, "try"),
    (Defect::TryWaitsForThread, "try"),
    (Defect::ResurrectsDestroyed, "expiry"),
    (Defect::DestroyForgetsWaiters, "expiry"),
    (Defect::DeltaAcrossLives, "expiry"),
    (Defect::ExpiresWhileHeld, "expiry"),
    (Defect::FreesOnDisconnect, "tcp"),
    (Defect::LeaseOutlivesGoodbye, "goodbye"),
    (Defect::KeepsOrphanedWaiter, "lease"),
    (Defect::ForgetsGrantsOfDead, "drift"),
    (Defect::KeepsOldIncarnation, "crash"),
    (Defect::ReusesTokens, "restart"),
    (Defect::ForgetsHolderOnRestart, "restart"),
    (Defect::CommitsOnWrongVersion, "expiry"),
    (Defect::SendsNoState, "crossing"),
    (Defect::QueuesTwice, "lease"),
    (Defect::CancelDropsGrant, "try"),
    (Defect::BusyStopsRevoke, "lease"),
    (Defect::OverlooksDeadlock, "crossing"),
    (Defect::QueueWithoutLimit, "limits"),
    (Defect::DrainRecallsNothing, "closing"),
    (Defect::StopRecalls, "closing"),
    (Defect::GrantsWhileStopping, "closing"),
    (Defect::GrantsWhenFull, "full"),
    (Defect::GrantsToUnconnected, "tcp"),
    (Defect::RevokesForNobody, "absent"),
    (Defect::KeepsLimitsSecret, "narrow"),
    (Defect::PassesOnUnheard, "deaf"),
    (Defect::IgnoresStoreLimits, "narrow"),
    (Defect::GrantsAbsent, "unknown"),
    (Defect::DeniesExisting, "unknown"),
    (Defect::RemembersAbsent, "unknown"),
    (Defect::EntersAbsent, "unknown"),
    (Defect::RefusesByOldAnswer, "unknown"),
    (Defect::AsksOlderStore, "older"),
    (Defect::GreetsWithNewRequests, "older"),
    (Defect::LifoAtAttribute, "threads"),
    (Defect::Barges, "threads"),
    (Defect::AdmitsAfterRecall, "expiry"),
    (Defect::RefusesInsiders, "nested"),
    (Defect::GrantWithoutUse, "expiry"),
    (Defect::ReleasesWhileInside, "crossing"),
    (Defect::AppliesLateWrites, "lease"),
    (Defect::DiscardKeepsWrites, "threads"),
    (Defect::UnlockByStranger, "drift"),
    (Defect::AbandonLeavesWaiter, "try"),
    (Defect::KeepsDirtyBase, "lease"),
    (Defect::KeepsGuardsPastLease, "drift"),
    (Defect::LeaseFromReceipt, "drift"),
    (Defect::LeaseWithoutMargin, "drift"),
    (Defect::StaysOnSilentLink, "silent"),
    (Defect::NeverKeeps, "crossing"),
    (Defect::OverlooksLocalDeadlock, "nested"),
    (Defect::DuplicateReleaseFrees, "wild"),
    (Defect::ForgetsEarlyRecall, "wild"),
    (Defect::AcceptsOldGrant, "wild"),
    (Defect::ReadBumpsToken, "wild"),
    (Defect::ReleaseNotRepeated, "tcp"),
    (Defect::ReleaseForgetsCommit, "late"),
    (Defect::RenameKeepsFloor, "parting"),
    (Defect::RenameKeepsToken, "parting"),
];

/// Looks for a defect until a universe catches it.
#[must_use]
pub fn hunt(defect: Defect, settings: &Settings<'_>) -> Option<Catch> {
    let known = SHOWS
        .iter()
        .find(|(known, _)| *known == defect)
        .and_then(|(_, name)| find(name));
    let mut others: Vec<&'static Universe> = UNIVERSES.iter().collect();
    others.sort_by_key(|universe| universe.unique_states);
    let others = others
        .into_iter()
        .filter(|universe| known.is_none_or(|known| known.name != universe.name));
    known
        .into_iter()
        .chain(others)
        .find_map(|universe| hunt_in(defect, universe, settings))
}

/// Looks for a defect in one universe.
#[must_use]
pub fn hunt_in(
    defect: Defect,
    universe: &'static Universe,
    settings: &Settings<'_>,
) -> Option<Catch> {
    let outcome = check_defect(
        universe,
        defect,
        &Settings {
            is_hunt: true,
            ..*settings
        },
    );
    caught(universe, outcome)
}

/// What of an outcome shows a mistake: a violation, or a race that a complete exploration never reached.
fn caught(universe: &'static Universe, outcome: Outcome) -> Option<Catch> {
    let shortest = outcome
        .counterexamples
        .into_iter()
        .min_by_key(Counterexample::steps);
    if let Some(counterexample) = shortest {
        let (property, steps) = (counterexample.property, counterexample.steps());
        return Some(Catch {
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
    Some(Catch {
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
    fn every_defect_is_known_to_show_somewhere() {
        for defect in Defect::ALL {
            let known = SHOWS.iter().find(|(known, _)| known == defect);
            let (_, universe) =
                known.unwrap_or_else(|| panic!("{} is not in SHOWS", defect.name()));
            assert!(find(universe).is_some(), "there is no universe {universe}");
        }
    }
}
