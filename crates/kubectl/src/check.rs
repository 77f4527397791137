//! `check`: whether everything is there that the other commands need.

use futures::future::join_all;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::Api;
use kube::api::PostParams;

use crate::advice;
use crate::client::Place;
use crate::errors::{Failure, Result};
use crate::exit::Exit;
use crate::explain::time;
use crate::interrupt::Interrupt;
use crate::output::{plain, print};
use crate::version;

/// The Lease by which the replicas of the operator elect one.
const LEASE: &str = "sessionkill-operator";
/// A connection is probed once an hour: a probe within that time, with some minutes, shows an operator.
const PROBED_LATELY: SignedDuration = SignedDuration::from_mins(70);

/// The rights that commands need: verb and resource.
const NEEDED: [(&str, &str); 8] = [
    ("create", "sessionkills"),
    ("get", "sessionkills"),
    ("list", "sessionkills"),
    ("watch", "sessionkills"),
    ("patch", "sessionkills"),
    ("delete", "sessionkills"),
    ("list", "oceanbaseconnections"),
    ("list", "sessionkillreceipts"),
];

/// A line of the check.
enum Line {
    Good(String),
    /// It is not known, or not needed by all.
    Note(String),
    Bad(String),
}

/// Prints one line for each thing, and fails if one is bad.
pub async fn run(place: &Place, flags: &version::Flags) -> Result<Exit> {
    let mut interrupt = Interrupt::listen()?;
    let lines = interrupt.or(lines(place, &flags.operator_namespace)).await?;
    let mut is_good = true;
    for line in lines {
        let (mark, words) = match &line {
            Line::Good(words) => ("ok  ", words),
            Line::Note(words) => ("note", words),
            Line::Bad(words) => ("BAD ", words),
        };
        is_good &= !matches!(line, Line::Bad(_));
        print(&format!("{mark}  {words}\n"))?;
    }
    Ok(if is_good { Exit::AllEnded } else { Exit::Other })
}

async fn lines(place: &Place, operator_namespace: &str) -> Result<Vec<Line>> {
    let served = version::served(place).await?;
    let (operator, lease, rights, connections) = tokio::join!(
        version::operator(place, operator_namespace),
        lease(place, operator_namespace),
        rights(place),
        connections(place),
    );
    let mut lines = vec![];
    lines.push(if served.iter().any(|version| version == version::API_VERSION) {
        Line::Good(format!("definitions: {} is served in {}", sessionkill_api::GROUP, served.join(", ")))
    } else {
        Line::Bad(format!(
            "definitions: {} is not served in {}: install crds/ and the operator",
            sessionkill_api::GROUP,
            version::API_VERSION
        ))
    });
    let skew = version::skew(&served, operator.as_deref().ok());
    lines.push(match operator {
        Ok(version) => Line::Good(format!("operator: version {version}")),
        Err(why) => Line::Note(format!("operator: version {why}")),
    });
    if !served.is_empty() {
        lines.extend(skew.into_iter().map(Line::Bad));
    }
    lines.push(lease);
    lines.extend(rights);
    lines.extend(connections);
    Ok(lines)
}

/// Whether an operator holds its Lease.
async fn lease(place: &Place, namespace: &str) -> Line {
    let leases: Api<Lease> = Api::namespaced(place.client.clone(), namespace);
    match leases.get_opt(LEASE).await {
        Ok(Some(lease)) => held(&lease, Timestamp::now()),
        Ok(None) => Line::Note(format!(
            "operator: namespace {namespace} has no Lease {LEASE}: it runs elsewhere (--operator-namespace), alone, or not at all"
        )),
        Err(kube::Error::Api(status)) if status.code == 403 => Line::Note(format!(
            "operator: you may not read leases in namespace {namespace}: whether one works shows in the connections below"
        )),
        Err(error) => Line::Note(format!("operator: its Lease cannot be read: {error}")),
    }
}

fn held(lease: &Lease, now: Timestamp) -> Line {
    let spec = lease.spec.clone().unwrap_or_default();
    let holder = spec.holder_identity.unwrap_or_default();
    let lasts = SignedDuration::from_secs(spec.lease_duration_seconds.unwrap_or_default().into());
    match spec.renew_time {
        Some(renewed) if !holder.is_empty() && renewed.0 + lasts >= now => {
            Line::Good(format!("operator: {holder} works, its Lease was renewed at {}", time(renewed.0)))
        }
        Some(renewed) if !holder.is_empty() => Line::Bad(format!(
            "operator: {holder} has not renewed its Lease since {}: it does not run, or cannot reach the API server",
            time(renewed.0)
        )),
        _ => Line::Bad("operator: nobody holds its Lease: it does not run, or cannot reach the API server".to_owned()),
    }
}

/// The user's rights, each of which the API server answers for.
async fn rights(place: &Place) -> Vec<Line> {
    let asked = NEEDED.into_iter().map(|(verb, resource)| may(place, verb, resource));
    let mut missing = vec![];
    for ((verb, resource), answer) in NEEDED.into_iter().zip(join_all(asked).await) {
        match answer {
            Ok(true) => (),
            Ok(false) => missing.push(format!("{verb} {resource}")),
            Err(why) => return vec![Line::Note(format!("your rights cannot be asked for: {why}"))],
        }
    }
    let own = if missing.is_empty() {
        Line::Good(format!("you may do all that this plugin does in namespace {}", place.namespace))
    } else {
        Line::Bad(format!(
            "you may not {} in namespace {}: ask for the ClusterRole sessionkill-requester",
            missing.join(", "),
            place.namespace
        ))
    };
    let policy = match may(place, "kill", "oceanbaseconnections").await {
        Ok(true) => Line::Good("you may kill through oceanbaseconnections, where an admission policy asks for that".to_owned()),
        _ => Line::Note("you have no verb kill on oceanbaseconnections: only where the operator's admission policy is on, kills are refused".to_owned()),
    };
    vec![own, policy]
}

