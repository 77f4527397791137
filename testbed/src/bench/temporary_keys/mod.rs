//! `--short-keys` and `--roles`: kills with access keys that STS issues for tokens of `ServiceAccounts`, and that expire.
//!
//! The gateway is STS too. It verifies the tokens with the keys of the real API server that made them, and refuses a key
//! that has expired.
//!
//! ```text
//! short, roles ─ ground: ServiceAccounts, rights, roles, connections
//!            └─ sts_calls: what the gateway's ledger says of STS
//! table ─ records of both, and whether they are good enough
//! ```

mod ground;
mod roles;
mod short;
mod sts_calls;
mod table;
pub(super) mod wanted;

pub(super) use self::table::{report, verdict};
use self::wanted::TemporaryKeys;
use super::{args::Agenda, contender::Contender, record::Record};

/// Measures what is `wanted` of one contender, on a control plane of its own. An error if the contender ended.
pub(super) async fn measure(agenda: &Agenda, contender: &Contender, wanted: TemporaryKeys) -> anyhow::Result<Record> {
    Ok(match wanted {
        TemporaryKeys::Short { life, length } => {
            Record::ShortKeys(Box::new(short::measure(agenda, contender, life, length).await?))
        }
        TemporaryKeys::Roles { roles, part } => {
            Record::Roles(Box::new(roles::measure(agenda, contender, roles, part).await?))
        }
    })
}
