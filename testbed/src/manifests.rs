//! The YAML files of the source tree.

use std::{fs, path::Path};

use anyhow::Context;
use serde_json::Value;

/// The objects in a file of the source tree. An absolute path may be elsewhere.
pub fn read(path: &str) -> anyhow::Result<Vec<Value>> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    serde_saphyr::from_multiple(&text).with_context(|| format!("{path} is not YAML"))
}
