//! The names of the binary and its image.

/// The name of the binary, in the image and out of it.
pub(super) const BINARY: &str = "sessionkill-operator";
/// The operator's version, and the image's tag.
pub(super) const VERSION: &str = env!("CARGO_PKG_VERSION");
