//! Forbids core dumps: access keys are in the memory of this process, and a dump would put them on a disk. No I/O.

use std::io;

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// Forbids core dumps of this process, whatever the node does with them, and access to its memory by other processes of
/// the same user. Fails if the system does not offer that.
pub fn forbid() -> io::Result<()> {
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    // The limit does not apply if the kernel pipes dumps to a program.
    Ok(set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
}

#[cfg(test)]
mod tests {
    use rustix::process::{dumpable_behavior, getrlimit};

    use super::*;

    #[test]
    fn no_core_is_dumped_and_nobody_reads_the_memory() {
        forbid().unwrap();
        assert_eq!(getrlimit(Resource::Core), Rlimit { current: Some(0), maximum: Some(0) });
        assert!(matches!(dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable));
    }
}
