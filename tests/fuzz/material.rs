//! The parts of inputs: real shapes of answers, the API's own words, and values that parsers handle badly.

use bolero::{OneOfExt as _, TypeGenerator, ValueGenerator, produce};
use sessionkill::oceanbase::AccessKey;

/// Real shapes of answers.
const SAMPLES: [&[u8]; 8] = [
    include_bytes!("corpus/kill-answer.json"),
    include_bytes!("corpus/batch-answer.json"),
    include_bytes!("corpus/process-list.json"),
    include_bytes!("corpus/empty-list.json"),
    include_bytes!("corpus/throttled.json"),
    include_bytes!("corpus/forbidden.json"),
    include_bytes!("corpus/wrong-signature.json"),
    include_bytes!("corpus/bad-gateway.html"),
];

const NAMES: [&str; 18] = [
    "Code",
    "code",
    "Message",
    "message",
    "RequestId",
    "requestId",
    "Data",
    "data",
    "AllProcessList",
    "TotalSessionCount",
    "ProcessSqlLists",
    "ProcessSqlList",
    "SessionId",
    "ServerIp",
    "ErrorMessage",
    "User",
    "SqlText",
    "ExecuteTime",
];

/// JSON values, expected ones and others.
const SCALARS: [&str; 32] = [
    "null",
    "true",
    "\"\"",
    "0",
    "1",
    "7",
    "-1",
    "3221614618",
    "\"3221614618\"",
    "9223372036854775807",
    "18446744073709551616",
    "1e300",
    "1.5",
    "-0.0",
    "\" 7 \"",
    "\"127.0.0.1\"",
    "\"fd00::1\"",
    "\"FD00:0::1\"",
    "\"Throttling.User\"",
    "\"InvalidAction.NotFound\"",
    "\"SignatureNonceUsed\"",
    "\"InternalError\"",
    "\"Unknown thread id: 7\"",
    "\"\\u001b[2J\\u001b]0;owned\\u0007\"",
    "\"\\ud83d\\ude00\"",
    "\"数据库\\n\\t\\u0000\"",
    "\"LTAI5tCanaryKeyID0000001\"",
    "\"\\u004cTAI5tCanaryKeyID0000001\"",
    "\"CAIS+canary\\/token/of/many/letters\"",
    "\"string to sign is: x\"",
    "\" \"",
    "{}",
];

/// Pieces of bytes that are put anywhere into a body.
const PIECES: [&[u8]; 25] = [
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"\"",
    b"\\",
    b"null",
    b"-",
    b"0",
    b"9",
    b"e",
    b".",
    b"\\u0000",
    b"\\ud800",
    b"\xff",
    b"\x1b[31m",
    b"\xe6\x95",
    b"1e309",
    b" ",
    b"\n",
    b"\"Code\":\"x\",",
    b"\"Data\":null,",
    b"LTAI5tCanaryKeyID0000001",
];

/// The access key of the calls. Parts of it are among the values.
pub fn key() -> AccessKey {
    AccessKey {
        id: "LTAI5tCanaryKeyID0000001".into(),
        secret: "CanarySecretThatIsNeverSent0001".into(),
        security_token: Some("CAIS+canary/token/of/many/letters".into()),
    }
}

/// Fails if `text` has a part of the access key.
pub fn assert_secret(text: &str) {
    for part in ["LTAI5tCanaryKeyID0000001", "CanarySecretThatIsNeverSent0001", "CAIS+canary/token/of/many/letters"] {
        assert!(!text.contains(part), "{part} stands in {text}");
    }
}

/// The plan from which an input is made.
#[derive(Clone, Debug, TypeGenerator)]
pub struct Plan {
    /// Selects the body that is changed.
    pub base: u8,
    choices: Vec<u8>,
    // At most 4: with more edits, almost no body would be JSON.
    #[generator(produce::<Vec<Edit>>().with().len(0..=4_usize))]
    edits: Vec<Edit>,
}

/// A change of some bytes: its kind, its position, its length, and the new bytes.
type Edit = (u8, u16, u16, u8);

