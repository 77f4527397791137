//! The life of a request, from its plan to the removal of its receipt. Pure.

pub mod admission;
pub mod backoff;
pub mod claim;
pub mod conclusion;
pub mod expect;
pub mod form;
pub mod orphan;
pub mod outcome;
pub mod plan;
pub mod precheck;
pub mod retention;
pub mod rows;
pub mod sharing;
pub mod status;
pub mod sweeping;
pub mod unsent;
pub mod verification;
