//! Whether a connection allows what a request names, and whether its backend can do it. Pure; check it before reading
//! credentials.

use sessionkill_api::{
    BackendSpec, ConnectionKind, Expect, MAX_SESSIONS, Mode, OceanBaseConnectionSpec, Session, SessionKillSpec,
    SessionSelector, VerificationPolicy,
};

use crate::kill::precheck::MustSee;

/// The largest ID of a session in SQL. `KILL` cuts an ID to 32 bits: a larger one would end another session.
const LARGEST_SQL_ID: i64 = u32::MAX as i64;

/// Refuses an instance or a tenant outside the connection's allow-lists, and what its backend cannot do; the text names it.
#[allow(clippy::match_wildcard_for_single_variants, reason = "only tests have the other backend")]
pub fn admit(request: &SessionKillSpec, connection: &OceanBaseConnectionSpec) -> Result<(), String> {
    let (field, instance_ids) = connection.backend.instance_ids();
    allowed("instance", &request.instance_id, instance_ids, field, request)?;
    allowed("tenant", &request.tenant_id, &connection.tenant_ids, "tenantIDs", request)?;
    if let Some((field, tenant)) = connection.backend.tenant_id() {
        allowed("tenant", &request.tenant_id, std::slice::from_ref(tenant), field, request)?;
    }
    match &connection.backend {
        BackendSpec::Sql(_) => request.sessions.iter().try_for_each(|session| has_sql_id(session, request)),
        BackendSpec::AlibabaCloud(_) => asks_for_no_sql(request),
        #[allow(unreachable_patterns, reason = "the backend of the tests")]
        _ => Ok(()),
    }
}

fn has_sql_id(session: &Session, request: &SessionKillSpec) -> Result<(), String> {
    let (id, connection) = (session.session_id, &request.connection_ref);
    if id <= LARGEST_SQL_ID {
        return Ok(());
    }
    Err(format!(
        "sessionID {id} is not the ID of a session by SQL, which is {LARGEST_SQL_ID} at most, and {connection} \
         ends sessions by SQL: take the ID from GV$OB_PROCESSLIST, and create a new SessionKill"
    ))
}

/// Refuses the fields that only SQL knows.
fn asks_for_no_sql(request: &SessionKillSpec) -> Result<(), String> {
    let of_expect = |expect: &Expect| {
        let fields = [
            ("expect.clientPort", expect.client_port.is_some()),
            ("expect.traceID", expect.trace_id.is_some()),
            ("expect.transactionID", expect.transaction_id.is_some()),
            ("expect.transaction", expect.transaction.is_some()),
        ];
        fields.into_iter().find(|(_, is_given)| *is_given).map(|(field, _)| field)
    };
    let of_session = |session: &Session| {
        let port = session.server_port.map(|_| "serverPort");
        port.or_else(|| session.expect.as_ref().and_then(of_expect))
    };
    let of_selector = |selector: &SessionSelector| {
        let fields = [
            ("selector.match.transaction", selector.matches.transaction.is_some()),
            ("selector.exclude.transaction", selector.exclude.as_ref().is_some_and(|it| it.transaction.is_some())),
        ];
        fields.into_iter().find(|(_, is_given)| *is_given).map(|(field, _)| field)
    };
    let scope = (!request.scope.is_session()).then_some("scope Query");
    let selector = request.selector.as_ref().and_then(of_selector);
    let field = scope.or(selector).or_else(|| request.sessions.iter().find_map(of_session));
    let Some(field) = field else { return Ok(()) };
    let connection = &request.connection_ref;
    Err(format!(
        "{field} is for connections by SQL only, and {connection} is by spec.alibabaCloud: leave it out, \
         or use a connection with spec.sql, in a new SessionKill"
    ))
}

