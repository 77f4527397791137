//! The connection by SQL: its server, its login, and that its backend stays what it is.

use serde_json::{Value, json};

use crate::{
    cases::{Case, Server, longest, set, without},
    connection,
};

const SERVICE: &str = "/spec/sql/service";
const HOST: &str = "/spec/sql/host";
const SAME_BACKEND: &str = "the backend of a connection cannot be changed: create another connection";
const ONE_SERVER: &str = "name the server either by service or by host";

/// A connection by SQL with every field set, but for `host`.
pub fn valid() -> Value {
    json!({
        "apiVersion": "sessionkill.dev/v1alpha1",
        "kind": "OceanBaseConnection",
        "metadata": {"name": "shop-ob"},
        "spec": {
            "sql": {
                "service": {"name": "obcluster", "port": 12881},
                "cluster": "obcluster",
                "tenant": "shop",
                "user": "sessionkill",
                "credentials": {"secretRef": {"name": "shop-ob"}},
                "tls": {"mode": "VerifyCA", "caRef": {"name": "ob-ca", "key": "tls.crt"}, "serverName": "ob.example"},
            },
            "tenantIDs": ["shop"],
            "sqlText": "Digest",
            "requestTimeoutSeconds": 20,
        },
    })
}

/// The same with `host` instead of `service`.
pub fn by_host() -> Value {
    let named = set("/metadata/name", "shop-ob-elsewhere");
    named.and(without(SERVICE)).and(set(HOST, "db.example:2881")).applied_to(&valid())
}

/// The spec with nothing that may be left out.
fn shortest() -> Value {
    json!({"sql": {
        "service": {"name": "obcluster"}, "cluster": "obcluster", "tenant": "shop",
        "credentials": {"secretRef": {"name": "shop-ob"}},
    }})
}

