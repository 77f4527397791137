//! Whose access key signs the calls: the sources, the role on top of them, and the second identity for listing.

use serde_json::{Value, json};

use crate::{
    cases::{Case, longest, set, without},
    connection,
};

const AT: &str = "/spec/alibabaCloud/credentials";
const OBSERVE: &str = "/spec/alibabaCloud/credentials/observe";

const ONE_SOURCE: &str = "exactly one of secretRef, serviceAccountRef, operatorIdentity and instanceRole is required";
const BAD_ROLE: &str = "roleARN must be the ARN of a RAM role, such as acs:ram::123456789012:role/sessionkill";

const ROLE: &str = "acs:ram::123456789012:role/sessionkill";

/// The sources, by their fields.
const SOURCES: [&str; 4] = ["secretRef", "serviceAccountRef", "operatorIdentity", "instanceRole"];

fn source(name: &str) -> Value {
    match name {
        "secretRef" => json!({"name": "aliyun-ak"}),
        "serviceAccountRef" => json!({
            "name": "ob-kill", "roleARN": ROLE, "oidcProviderARN": "acs:ram::123456789012:oidc-provider/ack-rrsa-c0ffee",
        }),
        "operatorIdentity" => json!({"roleARN": ROLE}),
        _ => json!({}),
    }
}

/// An identity with this source, and with every field that it may have.
fn identity(of: &str) -> Value {
    let mut role = json!({"roleARN": ROLE, "durationSeconds": 1800});
    if ["secretRef", "serviceAccountRef"].contains(&of) {
        role["externalID"] = "ext-1=2,3.4@5:6/7-8_9".into();
    }
    json!({of: source(of), "assumeRole": role, "sessionPolicy": "Actions"})
}

/// Credentials with every field: of one source, and of another for listing.
pub fn of(kills: &str, lists: &str) -> Value {
    let mut credentials = identity(kills);
    credentials["observe"] = identity(lists);
    credentials
}

/// A connection that uses what the operator lends: at the region's own endpoint, and by V3.
pub fn lent() -> Value {
    lending("lent-ob", "instanceRole", "operatorIdentity")
}

fn lending(name: &str, kills: &str, lists: &str) -> Value {
    let named = set("/metadata/name", name).and(without("/spec/alibabaCloud/endpoint"));
    let signed = named.and(set("/spec/alibabaCloud/signatureMethod", "ACS3-HMAC-SHA256"));
    signed.and(set(AT, of(kills, lists))).applied_to(&connection::valid())
}

/// Valid connections, which have each source in both places together with [`connection::valid`].
pub fn examples() -> [Value; 3] {
    [
        lent(),
        lending("roles-ob", "serviceAccountRef", "secretRef"),
        lending("pods-ob", "operatorIdentity", "instanceRole"),
    ]
}

/// An identity in its place.
struct Place {
    /// The pointer to it.
    at: &'static str,
    /// As the API server writes it.
    name: &'static str,
}

impl Place {
    /// Puts another source in the place of the one that is there, without a role on top.
    fn with(&self, name: &str) -> Case {
        let present = if self.at == OBSERVE { "serviceAccountRef" } else { "secretRef" };
        let plain = without(format!("{}/assumeRole", self.at)).and(without(format!("{}/sessionPolicy", self.at)));
        let lent = ["operatorIdentity", "instanceRole"].contains(&name);
        let plain = if lent { plain.and(at_the_regions_own_endpoint()) } else { plain };
        plain.and(without(format!("{}/{present}", self.at))).and(set(format!("{}/{name}", self.at), source(name)))
    }

    /// The same, and a field of the source has another value.
    fn but(&self, name: &str, field: &str, value: impl Into<Value>) -> Case {
        self.with(name).and(set(format!("{}/{name}/{field}", self.at), value))
    }

