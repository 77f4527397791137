//! A file with variables for a shell to source.

use std::{fs::File, io::Write, os::unix::fs::OpenOptionsExt, path::Path};

use anyhow::Context;

/// Writes lines `export NAME='value'`. The file appears only when it is complete, as people and scripts wait for it.
pub(super) fn write(path: &Path, variables: &[(&str, String)]) -> anyhow::Result<()> {
    let partial = path.with_extension("partial");
    let lines: Vec<String> =
        variables.iter().map(|(name, value)| format!("export {name}={}\n", quote(value))).collect();
    // Make it private, as it holds a secret.
    File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&partial)
        .and_then(|mut file| file.write_all(lines.concat().as_bytes()))
        .and_then(|()| std::fs::rename(&partial, path))
        .with_context(|| format!("cannot write {}", path.display()))
}

fn quote(value: &str) -> String {
    format!("'{}'", value.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::scratch;

    #[test]
    fn a_shell_reads_every_value_as_it_is() {
        let directory = scratch::directory().unwrap();
        let path = directory.path().join("env");
        let value = "it's $HOME `id` \"\\\n;";
        write(&path, &[("VALUE", value.into())]).unwrap();
        let output = Command::new("sh").args(["-c", ". \"$0\"; printenv VALUE"]).arg(&path).output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("{value}\n"));
    }
}