fn which_backend() -> Vec<Case> {
    let both = "spec.alibabaCloud and spec.sql exclude each other: create a connection for each";
    let alibaba_cloud = connection::valid()["spec"]["alibabaCloud"].clone();
    let beside = |field: &str, value: Value| {
        let unknown = format!(r#"unknown field "spec.{field}": there may be alibabaCloud"#);
        set(format!("/spec/{field}"), value).refused(unknown)
    };
    vec![
        set("/spec/alibabaCloud", alibaba_cloud).refused("spec.sql: Invalid value").refused(both),
        without("/spec/sql").refused("spec.alibabaCloud or spec.sql is required"),
        set("/spec/sql", json!({}))
            .refused("spec.sql.cluster: Required value")
            .refused("spec.sql.tenant: Required value")
            .refused("spec.sql.credentials: Required value"),
        beside("service", json!({"name": "obcluster"})),
        beside("cluster", json!("obcluster")),
        set("/spec/sql/instanceIDs", json!(["obcluster"])).refused(r#"unknown field "spec.sql.instanceIDs""#),
        set("/spec/sql/regionID", "cn-hangzhou").refused(r#"unknown field "spec.sql.regionID""#),
    ]
}

fn which_server() -> Vec<Case> {
    const NAME: &str = "/spec/sql/service/name";
    const PORT: &str = "/spec/sql/service/port";
    let bad_service = "service.name must be the name of a Service: lower-case letters, digits and -";
    let bad_host = "host must be a lower-case host name or an IP address, and a port, such as db.example:2881";
    let by = |host: &str| without(SERVICE).and(set(HOST, host));
    let mut cases = vec![
        without(SERVICE).refused("spec.sql: Invalid value").refused(ONE_SERVER),
        set(HOST, "db.example:2881").refused(ONE_SERVER),
        without(NAME).refused("spec.sql.service.name: Required value"),
        set(NAME, "").refused("spec.sql.service.name in body should be at least 1 chars long"),
        set("/spec/sql/service/namespace", "other").refused(r#"unknown field "spec.sql.service.namespace""#),
        without(PORT),
        set(PORT, 1),
        set(PORT, 65_535),
        set(PORT, 0).refused("spec.sql.service.port in body should be greater than or equal to 1"),
        set(PORT, 65_536).refused("spec.sql.service.port in body should be less than or equal to 65535"),
        set(PORT, "sql").refused("spec.sql.service.port in body must be of type integer"),
        by("a:").refused("spec.sql.host in body should be at least 3 chars long"),
        by(&format!("{}:2881", "a".repeat(254))),
        by(&format!("{}:2881", "a".repeat(255))).refused("spec.sql.host: Too long: may not be more than 259 bytes"),
    ];
    cases.extend(longest(NAME, "spec.sql.service.name", 63));
    for bad in ["OB", "-ob", "ob-", "ob.other", "ob.other.svc", "ob_1", "../ob", "ob\n"] {
        cases.push(set(NAME, bad).refused("spec.sql.service.name: Invalid value").refused(bad_service));
    }
    for good in ["db.example:2881", "10.1.2.3:2881", "[fd00::1]:2881", "[::ffff:10.1.2.3]:2881", "a:1"] {
        cases.push(by(good));
    }
    for bad in [
        "db.example",
        "db.example:",
        "db.example:sql",
        "db.example:123456",
        "DB.example:2881",
        "fd00::1:2881",
        "mysql://db.example:2881",
        "user@db.example:2881",
        "db.example:2881/test",
        "db.example:2881,evil.example:2881",
        "db example:2881",
        ".db:2881",
        "db:2881\n",
    ] {
        cases.push(by(bad).refused("spec.sql.host: Invalid value").refused(bad_host));
    }
    cases
}

fn as_whom() -> Vec<Case> {
    const USER: &str = "/spec/sql/user";
    const SECRET: &str = "/spec/sql/credentials/secretRef/name";
    let bad_user = "user must be a name without @, # and :, as the tenant has its own field";
    let bad_secret = "secretRef.name must be the name of a Secret: lower-case letters, digits, - and .";
    let mut cases = vec![
        without(USER),
        set(USER, "Sessionkill Admin"),
        set(USER, "").refused("spec.sql.user in body should be at least 1 chars long"),
        without("/spec/sql/credentials").refused("spec.sql.credentials: Required value"),
        without("/spec/sql/credentials/secretRef").refused("spec.sql.credentials.secretRef: Required value"),
        without(SECRET).refused("spec.sql.credentials.secretRef.name: Required value"),
        set(SECRET, "").refused("spec.sql.credentials.secretRef.name in body should be at least 1 chars long"),
        set(SECRET, "../other").refused(bad_secret),
        set("/spec/sql/password", "x").refused(r#"unknown field "spec.sql.password""#),
    ];
    for bad in ["root@shop", "root@shop#cluster", "shop:root", "a#b", "root\n", "a\u{0}b"] {
        cases.push(set(USER, bad).refused("spec.sql.user: Invalid value").refused(bad_user));
    }
    cases.extend(longest(USER, "spec.sql.user", 64));
    cases.extend(longest(SECRET, "spec.sql.credentials.secretRef.name", 253));
    // The Secret itself says which of its keys is the password, and which servers may get it.
    for field in ["namespace", "usernameKey", "passwordKey", "servers"] {
        let unknown = format!(r#"unknown field "spec.sql.credentials.secretRef.{field}""#);
        cases.push(set(format!("/spec/sql/credentials/secretRef/{field}"), "other").refused(unknown));
    }
    for name in ["cluster", "tenant"] {
        let (field, path) = (format!("/spec/sql/{name}"), format!("spec.sql.{name}"));
        let bad_id = format!("{name} must be lower-case letters, digits, - and _ only, as requests give it as ");
        cases.push(without(&field).refused(format!("{path}: Required value")));
        cases.push(set(&field, "").refused(format!("{path} in body should be at least 1 chars long")));
        for bad in ["Shop", "shop@cluster", "shop#cluster", "-shop", "shop ", "shop\n", "租户"] {
            cases.push(set(&field, bad).refused(format!("{path}: Invalid value")).refused(&bad_id));
        }
        cases.extend(longest(&field, &path, 64));
    }
    cases
}

fn how_it_is_verified() -> Vec<Case> {
    const TLS: &str = "/spec/sql/tls";
    const NAME: &str = "/spec/sql/tls/serverName";
    const CA: &str = "/spec/sql/tls/caRef/name";
    const KEY: &str = "/spec/sql/tls/caRef/key";
    let of_no_use = "caRef and serverName have no meaning with mode Disabled: leave them out";
    let bad_name = "serverName must be a lower-case host name or an IP address";
    let bad_ca = "caRef.name must be the name of a Secret: lower-case letters, digits, - and .";
    let bad_key = "caRef.key must be the key of a Secret: letters, digits, -, _ and .";
    let mut cases = vec![
        without(TLS),
        set(TLS, json!({})),
        set(TLS, json!({"mode": "Disabled"})),
        set(TLS, json!({"mode": "VerifyIdentity", "serverName": "10.1.2.3"})),
        set(TLS, "Disabled").refused("spec.sql.tls in body must be of type object"),
        set(TLS, json!({"mode": "Disabled", "caRef": {"name": "ob-ca"}}))
            .refused("spec.sql.tls.mode: Invalid value")
            .refused(of_no_use),
        set(TLS, json!({"mode": "Disabled", "serverName": "ob.example"})).refused(of_no_use),
        set("/spec/sql/tls/mode", "Required").refused(
            r#"spec.sql.tls.mode: Unsupported value: "Required": supported values: "VerifyIdentity", "VerifyCA", "Disabled""#,
        ),
        set("/spec/sql/tls/insecureSkipVerify", true)
            .refused(r#"unknown field "spec.sql.tls.insecureSkipVerify": there may be caRef, mode, serverName"#),
        set("/spec/sql/tls/caRef/namespace", "other").refused(r#"unknown field "spec.sql.tls.caRef.namespace""#),
        without("/spec/sql/tls/caRef"),
        without(NAME),
        set(NAME, "").refused("spec.sql.tls.serverName in body should be at least 1 chars long"),
        set(NAME, "fd00::1"),
        without(CA).refused("spec.sql.tls.caRef.name: Required value"),
        set(CA, "").refused("spec.sql.tls.caRef.name in body should be at least 1 chars long"),
        set(CA, "OB").refused(bad_ca),
        without(KEY),
        set(KEY, "").refused("spec.sql.tls.caRef.key in body should be at least 1 chars long"),
        set(KEY, "a/b").refused(bad_key),
    ];
    for bad in ["OB.example", "*.example", "ob.example:2881", "[fd00::1]", "ob example", "ob\n"] {
        cases.push(set(NAME, bad).refused("spec.sql.tls.serverName: Invalid value").refused(bad_name));
    }
    cases.extend(longest(NAME, "spec.sql.tls.serverName", 253));
    cases.extend(longest(CA, "spec.sql.tls.caRef.name", 253));
    cases.extend(longest(KEY, "spec.sql.tls.caRef.key", 253));
    cases
}

/// Changes of a new connection by SQL.
pub fn creations() -> Vec<Case> {
    [which_backend(), which_server(), as_whom(), how_it_is_verified()].into_iter().flatten().collect()
}

/// Changes of a stored connection by SQL.
pub fn updates() -> Vec<Case> {
    let no_tenants = "tenantIDs must not be removed: set it to [] to let requests name any tenant";
    let alibaba_cloud = connection::valid()["spec"]["alibabaCloud"].clone();
    vec![
        set("/spec", shortest()).refused(no_tenants),
        set("/spec", shortest()).and(set("/spec/tenantIDs", json!([]))),
        without(SERVICE).and(set(HOST, "db.example:2881")),
        set("/spec/sql/cluster", "another"),
        set("/spec/sql/tenant", "another"),
        set("/spec/sql/tls", json!({"mode": "Disabled"})),
        without("/spec/sql").refused("spec.alibabaCloud or spec.sql is required"),
        without("/spec/sql")
            .and(set("/spec/alibabaCloud", alibaba_cloud.clone()))
            .refused("spec.sql: Invalid value")
            .refused(SAME_BACKEND),
        set("/spec/alibabaCloud", alibaba_cloud).refused(SAME_BACKEND),
    ]
}

#[tokio::test]
async fn what_can_be_written_is_bounded_and_every_refusal_says_what_to_do() {
    let server = Server::in_namespace("sql-written").await;
    server.check_create(&valid(), &creations()).await;
    server.check_create(&by_host(), &[set(HOST, "[fd00::1]:2881"), without(HOST).refused(ONE_SERVER)]).await;
}

#[tokio::test]
async fn the_shortest_connection_gets_the_documented_defaults() {
    let server = Server::in_namespace("sql-default").await;
    let mut short = valid();
    short["spec"] = shortest();
    let mut expected = shortest();
    expected["sql"]["service"]["port"] = 2881.into();
    expected["sql"]["tls"] = json!({"mode": "VerifyIdentity"});
    expected["sqlText"] = "Digest".into();
    expected["requestTimeoutSeconds"] = 10.into();
    assert_eq!(server.create(&short).await["spec"], expected);

    short["metadata"]["name"] = "with-a-ca".into();
    short["spec"]["sql"]["tls"] = json!({"caRef": {"name": "ob-ca"}});
    let tls = json!({"mode": "VerifyIdentity", "caRef": {"name": "ob-ca", "key": "ca.crt"}});
    assert_eq!(server.create(&short).await["spec"]["sql"]["tls"], tls);
}

/// The process list of another backend does not have the sessions of a call under way: they would seem to have ended.
#[tokio::test]
async fn the_backend_of_a_connection_stays_what_it_is() {
    let server = Server::in_namespace("sql-changed").await;
    let stored = server.create(&valid()).await;
    server.check_update(&stored, &updates()).await;
    let stored = server.create(&connection::valid()).await;
    let by_sql = || set("/spec/sql", valid()["spec"]["sql"].clone()).refused(SAME_BACKEND);
    server.check_update(&stored, &[by_sql(), by_sql().and(without("/spec/alibabaCloud"))]).await;
    // A patch, as a tool writes it.
    let patch = json!({"spec": {"alibabaCloud": null, "sql": valid()["spec"]["sql"]}});
    let refusal = server.merge(&stored, &patch).await.unwrap_err();
    assert!(refusal.contains(SAME_BACKEND), "{refusal}");
}