    fn sources(&self) -> Vec<Case> {
        let Self { at, name } = self;
        let mut cases: Vec<_> = SOURCES.iter().map(|source| self.with(source)).collect();
        cases.push(set(*at, json!({})).refused(ONE_SOURCE));
        for (one, other) in [("secretRef", "serviceAccountRef"), ("operatorIdentity", "instanceRole")] {
            cases.push(self.with(one).and(set(format!("{at}/{other}"), source(other))).refused(ONE_SOURCE));
        }
        for field in ["tokenFile", "credentialsURI", "roleARN"] {
            let unknown = format!(r#"unknown field "{name}.{field}""#);
            cases.push(set(format!("{at}/{field}"), "x").refused(unknown));
        }
        let crowd: Value =
            (0..64).map(|n| (format!("unheardOf{n}"), json!(true))).collect::<serde_json::Map<_, _>>().into();
        for value in [json!({"unheardOf": true}), json!({"roleName": null}), crowd] {
            let odd = self.with("instanceRole").and(set(format!("{at}/instanceRole"), value));
            cases.push(odd.refused(format!("{name}.instanceRole: Too many")));
        }
        cases.push(
            self.with("instanceRole").and(set(format!("{at}/instanceRole"), true)).refused("must be of type object"),
        );
        cases
    }

    fn names(&self) -> Vec<Case> {
        let Self { name, .. } = self;
        let account = "serviceAccountRef";
        let too_long = |field: &str, limit| format!("{name}.{field}: Too long: may not be more than {limit} bytes");
        let mut cases = vec![
            self.but("secretRef", "name", "a".repeat(253)),
            self.but("secretRef", "name", "a".repeat(254)).refused(too_long("secretRef.name", 253)),
            self.but("secretRef", "name", "")
                .refused(format!("{name}.secretRef.name in body should be at least 1 chars")),
            self.but("secretRef", "name", "Aliyun").refused("secretRef.name must be the name of a Secret"),
            self.but(account, "name", "a".repeat(253)),
            self.but(account, "name", "a".repeat(254)).refused(too_long("serviceAccountRef.name", 253)),
            self.but(account, "name", "")
                .refused(format!("{name}.serviceAccountRef.name in body should be at least 1")),
            self.but(account, "name", "../other")
                .refused("serviceAccountRef.name must be the name of a ServiceAccount"),
            self.but(account, "namespace", "other")
                .refused(format!(r#"unknown field "{name}.serviceAccountRef.namespace""#)),
            self.but(account, "audience", "x").refused(format!(r#"unknown field "{name}.serviceAccountRef.audience""#)),
        ];
        let long = |kind: &str, length: usize| format!("acs:ram::1:{kind}/{}", "a".repeat(length));
        for (source, field, kind, says) in [
            (account, "roleARN", "role", BAD_ROLE),
            (account, "oidcProviderARN", "oidc-provider", "oidcProviderARN must be the ARN of an OIDC provider"),
            ("operatorIdentity", "roleARN", "role", BAD_ROLE),
        ] {
            cases.push(self.but(source, field, long(kind, 128)));
            cases.push(self.but(source, field, long(kind, 129)).refused(says));
            cases.push(self.but(source, field, long(kind, 200)).refused(too_long(&format!("{source}.{field}"), 192)));
            for bad in [
                "",
                "sessionkill",
                "acs:ram::1:user/u",
                "acs:ram::x:role/r",
                "acs:ram::1:role/a/b",
                " acs:ram::1:role/r",
            ] {
                cases.push(self.but(source, field, bad).refused(says));
            }
        }
        cases
    }

    fn roles(&self) -> Vec<Case> {
        let Self { at, name } = self;
        let role = |field: &str, value: Value| set(format!("{at}/assumeRole/{field}"), value);
        let field = |field: &str| format!("{name}.assumeRole.{field}");
        let long = format!("acs:ram::1:role/{}", "a".repeat(200));
        let bad_id = "externalID must be letters, digits and _+=,.@:/- only";
        let mut cases = vec![
            without(format!("{at}/assumeRole/roleARN")).refused(format!("{}: Required value", field("roleARN"))),
            role("roleARN", json!("acs:ram::1:user/u")).refused(BAD_ROLE),
            role("roleARN", json!(long))
                .refused(format!("{}: Too long: may not be more than 192 bytes", field("roleARN"))),
            without(format!("{at}/assumeRole/durationSeconds")),
            role("durationSeconds", json!(900)),
            role("durationSeconds", json!(43_200)),
            role("durationSeconds", json!(899))
                .refused(format!("{} in body should be greater than or equal to 900", field("durationSeconds"))),
            role("durationSeconds", json!(43_201))
                .refused(format!("{} in body should be less than or equal to 43200", field("durationSeconds"))),
            without(format!("{at}/assumeRole/externalID")),
            role("externalID", json!("ab")),
            role("externalID", json!("a"))
                .refused(format!("{} in body should be at least 2 chars", field("externalID"))),
            role("sessionName", json!("x")).refused(format!(r#"unknown field "{}""#, field("sessionName"))),
        ];
        cases.extend(longest(&format!("{at}/assumeRole/externalID"), &field("externalID"), 1224));
        for bad in ["a b", "a\nb", "größe", "a*", "a\"b"] {
            cases.push(role("externalID", json!(bad)).refused(bad_id));
        }
        for lent in ["operatorIdentity", "instanceRole"] {
            let chained = |role: Value| self.with(lent).and(set(format!("{at}/assumeRole"), role));
            cases.push(chained(json!({"roleARN": ROLE})));
            let external = json!({"roleARN": ROLE, "externalID": "ext-1"});
            cases.push(chained(external).refused("externalID must not be set with operatorIdentity or instanceRole"));
        }
        cases
    }

    fn policies(&self) -> Vec<Case> {
        let Self { at, name } = self;
        let policy = |value: &str| set(format!("{at}/sessionPolicy"), value);
        let needs_role = "sessionPolicy limits the access key of a role, and there is none: set assumeRole";
        let mut cases = vec![
            policy("Instances"),
            policy("None"),
            policy("All").refused(format!(
                r#"{name}.sessionPolicy: Unsupported value: "All": supported values: "Actions", "Instances", "None""#
            )),
            without(format!("{at}/sessionPolicy")),
            policy("Instances")
                .and(set("/spec/alibabaCloud/instanceIDs", json!([])))
                .refused("sessionPolicy Instances limits access keys to instanceIDs: list at least one"),
        ];
        for (source, has_role) in SOURCES.iter().zip([false, true, true, false]) {
            let limited = self.with(source).and(policy("Actions"));
            cases.push(if has_role { limited } else { limited.refused(needs_role) });
            cases.push(self.with(source).and(policy("None")));
        }
        cases
    }
}

fn at_the_regions_own_endpoint() -> Case {
    without("/spec/alibabaCloud/endpoint").and(set("/spec/alibabaCloud/signatureMethod", "ACS3-HMAC-SHA256"))
}

/// Changes of a new connection, which has every field of a `secretRef`, and of a `serviceAccountRef` for listing.
pub fn creations() -> Vec<Case> {
    let places = [
        Place { at: AT, name: "spec.alibabaCloud.credentials" },
        Place { at: OBSERVE, name: "spec.alibabaCloud.credentials.observe" },
    ];
    let mut cases: Vec<_> = places
        .iter()
        .flat_map(|place| [place.sources(), place.names(), place.roles(), place.policies()])
        .flatten()
        .collect();
    cases.extend([
        without(OBSERVE),
        set(AT, json!({"secretRef": {"name": "aliyun-ak"}})),
        set(format!("{OBSERVE}/observe"), identity("secretRef"))
            .refused(r#"unknown field "spec.alibabaCloud.credentials.observe.observe""#),
    ]);
    for (kills, lists) in
        [("operatorIdentity", "secretRef"), ("instanceRole", "secretRef"), ("secretRef", "instanceRole")]
    {
        let lent = || set(AT, of(kills, lists));
        cases.extend([
            lent().and(at_the_regions_own_endpoint()),
            lent()
                .refused("operatorIdentity and instanceRole call the region's own endpoint only: remove endpoint")
                .refused("operatorIdentity and instanceRole need ACS3-HMAC-SHA256: HMAC-SHA1 does not cover the host"),
            lent()
                .and(set("/spec/alibabaCloud/signatureMethod", "ACS3-HMAC-SHA256"))
                .refused("operatorIdentity and instanceRole call the region's own endpoint only: remove endpoint"),
        ]);
    }
    cases
}

/// Changes of a stored connection: nothing of whose key it is is immutable.
pub fn updates() -> Vec<Case> {
    SOURCES.iter().map(|source| set(AT, of(source, "secretRef")).and(at_the_regions_own_endpoint())).collect()
}
