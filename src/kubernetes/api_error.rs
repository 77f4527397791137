//! Turns a failed request to the API server into a sentence for people, without repetition. Pure.
//!
//! kube's own texts repeat the error in the debug form of its Rust types.

use std::error::Error;

use kube::core::Status;
use kube::runtime::watcher;

use crate::domain::text::clamp;

/// The most characters of a text: with the call's name and the advice, it must fit a condition's message.
const MAX_WORDS: usize = 768;

/// The API server's plain answer for a kind that it does not serve.
const NOT_SERVED: &str = "404 page not found";

/// Why a request failed.
#[must_use]
pub fn in_words(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => sentence(status),
        // The wrapped error says everything.
        kube::Error::Service(cause) => causes(cause.as_ref()),
        other => causes(other),
    }
}

/// Why a watch failed.
#[must_use]
pub fn of_watch(error: &watcher::Error) -> String {
    match error {
        watcher::Error::InitialListFailed(error) => format!("list: {}", in_words(error)),
        watcher::Error::WatchStartFailed(error) => format!("begin watch: {}", in_words(error)),
        watcher::Error::WatchFailed(error) => format!("watch: {}", in_words(error)),
        watcher::Error::WatchError(status) => format!("watch: {}", sentence(status)),
        error @ watcher::Error::NoResourceVersion => error.to_string(),
    }
}

/// The server's own sentence, or the HTTP code and the text if the answer is not the API server's.
fn sentence(status: &Status) -> String {
    let Status { code, message, reason, .. } = status;
    // For an answer that it cannot parse, kube sets a sentence as the reason; the API server sets a single word.
    let is_of_the_server = !message.is_empty() && !reason.contains(' ');
    if is_of_the_server {
        return clamp(message, MAX_WORDS);
    }
    if *code == 404 && message.trim() == NOT_SERVED {
        return "the API server does not serve this kind: install the definitions of this version".to_owned();
    }
    let text = if message.is_empty() { reason } else { message };
    clamp(format!("HTTP {code} {}", text.trim()).trim_end(), MAX_WORDS)
}

/// `error` and its causes, without texts that are contained already.
#[must_use]
pub fn causes(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let words = cause.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        source = cause.source();
    }
    clamp(&text, MAX_WORDS)
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUOTA: &str =
        "sessionkillreceipts.sessionkill.dev \"sk-1\" is forbidden: exceeded quota: receipts, requested: 1";

    fn refused(message: &str, reason: &str, code: u16) -> Box<Status> {
        Status::failure(message, reason).with_code(code).boxed()
    }

    #[test]
    fn a_refusal_is_the_servers_sentence_and_nothing_else() {
        assert_eq!(in_words(&kube::Error::Api(refused(QUOTA, "Forbidden", 403))), QUOTA);
        let watch = watcher::Error::InitialListFailed(kube::Error::Api(refused(QUOTA, "Forbidden", 403)));
        assert_eq!(of_watch(&watch), format!("list: {QUOTA}"));
        let expired = watcher::Error::WatchError(refused("too old resource version: 1 (2)", "Expired", 410));
        assert_eq!(of_watch(&expired), "watch: too old resource version: 1 (2)");
    }

    #[test]
    fn what_is_no_sentence_of_the_server_is_told_with_its_code() {
        let of_others = |text| in_words(&kube::Error::Api(refused(text, "Failed to parse error data", 502)));
        assert_eq!(of_others("<html>\n<b>Bad Gateway</b>"), r"HTTP 502 <html>\n<b>Bad Gateway</b>");
        assert_eq!(of_others(""), "HTTP 502 Failed to parse error data");
        assert_eq!(in_words(&kube::Error::Api(refused("", "Conflict", 409))), "HTTP 409 Conflict");
        assert_eq!(in_words(&kube::Error::Api(refused("", "", 500))), "HTTP 500");
    }

    #[test]
    fn a_kind_that_is_not_served_is_said_to_lack_its_definition() {
        let sentence = "the API server does not serve this kind: install the definitions of this version";
        let unserved = || kube::Error::Api(refused("404 page not found", "Failed to parse error data", 404));
        assert_eq!(in_words(&unserved()), sentence);
        assert_eq!(of_watch(&watcher::Error::WatchStartFailed(unserved())), format!("begin watch: {sentence}"));
        let elsewhere =
            in_words(&kube::Error::Api(refused("<html>404 Not Found</html>", "Failed to parse error data", 404)));
        assert_eq!(elsewhere, "HTTP 404 <html>404 Not Found</html>");
    }

    #[test]
    fn what_it_says_is_bounded_and_can_be_seen() {
        let long = in_words(&kube::Error::Api(refused(&"a\u{202e}".repeat(1000), "Invalid", 422)));
        assert!(long.chars().count() <= MAX_WORDS && long.starts_with(r"a\u{202e}a"), "{long}");
    }

    #[test]
    fn of_a_failure_on_the_way_each_cause_is_told_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("client error (Connect)")]
        struct Outer(#[source] std::io::Error);
        let cause = std::io::Error::other("Connection refused");
        let failed = kube::Error::Service(Box::new(Outer(cause)));
        assert_eq!(in_words(&failed), "client error (Connect): Connection refused");
        let read = kube::Error::ReadEvents(std::io::Error::other("broken pipe"));
        assert_eq!(in_words(&read).matches("broken pipe").count(), 1);
    }
}
