//! The source `operatorIdentity`: the token of the operator's own `ServiceAccount`, which its Pod has in a file. Does I/O:
//! reads the file.

use std::path::{Path, PathBuf};

use secrecy::SecretString;
use sessionkill_api::WaitReason;
use tokio::fs::File;
use tokio::io::AsyncReadExt as _;
use zeroize::Zeroizing;

use super::errors::Unavailable;
use super::oidc_token::{LONGEST_FILE, OidcToken};

/// What the operator's Pod has of its own, by `ALIBABA_CLOUD_OIDC_PROVIDER_ARN` and `ALIBABA_CLOUD_OIDC_TOKEN_FILE`.
#[derive(Clone, Debug)]
pub struct OperatorToken {
    /// The ARN of the OIDC provider that RAM has for the cluster.
    pub provider_arn: String,
    /// The file with the token, which the kubelet renews.
    pub token_file: PathBuf,
}

impl OperatorToken {
    /// Succeeds if the file has a token. Otherwise says what to do.
    pub async fn check(&self) -> Result<(), Unavailable> {
        self.token().await.map(drop)
    }

    /// The token as it is now: it is read anew each time.
    pub(super) async fn token(&self) -> Result<OidcToken, Unavailable> {
        let path = self.token_file.display();
        let unavailable = |why: String| {
            let message = format!(
                "the token of the operator's own ServiceAccount cannot be read from {path} ({why}): check the projected \
                 volume of its Pod, or ALIBABA_CLOUD_OIDC_TOKEN_FILE"
            );
            Unavailable::for_now(WaitReason::ServiceAccountUnavailable, message)
        };
        let text = read(&self.token_file).await.map_err(|error| unavailable(error.to_string()))?;
        OidcToken::new(&text).map_err(unavailable)
    }
}

/// Why there is no token if the Pod has none.
pub(super) fn missing() -> Unavailable {
    let message = "the operator's Pod has no identity at Alibaba Cloud: ALIBABA_CLOUD_OIDC_PROVIDER_ARN and \
                   ALIBABA_CLOUD_OIDC_TOKEN_FILE are not set; set them, or use another source than operatorIdentity";
    Unavailable::for_now(WaitReason::ServiceAccountUnavailable, message)
}

async fn read(path: &Path) -> std::io::Result<SecretString> {
    // More than is read: a growing buffer leaves copies.
    let mut text = Zeroizing::new(Vec::with_capacity(32 * 1024));
    File::open(path).await?.take(LONGEST_FILE).read_to_end(&mut text).await?;
    let text = std::str::from_utf8(&text).map_err(|_| std::io::Error::other("it is no text"))?;
    Ok(text.into())
}
