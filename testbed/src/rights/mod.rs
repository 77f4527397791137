//! `testbed rights`: compares the operator's requests in a test run with its rights.
//!
//! The API servers write the records themselves, in the directory that `SESSIONKILL_RIGHTS_RECORD` names, so that a
//! test that dies loses none.

mod asked;
mod granted;
mod report;
mod request;

use std::path::PathBuf;

use anyhow::{Context, bail, ensure};
use clap::Args;

use self::{asked::Asked, granted::Granted};
use crate::control_plane::RECORD;

/// All rights of the operator.
const OPERATORS: [&str; 2] = [
    concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/base/rbac.yaml"),
    concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/base/leader-election.yaml"),
];

/// Options of `testbed rights`.
#[derive(Args, Debug)]
#[command(
    about = "Compare the requests of the operator, as recorded by the API servers of a test run, with its rights",
    after_help = "Records are written while SESSIONKILL_RIGHTS_RECORD names a directory. Start with an empty one:\n\
                  SESSIONKILL_RIGHTS_RECORD=$PWD/target/rights cargo test --workspace"
)]
pub struct RightsArgs {
    /// The directory with the records.
    record: PathBuf,
    /// The manifest with the rights: roles and their bindings.
    #[arg(long, value_name = "FILE", default_values = OPERATORS)]
    rights: Vec<PathBuf>,
}

/// Prints the table. Fails if a right was not used, or if a request was refused that no right allows.
pub fn rights(args: &RightsArgs) -> anyhow::Result<()> {
    let read = |file: &PathBuf| {
        std::fs::read_to_string(file).with_context(|| format!("cannot read the rights {}", file.display()))
    };
    let texts = args.rights.iter().map(read).collect::<anyhow::Result<Vec<String>>>()?;
    let granted = Granted::read(&texts.join("---\n")).context("cannot use the rights")?;
    let asked = Asked::read(&args.record, &granted)?;
    let servers = asked.servers();
    ensure!(servers > 0, "no records in {}: run the tests with {RECORD} set to it", args.record.display());
    let report = report::compare(&granted, &asked);
    print!("{report}");
    let faults = report.faults();
    if faults.is_empty() { Ok(()) } else { bail!("{}", faults.join("; ")) }
}
