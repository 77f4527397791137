//! The limits on the size of objects. An object over a limit is refused with the name of the field. What tools write is
//! accepted. A user who stored too much before the limits were in force can still edit and clean up the object.

use std::fmt::Debug;

use jiff::{SignedDuration, Timestamp};
use kube::{
    Api, Resource,
    api::{Patch, PatchParams},
    core::NamespaceResourceScope,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use sessionkill::api::{OceanBaseConnection, SessionKill};
use testbed::{control_plane::client_for, stack::NAMESPACE as OPERATORS_NAMESPACE};
use tokio::sync::OnceCell;

use self::objects::{
    cluster_connection, connection, field, fields, fields_of_status, finalizers, in_future, kill, long_lived,
    longest_sessions, numbered, owner, owners, usual_sessions,
};
use crate::{
    control_plane::{Cluster, Said},
    eventually, furnished, render,
    user_roles::request,
};

mod objects;

/// The namespace with the limits in force.
const NAMESPACE: &str = "limited";
/// Another one. Objects over the limits were stored there before.
const OLD: &str = "limited-later";
/// Another one. Objects with unknown fields were stored there before.
const MISSPELT: &str = "limited-misspelt";
/// The namespace in which a request may live for 30 days.
const PATIENT: &str = "patient";
/// The operator's service account, and its user name for the API server.
const ACCOUNT: &str = "sessionkill-operator";
const OPERATOR: &str = "system:serviceaccount:sessionkill-system:sessionkill-operator";
const WEEK: SignedDuration = SignedDuration::from_hours(7 * 24);

/// The cluster with these namespaces, and the limits of two releases in force.
async fn limited() -> &'static Cluster {
    static LIMITED: OnceCell<()> = OnceCell::const_new();
    let cluster = furnished().await;
    LIMITED.get_or_init(async || limit(cluster).await).await;
    cluster
}

