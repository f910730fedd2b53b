//! The decisions of the rules. Each is a method whose default is the correct decision.
//!
//! A machine makes such a decision through its [hook](crate::Hook): the line of the rule names the decision, and the
//! method of that name states it. [`Sound`](crate::Sound) overrides nothing. A mutant overrides the decision that it
//! gets wrong; all wrong decisions are in the [catalogue of mutants](crate::mutant).

mod process;
mod store;

pub use process::ProcessRules;
pub use store::StoreRules;
