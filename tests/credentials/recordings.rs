//! What was recorded of the official clients.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

/// The whole file.
#[derive(Deserialize)]
pub struct Recordings {
    pub requests: Vec<Recorded>,
    pub answers: Vec<Answer>,
    pub refresh: Vec<Refresh>,
    pub errors: Vec<Error>,
}

/// A request of a client.
#[derive(Deserialize)]
pub struct Recorded {
    pub id: String,
    pub operation: String,
    pub method: String,
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
    #[serde(default)]
    pub params: BTreeMap<String, String>,
    pub signature: Option<Signature>,
}

/// How a request is signed.
#[derive(Deserialize)]
pub struct Signature {
    pub version: String,
    #[serde(default)]
    pub access_key_secret: String,
    pub string_to_sign: Option<String>,
    pub expect: String,
    /// The right signature of a request that has a wrong one.
    pub correct: Option<String>,
}

/// An answer, and what is made of it.
#[derive(Deserialize)]
pub struct Answer {
    pub id: String,
    #[serde(rename = "for")]
    pub of: String,
    pub status: u16,
    pub body: String,
    pub ours: String,
}

/// How often a client asks, and what it has then.
#[derive(Deserialize)]
pub struct Refresh {
    pub case: String,
    pub kind: String,
    pub valid_for_s: i64,
    pub client: String,
    pub calls: usize,
    pub requests: usize,
    pub results: Vec<String>,
}

/// A code of STS, and what to do about it.
#[derive(Deserialize)]
pub struct Error {
    pub status: u16,
    pub code: String,
    pub action: String,
    pub class: String,
}

impl Recordings {
    /// Reads the file.
    pub fn read() -> Self {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/credentials-recordings.json");
        let file: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let recordings: Self = serde_json::from_value(file).unwrap();
        let counts =
            [recordings.requests.len(), recordings.answers.len(), recordings.refresh.len(), recordings.errors.len()];
        assert_eq!(counts, [30, 17, 81, 20], "each of them is to be tried");
        recordings
    }
}

impl Recorded {
    /// The value of this parameter, wherever it was.
    pub fn param(&self, name: &str) -> Option<String> {
        self.params.get(name).cloned()
    }

    /// The value of this header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}
