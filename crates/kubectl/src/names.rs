//! Names of objects, for completion in the shell.

use std::ffi::OsString;
use std::time::Duration;

use clap_complete::engine::{ArgValueCandidates, CompletionCandidate};
use tokio::time::timeout;

use crate::client::{Flags, Place};
use crate::request::reason_and_message;
use crate::target::candidates;

/// How long a shell may wait for names.
const PATIENCE: Duration = Duration::from_secs(2);

/// The requests of the namespace.
pub fn requests() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        of_cluster(async |place| {
            let all = place.all_requests().await.unwrap_or_default();
            let candidate = |request: &sessionkill_api::SessionKill| {
                let (reason, _) = reason_and_message(request);
                let help = (!reason.is_empty()).then(|| reason.to_owned().into());
                CompletionCandidate::new(request.metadata.name.clone().unwrap_or_default()).help(help)
            };
            all.iter().map(candidate).collect()
        })
    })
}

/// The connections that requests of the namespace may name.
pub fn connections() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        of_cluster(async |place| {
            let all = candidates(&place).await.unwrap_or_default();
            all.iter().map(|candidate| CompletionCandidate::new(candidate.label())).collect()
        })
    })
}

/// The names that `list` finds. None if there is any difficulty: a shell shows no errors.
fn of_cluster(list: impl AsyncFnOnce(Place) -> Vec<CompletionCandidate>) -> Vec<CompletionCandidate> {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return vec![] };
    let flags = flags(std::env::args_os());
    let listed = async { timeout(PATIENCE, async { Some(list(Place::open(&flags).await.ok()?).await) }).await };
    let names = runtime.block_on(listed).ok().flatten().unwrap_or_default();
    runtime.shutdown_background();
    names
}

/// The flags that say where, of a line that is still being written and so cannot be parsed.
fn flags(line: impl Iterator<Item = OsString>) -> Flags {
    let words: Vec<String> = line.map(|word| word.to_string_lossy().into_owned()).collect();
    let value = |names: &[&str]| {
        let at = |(at, word): (usize, &String)| {
            let next = || words.get(at + 1).cloned();
            let inline = |name: &str| word.strip_prefix(name)?.strip_prefix('=').map(str::to_owned);
            if names.contains(&word.as_str()) { next() } else { names.iter().find_map(|name| inline(name)) }
        };
        words.iter().enumerate().filter_map(at).next_back()
    };
    Flags {
        kubeconfig: value(&["--kubeconfig"]).map(Into::into),
        context: value(&["--context"]),
        namespace: value(&["-n", "--namespace"]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flags_of_a_half_written_line_count() {
        let line = "kubectl-sessionkill -- kubectl-sessionkill -n shop --context=prod explain ";
        let flags = flags(line.split(' ').map(OsString::from));
        assert_eq!(
            (flags.namespace.as_deref(), flags.context.as_deref(), flags.kubeconfig),
            (Some("shop"), Some("prod"), None)
        );
    }
}
