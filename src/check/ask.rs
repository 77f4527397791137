//! One request to the API server, with a limit. Does I/O.

use std::time::Duration;

use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use kube::Client;
use kube::api::{Api, PostParams};
use tokio::time::timeout;

use crate::kubernetes::api_error::in_words;

/// How long one request may take.
pub const ANSWER_LIMIT: Duration = Duration::from_secs(15);

/// The answer, or in words why there is none.
pub async fn in_time<T>(asked: impl Future<Output = Result<T, kube::Error>>) -> Result<T, String> {
    match timeout(ANSWER_LIMIT, asked).await {
        Ok(answer) => answer.map_err(|error| in_words(&error)),
        Err(_) => Err(format!("no answer within {} s", ANSWER_LIMIT.as_secs())),
    }
}

/// Whether the operator has this right. Fails if the API server does not say.
pub async fn is_allowed(client: &Client, attributes: ResourceAttributes) -> Result<bool, String> {
    let reviews: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    let spec = SelfSubjectAccessReviewSpec { resource_attributes: Some(attributes), ..Default::default() };
    let review = SelfSubjectAccessReview { spec, ..SelfSubjectAccessReview::default() };
    let answer = in_time(reviews.create(&PostParams::default(), &review)).await;
    let answer = answer.map_err(|error| format!("cannot ask the API server for the operator's rights: {error}"))?;
    Ok(answer.status.is_some_and(|status| status.allowed))
}