/// Which sessions must be in the process list before a kill. If the connection has an allow-list, all of them: only the
/// list proves that a session belongs to the tenant that the request names. All of them through a
/// `ClusterOceanBaseConnection`, too: only the list tells what a request of another namespace has ended.
#[must_use]
pub const fn must_see(connection: &OceanBaseConnectionSpec, kind: ConnectionKind) -> MustSee {
    if kind.is_namespaced() && connection.backend.instance_ids().1.is_empty() && connection.tenant_ids.is_empty() {
        MustSee::Expected
    } else {
        MustSee::All
    }
}

fn allowed(what: &str, id: &str, list: &[String], field: &str, request: &SessionKillSpec) -> Result<(), String> {
    if list.is_empty() || list.iter().any(|allowed| allowed == id) {
        return Ok(());
    }
    let connection = &request.connection_ref;
    Err(format!(
        "{what} {id} is not in spec.{field} of {connection}: use another connection, or have it \
         added and create a new SessionKill"
    ))
}

/// The most sessions that a request holds: those that it names, or as many as its status lists of what a selector matched,
/// however few it may end. So a batch has few selectors, each of which keeps rows of a list.
#[must_use]
pub fn most_sessions(spec: &SessionKillSpec) -> usize {
    if spec.selector.is_some() { MAX_SESSIONS } else { spec.sessions.len() }
}

/// Whether to read the process list before the kill.
#[must_use]
pub fn needs_list(spec: &SessionKillSpec, must_see: MustSee) -> bool {
    rests_on_list(spec, must_see) || spec.verification.policy != VerificationPolicy::None
}

