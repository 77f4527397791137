//! Markdown tables of kills with temporary keys, and whether they are good enough. Pure.

use anyhow::ensure;

use super::super::{
    markdown::{MEBIBYTE, table},
    record::{Phase, Record, RolesRun, ShortKeysRun},
};

/// The most calls of STS that the operator makes at once.
const STS_AT_ONCE: u32 = 4;
const KIBIBYTE: f64 = 1024.0;

/// Tables of all runs. Empty if there is none.
pub(in super::super) fn report(records: &[Record]) -> String {
    short_keys(records) + &phases(records) + &of_roles(records)
}

fn short_keys(records: &[Record]) -> String {
    let head = [
        "contender",
        "keys live for, s",
        "one is used for, s",
        "kills",
        "killed once",
        "failed",
        "calls",
        "refused",
        "seconds",
        "renewals",
        "lifetimes",
        "renewals ÷ lifetimes",
    ];
    let row = |run: &ShortKeysRun| {
        vec![
            run.contender.clone(),
            run.key_seconds.to_string(),
            format!("{:.2}", run.used_seconds),
            run.requests.to_string(),
            if run.most_kills_of_one > 1 { "no".to_owned() } else { run.killed.to_string() },
            run.failed.to_string(),
            run.calls.to_string(),
            run.refused_calls.to_string(),
            format!("{:.1}", run.seconds),
            run.renewals.to_string(),
            format!("{:.1}", run.lifetimes()),
            format!("{:.2}", f64::from(run.renewals) / run.lifetimes()),
        ]
    };
    let text = table("With keys that live for seconds", &head, short_runs(records).map(row).collect());
    if text.is_empty() {
        return text;
    }
    text + "\nA lifetime is the time for which a key is used: as long as it outlives a call of 1 s by a quarter of its life. \
            The operator counts a second more than keys live for: their end and the time of the answer are told in whole \
            seconds.\n"
}

fn phases(records: &[Record]) -> String {
    let head = [
        "part",
        "contender",
        "seconds",
        "kills",
        "p50, ms",
        "p99, ms",
        "its CPU, s per minute",
        "memory at most, MiB",
        "afterwards",
        "calls of STS",
        "at once",
    ];
    let ms = |ms: Option<f64>| ms.map_or("–".into(), |ms| format!("{ms:.1}"));
    let row = |run: &RolesRun, name: String, phase: Phase| {
        vec![
            name,
            run.contender.clone(),
            format!("{:.1}", phase.seconds),
            phase.kills.to_string(),
            ms(phase.p50_ms),
            ms(phase.p99_ms),
            format!("{:.2}", phase.cpu_per_minute()),
            mebibytes(phase.memory_bytes.peak),
            mebibytes(phase.memory_bytes.afterwards),
            phase.sts_calls.to_string(),
            phase.sts_at_once.to_string(),
        ]
    };
    let rows = role_runs(records).flat_map(|run| {
        let named = [
            ("at rest, before".to_owned(), run.before),
            (format!("{} connections are made, and each kills at once", run.roles), run.first_keys),
            ("at rest, each holds a key".to_owned(), run.at_rest),
            ("each kills once".to_owned(), run.in_use),
            ("each kills once, and all keys are renewed".to_owned(), run.renewing),
        ];
        named.map(|(name, phase)| row(run, name, phase))
    });
    table("Connections with a role each", &head, rows.collect())
}

fn of_roles(records: &[Record]) -> String {
    let head = [
        "contender",
        "roles",
        "namespaces",
        "keys live for, s",
        "memory for each role, KiB",
        "p50 while renewed ÷ while held",
        "p99 while renewed ÷ while held",
    ];
    let ratio = |one: Option<f64>, other: Option<f64>| {
        one.zip(other).map_or("–".to_owned(), |(one, other)| format!("{:.2}", one / other))
    };
    let row = |run: &RolesRun| {
        vec![
            run.contender.clone(),
            run.roles.to_string(),
            run.namespaces.to_string(),
            run.key_seconds.to_string(),
            format!("{:.1}", kibibytes_each(run)),
            ratio(run.renewing.p50_ms, run.in_use.p50_ms),
            ratio(run.renewing.p99_ms, run.in_use.p99_ms),
        ]
    };
    table("What a role costs", &head, role_runs(records).map(row).collect())
}

#[allow(clippy::cast_precision_loss, reason = "memory in MiB with one decimal")]
fn mebibytes(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / MEBIBYTE)
}

/// What is held at rest beyond what was held before, for each connection and its role.
#[allow(clippy::cast_precision_loss, reason = "memory in KiB with one decimal")]
fn kibibytes_each(run: &RolesRun) -> f64 {
    let [before, since] = [run.before, run.at_rest].map(|phase| phase.memory_bytes.afterwards as f64);
    (since - before) / KIBIBYTE / f64::from(run.roles)
}

/// Fails if a kill failed or was sent twice, if keys were renewed more often than their lives need, or if too many calls of
/// STS were made at once.
pub(in super::super) fn verdict(records: &[Record]) -> anyhow::Result<()> {
    short_runs(records).try_for_each(short_verdict)?;
    role_runs(records).try_for_each(roles_verdict)
}

