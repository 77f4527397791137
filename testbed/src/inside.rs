//! Whether this program runs in the namespaces of nodes. A port that is open there is not open on the machine.

use std::env;

use anyhow::Context;

/// The variable that is set inside: the name of the control group of all nodes.
pub(crate) const INSIDE: &str = "SESSIONKILL_TESTBED_ENCLOSURE";

/// The name of the control group of all nodes. Fails outside.
pub(crate) fn control_group() -> anyhow::Result<String> {
    env::var(INSIDE).context("nodes run in namespaces of their own: call node::enter first")
}

/// Fails outside.
pub(crate) fn ensure_inside() -> anyhow::Result<()> {
    control_group().map(drop)
}
