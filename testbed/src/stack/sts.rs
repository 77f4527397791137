//! STS and the metadata service of the stack's gateway.

use std::{path::Path, time::Duration};

use crate::{
    control_plane::ISSUER,
    gateway::{
        AccessKey, StsOptions,
        sts::standard::{self, EXTERNAL_ID},
    },
};

/// The URLs by which the operator reaches both services.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StsEndpoints {
    /// STS.
    pub sts: String,
    /// The metadata service.
    pub metadata: String,
}

impl StsEndpoints {
    /// The arguments by which an operator uses them.
    pub(super) fn arguments(&self) -> [String; 2] {
        [format!("--sts-endpoint={}", self.sts), format!("--metadata-endpoint={}", self.metadata)]
    }
}

/// The standard roles, for this key and the tokens of the control plane with this kubeconfig.
pub(super) fn options(lifetime: Duration, key: &AccessKey, kubeconfig: &Path) -> StsOptions {
    StsOptions::standard(&[&key.id]).with_tokens_of(ISSUER, kubeconfig).living(lifetime)
}

/// The variables with which a person or a script uses them.
pub(super) fn variables(endpoints: StsEndpoints) -> [(&'static str, String); 9] {
    [
        ("STS_URL", endpoints.sts),
        ("IMDS_URL", endpoints.metadata),
        ("IMDS_ROLE", standard::instance_role().name),
        ("ROLE_ARN", standard::role().to_string()),
        ("EXTERNAL_ROLE_ARN", standard::external_role().to_string()),
        ("EXTERNAL_ID", EXTERNAL_ID.to_owned()),
        ("FORBIDDEN_ROLE_ARN", standard::forbidden_role().to_string()),
        ("OIDC_PROVIDER_ARN", standard::provider()),
        ("OIDC_ROLE_ARN", standard::oidc_role().to_string()),
    ]
}
