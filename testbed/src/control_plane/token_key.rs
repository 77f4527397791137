//! The key that signs the tokens of service accounts.
//!
//! It is an RSA key, as kubeadm makes it: then tokens are signed by RS256, as in clusters. `rcgen` makes no RSA key with
//! `ring`, so a Go program does.

use std::{
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context, ensure};

use crate::go;

const PROGRAM: &str = "token-key";
/// What the public key begins with.
const PUBLIC: &str = "-----BEGIN PUBLIC KEY-----";

/// Both halves in PEM.
pub(super) struct TokenKey {
    pub(super) private: String,
    pub(super) public: String,
}

/// Finds the program, or builds it, which takes some seconds once. It blocks.
pub(super) fn locate() -> anyhow::Result<PathBuf> {
    go::build(&go::module(PROGRAM), PROGRAM, PROGRAM)
}

impl TokenKey {
    /// A new key. It blocks.
    pub(super) fn generate() -> anyhow::Result<Self> {
        let program = locate()?;
        let made = Command::new(&program).stdin(Stdio::null()).output();
        let made = made.with_context(|| format!("cannot run {}", program.display()))?;
        ensure!(made.status.success(), "{PROGRAM}: {}", String::from_utf8_lossy(&made.stderr).trim());
        let printed = String::from_utf8(made.stdout).with_context(|| format!("{PROGRAM} does not print PEM"))?;
        let public = printed.find(PUBLIC).with_context(|| format!("{PROGRAM} printed no public key"))?;
        let (private, public) = printed.split_at(public);
        Ok(Self { private: private.to_owned(), public: public.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_is_another_one_and_is_of_rsa() {
        let [one, other] = [(), ()].map(|()| TokenKey::generate().unwrap());
        assert_ne!(one.private, other.private);
        for key in [one, other] {
            let certificate_key = rcgen::KeyPair::from_pem(&key.private).unwrap();
            assert_eq!(certificate_key.algorithm(), &rcgen::PKCS_RSA_SHA256);
            assert_eq!(certificate_key.public_key_pem().replace('\r', ""), key.public);
        }
    }
}
