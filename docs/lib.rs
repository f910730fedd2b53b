//! The book under `src/`: every Rust block in it, and in the README, runs as a doctest of this crate.
//!
//! `tests/links.rs` checks that the book hangs together, `tests/imports.rs` that the folders are the architecture.

macro_rules! chapters {
    ($($name:ident = $path:literal;)+) => {
        $(
            #[cfg(doctest)]
            #[doc = include_str!($path)]
            mod $name {}
        )+
    };
}

chapters! {
    readme = "../README.md";
    introduction = "src/introduction.md";
    tutorial = "src/tutorial.md";
    comparison = "src/comparison.md";
    claims = "src/claims.md";
    code_map = "src/code-map.md";
    architecture = "src/architecture.md";
    glossary = "src/glossary.md";
    check = "src/check.md";
    properties = "src/properties.md";
    universes = "src/universes.md";
    mutants = "src/mutants.md";
    assumptions = "src/assumptions.md";
    locks = "src/locks.md";
    costs = "src/costs.md";
    performance = "src/performance.md";
    operations = "src/operations.md";
    clocks = "src/clocks.md";
    conform = "src/conform/index.md";
    conform_report = "src/conform/report.md";
    conform_mutants = "src/conform/mutants.md";
    conform_traces = "src/conform/traces.md";
    protocol = "src/protocol/index.md";
    rules = "src/protocol/rules.md";
    messages = "src/protocol/messages.md";
    store = "src/protocol/store.md";
    process = "src/protocol/process.md";
    errors = "src/protocol/errors.md";
    limits = "src/protocol/limits.md";
    timers = "src/protocol/timers.md";
    versions = "src/protocol/versions.md";
    security = "src/protocol/security.md";
    races = "src/protocol/races.md";
    vectors = "src/protocol/vectors.md";
    wire = "src/protocol/wire.md";
    adapter = "src/conform/adapter.md";
    decisions = "src/decisions/index.md";
    decision_0001 = "src/decisions/0001-one-machine.md";
    decision_0002 = "src/decisions/0002-stamps.md";
    decision_0003 = "src/decisions/0003-own-explorer.md";
    decision_0004 = "src/decisions/0004-finite-faults.md";
    decision_0005 = "src/decisions/0005-arbitrary-clocks.md";
    decision_0006 = "src/decisions/0006-no-grace-period.md";
    decision_0007 = "src/decisions/0007-write-back.md";
    decision_0008 = "src/decisions/0008-endings.md";
    decision_0009 = "src/decisions/0009-deadlines.md";
    decision_0010 = "src/decisions/0010-detaching.md";
    decision_0011 = "src/decisions/0011-embedded-engine.md";
    decision_0012 = "src/decisions/0012-frames.md";
    decision_0013 = "src/decisions/0013-driver-thread.md";
    decision_0014 = "src/decisions/0014-one-lock.md";
    decision_0015 = "src/decisions/0015-black-box.md";
    decision_0016 = "src/decisions/0016-admission-is-an-input.md";
    decision_0017 = "src/decisions/0017-a-welcome-may-overtake.md";
    decision_0018 = "src/decisions/0018-a-stop-keeps.md";
    decision_0019 = "src/decisions/0019-pass-by.md";
    decision_0020 = "src/decisions/0020-one-loop.md";
    decision_0021 = "src/decisions/0021-driver-as-guest.md";
}