async fn may(place: &Place, verb: &str, resource: &str) -> std::result::Result<bool, kube::Error> {
    let attributes = ResourceAttributes {
        group: Some(sessionkill_api::GROUP.to_owned()),
        namespace: Some(place.namespace.clone()),
        resource: Some(resource.to_owned()),
        verb: Some(verb.to_owned()),
        ..ResourceAttributes::default()
    };
    let spec = SelfSubjectAccessReviewSpec { resource_attributes: Some(attributes), ..Default::default() };
    let review = SelfSubjectAccessReview { spec, ..Default::default() };
    let reviews: Api<SelfSubjectAccessReview> = Api::all(place.client.clone());
    let answer = reviews.create(&PostParams::default(), &review).await?;
    Ok(answer.status.is_some_and(|status| status.allowed))
}

/// The state of each connection.
async fn connections(place: &Place) -> Vec<Line> {
    let (own, shared) = tokio::join!(place.connections(), place.cluster_connections());
    let own = match own {
        Ok(own) => own,
        Err(Failure::Said(why, _)) => return vec![Line::Bad(format!("connections: {why}"))],
        Err(Failure::OutputClosed) => return vec![],
    };
    let of_own = own.iter().map(|it| ("oceanbaseconnection", &it.metadata.name, &it.status));
    let is_unread = shared.is_err();
    let shared = shared.unwrap_or_default();
    let of_shared = shared.iter().map(|it| ("clusteroceanbaseconnection", &it.metadata.name, &it.status));
    let mut lines: Vec<Line> = of_own
        .chain(of_shared)
        .map(|(kind, name, status)| {
            let name = format!("{kind} {}", name.as_deref().unwrap_or_default());
            let conditions = status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
            let probed = status.as_ref().and_then(|status| status.last_probe_time.as_ref()).map(|at| at.0);
            connection(&name, conditions, probed, Timestamp::now())
        })
        .collect();
    if lines.is_empty() {
        lines.push(Line::Note(format!("namespace {} has no connection", place.namespace)));
    }
    if is_unread {
        let unread =
            "clusteroceanbaseconnections cannot be listed by you: name one as cobc/NAME, with --instance and --tenant";
        lines.push(Line::Note(unread.to_owned()));
    }
    lines
}

fn connection(name: &str, conditions: &[Condition], probed: Option<Timestamp>, now: Timestamp) -> Line {
    let Some(ready) = conditions.iter().find(|condition| condition.type_ == "Ready") else {
        return Line::Bad(format!("{name}: no operator has seen it"));
    };
    let probed_at = probed.map(|at| format!(", last probed at {}", time(at))).unwrap_or_default();
    let words = format!("{name}: {}: {}{probed_at}", ready.reason, plain(&ready.message));
    let todo = advice::of(&ready.reason).map(|advice| format!("; what to do: {}", advice.todo)).unwrap_or_default();
    match ready.status.as_str() {
        "True" if probed.is_some_and(|at| now.duration_since(at) > PROBED_LATELY) => {
            Line::Note(format!("{words}: long ago, does an operator run?"))
        }
        "True" => Line::Good(words),
        "False" => Line::Bad(words + &todo),
        _ => Line::Note(words),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn mark(line: &Line) -> &'static str {
        match line {
            Line::Good(_) => "good",
            Line::Note(_) => "note",
            Line::Bad(_) => "bad",
        }
    }

    #[test]
    fn a_lease_shows_whether_an_operator_works() {
        let now: Timestamp = "2026-10-05T09:00:20Z".parse().unwrap();
        let lease = |renewed: &str, holder: &str| {
            let spec = json!({"holderIdentity": holder, "leaseDurationSeconds": 15, "renewTime": renewed});
            serde_json::from_value::<Lease>(json!({"metadata": {}, "spec": spec})).unwrap()
        };
        assert_eq!(mark(&held(&lease("2026-10-05T09:00:10.000000Z", "a"), now)), "good");
        assert_eq!(mark(&held(&lease("2026-10-05T09:00:00.000000Z", "a"), now)), "bad");
        assert_eq!(mark(&held(&lease("2026-10-05T09:00:10.000000Z", ""), now)), "bad");
    }

    #[test]
    fn a_connection_that_does_not_work_says_what_to_do() {
        let now: Timestamp = "2026-10-05T09:00:00Z".parse().unwrap();
        let ready = |status: &str, reason: &str| {
            let condition = json!({
                "type": "Ready", "status": status, "reason": reason, "message": "m", "lastTransitionTime": "2026-10-05T09:00:00Z",
            });
            vec![serde_json::from_value::<Condition>(condition).unwrap()]
        };
        assert_eq!(mark(&connection("c", &ready("True", "CallAnswered"), Some(now), now)), "good");
        assert_eq!(
            mark(&connection("c", &ready("True", "CallAnswered"), Some(now - SignedDuration::from_hours(3)), now)),
            "note"
        );
        assert_eq!(mark(&connection("c", &[], None, now)), "bad");
        let Line::Bad(words) = connection("c", &ready("False", "PermissionDenied"), None, now) else { panic!() };
        assert!(words.contains("what to do: allow it in RAM"), "{words}");
    }
}
