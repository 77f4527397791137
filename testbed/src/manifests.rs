//! What the source tree ships as YAML.

use std::{fs, path::Path};

use anyhow::Context;
use serde_json::Value;

/// The objects of a file of the source tree, or of one elsewhere if the path is absolute.
pub fn read(path: &str) -> anyhow::Result<Vec<Value>> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    serde_saphyr::from_multiple(&text).with_context(|| format!("{path} is not YAML"))
}
