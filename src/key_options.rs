//! The options that say where access keys come from: what the operator lends, and whom it asks. No I/O.

use std::path::PathBuf;

use clap::Args;

use crate::backends::credentials::OperatorToken;
use crate::domain::connection::lent::Lent;
use crate::oceanbase::Endpoint;

/// The identity that the operator itself has at Alibaba Cloud, and to whom it is lent.
#[derive(Args, Clone, Debug, Default)]
pub struct OwnIdentity {
    /// An identity of the operator's own that connections of a namespace may use, as NAMESPACE=ROLE. ROLE is the ARN of a
    /// RAM role that trusts the operator's own ServiceAccount, for operatorIdentity. Or it is the word instance, for
    /// instanceRole: then the namespace may do all that the role of the operator's node may. Separate several by commas, or
    /// repeat the option.
    #[arg(long = "allow-identity", env = "SESSIONKILL_ALLOW_IDENTITIES", value_delimiter = ',')]
    pub allow_identities: Vec<Lent>,

    /// The name of this cluster in the external IDs of roles that are assumed by operatorIdentity or instanceRole:
    /// NAME/NAMESPACE. Unset means that no such role can be assumed.
    #[arg(long, env = "SESSIONKILL_CLUSTER_NAME", value_parser = cluster_name)]
    pub cluster_name: Option<String>,

    /// The ARN of the OIDC provider that RAM has for this cluster, for operatorIdentity. ack-pod-identity-webhook sets the
    /// variable.
    #[arg(long, env = "ALIBABA_CLOUD_OIDC_PROVIDER_ARN", value_parser = provider_arn)]
    pub oidc_provider_arn: Option<String>,

    /// The file with a token of the operator's own ServiceAccount for the audience sts.aliyuncs.com, for operatorIdentity.
    /// ack-pod-identity-webhook sets the variable.
    #[arg(long, env = "ALIBABA_CLOUD_OIDC_TOKEN_FILE")]
    pub oidc_token_file: Option<PathBuf>,
}

impl OwnIdentity {
    /// The token of the operator's own `ServiceAccount`; `None` unless both the provider and the file are known.
    #[must_use]
    pub fn token(&self) -> Option<OperatorToken> {
        let (provider_arn, token_file) = self.oidc_provider_arn.clone().zip(self.oidc_token_file.clone())?;
        Some(OperatorToken { provider_arn, token_file })
    }
}

/// Where access keys come from.
#[derive(Args, Clone, Debug)]
pub struct KeyOptions {
    /// The operator's own identity.
    #[command(flatten)]
    pub own: OwnIdentity,

    /// The endpoint of the Security Token Service, instead of the one of each connection's region. Write it as
    /// --allow-endpoint. The operator sends tokens and access keys there.
    #[arg(long, env = "SESSIONKILL_STS_ENDPOINT", value_parser = Endpoint::parse)]
    pub sts_endpoint: Option<Endpoint>,

    /// The address of the metadata service, instead of the one of the instance. For tests.
    #[arg(long, hide = true, env = "SESSIONKILL_METADATA_ENDPOINT", value_parser = Endpoint::parse)]
    pub metadata_endpoint: Option<Endpoint>,
}

/// The most characters of the name of a cluster: an external ID has room for it and for a namespace.
const MAX_CLUSTER_NAME: usize = 253;

fn cluster_name(text: &str) -> Result<String, String> {
    let of_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if (1..=MAX_CLUSTER_NAME).contains(&text.len()) && text.bytes().all(of_name) {
        return Ok(text.to_owned());
    }
    Err("not a name for a cluster: use 1 to 253 letters, digits, ., _ and -, such as the ID of the ACK cluster"
        .to_owned())
}

fn provider_arn(text: &str) -> Result<String, String> {
    let parts = text.strip_prefix("acs:ram::").and_then(|rest| rest.split_once(":oidc-provider/"));
    let of_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let is_arn = |(account, name): (&str, &str)| {
        (1..=20).contains(&account.len())
            && account.bytes().all(|byte| byte.is_ascii_digit())
            && (1..=128).contains(&name.len())
            && name.bytes().all(of_name)
    };
    if parts.is_some_and(is_arn) {
        return Ok(text.to_owned());
    }
    Err("not the ARN of an OIDC provider: copy it from the RAM console, such as acs:ram::123456789012:oidc-provider/ack-rrsa-CLUSTER".to_owned())
}