/// Whether the request must wait if the process list cannot be read.
#[must_use]
pub fn rests_on_list(spec: &SessionKillSpec, must_see: MustSee) -> bool {
    must_see == MustSee::All
        || spec.selector.is_some()
        || spec.mode == Mode::DryRun
        || spec.sessions.iter().any(|session| session.expect.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_objects::{connection, connection_to, request};
    use sessionkill_api::Expect;

    #[test]
    fn empty_lists_allow_everything() {
        assert_eq!(admit(&request().spec, &connection().spec), Ok(()));
    }

    #[test]
    fn nothing_outside_a_list_can_be_named() {
        let mut listed = connection_to(&["ob1"]);
        listed.spec.tenant_ids = vec!["t1".to_owned()];
        assert_eq!(admit(&request().spec, &listed.spec), Ok(()));
        listed.spec.tenant_ids = vec!["t2".to_owned()];
        assert!(admit(&request().spec, &listed.spec).unwrap_err().contains("tenant t1 is not in spec.tenantIDs"));
        let refusal = admit(&request().spec, &connection_to(&["OB1"]).spec).unwrap_err();
        assert!(refusal.contains("instance ob1 is not in spec.alibabaCloud.instanceIDs"), "{refusal}");
    }

    #[test]
    fn where_a_connection_limits_what_may_be_named_all_sessions_must_be_seen() {
        let (instances, mut tenants) = (connection_to(&["ob1"]), connection());
        let (own, lent) = (ConnectionKind::OceanBaseConnection, ConnectionKind::ClusterOceanBaseConnection);
        assert_eq!(must_see(&connection().spec, own), MustSee::Expected);
        assert_eq!(must_see(&connection().spec, lent), MustSee::All, "another namespace may have ended them");
        tenants.spec.tenant_ids = vec!["t1".to_owned()];
        assert_eq!([instances, tenants].map(|it| must_see(&it.spec, own)), [MustSee::All; 2]);
    }

    #[test]
    fn a_selector_counts_as_all_that_it_may_list() {
        let few = crate::test_objects::selecting(serde_json::json!({"match": {"users": ["a"]}, "maxSessions": 1}));
        assert_eq!((most_sessions(&few.spec), most_sessions(&request().spec)), (MAX_SESSIONS, 2));
    }

    #[test]
    fn a_request_rests_on_the_list_if_it_says_what_to_see_or_must_see_all_or_kills_nothing() {
        let plain = request().spec;
        assert!(!rests_on_list(&plain, MustSee::Expected));
        assert!(rests_on_list(&plain, MustSee::All));
        let dry_run = SessionKillSpec { mode: Mode::DryRun, ..plain.clone() };
        assert!(rests_on_list(&dry_run, MustSee::Expected));
        let mut expecting = plain;
        expecting.sessions[1].expect = Some(Expect { user: Some("app".to_owned()), ..Expect::default() });
        assert!(rests_on_list(&expecting, MustSee::Expected));
    }

    #[test]
    fn the_list_is_read_first_if_the_request_rests_on_it_or_has_its_end_verified() {
        let mut trusting = request().spec;
        assert!(needs_list(&trusting, MustSee::Expected), "to be held against the list after the kill");
        trusting.verification.policy = VerificationPolicy::None;
        assert!(!needs_list(&trusting, MustSee::Expected));
        assert!(needs_list(&trusting, MustSee::All));
    }

    fn by_sql(tenant: &str) -> OceanBaseConnectionSpec {
        let sql = serde_json::json!({
            "host": "db.example:2881", "cluster": "ob1", "tenant": tenant, "credentials": {"secretRef": {"name": "db"}},
        });
        serde_json::from_value(serde_json::json!({"sql": sql})).unwrap()
    }

    #[test]
    fn by_sql_a_request_names_the_cluster_and_the_tenant_of_its_connection() {
        let narrow = |request: &SessionKillSpec, tenant| {
            let mut request = request.clone();
            request.sessions.truncate(1);
            admit(&request, &by_sql(tenant))
        };
        let request = request().spec;
        assert_eq!(narrow(&request, "t1"), Ok(()));
        assert_eq!(narrow(&request, "sys"), Ok(()), "through the tenant sys, any may be named");
        assert!(narrow(&request, "t2").unwrap_err().contains("tenant t1 is not in spec.sql.tenant"));
        let elsewhere = SessionKillSpec { instance_id: "ob2".to_owned(), ..request };
        assert!(narrow(&elsewhere, "t1").unwrap_err().contains("instance ob2 is not in spec.sql.cluster"));
        let kind = ConnectionKind::OceanBaseConnection;
        assert_eq!(must_see(&by_sql("t1"), kind), MustSee::All, "what is not seen cannot be compared");
    }

    #[test]
    fn by_sql_an_id_that_would_be_cut_to_another_is_refused() {
        let mut request = request().spec;
        for (id, is_allowed) in
            [(1, true), (u32::MAX.into(), true), (i64::from(u32::MAX) + 1, false), (i64::MAX, false)]
        {
            request.sessions[1].session_id = id;
            let admitted = admit(&request, &by_sql("t1"));
            assert_eq!(admitted.is_ok(), is_allowed, "{id}: {admitted:?}");
            assert!(admitted.err().is_none_or(|refusal| refusal.contains(&id.to_string())));
        }
    }

    #[test]
    fn what_only_sql_can_do_is_refused_elsewhere() {
        type Change = fn(&mut SessionKillSpec);
        let changes: [(Change, &str); 6] = [
            (|s| s.scope = sessionkill_api::Scope::Query, "scope Query"),
            (|s| s.sessions[1].server_port = Some(2881), "serverPort"),
            (|s| expecting(s).client_port = Some(5), "expect.clientPort"),
            (|s| expecting(s).trace_id = Some("Y".to_owned()), "expect.traceID"),
            (|s| expecting(s).transaction_id = Some("7".to_owned()), "expect.transactionID"),
            (|s| expecting(s).transaction = Some(sessionkill_api::TransactionState::None), "expect.transaction"),
        ];
        for (change, field) in changes {
            let mut request = request().spec;
            change(&mut request);
            let refusal = admit(&request, &connection().spec).unwrap_err();
            assert!(refusal.starts_with(&format!("{field} is for connections by SQL only")), "{refusal}");
            assert_eq!(admit(&request, &by_sql("t1")), Ok(()), "{field}");
        }
    }

    fn expecting(request: &mut SessionKillSpec) -> &mut Expect {
        request.sessions[1].expect.get_or_insert_default()
    }
}
