//! The target of the binary, in the words of each compiler.

use std::env;

/// Static, as the image has no libraries.
pub(super) fn rust() -> String {
    format!("{}-unknown-linux-musl", env::consts::ARCH)
}

/// The options of zig's C compiler for the same target.
pub(super) fn zig() -> String {
    format!("-target {}-linux-musl", env::consts::ARCH)
}
