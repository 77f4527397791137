//! OCI image layouts: directories of blobs that are named by their digests.

use std::{fmt, fs, path::Path};

use anyhow::Context;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{
    commit::Commit,
    layer::Layer,
    names::{BINARY, VERSION},
};
use std::env::consts::ARCH;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const EMPTY: &str = "application/vnd.oci.empty.v1+json";
/// The type of a bill of materials, which scanners look for in registries.
const CYCLONEDX: &str = "application/vnd.cyclonedx+json";

/// The digest of a blob, as registries write it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Digest(String);

impl Digest {
    pub(super) fn of(content: &[u8]) -> Self {
        Self(format!("sha256:{}", hex::encode(Sha256::digest(content))))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A descriptor: how others refer to a written blob.
pub(super) struct Blob {
    pub(super) digest: Digest,
    size: usize,
    media_type: &'static str,
}

impl Blob {
    fn descriptor(&self) -> Value {
        json!({"mediaType": self.media_type, "digest": self.digest.to_string(), "size": self.size})
    }
}

/// Empties `directory` and writes the image into it. Returns its manifest.
pub(super) fn write_image(directory: &Path, layer: &Layer, commit: &Commit) -> anyhow::Result<Blob> {
    let layout = Layout::create(directory)?;
    let created = commit.time()?;
    let config = layout.json(CONFIG, &config(layer, &created))?;
    let layer = layout.blob(LAYER, &layer.gzip)?;
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": config.descriptor(),
        "layers": [layer.descriptor()],
        "annotations": {
            "org.opencontainers.image.created": created,
            "org.opencontainers.image.revision": commit.id,
        },
    });
    let manifest = layout.json(MANIFEST, &manifest)?;
    let mut descriptor = manifest.descriptor();
    descriptor["platform"] = json!({"architecture": architecture(), "os": "linux"});
    descriptor["annotations"] = json!({"org.opencontainers.image.ref.name": VERSION});
    layout.index(&descriptor)?;
    Ok(manifest)
}

/// Empties `directory` and writes the bill of materials into it, as an artifact that refers to `image`.
pub(super) fn write_sbom(directory: &Path, sbom: &[u8], image: &Blob) -> anyhow::Result<()> {
    let layout = Layout::create(directory)?;
    let config = layout.blob(EMPTY, b"{}")?;
    let sbom = layout.blob(CYCLONEDX, sbom)?;
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": CYCLONEDX,
        "config": config.descriptor(),
        "layers": [sbom.descriptor()],
        "subject": image.descriptor(),
    });
    let manifest = layout.json(MANIFEST, &manifest)?;
    layout.index(&manifest.descriptor())
}

/// The configuration, as in the Dockerfile.
fn config(layer: &Layer, created: &str) -> Value {
    json!({
        "architecture": architecture(),
        "os": "linux",
        "created": created,
        "config": {
            "User": "65532:65532",
            "Entrypoint": [format!("/{BINARY}")],
            "Cmd": ["run"],
            "Labels": {
                "org.opencontainers.image.licenses": "Apache-2.0",
                "org.opencontainers.image.title": BINARY,
            },
        },
        "rootfs": {"type": "layers", "diff_ids": [Digest::of(&layer.tar).to_string()]},
        "history": [{"created": created, "created_by": "testbed image"}],
    })
}

/// Go's name for this machine's architecture, which is that of the binary.
pub(crate) fn architecture() -> &'static str {
    match ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

struct Layout<'a>(&'a Path);

impl<'a> Layout<'a> {
    fn create(directory: &'a Path) -> anyhow::Result<Self> {
        if directory.exists() {
            fs::remove_dir_all(directory).with_context(|| format!("cannot empty {}", directory.display()))?;
        }
        fs::create_dir_all(directory.join("blobs/sha256"))
            .with_context(|| format!("cannot create {}", directory.display()))?;
        fs::write(directory.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)?;
        Ok(Self(directory))
    }

