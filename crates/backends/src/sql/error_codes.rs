//! What the errors of a server mean, by their numbers. Pure.
//!
//! Facts: `KILL` is executed by the server that is asked, or by another one after a call between servers. Only what is
//! refused before that is known not to be executed. An unknown number may mean anything.

use sessionkill_core::backend::{ANSWER_LOST, CallError, ErrorKind, bounded};

use super::wire::{OpenError, QueryError, ServerError};

/// The list does not exist: an older server, or one without views of the whole cluster.
pub(super) const NO_SUCH_TABLE: u16 = 1146;
/// The function does not exist.
pub(super) const NO_SUCH_FUNCTION: u16 = 1305;
/// `KILL` of an ID that nobody has.
pub(super) const NO_SUCH_SESSION: u16 = 1094;
/// `KILL` of a session of another user, or of the server itself, without the right to do that.
const NOT_OWNER: u16 = 1095;

/// Why there is no connection. Nothing was executed.
pub(super) fn of_open(error: OpenError) -> CallError {
    match error {
        OpenError::Unreachable(text) => unreachable(&text),
        OpenError::Certificate(text) => CallError::local(
            ErrorKind::Unreachable,
            "CertificateRefused",
            format!("the certificate is refused: {text}"),
        ),
        OpenError::Unsupported(text) => CallError::local(ErrorKind::OperationUnavailable, "ServerNotSupported", text),
        OpenError::Refused(error) => {
            let kind = match error.code {
                // Too many connections, in all or of this user.
                1040 | 1203 | 1226 => ErrorKind::Throttled { retry_after: None },
                // Wrong user or password (or no such tenant), locked, expired, or a login by other means.
                1045 | 3118 | 1820 | 1862 | 1251 | 2059 | 5260 => ErrorKind::CredentialsRejected,
                // "Not supported": a tenant in Oracle mode refuses this protocol.
                1235 => ErrorKind::OperationUnavailable,
                // The address is not allowed, or the server starts or stops.
                _ => ErrorKind::Unreachable,
            };
            said(kind, &error)
        }
    }
}

/// Why a statement that ends nothing has no answer.
pub(super) fn of_read(error: QueryError) -> CallError {
    match error {
        QueryError::NotWritten(text) => unreachable(&text),
        QueryError::Lost(text) => CallError::local(ErrorKind::Ambiguous, ANSWER_LOST, text),
        QueryError::Server(error) => {
            let kind = match error.code {
                // A view, a column or a table that the user may not see.
                1142 | 1143 | 1044 | 1227 => ErrorKind::PermissionDenied,
                // No OceanBase, or a list without a needed column.
                1064 | 1149 | 1235 | 1054 | 1146 | 1193 | 1305 => ErrorKind::OperationUnavailable,
                _ => ErrorKind::Ambiguous,
            };
            said(kind, &error)
        }
    }
}

/// What came of one `KILL`.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Killed {
    /// The server took it.
    Taken,
    /// The server refused it for this session, with this message.
    Refused(String),
    /// The server refused it, as the dispatch deadline has passed by its clock.
    Late,
    /// The server refused the statement itself, and would refuse it again.
    Rejected(CallError),
    /// Not a byte of it was sent.
    NotSent(CallError),
    /// It may have been executed.
    Ambiguous(CallError),
}

/// What the answer to a `KILL` of `id` means.
pub(super) fn of_kill(id: u32, answer: Result<usize, QueryError>) -> Killed {
    let error = match answer {
        Ok(_) => return Killed::Taken,
        Err(QueryError::NotWritten(text)) => return Killed::NotSent(unreachable(&text)),
        Err(QueryError::Lost(text)) => {
            return Killed::Ambiguous(CallError::local(ErrorKind::Ambiguous, ANSWER_LOST, text));
        }
        Err(QueryError::Server(error)) => error,
    };
    match error.code {
        NO_SUCH_SESSION => match unknown_id(&error) {
            // The condition in the statement has become false.
            Some(0) => Killed::Late,
            Some(unknown) if unknown == u64::from(id) => Killed::Refused(error.message),
            _ => Killed::Ambiguous(said(ErrorKind::Ambiguous, &error)),
        },
        NOT_OWNER => Killed::Refused(error.message),
        1064 | 1149 | 1235 => Killed::Rejected(said(ErrorKind::Rejected, &error)),
        _ => Killed::Ambiguous(said(ErrorKind::Ambiguous, &error)),
    }
}

