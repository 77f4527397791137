//! A Markdown table of the effect of attacks on the victim, and whether it is good enough. Pure.

use anyhow::ensure;

use super::super::{
    markdown::{MEBIBYTE, table},
    record::{AttackRun, Failure, Record},
};

/// A table of all attacks. Empty if there is none.
pub(in super::super) fn report(records: &[Record]) -> String {
    let head = [
        "attack",
        "contender",
        "made",
        "refused",
        "p50 alone, ms",
        "beside",
        "p99 alone, ms",
        "beside",
        "ratio",
        "plain writes, p99 alone, ms",
        "beside",
        "expired",
        "not ended",
        "new connection alone, ms",
        "beside",
        "removal alone, ms",
        "beside",
        "memory at most, MiB",
        "requests to the API server",
        "ready, ms",
    ];
    table("Beside users who mean harm", &head, runs(records).map(row).collect()) + &failures(records)
}

/// Fails with each attack under which a kill of the victim was late or sent twice, or that could not be measured.
pub(in super::super) fn verdict(records: &[Record]) -> anyhow::Result<()> {
    let wrong: Vec<String> = runs(records).filter_map(complaint).chain(failed(records).map(sentence)).collect();
    ensure!(wrong.is_empty(), "{}", wrong.join("; "));
    Ok(())
}

fn runs(records: &[Record]) -> impl Iterator<Item = &AttackRun> {
    records.iter().filter_map(|record| if let Record::Attack(run) = record { Some(run.as_ref()) } else { None })
}

fn failed(records: &[Record]) -> impl Iterator<Item = &Failure> {
    records.iter().filter_map(|record| if let Record::Failure(failure) = record { Some(failure) } else { None })
}

fn row(run: &AttackRun) -> Vec<String> {
    let AttackRun { alone, beside, .. } = run;
    let ms = |ms: Option<f64>| ms.map_or("–".into(), |ms| format!("{ms:.0}"));
    #[allow(clippy::cast_precision_loss, reason = "memory in MiB with one decimal")]
    let most = run.memory_bytes.peak as f64 / MEBIBYTE;
    vec![
        run.attack.clone(),
        run.contender.clone(),
        run.made.to_string(),
        run.refused.to_string(),
        format!("{:.0}", alone.p50_ms),
        format!("{:.0}", beside.p50_ms),
        format!("{:.0}", alone.p99_ms),
        format!("{:.0}", beside.p99_ms),
        format!("{:.2}", beside.p99_ms / alone.p99_ms),
        format!("{:.0}", alone.writes_p99_ms),
        format!("{:.0}", beside.writes_p99_ms),
        beside.expired.to_string(),
        beside.unended.to_string(),
        ms(alone.connection_ms),
        ms(beside.connection_ms),
        ms(alone.removal_ms),
        ms(beside.removal_ms),
        format!("{most:.1}"),
        run.api_requests.to_string(),
        ms(run.ready_ms),
    ]
}

fn complaint(run: &AttackRun) -> Option<String> {
    let kills = &run.beside;
    let late = kills.requests - kills.killed.min(kills.requests);
    let what = match (late, kills.most_kills_of_one) {
        (0, 0 | 1) => return None,
        (0, times) => format!("a session was killed {times} times"),
        _ => format!("{late} of {} kills of others did not come to their end", kills.requests),
    };
    Some(format!("{}: {}: {what}", run.contender, run.attack))
}

fn failures(records: &[Record]) -> String {
    let lines: Vec<String> = failed(records).map(|failure| format!("\n* {}\n", sentence(failure))).collect();
    lines.concat()
}

fn sentence(Failure { contender, what, why }: &Failure) -> String {
    format!("{contender}: {what}: {why}")
}

#[cfg(test)]
mod tests {
    use super::{
        super::super::{record::Kills, usage::MemoryBytes},
        *,
    };

    fn run(beside: Kills) -> Record {
        Record::Attack(Box::new(AttackRun {
            contender: "sessionkill".into(),
            attack: "orphans".into(),
            made: 3,
            refused: 1,
            first_refusal: None,
            alone: kills(),
            beside,
            memory_bytes: MemoryBytes::default(),
            api_requests: 7,
            ready_ms: None,
        }))
    }

    fn kills() -> Kills {
        Kills {
            requests: 4,
            p50_ms: 50.0,
            p99_ms: 80.0,
            max_ms: 80.0,
            writes_p99_ms: 30.0,
            killed: 4,
            expired: 0,
            unended: 0,
            most_kills_of_one: 1,
            connection_ms: Some(9.0),
            removal_ms: None,
        }
    }

    #[test]
    fn a_kill_that_is_late_or_sent_twice_or_not_measured_is_an_error() {
        assert!(verdict(&[run(kills())]).is_ok());
        let late = Kills { killed: 3, expired: 1, ..kills() };
        let error = verdict(&[run(kills()), run(late)]).unwrap_err().to_string();
        assert_eq!(error, "sessionkill: orphans: 1 of 4 kills of others did not come to their end");
        assert!(verdict(&[run(Kills { most_kills_of_one: 2, ..kills() })]).is_err());
        let failure = Failure { contender: "x".into(), what: "orphans".into(), why: "it ended".into() };
        let records = [Record::Failure(failure)];
        assert!(verdict(&records).is_err() && report(&records).contains("it ended"));
    }

    #[test]
    fn each_attack_is_a_row_with_the_ratio_of_the_slowest() {
        let text = report(&[run(Kills { p99_ms: 120.0, ..kills() })]);
        assert!(text.contains("| orphans | sessionkill | 3 | 1 | 50 | 50 | 80 | 120 | 1.50 | 30 | 30 | 0 |"), "{text}");
        assert_eq!(report(&[]), "");
    }
}
