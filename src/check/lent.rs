//! Whether the operator has the identity that it lends. Does I/O: reads the token's file.

use crate::key_options::OwnIdentity;

/// What is missing for what `--allow-identity` lends, and what to do. Prints a hint if what only some connections need is missing.
pub async fn missing_of(own: &OwnIdentity) -> Vec<String> {
    let mut missing = vec![];
    // The role of a node needs no token.
    if own.allow_identities.iter().any(|lent| !lent.is_instance()) {
        if own.oidc_provider_arn.is_none() {
            missing.push(absent("the ARN of the OIDC provider", "--oidc-provider-arn"));
        }
        if own.oidc_token_file.is_none() {
            missing.push(absent("the file with the token of the operator's own ServiceAccount", "--oidc-token-file"));
        }
        if let Some(token) = own.token()
            && let Err(error) = token.check().await
        {
            missing.push(error.message);
        }
    }
    if !own.allow_identities.is_empty() && own.cluster_name.is_none() {
        println!(
            "identities that are lent: no name of the cluster, so they assume no further role: set operator.clusterName of \
             the chart, or --cluster-name, if connections have assumeRole"
        );
    }
    missing
}

fn absent(what: &str, option: &str) -> String {
    format!(
        "operatorIdentity is lent, and {what} is not known: set rrsa.oidcProviderARN of the chart, let \
         ack-pod-identity-webhook set the variable, or set {option}"
    )
}