/// The ID in `Unknown thread id: 7`.
pub(super) fn unknown_id(error: &ServerError) -> Option<u64> {
    error.message.rsplit(':').next()?.trim().parse().ok()
}

/// Nothing was sent.
pub(super) fn unreachable(text: &str) -> CallError {
    CallError::local(ErrorKind::Unreachable, "Unreachable", text)
}

fn said(kind: ErrorKind, error: &ServerError) -> CallError {
    CallError {
        kind,
        code: error.code.to_string(),
        message: bounded(&error.message),
        request_id: String::new(),
        is_of_whole_call: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(code: u16, message: &str) -> ServerError {
        ServerError { code, state: "HY000".to_owned(), message: message.to_owned() }
    }

    fn killed(code: u16, message: &str) -> Killed {
        of_kill(7, Err(QueryError::Server(server(code, message))))
    }

    #[test]
    fn only_what_is_refused_before_its_execution_is_not_executed() {
        assert_eq!(of_kill(7, Ok(0)), Killed::Taken);
        assert_eq!(killed(1094, "Unknown thread id: 0"), Killed::Late);
        assert_eq!(killed(1094, "Unknown thread id: 7"), Killed::Refused("Unknown thread id: 7".to_owned()));
        assert!(matches!(killed(1094, "Unknown thread id: 8"), Killed::Ambiguous(_)), "that is not what was asked");
        assert!(matches!(killed(1094, "gone"), Killed::Ambiguous(_)));
        assert!(matches!(killed(1095, "You are not owner of thread 7"), Killed::Refused(_)));
        for code in [1064, 1149, 1235] {
            assert!(matches!(killed(code, ""), Killed::Rejected(_)), "{code}");
        }
        for code in [4012, 4016, 4402, 4265, 4124, 1317, 5066, 1053, 4401, 1, 65535] {
            assert!(matches!(killed(code, ""), Killed::Ambiguous(_)), "{code}");
        }
        assert!(matches!(of_kill(7, Err(QueryError::Lost("timed out".to_owned()))), Killed::Ambiguous(_)));
        assert!(matches!(of_kill(7, Err(QueryError::NotWritten("closed".to_owned()))), Killed::NotSent(_)));
    }

    #[test]
    fn a_refused_login_says_whose_fault_it_is() {
        let kind = |code| of_open(OpenError::Refused(server(code, "no"))).kind;
        for code in [1040, 1203, 1226] {
            assert_eq!(kind(code), ErrorKind::Throttled { retry_after: None }, "{code}");
        }
        for code in [1045, 3118, 1820, 1862, 1251, 2059, 5260] {
            assert_eq!(kind(code), ErrorKind::CredentialsRejected, "{code}");
        }
        for code in [1129, 1130, 8001, 8002, 1] {
            assert_eq!(kind(code), ErrorKind::Unreachable, "{code}");
        }
        assert_eq!(kind(1235), ErrorKind::OperationUnavailable);
    }

    #[test]
    fn a_list_that_may_not_be_read_is_told_from_one_that_failed() {
        let kind = |code| of_read(QueryError::Server(server(code, "no"))).kind;
        assert_eq!([1142, 1227].map(kind), [ErrorKind::PermissionDenied; 2]);
        assert_eq!([1146, 1054].map(kind), [ErrorKind::OperationUnavailable; 2]);
        assert_eq!([4012, 1317, 9999].map(kind), [ErrorKind::Ambiguous; 3]);
    }
}
