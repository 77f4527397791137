//! Chooses sessions by what the process list shows of them. Pure.
//!
//! ```text
//! SessionSelector ─Filter::of→ Filter ─(each row)─Selecting→ Selected ─choose→ Choice: the sessions of the claim
//! ```

mod choice;
mod filter;
mod selecting;
mod wanted;

pub use self::choice::{Choice, choose, needed};
pub use self::filter::{Filter, Order};
pub use self::selecting::{Selected, Selecting};
pub use self::wanted::Wanted;
