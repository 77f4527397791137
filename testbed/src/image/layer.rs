//! The single layer: the files that the Dockerfile copies, at the same paths. The same input gives the same bytes.

use std::{fs, io::Write as _, path::Path, process::Command};

use anyhow::{Context, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use flate2::{Compression, GzBuilder};
use tar::{Builder, EntryType, Header};
use webpki_root_certs::TLS_SERVER_ROOT_CERTS;

use super::names::BINARY;

/// The path at which the operator looks for trusted certificate authorities.
pub(super) const ROOTS: &str = "etc/ssl/certs/ca-certificates.crt";

const DIRECTORIES: [&str; 3] = ["etc/", "etc/ssl/", "etc/ssl/certs/"];

/// A layer, uncompressed and compressed.
pub(super) struct Layer {
    pub(super) tar: Vec<u8>,
    pub(super) gzip: Vec<u8>,
}

impl Layer {
    /// A layer with this binary. Everything in it has this time.
    pub(super) fn of(binary: &[u8], seconds: u64) -> anyhow::Result<Self> {
        Self::with(&[(BINARY.to_owned(), binary.to_vec())], seconds, Compression::best())
    }

    /// A layer with this binary and all libraries of this machine that it is linked to, at their paths.
    pub(super) fn with_libraries(binary: &Path) -> anyhow::Result<Self> {
        let read = |path: &Path| fs::read(path).with_context(|| format!("cannot read {}", path.display()));
        let mut files = vec![(BINARY.to_owned(), read(binary)?)];
        for library in libraries(binary)? {
            files.push((library.trim_start_matches('/').to_owned(), read(Path::new(&library))?));
        }
        Self::with(&files, 0, Compression::none())
    }

    /// A layer with these programs and libraries, by their paths.
    fn with(files: &[(String, Vec<u8>)], seconds: u64, compression: Compression) -> anyhow::Result<Self> {
        let mut builder = Builder::new(vec![]);
        let mut add = |path: &str, mode: u32, content: &[u8]| {
            let mut header = Header::new_ustar();
            header.set_entry_type(if path.ends_with('/') { EntryType::Directory } else { EntryType::Regular });
            header.set_mode(mode);
            header.set_uid(0);
            header.set_gid(0);
            header.set_mtime(seconds);
            header.set_size(content.len() as u64);
            builder.append_data(&mut header, path, content)
        };
        for directory in DIRECTORIES {
            add(directory, 0o755, &[])?;
        }
        add(ROOTS, 0o644, roots().as_bytes())?;
        for (path, content) in files {
            add(path, 0o755, content)?;
        }
        let tar = builder.into_inner()?;
        // Compress without a time stamp.
        let mut gzip = GzBuilder::new().mtime(0).write(vec![], compression);
        gzip.write_all(&tar)?;
        Ok(Self { gzip: gzip.finish()?, tar })
    }
}

/// The libraries that the loader finds for the binary. A static binary has none.
fn libraries(binary: &Path) -> anyhow::Result<Vec<String>> {
    let said = Command::new("ldd").arg(binary).output().context("cannot run ldd")?;
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    ensure!(!text.contains("not found"), "libraries of {} are missing: {text}", binary.display());
    let paths = text.lines().filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')));
    Ok(paths.map(str::to_owned).collect())
}

/// Mozilla's certificate authorities, in PEM, of the version in Cargo.lock.
fn roots() -> String {
    let pem = |certificate: &[u8]| {
        let base64 = STANDARD.encode(certificate);
        let lines: Vec<_> = base64.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
        format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
    };
    TLS_SERVER_ROOT_CERTS.iter().map(|certificate| pem(certificate)).collect()
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::{CertificateDer, pem::PemObject as _};

    use super::*;

    #[test]
    fn the_same_input_is_the_same_layer_and_another_is_not() {
        let layer = |binary: &[u8], seconds| Layer::of(binary, seconds).unwrap().gzip;
        assert_eq!(layer(b"binary", 1_700_000_000), layer(b"binary", 1_700_000_000));
        assert_ne!(layer(b"binary", 1_700_000_000), layer(b"binarz", 1_700_000_000));
        assert_ne!(layer(b"binary", 1_700_000_000), layer(b"binary", 1_700_000_001));
    }

    #[test]
    fn all_roots_can_be_read_as_the_operator_reads_them() {
        let mut store = rustls::RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(roots().as_bytes()) {
            store.add(certificate.unwrap()).unwrap();
        }
        assert!(store.len() > 100 && store.len() == TLS_SERVER_ROOT_CERTS.len(), "{}", store.len());
    }
}