async fn limit(cluster: &Cluster) {
    for name in [NAMESPACE, OLD, MISSPELT, PATIENT] {
        cluster.namespace(name, &[]).await;
    }
    store_what_is_too_much(cluster).await;
    store_what_is_misspelt(cluster).await;
    install(cluster, &json!({"watchNamespaces": [NAMESPACE, OLD, MISSPELT]})).await;
    let other = json!({
        "watchNamespaces": [PATIENT], "fullnameOverride": "patient-sessionkill", "admissionLimits": {"maxLifetimeDays": 30},
    });
    install(cluster, &other).await;
    for namespace in [NAMESPACE, OLD, PATIENT] {
        eventually("the limits to be in force", async || {
            match tried_in(cluster, namespace, &long_lived(SignedDuration::from_hours(24 * 60))).await {
                Err(refusal) if refusal.contains("days after creation") => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
    }
}

/// Installs the limits and the operator's rights from the chart with these values.
async fn install(cluster: &Cluster, values: &Value) {
    let rendered = render(values).await;
    let wanted = |document: &&str| {
        ["admission-fields", "admission-limits", "rbac", "service-account"]
            .iter()
            .any(|file| document.contains(&format!("templates/{file}.yaml")))
    };
    let objects = rendered.split("---\n").filter(wanted).collect::<Vec<_>>().join("---\n");
    let said = cluster.kubectl_with(&["apply", "--server-side", "-f", "-"], &objects).await;
    assert!(said.success, "{said:?}");
    assert!(said.stdout.contains("validatingadmissionpolicy.") && said.stdout.contains("role."), "{said:?}");
}

async fn store_what_is_too_much(cluster: &Cluster) {
    let mut many = kill("many", json!({"labels": numbered(2000), "finalizers": finalizers(20)}));
    many["spec"]["notAfterTime"] = in_future(SignedDuration::from_hours(24 * 365)).into();
    let large = kill(
        "large",
        json!({
            "annotations": {"note": "x".repeat(200_000)}, "ownerReferences": [owner(0, &"n".repeat(100_000))],
        }),
    );
    let claimed = kill("claimed", json!({"managedFields": [fields(20_000), fields_of_status(12_000)]}));
    let link = connection("link", json!({"labels": numbered(100)}));
    for object in [many, large, claimed, link] {
        let said = cluster.kubectl_with(&["create", "-n", OLD, "-f", "-"], &object.to_string()).await;
        assert!(said.success, "{said:?}");
    }
}

async fn store_what_is_misspelt(cluster: &Cluster) {
    let mut request = kill("inc-1", json!({}));
    request["spec"]["sessions"][0]["expects"] = json!({"user": "report_ro"});
    let mut link = connection("link", json!({}));
    link["spec"]["tenantIds"] = json!(["t1"]);
    let mut shared = cluster_connection("misspelt", json!({}));
    shared["spec"]["allowedNamespace"] = json!({"names": ["shop"]});
    for object in [request, link, shared] {
        let said = cluster.kubectl_with(&["create", "-n", MISSPELT, "-f", "-"], &object.to_string()).await;
        assert!(said.success, "{said:?}");
    }
}

fn result(said: Said) -> Result<(), String> {
    if said.success { Ok(()) } else { Err(said.stderr) }
}

/// The result of a dry run on the server that creates the object.
async fn tried_in(cluster: &Cluster, namespace: &str, object: &Value) -> Result<(), String> {
    let create = ["create", "--dry-run=server", "-n", namespace, "-f", "-"];
    result(cluster.kubectl_with(&create, &object.to_string()).await)
}

/// The result of a patch of a stored object.
async fn patched(cluster: &Cluster, namespace: &str, what: [&str; 2], patch: &Value) -> Result<(), String> {
    let [kind, name] = what;
    // From standard input, as the patch is longer than a command line may be.
    let change = ["patch", kind, name, "-n", namespace, "--type=merge", "--patch-file=/dev/stdin"];
    result(cluster.kubectl_with(&change, &patch.to_string()).await)
}

fn assert_refused(field: &str, said: Result<(), String>, because: &str) {
    let refusal = said.err().unwrap_or_default();
    assert!(
        refusal.contains(&format!("denied request: {field} ")) && refusal.contains(because),
        "{because}: {refusal}"
    );
    // Not "invalid": with that error, some tools delete an object and create it again.
    assert!(refusal.contains("(Forbidden)"), "{refusal}");
}

#[tokio::test]
async fn metadata_that_nobody_needs_is_refused_by_its_name() {
    let cluster = limited().await;
    let note = |length: usize| json!({"annotations": {"note": "x".repeat(length)}});
    let cases = [
        (
            json!({"labels": numbered(64)}),
            json!({"labels": numbered(65)}),
            "has 65 entries, and the limit is 64: remove",
        ),
        (
            json!({"annotations": numbered(64)}),
            json!({"annotations": numbered(65)}),
            "has 65 entries, and the limit is 64: remove",
        ),
        (note(130_000), note(132_000), "bytes, and the limit is 131072: remove some; kubectl apply --server-side"),
        (
            json!({"finalizers": finalizers(16)}),
            json!({"finalizers": finalizers(17)}),
            "has 17 entries, and the limit is 16: remove",
        ),
        (
            json!({"ownerReferences": owners(16)}),
            json!({"ownerReferences": owners(17)}),
            "has 17 entries, and the limit is 16: remove",
        ),
        (
            json!({"ownerReferences": [owner(1, &"n".repeat(8000))]}),
            json!({"ownerReferences": [owner(1, &"n".repeat(8200))]}),
            "bytes, and the limit is 8192: remove",
        ),
        (
            json!({"managedFields": [fields(10_000)]}),
            json!({"managedFields": [fields(20_000)]}),
            "bytes, and the limit is 262144: apply as a field manager that it names already",
        ),
        // Fewer characters than the limit of 131,072 bytes, but each takes three bytes.
        (
            json!({"annotations": {"note": "世".repeat(43_000)}}),
            json!({"annotations": {"note": "世".repeat(44_000)}}),
            "bytes, and the limit is 131072",
        ),
        (
            json!({"managedFields": [fields_of_status(8000)]}),
            json!({"managedFields": [fields_of_status(12_000)]}),
            "bytes for its status, and the limit is 131072: leave it to the API server",
        ),
    ];
    for (most, too_much, because) in cases {
        for object in [kill as fn(&str, Value) -> Value, connection, cluster_connection] {
            assert_eq!(tried_in(cluster, NAMESPACE, &object("a", most.clone())).await, Ok(()), "at most: {because}");
            let said = tried_in(cluster, NAMESPACE, &object("a", too_much.clone())).await;
            assert_refused(&field(&too_much), said, because);
        }
        // A namespace that no release watches.
        assert_eq!(tried_in(cluster, "team-a", &kill("a", too_much)).await, Ok(()), "elsewhere: {because}");
    }
}

#[tokio::test]
async fn what_was_small_cannot_be_grown() {
    let cluster = limited().await;
    let create = async |object: &Value| {
        let said = cluster.kubectl_with(&["create", "-n", NAMESPACE, "-f", "-"], &object.to_string()).await;
        assert!(said.success, "{said:?}");
    };
    create(&kill("small", json!({"labels": numbered(60), "finalizers": finalizers(1)}))).await;
    create(&connection("small", json!({}))).await;
    for (kind, metadata, because) in [
        ("sk", json!({"labels": numbered(65)}), "has 65 entries"),
        ("sk", json!({"annotations": {"note": "x".repeat(132_000)}}), "has 132"),
        ("sk", json!({"finalizers": finalizers(17)}), "has 17 entries"),
        ("sk", json!({"ownerReferences": owners(17)}), "has 17 entries"),
        ("sk", json!({"managedFields": [fields(20_000)]}), "bytes, and the limit is 262144"),
        ("sk", json!({"managedFields": [fields_of_status(12_000)]}), "bytes for its status"),
        ("obc", json!({"annotations": numbered(65)}), "has 65 entries"),
    ] {
        let said = patched(cluster, NAMESPACE, [kind, "small"], &json!({"metadata": metadata})).await;
        assert_refused(&field(&metadata), said, because);
    }
    for field in ["labels", "finalizers"] {
        patched(cluster, NAMESPACE, ["sk", "small"], &json!({"metadata": {field: null}})).await.unwrap();
    }
}

#[tokio::test]
async fn what_argo_cd_flux_helm_and_kubectl_write_passes() {
    let cluster = limited().await;
    let argo = json!({
        "labels": {"app.kubernetes.io/instance": "orders"},
        "annotations": {
            "argocd.argoproj.io/tracking-id": "orders:sessionkill.dev/SessionKill:limited/by-tool",
            "argocd.argoproj.io/sync-wave": "1", "argocd.argoproj.io/hook": "PreSync",
        },
        "finalizers": ["argocd.argoproj.io/hook-finalizer"],
    });
    let flux = json!({"labels": {
        "kustomize.toolkit.fluxcd.io/name": "orders", "kustomize.toolkit.fluxcd.io/namespace": "flux-system",
        "helm.toolkit.fluxcd.io/name": "orders", "helm.toolkit.fluxcd.io/namespace": "flux-system",
    }});
    let helm = json!({
        "labels": {"app.kubernetes.io/managed-by": "Helm", "helm.sh/chart": "orders-1.2.3"},
        "annotations": {"meta.helm.sh/release-name": "orders", "meta.helm.sh/release-namespace": "limited"},
        "ownerReferences": [{
            "apiVersion": "batch/v1", "kind": "Job", "name": "orders", "uid": "0b2c3d4e-0000-4000-8000-000000000000",
            "controller": true, "blockOwnerDeletion": true,
        }],
    });
    for (name, metadata, sessions) in
        [("argo", argo, usual_sessions()), ("flux", flux, longest_sessions()), ("helm", helm, usual_sessions())]
    {
        let mut largest = kill(name, metadata.clone());
        largest["spec"]["sessions"] = sessions.into();
        for object in [largest, connection(name, metadata)] {
            // First a client-side apply, which keeps a copy of the object in an annotation. Then server-side applies of
            // three tools that share the object. Below, a user edits it.
            let apply = ["apply", "-n", NAMESPACE, "-f", "-"];
            for manager in [None, Some("argocd-controller"), Some("kustomize-controller"), Some("helm")] {
                let manager = manager.map(|name| format!("--field-manager={name}"));
                let more = manager.as_deref().map(|manager| ["--server-side", "--force-conflicts", manager]);
                let apply = [&apply[..], more.as_ref().map_or(&[], |more| &more[..])].concat();
                assert_eq!(
                    result(cluster.kubectl_with(&apply, &object.to_string()).await),
                    Ok(()),
                    "{name} {manager:?}"
                );
            }
        }
        let edit = json!({"spec": {"suspend": true}, "metadata": {"labels": {"by": "hand"}}});
        patched(cluster, NAMESPACE, ["sk", name], &edit).await.unwrap();
        writes_status::<SessionKill>(cluster, NAMESPACE, name).await;
    }
}

#[tokio::test]
async fn a_request_lives_for_a_week_at_most_or_as_long_as_the_value_says() {
    let cluster = limited().await;
    let hour = SignedDuration::from_hours(1);
    // The API server creates it now or later, so its life is not longer than a week.
    assert_eq!(tried_in(cluster, NAMESPACE, &long_lived(WEEK)).await, Ok(()));
    let (before, said) = (Timestamp::now(), tried_in(cluster, NAMESPACE, &long_lived(WEEK + hour)).await);
    let refusal = said.unwrap_err();
    assert_refused("spec.notAfterTime", Err(refusal.clone()), " at the latest");
    let told = refusal.split_once(" is more than 7 days after creation: set it to ").unwrap().1;
    let latest: Timestamp = told.split_once(" at the latest").unwrap().0.parse().unwrap();
    let second = SignedDuration::from_secs(1);
    assert!(before - second <= latest - WEEK && latest - WEEK <= Timestamp::now() + second, "{refusal}");
    // The time in the message is accepted in any time zone. A time too far in the future for a duration is refused as
    // well.
    let of = |time: &str| request("long", "prod-ob", json!({"notAfterTime": time}));
    assert_eq!(tried_in(cluster, NAMESPACE, &of(&latest.to_string())).await, Ok(()));
    let hours = SignedDuration::from_hours(8);
    let elsewhere = (latest + hours).strftime("%Y-%m-%dT%H:%M:%S+08:00").to_string();
    assert_eq!(tried_in(cluster, NAMESPACE, &of(&elsewhere)).await, Ok(()));
    assert_refused(
        "spec.notAfterTime",
        tried_in(cluster, NAMESPACE, &of("2999-12-31T23:59:59-14:00")).await,
        "7 days after creation",
    );

    let month = SignedDuration::from_hours(30 * 24);
    assert_eq!(tried_in(cluster, PATIENT, &long_lived(month)).await, Ok(()));
    assert_refused(
        "spec.notAfterTime",
        tried_in(cluster, PATIENT, &long_lived(month + hour)).await,
        "more than 30 days after creation",
    );
}

#[tokio::test]
async fn whoever_stored_too_much_before_can_hold_it_back_and_clean_it_up() {
    let cluster = limited().await;
    for name in ["many", "large", "claimed"] {
        writes_status::<SessionKill>(cluster, OLD, name).await;
        patched(cluster, OLD, ["sk", name], &json!({"spec": {"suspend": true}})).await.unwrap();
    }
    writes_status::<OceanBaseConnection>(cluster, OLD, "link").await;
    patched(cluster, OLD, ["obc", "link"], &json!({"spec": {"tenantIDs": ["t1"]}})).await.unwrap();
    // More is refused.
    for (what, more, because) in [
        (["sk", "many"], json!({"labels": {"one-more": ""}}), "has 2001 entries"),
        (["sk", "large"], json!({"annotations": {"more": "x"}}), "has 200"),
        (["sk", "large"], json!({"ownerReferences": [owner(0, &"n".repeat(100_001))]}), "has 100"),
        (["sk", "claimed"], json!({"managedFields": [fields_of_status(13_000)]}), "bytes for its status"),
        (["obc", "link"], json!({"labels": {"one-more": ""}}), "has 101 entries"),
    ] {
        assert_refused(&field(&more), patched(cluster, OLD, what, &json!({"metadata": more})).await, because);
    }
    // Less is accepted, even if it is still over the limit.
    for (what, less) in [
        (["sk", "many"], json!({"labels": {"n1": null}})),
        (["sk", "many"], json!({"finalizers": finalizers(19)})),
        (["sk", "large"], json!({"annotations": {"note": "x".repeat(190_000)}})),
        (["sk", "large"], json!({"ownerReferences": [owner(0, &"n".repeat(99_000))]})),
        (["sk", "claimed"], json!({"managedFields": [{}]})),
        (["obc", "link"], json!({"labels": {"n1": null}})),
    ] {
        patched(cluster, OLD, what, &json!({"metadata": less})).await.unwrap();
    }
    // The operator can delete the objects after their TTL, and the owner of the finalizers can remove them.
    let delete = ["delete", "sk", "many", "large", "-n", OLD, "--wait=false", "--as", OPERATOR];
    assert_eq!(result(cluster.kubectl(&delete).await), Ok(()));
    patched(cluster, OLD, ["sk", "many"], &json!({"metadata": {"finalizers": null}})).await.unwrap();
    let left = cluster.kubectl(&["get", "sk", "-n", OLD, "-o", "name"]).await.stdout;
    assert_eq!(left, "sessionkill.sessionkill.dev/claimed\n");
}

/// Writes a status as the operator's account, with the rights that the chart grants.
async fn writes_status<K>(cluster: &Cluster, namespace: &str, name: &str)
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + DeserializeOwned + Debug,
{
    let account = cluster.control_plane.service_account_kubeconfig(OPERATORS_NAMESPACE, ACCOUNT).await.unwrap();
    let objects: Api<K> = Api::namespaced(client_for(&account).await.unwrap(), namespace);
    let patch = json!({"status": {"observedGeneration": 1, "conditions": [{
        "type": "Ready", "status": "False", "reason": "Suspended", "message": "held back",
        "lastTransitionTime": "2026-10-05T09:30:00Z", "observedGeneration": 1,
    }]}});
    eventually("a status to be written by the operator", async || {
        let written = objects.patch_status(name, &PatchParams::default(), &Patch::Merge(&patch)).await;
        written.map(drop).map_err(|error| error.to_string())
    })
    .await;
}

#[tokio::test]
async fn an_unknown_field_is_refused_by_its_name_and_whoever_stored_one_before_is_not_locked_in() {
    let cluster = limited().await;
    let mut request = kill("inc-1", json!({}));
    tried_in(cluster, NAMESPACE, &request).await.unwrap();
    request["spec"]["dryRun"] = true.into();
    let denied = r#"denied request: unknown field "spec.dryRun": did you mean "mode"?"#;
    eventually("the policy of requests", async || match tried_in(cluster, NAMESPACE, &request).await {
        Err(refusal) if refusal.contains(denied) && refusal.contains("(Forbidden)") => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    for (what, change, denied) in [
        (
            ["sk", "inc-1"],
            json!({"spec": {"ttlSecondsAfterFinished": 60}}),
            r#""spec.sessions[].expects": did you mean "expect"?"#,
        ),
        (
            ["obc", "link"],
            json!({"spec": {"requestTimeoutSeconds": 7}}),
            r#""spec.tenantIds": did you mean "tenantIDs"?"#,
        ),
        (
            ["cobc", "misspelt"],
            json!({"spec": {"requestTimeoutSeconds": 7}}),
            r#""spec.allowedNamespace": did you mean "allowedNamespaces"?"#,
        ),
    ] {
        eventually("the policy to be in force", async || match patched(cluster, MISSPELT, what, &change).await {
            Err(refusal) if refusal.contains(denied) => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .await;
        patched(cluster, MISSPELT, what, &json!({"metadata": {"labels": {"team": "dba"}}})).await.unwrap();
        // A second unknown field is refused, even in an update that leaves the spec alone.
        let refusal = patched(cluster, MISSPELT, what, &json!({"Spec": {}})).await.unwrap_err();
        assert!(refusal.contains("unknown field"), "{refusal}");
    }
    let mended = json!({"spec": {"tenantIds": null, "tenantIDs": ["t1"]}});
    patched(cluster, MISSPELT, ["obc", "link"], &mended).await.unwrap();
    let delete = ["delete", "sk", "inc-1", "-n", MISSPELT, "--as", OPERATOR];
    assert_eq!(result(cluster.kubectl(&delete).await), Ok(()));
}
