//! Attacks by users of a cluster. Each attack uses up a shared resource, within a user's rights.
//!
//! ```text
//! Kind::arm ─ needs ─→ the operator starts ─→ lay: what stands before ─→ strike: while others' kills are measured
//! ```
//!
//! Everything has a limited number, is on loopback, and ends when the attack is dropped.

mod annotations;
mod attack;
mod backlog;
mod gateways;
mod ground;
mod health;
mod keys;
mod lists;
mod objects;
mod output;
mod receipts;
mod requests;
mod statuses;
mod victim;

use clap::ValueEnum;

pub use self::{
    attack::{Attack, Needs},
    backlog::Backlog,
    ground::{Ground, Tally},
    victim::Victim,
};
use self::{gateways::Manners, requests::Requests};

/// The attacks, by the resource that they use up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// 32 requests so large that no status fits beside them
    UnstorableStatuses,
    /// 200 dry runs for as many made-up tenants at an endpoint that never answers
    SilentTenants,
    /// 600 dry runs for as many made-up tenants at a healthy gateway
    MadeUpTenants,
    /// 10,000 kills of one namespace that wait for an endpoint that never answers
    FullQueue,
    /// 100 connections to the health port with 400 KB of an unfinished request
    UnfinishedHealth,
    /// 1,100 idle connections to the health port, with 1,024 open files allowed
    IdleHealth,
    /// 200 held-back requests and 100 connections with 250 KB of annotations each
    HugeAnnotations,
    /// Again and again 32 dry runs at a gateway that lists 65,000 sessions
    HugeLists,
    /// 40 connections whose access keys have 700 KB, and that are refused
    HugeKeys,
    /// 80 connections to an endpoint that never answers
    SlowConnections,
    /// Receipts that name no request, and 12 without an outcome whose endpoint never answers
    BadReceipts,
    /// 300 receipts without an outcome, of the tenant whose next kills are measured
    Orphans,
    /// 10,000 requests whose Secret does not exist
    MissingSecret,
    /// Standard output that nobody reads
    UnreadOutput,
    /// 50 gateways of ten namespaces that take 5 s for each call
    SlowGateways,
    /// 50 gateways of ten namespaces that never answer
    DeadGateways,
    /// 50 gateways of ten namespaces that let no call through
    ThrottledGateways,
    /// 50 gateways of ten namespaces that list 65,000 sessions
    HugeGateways,
    /// 10,000 held-back requests with 20 sessions each, and 500 of the largest size that is let in, from the start on
    Backlog,
}

impl Kind {
    /// The name on the command line.
    #[must_use]
    pub fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// Prepares what must exist before the operator starts.
    pub async fn arm(self, size: Size) -> anyhow::Result<Box<dyn Attack>> {
        Ok(match self {
            Self::UnstorableStatuses => Box::new(statuses::Statuses::new(size.of(32))),
            Self::SilentTenants => Box::new(Requests::dry_runs(Manners::Silent, size.of(200)).await?),
            Self::MadeUpTenants => Box::new(Requests::dry_runs(Manners::Healthy, size.of(600)).await?),
            Self::FullQueue => Box::new(Requests::waiting(size.of(10_000)).await?),
            Self::UnfinishedHealth => Box::new(health::Health { connections: size.of(100), bytes: 400_000 }),
            Self::IdleHealth => Box::new(health::Health { connections: size.of(1100), bytes: 0 }),
            Self::HugeAnnotations => Box::new(annotations::Annotations::new(size.of(200), size.of(100)).await?),
            Self::HugeLists => Box::new(lists::Lists::new(size.of(32)).await?),
            Self::HugeKeys => Box::new(keys::Keys::new(size.of(40)).await?),
            Self::SlowConnections => Box::new(gateways::SlowConnections::new(size.of(80)).await?),
            Self::BadReceipts => Box::new(receipts::Bad::new(size.of(12)).await?),
            Self::Orphans => Box::new(receipts::Orphans { receipts: size.of(300) }),
            Self::MissingSecret => Box::new(Requests::without_secret(size.of(10_000)).await?),
            Self::UnreadOutput => Box::new(output::Unread::new()?),
            Self::SlowGateways => Box::new(gateways::Gateways::new(Manners::Slow, size.of(50)).await?),
            Self::DeadGateways => Box::new(gateways::Gateways::new(Manners::Silent, size.of(50)).await?),
            Self::ThrottledGateways => Box::new(gateways::Gateways::new(Manners::Throttled, size.of(50)).await?),
            Self::HugeGateways => Box::new(gateways::Gateways::new(Manners::Huge, size.of(50)).await?),
            Self::Backlog => Box::new(Backlog { held_back: size.of(10_000), large: size.of(500) }),
        })
    }
}

/// The size of attacks, in percent of their full size.
#[derive(Clone, Copy, Debug)]
pub struct Size(pub u32);

impl Size {
    fn of(self, full: u32) -> u32 {
        (full * self.0 / 100).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_attack_has_a_name_and_says_what_it_is() {
        for kind in Kind::value_variants() {
            let value = kind.to_possible_value().unwrap();
            assert!(value.get_help().is_some_and(|help| help.to_string().len() > 20), "{}", kind.name());
            assert_eq!(Kind::from_str(&kind.name(), false), Ok(*kind));
        }
    }

    #[test]
    fn a_small_attack_is_still_one() {
        assert_eq!([1, 100, 500].map(|percent| Size(percent).of(32)), [1, 32, 160]);
    }
}
