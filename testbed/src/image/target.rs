//! What the binary is built for, as each compiler is told.

use std::env;

/// Static, as the image has no libraries.
pub(super) fn rust() -> String {
    format!("{}-unknown-linux-musl", env::consts::ARCH)
}

/// The options of zig's compiler of C for the same.
pub(super) fn zig() -> String {
    format!("-target {}-linux-musl", env::consts::ARCH)
}
