//! The number of instructions of each decision that is made for every request. Callgrind counts them, so the load of
//! the machine does not matter. Each has a limit, so that a decision that does much more work than before fails.
//!
//! ```sh
//! cargo bench --profile dev --workspace --bench domain
//! ```
//!
//! The counts are for the unoptimised build, which the tests have built anyway. They show growth just as well.
//! Optimised code runs a fraction of these instructions.

#![allow(clippy::unwrap_used, reason = "an input that cannot be made ends its benchmark")]
#![allow(missing_docs, clippy::must_use_candidate, reason = "of what the macros make public")]

mod inputs;

use std::hint::black_box;
use std::sync::Arc;

use gungraun::prelude::*;
use gungraun::{Callgrind, CallgrindMetrics, EventKind};
use jiff::Timestamp;
use secrecy::SecretString;
use serde_json::{Value, json};
use sessionkill::api::{
    Operation, Session, SessionKill, SessionKillReceipt, SessionKillStatus, SessionStatus, SqlTextPolicy,
    VerificationPolicy,
};
use sessionkill::domain::kill::claim::{Attempt, receipt};
use sessionkill::domain::kill::conclusion::{Conclusion, dispatch};
use sessionkill::domain::kill::outcome::from_answer;
use sessionkill::domain::kill::plan::{Step, plan};
use sessionkill::domain::kill::precheck::{MustSee, Undecided, precheck};
use sessionkill::domain::kill::status::finished;
use sessionkill::domain::kill::verification::{Looked, look};
use sessionkill::domain::selection::{Filter, Selected, Selecting};
use sessionkill::domain::session::Row;
use sessionkill::domain::session::Seen;
use sessionkill::domain::snapshot::Snapshot;
use sessionkill::oceanbase::answer::read_answer;
use sessionkill::oceanbase::process_list::read_list;
use sessionkill::oceanbase::raw_answer::RawAnswer;
use sessionkill::oceanbase::signature::{enc, v3};
use sessionkill::oceanbase::{AccessKey, CallError, KillAnswer, ProcessList, Sieve};

use inputs::{
    NOW, attempt, filter, kept, killed, planned, process_list, raw, request, row, rows, server_ip, session_id, snapshot,
};

/// The counted instructions. To raise one on purpose, write the number that the benchmark printed, see
/// docs/performance.md.
mod counted {
    pub const PLAN: u64 = 2_316;
    pub const RECEIPT_1: u64 = 680_156;
    pub const RECEIPT_10: u64 = 5_875_270;
    pub const RECEIPT_100: u64 = 58_036_270;
    pub const SNAPSHOT_100: u64 = 287_726;
    pub const SNAPSHOT_1000: u64 = 2_835_684;
    pub const PRECHECK_100: u64 = 3_387_165;
    pub const PRECHECK_1000: u64 = 3_378_132;
    pub const SELECTING_100: u64 = 7_342_670;
    pub const SELECTING_1000: u64 = 45_025_935;
    pub const SIGNATURE_10: u64 = 627_591;
    pub const SIGNATURE_100: u64 = 2_262_841;
    pub const ANSWER_10: u64 = 942_119;
    pub const ANSWER_100: u64 = 9_233_768;
    pub const FROM_ANSWER_10: u64 = 189_643;
    pub const FROM_ANSWER_100: u64 = 2_088_228;
    pub const LOOK_10: u64 = 118_654;
    pub const LOOK_100: u64 = 1_185_850;
    pub const FINISHED_10: u64 = 5_418_954;
    pub const FINISHED_100: u64 = 53_906_382;
    pub const PROCESS_LIST_100: u64 = 9_930_725;
    pub const PROCESS_LIST_1000: u64 = 97_981_585;

    /// Ten times the input may cost at most twelve times as much. So quadratic growth fails, even if the counts are
    /// raised.
    const fn grows_in_proportion(small: u64, large: u64) -> bool {
        large <= 12 * small
    }

    const _: () = {
        assert!(grows_in_proportion(RECEIPT_10, RECEIPT_100));
        assert!(grows_in_proportion(SNAPSHOT_100, SNAPSHOT_1000));
        assert!(grows_in_proportion(SELECTING_100, SELECTING_1000));
        assert!(grows_in_proportion(SIGNATURE_10, SIGNATURE_100));
        assert!(grows_in_proportion(ANSWER_10, ANSWER_100));
        assert!(grows_in_proportion(FROM_ANSWER_10, FROM_ANSWER_100));
        assert!(grows_in_proportion(LOOK_10, LOOK_100));
        assert!(grows_in_proportion(FINISHED_10, FINISHED_100));
        assert!(grows_in_proportion(PROCESS_LIST_100, PROCESS_LIST_1000));
        // Sessions are looked up in the list, so ten times as many rows must cost a request hardly more.
        assert!(PRECHECK_1000 * 10 <= 12 * PRECHECK_100);
    };
}

