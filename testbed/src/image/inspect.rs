//! Checks the image as users get it: pulled from a registry, and compared with what is promised.

use std::{
    collections::BTreeSet,
    fs,
    io::Read as _,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, ensure};
use auditable_info::json_from_slice;
use serde_json::{Value, json};

use super::{
    layer::ROOTS,
    layout::Digest,
    names::{BINARY, VERSION},
    registry::Registry,
};
use crate::scratch;

/// The stored and sent form of a layer.
const LARGEST: u64 = 12_000_000;
/// Far more files than the image has.
const MOST_AUDIT_BYTES: usize = 8 << 20;

/// The image that was pulled.
#[derive(Debug)]
pub(super) struct Pulled {
    manifest: Value,
    config: Value,
    /// All layers, merged.
    tar: Vec<u8>,
}

/// A file or directory of the image.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    path: String,
    is_plain: bool,
    mode: u32,
    owner: (u64, u64),
}

impl Pulled {
    /// Pushes both layouts of `out` and pulls the image again. Fails if the client finds anything wrong.
    pub(super) async fn through_a_registry(crane: &Path, out: &Path, digest: &Digest) -> anyhow::Result<Self> {
        let directory = scratch::directory()?;
        let registry = Registry::start(crane, directory.path()).await?;
        let image = registry.image();
        registry.push(&out.join("image"), &image)?;
        registry.push(&out.join("sbom"), &format!("{image}-sbom"))?;
        registry.crane(&["validate", "--insecure", "--remote", &image])?;
        let said = String::from_utf8(registry.crane(&["digest", "--insecure", &image])?)?;
        ensure!(said.trim() == digest.to_string(), "the registry has {}, not {digest}", said.trim());
        let sbom = String::from_utf8(registry.crane(&["digest", "--insecure", &format!("{image}-sbom")])?)?;
        let referrers = registry.referrers(digest)?;
        ensure!(referrers == [sbom.trim()], "the image has other referrers than its bill of materials: {referrers:?}");
        Ok(Self {
            manifest: serde_json::from_slice(&registry.crane(&["manifest", "--insecure", &image])?)?,
            config: serde_json::from_slice(&registry.crane(&["config", "--insecure", &image])?)?,
            tar: registry.crane(&["export", "--insecure", &image, "-"])?,
        })
    }

    /// Describes the image in lines. Fails if it is not as promised. `sbom` is its bill of materials.
    pub(super) fn inspect(&self, sbom: &[u8]) -> anyhow::Result<String> {
        let layers = self.manifest["layers"].as_array().into_iter().flatten();
        let stored: u64 = layers.filter_map(|layer| layer["size"].as_u64()).sum();
        let entries = entries(&self.tar)?;
        let binary = self.binary()?;
        let crates = crates(&binary)?;
        let mut faults = unexpected(&entries);
        faults.extend(misconfigured(&self.config["config"]));
        faults.extend(undescribed(&crates, &serde_json::from_slice(sbom)?));
        if !(1..=LARGEST).contains(&stored) {
            faults.push(format!("its layers have {stored} bytes, {LARGEST} are allowed"));
        }
        if needs_a_loader(&binary) {
            faults.push("its binary is not static".into());
        }
        ensure!(faults.is_empty(), "the image is not as promised: {}", faults.join("; "));
        let files: Vec<_> = entries.iter().filter(|it| !it.path.ends_with('/')).map(|it| it.path.as_str()).collect();
        let config = &self.config["config"];
        Ok(format!(
            "compressed   {stored} bytes\n\
             unpacked     {} bytes, the binary {}\n\
             files        {}\n\
             user         {}\n\
             runs         {} {}\n\
             crates       {} in the binary, each in the bill of materials",
            self.tar.len(),
            binary.len(),
            files.join(", "),
            config["User"].as_str().unwrap_or_default(),
            config["Entrypoint"],
            config["Cmd"],
            crates.len(),
        ))
    }

    /// Writes the binary into `directory`, and returns its path.
    pub(super) fn extract(&self, directory: &Path) -> anyhow::Result<PathBuf> {
        let path = directory.join(BINARY);
        fs::write(&path, self.binary()?)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        Ok(path)
    }

    fn binary(&self) -> anyhow::Result<Vec<u8>> {
        let mut archive = tar::Archive::new(self.tar.as_slice());
        for entry in archive.entries()? {
            let mut entry = entry?;
            if entry.path()? == Path::new(BINARY) {
                let mut content = vec![];
                entry.read_to_end(&mut content)?;
                return Ok(content);
            }
        }
        anyhow::bail!("the image has no /{BINARY}")
    }
}

