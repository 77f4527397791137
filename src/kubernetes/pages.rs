//! Reads all objects of a kind page by page, so that memory does not grow with their number. Does I/O.

use std::time::{Duration, Instant};

use kube::Api;
use kube::api::{ListParams, ObjectList};
use kube::core::Status;
use serde::de::DeserializeOwned;

use crate::kubernetes::calls::{ApiError, Pauses, bounded};

/// A small page: it is read into memory at once, and each object may be large.
const PAGE: u32 = 20;
/// How often a page is asked for before the walk ends; the next walk asks again.
const TRIES: u32 = 3;
/// The most time counted per page: a longer answer is waiting, not work, such as while an API server starts.
const COST_LIMIT: Duration = Duration::from_millis(500);

/// Passes each object of `all` that `fields` selects to `see`, logs why it could not pass all, and returns the time
/// that the lists cost. An object may be passed twice: if the walk is so long that its resource version expires, it
/// continues at the current version or starts again.
pub async fn walk<K>(all: &Api<K>, call: &'static str, fields: Option<&str>, see: impl FnMut(K)) -> Duration
where
    K: Clone + DeserializeOwned + std::fmt::Debug,
{
    let mut cost = Duration::ZERO;
    if let Err(error) = walk_to_end(all, call, fields, see, &mut cost).await {
        tracing::warn!(%error, "sweep not completed");
    }
    cost
}

async fn walk_to_end<K>(
    all: &Api<K>,
    call: &'static str,
    fields: Option<&str>,
    mut see: impl FnMut(K),
    cost: &mut Duration,
) -> Result<(), ApiError>
where
    K: Clone + DeserializeOwned + std::fmt::Debug,
{
    let first = ListParams { field_selector: fields.map(str::to_owned), ..ListParams::default().limit(PAGE) };
    let (mut next, mut begun_anew) = (first.clone(), 0);
    loop {
        let asked = Instant::now();
        match page(all, call, &next).await {
            Ok(page) => {
                page.items.into_iter().for_each(&mut see);
                *cost += asked.elapsed().min(COST_LIMIT);
                match page.metadata.continue_.filter(|token| !token.is_empty()) {
                    Some(token) => next = next.continue_token(&token),
                    None => return Ok(()),
                }
            }
            Err(error) => match expired(&error).map(|status| status.metadata.as_ref()?.continue_.as_deref()) {
                Some(Some(token)) if !token.is_empty() => next = next.continue_token(token),
                Some(_) if begun_anew < TRIES => {
                    begun_anew += 1;
                    next = first.clone();
                }
                _ => return Err(error),
            },
        }
    }
}

/// Reads one page, with retries: one failure in a long walk must not put off the rest to the next walk.
async fn page<K>(all: &Api<K>, call: &'static str, of: &ListParams) -> Result<ObjectList<K>, ApiError>
where
    K: Clone + DeserializeOwned + std::fmt::Debug,
{
    let (mut pauses, mut tried) = (Pauses::new(), 1);
    loop {
        match bounded(call, all.list(of)).await {
            Err(error) if tried < TRIES && !error.is_refused() => tracing::debug!(%error, "page not read yet"),
            answered => return answered,
        }
        tried += 1;
        pauses.wait().await;
    }
}

/// The status of an expired resource version, which may contain a token to continue with.
fn expired(error: &ApiError) -> Option<&Status> {
    let ApiError::Failed { source, .. } = error else { return None };
    match source.as_ref() {
        kube::Error::Api(status) if status.code == 410 => Some(status),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use http::{Request, Response, StatusCode};
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::ResourceExt as _;
    use kube::client::Body;
    use serde_json::{Value, json};
    use tower::BoxError;

    use super::*;

    /// A fake API server with these answers; it records the requests.
    fn server(answers: Vec<(u16, Value)>) -> (Api<ConfigMap>, Arc<Mutex<Vec<String>>>) {
        let (answers, asked) = (Arc::new(Mutex::new(answers.into_iter())), Arc::<Mutex<Vec<String>>>::default());
        let asked_of = asked.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            asked_of.lock().unwrap().push(request.uri().query().unwrap_or_default().to_owned());
            let (status, body) = answers.lock().unwrap().next().expect("more was asked than expected");
            let mut answer = Response::new(Body::from(body.to_string().into_bytes()));
            *answer.status_mut() = StatusCode::from_u16(status).unwrap();
            async move { Ok::<_, BoxError>(answer) }
        });
        (Api::default_namespaced(kube::Client::new(service, "here")), asked)
    }

    fn list(names: &[&str], next: &str) -> (u16, Value) {
        let items: Vec<Value> = names.iter().map(|name| json!({"metadata": {"name": name}})).collect();
        (200, json!({"kind": "ConfigMapList", "apiVersion": "v1", "metadata": {"continue": next}, "items": items}))
    }

    fn refusal(code: u16, next: &str) -> (u16, Value) {
        let reason = if code == 410 { "Expired" } else { "InternalError" };
        (
            code,
            json!({"kind": "Status", "status": "Failure", "code": code, "reason": reason, "metadata": {"continue": next}}),
        )
    }

    async fn walked(answers: Vec<(u16, Value)>) -> (Vec<String>, Vec<String>, bool) {
        let (all, asked) = server(answers);
        let mut seen = vec![];
        let see = |object: ConfigMap| seen.push(object.name_any());
        let walked = walk_to_end(&all, "list", None, see, &mut Duration::default()).await;
        let pages = asked.lock().unwrap().iter().map(|query| query.replace("&limit=20", "")).collect();
        (seen, pages, walked.is_ok())
    }

    #[tokio::test(start_paused = true)]
    async fn a_version_that_is_forgotten_costs_nothing_but_a_request() {
        let answers = vec![list(&["a"], "x"), refusal(410, "y"), list(&["b"], "z"), list(&["c"], "")];
        let (seen, pages, is_ok) = walked(answers).await;
        assert!(is_ok);
        assert_eq!(seen, ["a", "b", "c"]);
        assert_eq!(pages, ["", "&continue=x", "&continue=y", "&continue=z"]);
        let anew = vec![list(&["a"], "x"), refusal(410, ""), list(&["a"], "y"), list(&["b"], "")];
        assert_eq!(walked(anew).await.0, ["a", "a", "b"], "where the API server does not say where to go on");
    }

    #[tokio::test(start_paused = true)]
    async fn a_page_that_fails_is_asked_for_again_and_a_walk_is_not_begun_for_ever() {
        let (seen, _, is_ok) = walked(vec![list(&["a"], "x"), refusal(500, ""), list(&["b"], "")]).await;
        assert!(is_ok);
        assert_eq!(seen, ["a", "b"]);
        let again_and_again = || [list(&["a"], "x"), refusal(410, "")].into_iter();
        let expiring = (0..4).flat_map(|_| again_and_again()).collect();
        assert!(!walked(expiring).await.2);
        assert!(!walked(vec![refusal(500, ""), refusal(500, ""), refusal(500, "")]).await.2);
    }
}