    fn blob(&self, media_type: &'static str, content: &[u8]) -> anyhow::Result<Blob> {
        let digest = Digest::of(content);
        let path = self.0.join("blobs").join(digest.0.replace(':', "/"));
        fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Blob { digest, size: content.len(), media_type })
    }

    fn json(&self, media_type: &'static str, document: &Value) -> anyhow::Result<Blob> {
        self.blob(media_type, &serde_json::to_vec(document)?)
    }

    fn index(&self, manifest: &Value) -> anyhow::Result<()> {
        let media_type = "application/vnd.oci.image.index.v1+json";
        let index = json!({"schemaVersion": 2, "mediaType": media_type, "manifests": [manifest]});
        Ok(fs::write(self.0.join("index.json"), serde_json::to_vec(&index)?)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The value of the instruction in the last stage of the Dockerfile.
    fn dockerfile(instruction: &str) -> String {
        let text = include_str!("../../../Dockerfile").replace("\\\n", " ");
        let stage = text.rsplit("\nFROM scratch\n").next().unwrap().to_owned();
        let value = stage.lines().find_map(|line| line.strip_prefix(instruction)?.strip_prefix(' ')).unwrap();
        value.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_image_is_what_the_dockerfile_says() {
        let layer = Layer::of(b"binary", 0).unwrap();
        let config = config(&layer, "1970-01-01T00:00:00Z")["config"].clone();
        assert_eq!(config["User"], dockerfile("USER"));
        assert_eq!(config["Entrypoint"].to_string(), dockerfile("ENTRYPOINT"));
        assert_eq!(config["Cmd"].to_string(), dockerfile("CMD"));
        let labels = config["Labels"].as_object().unwrap();
        let mut labels: Vec<_> = labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let label = dockerfile("LABEL");
        let mut said: Vec<_> = label.split(' ').collect();
        labels.sort_unstable();
        said.sort_unstable();
        assert_eq!(labels, said);
        let text = include_str!("../../../Dockerfile");
        for path in [super::super::layer::ROOTS, BINARY] {
            assert!(text.lines().any(|line| line.starts_with("COPY --from") && line.ends_with(&format!(" /{path}"))));
        }
    }

    /// Base images must be pinned by digest, as a tag can be moved.
    #[test]
    fn whatever_the_dockerfile_builds_on_is_named_by_digest() {
        let text = include_str!("../../../Dockerfile");
        let bases: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("FROM ")).collect();
        assert!(bases.len() > 1, "{bases:?}");
        for base in bases {
            assert!(base == "scratch" || base.contains("@sha256:"), "{base}");
        }
    }

    #[test]
    fn every_blob_has_its_digest_for_its_name_and_all_that_is_named_is_there() {
        let directory = tempfile::tempdir().unwrap();
        let commit = Commit { id: "abc".into(), seconds: 1_700_000_000 };
        let image = write_image(directory.path(), &Layer::of(b"binary", 0).unwrap(), &commit).unwrap();
        let blob = |digest: &Value| {
            let digest = digest.as_str().unwrap();
            let content = fs::read(directory.path().join("blobs").join(digest.replace(':', "/"))).unwrap();
            assert_eq!(Digest::of(&content).to_string(), digest);
            content
        };
        let index: Value = serde_json::from_slice(&fs::read(directory.path().join("index.json")).unwrap()).unwrap();
        assert_eq!(index["manifests"][0]["digest"], image.digest.to_string());
        let manifest: Value = serde_json::from_slice(&blob(&index["manifests"][0]["digest"])).unwrap();
        assert!(!blob(&manifest["config"]["digest"]).is_empty() && !blob(&manifest["layers"][0]["digest"]).is_empty());
        assert_eq!(manifest["annotations"]["org.opencontainers.image.created"], "2023-11-14T22:13:20Z");
    }
}
