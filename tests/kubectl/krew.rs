//! The manifest for krew.

use std::path::Path;

use testbed::krew::validate;

#[test]
fn krew_takes_the_manifest() {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/krew/sessionkill.yaml");
    validate(&manifest).unwrap();

    // It would notice: a copy that names no archive is refused.
    let text = std::fs::read_to_string(&manifest).unwrap();
    let version = format!("version: v{}\n", env!("CARGO_PKG_VERSION"));
    assert!(text.contains(&version), "the manifest is of another version: {version}");
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("krew");
    std::fs::create_dir_all(&directory).unwrap();
    let broken = directory.join("sessionkill.yaml");
    std::fs::write(&broken, text.replace(&format!("\"{}\"", "0".repeat(64)), "none")).unwrap();
    assert!(validate(&broken).unwrap_err().to_string().contains("sha256"));
}