fn entries(tar: &[u8]) -> anyhow::Result<Vec<Entry>> {
    let mut archive = tar::Archive::new(tar);
    let read = archive.entries()?.map(|entry| {
        let entry = entry?;
        let header = entry.header();
        let kind = header.entry_type();
        let mut path = entry.path()?.to_string_lossy().trim_start_matches("./").trim_end_matches('/').to_owned();
        if kind.is_dir() {
            path.push('/');
        }
        let is_plain = kind.is_dir() || kind.is_file();
        Ok(Entry { path, is_plain, mode: header.mode()?, owner: (header.uid()?, header.gid()?) })
    });
    read.collect()
}

/// What is wrong: entries other than the two files and their directories, which only root may change.
fn unexpected(entries: &[Entry]) -> Vec<String> {
    let expected = BTreeSet::from([ROOTS, BINARY]);
    let is_above = |path: &str| path.ends_with('/') && ROOTS.starts_with(path);
    let mut faults: Vec<String> = entries
        .iter()
        .filter(|it| !(expected.contains(it.path.as_str()) || is_above(&it.path)))
        .map(|it| format!("/{} does not belong in it", it.path))
        .collect();
    for missing in expected.iter().filter(|path| !entries.iter().any(|it| it.path == **path)) {
        faults.push(format!("/{missing} is missing"));
    }
    for it in entries {
        if !it.is_plain || it.owner != (0, 0) || it.mode & 0o7022 != 0 {
            faults.push(format!("/{} can be changed or gives rights: {:o} of {:?}", it.path, it.mode, it.owner));
        }
        if it.path == BINARY && it.mode & 0o001 == 0 {
            faults.push(format!("/{BINARY} cannot be run by everyone"));
        }
    }
    faults
}

fn misconfigured(config: &Value) -> Vec<String> {
    let wanted =
        [("User", json!("65532:65532")), ("Entrypoint", json!([format!("/{BINARY}")])), ("Cmd", json!(["run"]))];
    let wrong = wanted.into_iter().filter(|(name, value)| config[name] != *value);
    wrong.map(|(name, value)| format!("its {name} is {}, not {value}", config[name])).collect()
}

/// The crates that `cargo auditable` lists in the binary, as `NAME VERSION`, without build dependencies.
fn crates(binary: &[u8]) -> anyhow::Result<BTreeSet<String>> {
    let list = json_from_slice(binary, MOST_AUDIT_BYTES).context("the binary does not say what it is made of")?;
    let list: Value = serde_json::from_str(&list)?;
    let inside = list["packages"].as_array().into_iter().flatten().filter(|it| it["kind"] != "build");
    Ok(inside.map(title).collect())
}

/// A crate of either list.
fn title(crate_: &Value) -> String {
    format!("{} {}", crate_["name"].as_str().unwrap_or_default(), crate_["version"].as_str().unwrap_or_default())
}

/// Crates that are in the binary but not in its bill of materials.
fn undescribed(crates: &BTreeSet<String>, sbom: &Value) -> Vec<String> {
    let components = sbom["components"].as_array().into_iter().flatten();
    let mut described: BTreeSet<String> = components.map(title).collect();
    described.insert(format!("sessionkill {VERSION}"));
    let mut faults: Vec<_> =
        crates.difference(&described).map(|it| format!("{it} is not in its bill of materials")).collect();
    if !crates.contains(&format!("sessionkill {VERSION}")) || sbom["bomFormat"] != "CycloneDX" {
        faults.push("its bill of materials is of something else".into());
    }
    faults
}

/// Whether the kernel would need a dynamic loader. The image has none.
fn needs_a_loader(elf: &[u8]) -> bool {
    const INTERPRETER: u32 = 3;
    let number = |at: usize, bytes: usize| {
        let field = elf.get(at..at + bytes)?;
        Some(field.iter().rev().fold(0_usize, |number, byte| number << 8 | usize::from(*byte)))
    };
    let headers = || Some((number(32, 8)?, number(54, 2)?, number(56, 2)?));
    let Some((start, size, count)) = headers().filter(|_| elf.starts_with(b"\x7fELF")) else { return true };
    (0..count).any(|index| number(start + index * size, 4).is_none_or(|kind| kind == INTERPRETER as usize))
}

#[cfg(test)]
mod tests {
    use super::{
        super::{commit::Commit, layer::Layer, layout, tools},
        *,
    };

    fn good() -> Vec<Entry> {
        entries(&Layer::of(b"binary", 0).unwrap().tar).unwrap()
    }