/// Fails if a count grows by more than 15 %. These leave room for another compiler, for another version of a crate, and
/// for hash maps, whose order is random.
fn limit(counted: u64) -> LibraryBenchmarkConfig {
    let mut callgrind = Callgrind::with_args(["--cache-sim=no"]);
    callgrind.format([CallgrindMetrics::from(EventKind::Ir)]);
    callgrind.hard_limits([(EventKind::Ir, counted + counted * 15 / 100)]);
    LibraryBenchmarkConfig::default().tool(callgrind).clone()
}

#[library_benchmark(config = limit(counted::PLAN))]
#[bench::fresh(kept(request(1)), NOW)]
fn planning(object: &'static SessionKill, now: Timestamp) -> Step {
    black_box(plan(black_box(object), now))
}

fn claim(sessions: usize) -> (&'static SessionKill, &'static Attempt) {
    let object = kept(request(sessions));
    (object, kept(attempt(object)))
}

// Computes the hash for the name, and the content of the receipt.
#[library_benchmark]
#[bench::sessions_1(args = (1), setup = claim, config = limit(counted::RECEIPT_1))]
#[bench::sessions_10(args = (10), setup = claim, config = limit(counted::RECEIPT_10))]
#[bench::sessions_100(args = (100), setup = claim, config = limit(counted::RECEIPT_100))]
fn claiming((object, attempt): (&'static SessionKill, &'static Attempt)) -> SessionKillReceipt {
    black_box(receipt(black_box(object), black_box(attempt)))
}

#[library_benchmark]
#[bench::rows_100(args = (100), setup = process_list, config = limit(counted::SNAPSHOT_100))]
#[bench::rows_1000(args = (1000), setup = process_list, config = limit(counted::SNAPSHOT_1000))]
fn indexing_the_process_list(rows: Vec<Seen>) -> Snapshot {
    black_box(Snapshot::new(black_box(rows), true, NOW))
}

fn observed(rows: usize) -> (&'static [Session], &'static Snapshot) {
    (&kept(request(100)).spec.sessions, kept(snapshot(rows)))
}

// Checks the 100 sessions of a request against lists of different lengths.
#[library_benchmark]
#[bench::rows_100(args = (100), setup = observed, config = limit(counted::PRECHECK_100))]
#[bench::rows_1000(args = (1000), setup = observed, config = limit(counted::PRECHECK_1000))]
fn prechecking((sessions, snapshot): (&'static [Session], &'static Snapshot)) -> Result<Vec<SessionStatus>, Undecided> {
    black_box(precheck(black_box(sessions), Some(black_box(snapshot)), MustSee::Expected, SqlTextPolicy::Truncated))
}

/// The body of a kill, and the secret.
fn unsigned(sessions: usize) -> (&'static str, &'static SecretString) {
    let list = (0..sessions).map(|number| {
        let id = session_id(number).to_string();
        json!({"ServerIp": server_ip(number), "SessionId": id})
    });
    let list = enc(&list.collect::<Value>().to_string());
    let body = format!("InstanceId=ob1&SessionList={list}&TenantId=t1");
    (kept(body), kept(SecretString::from("0123456789abcdefghijABCDEFGHIJ")))
}

// The hash of the body and the HMAC of the headers, as ACS3 requires.
#[library_benchmark]
#[bench::sessions_10(args = (10), setup = unsigned, config = limit(counted::SIGNATURE_10))]
#[bench::sessions_100(args = (100), setup = unsigned, config = limit(counted::SIGNATURE_100))]
fn signing((body, secret): (&'static str, &'static SecretString)) -> String {
    let payload_hash = v3::payload_hash(black_box(body).as_bytes());
    let headers = [
        ("content-type", "application/x-www-form-urlencoded"),
        ("host", "oceanbasepro.cn-hangzhou.aliyuncs.com"),
        ("x-acs-action", "KillProcessList"),
        ("x-acs-content-sha256", &payload_hash),
        ("x-acs-date", "2026-10-05T09:45:15Z"),
        ("x-acs-signature-nonce", "9f86d081884c7d659a2feaa0c55ad015"),
        ("x-acs-version", "2019-09-01"),
    ];
    let request = v3::Request { method: "POST", path: "/", query: &[], headers: &headers, payload_hash: &payload_hash };
    black_box(request.authorization("AccessKeyIdOfThisBenchmark", secret))
}

/// An answer, and the access key that must not be copied from it.
type Answer = (RawAnswer<&'static [u8]>, &'static AccessKey);

fn key() -> AccessKey {
    let secret = SecretString::from("0123456789abcdefghijABCDEFGHIJ");
    AccessKey { id: "AccessKeyIdOfThisBenchmark".to_owned(), secret, security_token: None }
}

