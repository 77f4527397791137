//! The namespaces of nodes. Only this program and its children are in them. Their mounts, links, routes and packet
//! filters are not the machine's. All of it is gone when the calling program ends, in whatever way.
//!
//! ```text
//! the program ─┬─ sweeper: waits for the program's end, removes what a namespace does not: control groups, files
//!              └─ unshare ─ the same program again, inside: the first process of its namespace
//! ```

use std::{
    env,
    os::unix::process::CommandExt as _,
    process::{Command, ExitCode, Stdio},
};

use anyhow::Context;

use super::requirements;
use crate::{inside::INSIDE, process::missing_tool, scratch};

/// Whether this program is inside or outside.
#[derive(Debug)]
pub enum Entered {
    /// Inside: nodes can be started.
    Inside,
    /// Outside: the same program has run inside, and this is its exit code.
    Outside(ExitCode),
}

/// Runs this program again inside, with the same arguments, and waits for its end. If it is inside already, it only
/// says so. Inside there is no access to the machine's network. Temporary files are removed at the end.
pub fn enter() -> anyhow::Result<Entered> {
    if is_inside() {
        return Ok(Entered::Inside);
    }
    requirements::check()?;
    let scratch = scratch::directory()?.keep();
    let name = format!("sessionkill-{}", std::process::id());
    let mut sweeper = Command::new("sh")
        .args(["-c", include_str!("sweep.sh"), "sweep", &name])
        .arg(&scratch)
        // The sweeper ends after this program.
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .process_group(0)
        .spawn()
        .context("cannot run sh")?;
    let mut inside = Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "--", "unshare"])
        .args(requirements::NAMESPACES)
        .args(["sh", "-c", include_str!("host.sh"), "host", &name])
        .arg(env::current_exe()?)
        .args(env::args_os().skip(1))
        .env(INSIDE, &name)
        .env("TMPDIR", &scratch)
        .spawn()
        .map_err(|error| missing_tool(error, "setpriv", "the Debian package util-linux"))?;
    let target = inside.id();
    eprintln!(
        "nodes run in namespaces of their own; to get there, as root: \
         nsenter --target {target} --mount --net --pid=/proc/{target}/ns/pid_for_children"
    );
    let status = inside.wait()?;
    drop(sweeper.stdin.take());
    sweeper.wait()?;
    let code = status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1);
    Ok(Entered::Outside(ExitCode::from(code)))
}

/// Whether this program is inside.
#[must_use]
pub fn is_inside() -> bool {
    env::var_os(INSIDE).is_some()
}