    #[test]
    fn the_layer_has_what_it_should_and_anything_else_is_noticed() {
        assert_eq!(unexpected(&good()), [""; 0]);
        let shell = Entry { path: "bin/sh".into(), is_plain: true, mode: 0o755, owner: (0, 0) };
        let mut with_a_shell = good();
        with_a_shell.push(shell);
        assert_eq!(unexpected(&with_a_shell), ["/bin/sh does not belong in it"]);
        for (index, entry) in good().into_iter().enumerate() {
            for spoiled in [
                Entry { mode: entry.mode | 0o002, ..entry.clone() },
                Entry { mode: entry.mode | 0o4000, ..entry.clone() },
                Entry { owner: (65532, 0), ..entry.clone() },
                Entry { is_plain: false, ..entry.clone() },
                Entry { path: "tmp/".into(), ..entry.clone() },
            ] {
                let mut all = good();
                all[index] = spoiled.clone();
                assert!(!unexpected(&all).is_empty(), "{spoiled:?}");
            }
        }
    }

    #[test]
    fn another_user_or_command_is_noticed() {
        let good = json!({"User": "65532:65532", "Entrypoint": ["/sessionkill-operator"], "Cmd": ["run"]});
        assert_eq!(misconfigured(&good), [""; 0]);
        for (name, value) in [("User", json!("0:0")), ("Entrypoint", json!(["sh"])), ("Cmd", Value::Null)] {
            let mut bad = good.clone();
            bad[name] = value;
            assert_eq!(misconfigured(&bad).len(), 1, "{name}");
        }
    }

    #[test]
    fn a_crate_that_is_not_described_is_noticed() {
        let ours = format!("sessionkill {VERSION}");
        let sbom = json!({"bomFormat": "CycloneDX", "components": [{"name": "tokio", "version": "1.0.0"}]});
        assert_eq!(undescribed(&BTreeSet::from([ours.clone(), "tokio 1.0.0".into()]), &sbom), [""; 0]);
        assert_eq!(undescribed(&BTreeSet::from([ours, "tokio 1.0.1".into()]), &sbom).len(), 1);
        assert_eq!(undescribed(&BTreeSet::from(["tokio 1.0.0".into()]), &sbom).len(), 1);
    }

    #[test]
    fn a_program_of_this_machine_needs_its_loader() {
        let shell = fs::read("/bin/sh").unwrap();
        assert!(needs_a_loader(&shell));
        assert!(needs_a_loader(b"#!/bin/sh\n") && needs_a_loader(&shell[..60]));
        // One program header, of something to load.
        let mut elf = vec![0; 64 + 56];
        elf[..4].copy_from_slice(b"\x7fELF");
        (elf[32], elf[54], elf[56], elf[64]) = (64, 56, 1, 1);
        assert!(!needs_a_loader(&elf));
        elf[64] = 3;
        assert!(needs_a_loader(&elf));
    }

    #[test]
    fn what_was_not_built_to_be_audited_is_refused() {
        assert!(crates(&fs::read("/bin/sh").unwrap()).unwrap_err().to_string().contains("made of"));
    }

    #[tokio::test]
    async fn what_was_written_comes_out_of_a_registry_and_what_was_changed_does_not_get_in() {
        let crane = tokio::task::spawn_blocking(tools::crane).await.unwrap().unwrap();
        let out = scratch::directory().unwrap();
        let layer = Layer::of(b"binary", 1_700_000_000).unwrap();
        let commit = Commit { id: "abc".into(), seconds: 1_700_000_000 };
        let image = layout::write_image(&out.path().join("image"), &layer, &commit).unwrap();
        layout::write_sbom(&out.path().join("sbom"), b"{}", &image).unwrap();
        let pulled = Pulled::through_a_registry(&crane, out.path(), &image.digest).await.unwrap();
        assert_eq!(pulled.binary().unwrap(), b"binary");
        assert_eq!(unexpected(&entries(&pulled.tar).unwrap()), [""; 0]);
        assert_eq!(misconfigured(&pulled.config["config"]), [""; 0]);
        // The image's configuration is checked too, not only its files.
        assert!(pulled.inspect(b"{}").unwrap_err().to_string().contains("made of"));

        let blobs = out.path().join("image/blobs/sha256");
        let blob = blobs.join(Digest::of(&layer.gzip).to_string().replace("sha256:", ""));
        let mut changed = layer.gzip.clone();
        changed[40] ^= 1;
        fs::write(blob, changed).unwrap();
        assert!(Pulled::through_a_registry(&crane, out.path(), &image.digest).await.is_err());
    }
}