/// Texts of any characters. ASCII characters, which have a meaning in encodings, would be only one in nine thousand, so
/// half of the characters are chosen from them.
pub fn texts() -> impl ValueGenerator<Output = String> {
    produce::<String>().with().chars((produce::<char>(), '\0'..='\x7f').one_of())
}

/// A body: a sample or composed JSON, with some bytes changed.
pub fn body(Plan { base, choices, edits }: &Plan) -> Vec<u8> {
    let mut choices = choices.iter().copied().cycle().take(150);
    let mut body = match usize::from(*base) {
        sample @ 0..64 => SAMPLES[sample % SAMPLES.len()].to_vec(),
        64..128 => format!(r#"{{"RequestId":"R","Data":[{}]}}"#, rows(&mut choices, 2)).into_bytes(),
        128..192 => format!(r#"{{"Data":{{"AllProcessList":[{}],"TotalSessionCount":{}}}}}"#, rows(&mut choices, 2), {
            SCALARS[usize::from(choices.next().unwrap_or(0)) % 8]
        })
        .into_bytes(),
        _ => value(&mut choices, 6).into_bytes(),
    };
    // Change only half of the inputs, as most changes make a body invalid JSON.
    if base.is_multiple_of(2) {
        for edit in edits {
            change(&mut body, *edit);
        }
    }
    body
}

/// The same as text. Invalid UTF-8 is replaced.
pub fn text(plan: &Plan) -> String {
    String::from_utf8_lossy(&body(plan)).into_owned()
}

fn change(body: &mut Vec<u8>, (kind, at, length, piece): Edit) {
    let start = usize::from(at) % (body.len() + 1);
    let end = (start + usize::from(length) % 64).min(body.len());
    let piece = PIECES[usize::from(piece) % PIECES.len()].to_vec();
    match kind % 4 {
        0 => drop(body.splice(start..start, piece)),
        1 => drop(body.drain(start..end)),
        2 => drop(body.splice(start..end, piece)),
        _ => {
            let again = body[start..end].to_vec();
            drop(body.splice(end..end, again));
        }
    }
}

/// Rows with the documented fields and any values.
fn rows(choices: &mut impl Iterator<Item = u8>, depth: u8) -> String {
    let count = choices.next().unwrap_or(0) % 6;
    let row = |choices: &mut dyn Iterator<Item = u8>| {
        let mut scalar = || SCALARS[usize::from(choices.next().unwrap_or(0)) % SCALARS.len()];
        let (id, server, error, user, sql) = (scalar(), scalar(), scalar(), scalar(), scalar());
        format!(r#""SessionId":{id},"ServerIp":{server},"ErrorMessage":{error},"User":{user},"SqlText":{sql}"#)
    };
    let rows = (0..count).map(|_| {
        let row = row(choices);
        let inner = if depth > 0 && choices.next().unwrap_or(0).is_multiple_of(4) {
            rows(choices, depth - 1)
        } else {
            String::new()
        };
        format!(r#"{{{row},"ProcessSqlLists":[{inner}]}}"#)
    });
    rows.collect::<Vec<_>>().join(",")
}

/// Any JSON that is made of the API's words.
fn value(choices: &mut dyn Iterator<Item = u8>, depth: u8) -> String {
    let Some(choice) = choices.next() else { return "null".to_owned() };
    let count = choices.next().unwrap_or(0) % 5;
    match choice % 4 {
        0 | 1 if depth > 0 => {
            let mut member = || {
                let name = NAMES[usize::from(choices.next().unwrap_or(0)) % NAMES.len()];
                format!(r#""{name}":{}"#, value(choices, depth - 1))
            };
            format!("{{{}}}", (0..count).map(|_| member()).collect::<Vec<_>>().join(","))
        }
        2 if depth > 0 => {
            format!("[{}]", (0..count).map(|_| value(choices, depth - 1)).collect::<Vec<_>>().join(","))
        }
        _ => SCALARS[usize::from(choice / 4 + count) % SCALARS.len()].to_owned(),
    }
}