fn short_verdict(run: &ShortKeysRun) -> anyhow::Result<()> {
    let ShortKeysRun { contender, requests, killed, most_kills_of_one, failed, renewals, .. } = run;
    ensure!(*most_kills_of_one <= 1, "{contender}: a session was killed {most_kills_of_one} times");
    ensure!(*failed == 0 && killed == requests, "{contender}: {failed} of {requests} kills failed, {killed} were made");
    // One more for the key that is held when the kills begin, one for the last one, and one in twenty: a key whose answer came
    // in the next second counts a second less.
    let most = run.lifetimes() * 1.05 + 2.0;
    ensure!(
        f64::from(*renewals) <= most,
        "{contender}: keys were renewed {renewals} times, and {most:.0} times are enough"
    );
    Ok(())
}

fn roles_verdict(run: &RolesRun) -> anyhow::Result<()> {
    let RolesRun { contender, roles, renewing, .. } = run;
    for phase in [run.before, run.first_keys, run.at_rest, run.in_use, *renewing] {
        let at_once = phase.sts_at_once;
        ensure!(at_once <= STS_AT_ONCE, "{contender}: {at_once} calls of STS were made at once");
    }
    // Otherwise the figures are not of what they are said to be of.
    let renewed = renewing.sts_calls;
    ensure!(renewed >= *roles, "{contender}: only {renewed} of {roles} keys were renewed");
    Ok(())
}

fn short_runs(records: &[Record]) -> impl Iterator<Item = &ShortKeysRun> {
    records.iter().filter_map(|record| if let Record::ShortKeys(run) = record { Some(run.as_ref()) } else { None })
}

fn role_runs(records: &[Record]) -> impl Iterator<Item = &RolesRun> {
    records.iter().filter_map(|record| if let Record::Roles(run) = record { Some(run.as_ref()) } else { None })
}

#[cfg(test)]
mod tests {
    use super::{super::super::usage::MemoryBytes, *};

    fn short() -> ShortKeysRun {
        ShortKeysRun {
            contender: "sessionkill".into(),
            key_seconds: 5,
            seconds: 35.0,
            requests: 175,
            killed: 175,
            most_kills_of_one: 1,
            failed: 0,
            refused_calls: 0,
            calls: 525,
            renewals: 10,
            used_seconds: 3.5,
        }
    }

    fn roles() -> RolesRun {
        let phase = |mebibytes: u64| Phase {
            seconds: 30.0,
            cpu_seconds: 0.5,
            memory_bytes: MemoryBytes { afterwards: mebibytes << 20, ..MemoryBytes::default() },
            ..Phase::default()
        };
        let kills = |ms| Phase { kills: 8, p50_ms: Some(ms), p99_ms: Some(3.0 * ms), sts_at_once: 2, ..phase(30) };
        RolesRun {
            contender: "sessionkill".into(),
            roles: 8,
            namespaces: 8,
            key_seconds: 900,
            before: phase(10),
            first_keys: Phase { sts_calls: 8, sts_at_once: 4, ..kills(90.0) },
            at_rest: phase(11),
            in_use: kills(20.0),
            renewing: Phase { sts_calls: 8, ..kills(30.0) },
        }
    }

    fn of_short(run: ShortKeysRun) -> [Record; 1] {
        [Record::ShortKeys(Box::new(run))]
    }

    fn of_roles(run: RolesRun) -> [Record; 1] {
        [Record::Roles(Box::new(run))]
    }

    #[test]
    fn a_renewal_for_each_lifetime_is_right_and_one_for_each_call_is_not() {
        let text = report(&of_short(short()));
        assert!(text.contains("| 5 | 3.50 | 175 | 175 | 0 | 525 | 0 | 35.0 | 10 | 10.0 | 1.00 |"), "{text}");
        assert!(verdict(&of_short(short())).is_ok());
        assert!(verdict(&of_short(ShortKeysRun { renewals: 12, ..short() })).is_ok());
        for wrong in [
            ShortKeysRun { renewals: 13, ..short() },
            ShortKeysRun { renewals: 525, ..short() },
            ShortKeysRun { failed: 1, ..short() },
            ShortKeysRun { killed: 174, ..short() },
            ShortKeysRun { most_kills_of_one: 2, ..short() },
        ] {
            assert!(verdict(&of_short(wrong.clone())).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn what_a_role_costs_is_what_came_with_it() {
        let text = report(&of_roles(roles()));
        assert!(text.contains("| sessionkill | 8 | 8 | 900 | 128.0 | 1.50 | 1.50 |"), "{text}");
        assert!(text.contains("| at rest, each holds a key | sessionkill | 30.0 | 0 | – | – | 1.00 |"), "{text}");
        assert_eq!(report(&[]), "");
    }

    #[test]
    fn a_burst_of_calls_and_a_key_that_was_not_renewed_are_errors() {
        assert!(verdict(&of_roles(roles())).is_ok());
        let burst = Phase { sts_at_once: 5, ..roles().first_keys };
        let error = verdict(&of_roles(RolesRun { first_keys: burst, ..roles() })).unwrap_err().to_string();
        assert_eq!(error, "sessionkill: 5 calls of STS were made at once");
        let idle = Phase { sts_calls: 7, ..roles().renewing };
        assert!(verdict(&of_roles(RolesRun { renewing: idle, ..roles() })).is_err());
    }
}
