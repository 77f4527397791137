//! `version`: of this program, of the kinds that the cluster serves, and of the operator.

use k8s_openapi::api::apps::v1::Deployment;
use kube::Api;
use kube::api::ListParams;
use kube::core::Version;

use crate::client::Place;
use crate::errors::Result;
use crate::exit::Exit;
use crate::interrupt::Interrupt;
use crate::output::{print, say};

/// The version of the kinds that this program reads and writes.
pub const API_VERSION: &str = "v1alpha1";
/// The version of this program.
pub const CLIENT: &str = env!("CARGO_PKG_VERSION");

/// Where the operator is.
#[derive(clap::Args, Clone, Debug)]
#[group(skip)]
pub struct Flags {
    /// The namespace that the operator runs in
    #[arg(long, value_name = "NAME", default_value = "sessionkill-system")]
    pub operator_namespace: String,
}

/// Prints the versions, and warns if they do not fit.
pub async fn run(place: &Place, flags: &Flags) -> Result<Exit> {
    let mut interrupt = Interrupt::listen()?;
    let (served, operator) =
        interrupt.or(async { Ok(tokio::join!(served(place), operator(place, &flags.operator_namespace))) }).await?;
    let served = served?;
    print(&format!(
        "plugin:      {CLIENT}, for {API_VERSION}\ndefinitions: {}\noperator:    {}\n",
        if served.is_empty() { "not installed".to_owned() } else { served.join(", ") },
        operator.as_deref().unwrap_or_else(|why| why),
    ))?;
    for warning in skew(&served, operator.as_deref().ok()) {
        say(&format!("warning: {warning}"));
    }
    Ok(Exit::AllEnded)
}

/// The served versions of the group. None if it is not there.
pub async fn served(place: &Place) -> Result<Vec<String>> {
    let groups =
        place.client.list_api_groups().await.map_err(|error| place.attempt("get", "apis", "").failed(&error))?;
    let group = groups.groups.into_iter().find(|group| group.name == sessionkill_api::GROUP);
    Ok(group.map(|group| group.versions.into_iter().map(|served| served.version).collect()).unwrap_or_default())
}

/// The operator's version by the label of its Deployment, or why it is not known.
pub async fn operator(place: &Place, namespace: &str) -> std::result::Result<String, String> {
    let deployments: Api<Deployment> = Api::namespaced(place.client.clone(), namespace);
    let labelled = ListParams::default().labels("app.kubernetes.io/name=sessionkill-operator");
    let found = deployments.list(&labelled).await.map_err(|error| match error {
        kube::Error::Api(status) if status.code == 403 => {
            format!("not known: you may not list deployments in namespace {namespace}")
        }
        other => format!("not known: {other}"),
    })?;
    let version = found.items.into_iter().find_map(|one| one.metadata.labels?.remove("app.kubernetes.io/version"));
    version.ok_or_else(|| format!("not known: no Deployment of it in namespace {namespace} (--operator-namespace)"))
}

/// What does not fit.
pub fn skew(served: &[String], operator: Option<&str>) -> Vec<String> {
    let mut warnings = vec![];
    if !served.iter().any(|version| version == API_VERSION) {
        let served = if served.is_empty() { "none".to_owned() } else { served.join(", ") };
        warnings.push(format!(
            "this plugin needs {API_VERSION} of {}, and the cluster serves {served}",
            sessionkill_api::GROUP
        ));
    }
    if let Some(operator) = operator.filter(|operator| minor(operator) != minor(CLIENT)) {
        warnings.push(format!(
            "the plugin is of version {CLIENT} and the operator of {operator}: use the plugin of the operator's version"
        ));
    }
    // A version of the API that only newer plugins know.
    let newest = served.iter().max_by_key(|version| Version::parse(version).priority());
    if let Some(newest) = newest.filter(|newest| *newest != API_VERSION) {
        warnings.push(format!("the cluster serves {newest}, which is newer than {API_VERSION} of this plugin"));
    }
    warnings
}

/// Major and minor, which must be the same.
fn minor(version: &str) -> Vec<&str> {
    version.trim_start_matches('v').split('.').take(2).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_does_not_fit_is_warned_of() {
        let warnings = |served: &[&str], operator: Option<&str>| {
            let served: Vec<_> = served.iter().map(|version| (*version).to_owned()).collect();
            skew(&served, operator).len()
        };
        assert_eq!(warnings(&["v1alpha1"], Some(CLIENT)), 0);
        assert_eq!(warnings(&["v1alpha1"], None), 0);
        assert_eq!(warnings(&[], None), 1);
        assert_eq!(warnings(&["v1alpha1"], Some("0.9.0")), 1);
        assert_eq!(warnings(&["v1", "v1alpha1"], Some("9.0.0")), 2);
    }
}