fn answer(rows: usize) -> Answer {
    let row = |number| {
        let mut row = row(number);
        row["ErrorMessage"] = "".into();
        row
    };
    (raw(&(0..rows).map(row).collect()), kept(key()))
}

#[library_benchmark]
#[bench::rows_10(args = (10), setup = answer, config = limit(counted::ANSWER_10))]
#[bench::rows_100(args = (100), setup = answer, config = limit(counted::ANSWER_100))]
fn parsing_the_answer((raw, key): Answer) -> Result<KillAnswer, CallError> {
    black_box(read_answer(black_box(raw), Operation::KillProcessList, Sieve::new(key, &|_| true)))
}

type Answered = (&'static [Session], &'static [SessionStatus], &'static [Row]);

fn answered(sessions: usize) -> Answered {
    let object = kept(request(sessions));
    (&object.spec.sessions, kept(planned(object)), kept(rows(sessions)))
}

#[library_benchmark]
#[bench::sessions_10(args = (10), setup = answered, config = limit(counted::FROM_ANSWER_10))]
#[bench::sessions_100(args = (100), setup = answered, config = limit(counted::FROM_ANSWER_100))]
fn judging_the_answer((sessions, planned, rows): Answered) -> Vec<SessionStatus> {
    let answer = (true, black_box(rows));
    black_box(from_answer(black_box(sessions), black_box(planned), answer, SqlTextPolicy::Truncated, NOW))
}

/// The sessions of a request, and a list of 1,000 rows in which they still are.
fn unverified(sessions: usize) -> (&'static [SessionStatus], &'static Snapshot) {
    (kept(killed(&request(sessions))), kept(snapshot(1000)))
}

#[library_benchmark]
#[bench::sessions_10(args = (10), setup = unverified, config = limit(counted::LOOK_10))]
#[bench::sessions_100(args = (100), setup = unverified, config = limit(counted::LOOK_100))]
fn verifying((sessions, snapshot): (&'static [SessionStatus], &'static Snapshot)) -> Looked {
    black_box(look(black_box(sessions), black_box(snapshot), VerificationPolicy::Required))
}

fn concluded(sessions: usize) -> (&'static SessionKill, &'static Conclusion) {
    let object = kept(request(sessions));
    let claim = receipt(object, &attempt(object));
    let call = dispatch(&claim, Operation::KillProcessList, "EE205C00-30E4-4B1D-9C1F-87E3A8A2AA0C");
    (object, kept(Conclusion::called(killed(object), call, "")))
}

#[library_benchmark]
#[bench::sessions_10(args = (10), setup = concluded, config = limit(counted::FINISHED_10))]
#[bench::sessions_100(args = (100), setup = concluded, config = limit(counted::FINISHED_100))]
fn finishing((object, conclusion): (&'static SessionKill, &'static Conclusion)) -> SessionKillStatus {
    black_box(finished(black_box(object), black_box(conclusion), NOW))
}

fn list_answer(rows: usize) -> Answer {
    let data = json!({"AllProcessList": (0..rows).map(row).collect::<Value>(), "TotalSessionCount": rows});
    (raw(&data), kept(key()))
}

#[library_benchmark]
#[bench::rows_100(args = (100), setup = list_answer, config = limit(counted::PROCESS_LIST_100))]
#[bench::rows_1000(args = (1000), setup = list_answer, config = limit(counted::PROCESS_LIST_1000))]
fn parsing_the_process_list((raw, key): Answer) -> Result<ProcessList, CallError> {
    black_box(read_list(black_box(raw), Sieve::new(key, &|_| true), &[]))
}

fn selecting(rows: usize) -> (&'static Arc<Filter>, &'static [Seen]) {
    (kept(filter()), kept(process_list(rows)))
}

// Holds each row against a user, a range, a time and a pattern.
#[library_benchmark]
#[bench::rows_100(args = (100), setup = selecting, config = limit(counted::SELECTING_100))]
#[bench::rows_1000(args = (1000), setup = selecting, config = limit(counted::SELECTING_1000))]
fn selecting_sessions((filter, rows): (&'static Arc<Filter>, &'static [Seen])) -> Vec<Selected> {
    let mut selecting = Selecting::of(std::slice::from_ref(black_box(filter)));
    for (key, seen) in (0..).zip(black_box(rows)) {
        selecting.offer(key, seen, Clone::clone);
    }
    black_box(selecting.finish())
}

library_benchmark_group!(
    name = kill,
    benchmarks = [
        planning,
        parsing_the_process_list,
        indexing_the_process_list,
        prechecking,
        selecting_sessions,
        claiming,
        signing,
        parsing_the_answer,
        judging_the_answer,
        verifying,
        finishing,
    ]
);

main!(library_benchmark_groups = kill);
