//! Parses the login and the CA of a database in a Secret from the API server's answer. Pure.

use std::collections::HashMap;
use std::sync::Arc;

use secrecy::{ExposeSecret as _, SecretString};

use crate::connections::secret::{Secret, decoded, is_key, labelled};

/// The annotations that name the keys of the Secret, if they are others.
///
/// Only the Secret itself may say which key is which part, and where the password may go: who may write connections but not
/// read Secrets could otherwise have the password sent as the user name, or to a server of their own.
const USERNAME: (&str, &str) = ("username", "sessionkill.dev/username-key");
const PASSWORD: (&str, &str) = ("password", "sessionkill.dev/password-key");
/// The servers that may get the password, as HOST:PORT, separated by commas. Of a Service: NAME:PORT.
const SERVERS: &str = "sessionkill.dev/servers";
/// The longest user name and password, in bytes.
const LONGEST: usize = 256;
/// The most certificates of one Secret, and the most bytes of each.
const MOST_CERTIFICATES: usize = 8;
const MAX_CERTIFICATE: usize = 64 * 1024;

/// The parts of a Secret that a connection to a database needs.
#[derive(Clone, Debug)]
pub struct SqlSecret {
    /// The user; `None` if the Secret has none.
    pub username: Option<String>,
    /// The password, or why there is none.
    pub password: Result<SecretString, String>,
    /// What looks like certificates, by key.
    pub certificates: HashMap<String, Arc<[u8]>>,
    /// The servers that may get the password; `None` if the Secret does not say.
    pub servers: Option<Vec<String>>,
}

impl SqlSecret {
    /// Parses the Secret `name` as the API server sent it. Checks the label before the data. The error says why nothing may be
    /// used, and never repeats a value.
    pub fn read(name: &str, body: &[u8]) -> Result<Self, String> {
        let secret = labelled(name, body)?;
        let key_of = |(key, annotation): (&'static str, &str)| -> Result<String, String> {
            let named = secret.annotation(annotation).unwrap_or(key);
            let refusal = || format!("annotation {annotation} of secret {name} is not the name of a key: correct it");
            is_key(named).then(|| named.to_owned()).ok_or_else(refusal)
        };
        let (username_key, password_key) = (key_of(USERNAME)?, key_of(PASSWORD)?);
        let username = text(&secret, name, &username_key)?;
        let password = text(&secret, name, &password_key).and_then(|password| {
            let (_, annotation) = PASSWORD;
            password.ok_or_else(|| {
                format!("secret {name} has no key {password_key}: add it, or name the key that holds it by its annotation {annotation}")
            })
        });
        if let (Some(username), Ok(password)) = (&username, &password)
            && username.expose_secret() == password.expose_secret()
        {
            return Err(format!(
                "keys {username_key} and {password_key} of secret {name} hold the same: correct one of them"
            ));
        }
        let servers =
            secret.annotation(SERVERS).map(|servers| servers.split(',').map(|it| it.trim().to_owned()).collect());
        let username = username.map(|username| username.expose_secret().to_owned());
        Ok(Self { username, password, certificates: certificates(&secret), servers })
    }

    /// The password, if it may be sent to the server of one of these names; the error says why not. Unless the Secret names its
    /// servers, it may be sent where `vouched` says that somebody else did.
    pub fn password_for(&self, name: &str, server: &[String], vouched: bool) -> Result<SecretString, String> {
        let password = self.password.clone()?;
        let shown = server.first().map(String::as_str).unwrap_or_default();
        match &self.servers {
            Some(servers) if servers.iter().any(|named| server.contains(named)) => Ok(password),
            Some(_) => Err(format!(
                "secret {name} does not name the server {shown} in its annotation {SERVERS}: add it there if the password may be \
                 sent to it"
            )),
            None if vouched => Ok(password),
            None => Err(format!(
                "secret {name} does not say that its password may be sent to {shown}: kubectl annotate secret {name} \
                 {SERVERS}={shown}, or put the certificate of the server's CA into its key ca.crt and let the connection verify \
                 the server"
            )),
        }
    }
}

/// The value of `key`, without the line break that editors leave at the end; `None` if there is none or if it is empty.
fn text(secret: &Secret<'_>, name: &str, key: &str) -> Result<Option<SecretString>, String> {
    let Some(encoded) = secret.encoded(key) else { return Ok(None) };
    let refused = |why: &str| format!("key {key} of secret {name} holds no user name or password: {why}");
    let bytes = decoded(encoded).ok_or_else(|| refused("it is not base64"))?;
    let text = std::str::from_utf8(&bytes).map_err(|_| refused("it is not UTF-8"))?;
    let text = text.strip_suffix('\n').unwrap_or(text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    if text.len() > LONGEST {
        return Err(refused(&format!("it has {} bytes, and {LONGEST} at most may be there", text.len())));
    }
    if text.chars().any(char::is_control) {
        return Err(refused("it has control characters"));
    }
    Ok(Some(text).filter(|text| !text.is_empty()).map(|text| SecretString::from(text.to_owned())))
}

fn certificates(secret: &Secret<'_>) -> HashMap<String, Arc<[u8]>> {
    let certificate = |(key, encoded): (&str, &str)| {
        // Most values are something else: base64 of what PEM begins with.
        let begins = encoded.starts_with("LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0t");
        let bytes = decoded(encoded).filter(|bytes| begins && bytes.len() <= MAX_CERTIFICATE)?;
        Some((key.to_owned(), Arc::from(bytes.as_slice())))
    };
    secret.values().filter_map(certificate).take(MOST_CERTIFICATES).collect()
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde_json::{Value, json};

    use super::*;
    use crate::api::CREDENTIALS_LABEL;

    fn read(annotations: &Value, data: &[(&str, &str)]) -> Result<SqlSecret, String> {
        let data: serde_json::Map<_, _> =
            data.iter().map(|(key, value)| ((*key).to_owned(), STANDARD.encode(value).into())).collect();
        let metadata = json!({"labels": {CREDENTIALS_LABEL: "true"}, "annotations": annotations});
        SqlSecret::read("db", json!({"metadata": metadata, "data": data}).to_string().as_bytes())
    }

    const LOGIN: [(&str, &str); 2] = [("username", "killer\n"), ("password", " p w\r\n")];

    #[test]
    fn a_login_is_read_without_the_line_break_at_its_end() {
        let read = read(&Value::Null, &LOGIN).unwrap();
        assert_eq!(read.username.as_deref(), Some("killer"));
        assert_eq!(read.password.unwrap().expose_secret(), " p w", "blanks belong to a password");
    }

    #[test]
    fn an_unlabelled_secret_is_not_read() {
        let body = json!({"metadata": {}, "data": {}}).to_string();
        let error = SqlSecret::read("db", body.as_bytes()).unwrap_err();
        assert!(error.contains("kubectl label secret db sessionkill.dev/credentials=true"), "{error}");
    }

    #[test]
    fn the_password_is_never_the_user_name() {
        let error = read(&json!({USERNAME.1: "password"}), &LOGIN).unwrap_err();
        assert!(error.contains("hold the same") && !error.contains("p w"), "{error}");
        let error = read(&json!({PASSWORD.1: "no key"}), &LOGIN).unwrap_err();
        assert!(error.contains("is not the name of a key"), "{error}");
    }

    #[test]
    fn the_secret_says_which_server_gets_its_password() {
        let server = ["ob:2881", "ob.prod.svc:2881"].map(str::to_owned);
        let of = |annotations: Value, vouched| read(&annotations, &LOGIN).unwrap().password_for("db", &server, vouched);
        assert!(of(json!({SERVERS: "other:1, ob.prod.svc:2881"}), false).is_ok());
        assert!(of(Value::Null, true).is_ok());
        let error = of(Value::Null, false).unwrap_err();
        assert!(error.contains("kubectl annotate secret db sessionkill.dev/servers=ob:2881"), "{error}");
        for vouched in [true, false] {
            let error = of(json!({SERVERS: "other:1"}), vouched).unwrap_err();
            assert!(error.contains("does not name the server ob:2881"), "{error}");
        }
    }

    #[test]
    fn only_certificates_are_kept_beside_the_login() {
        let pem = "-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n";
        let long = format!("{pem}{}", "x".repeat(MAX_CERTIFICATE));
        let read = read(&Value::Null, &[("ca.crt", pem), ("tls.key", "secret"), ("long", &long)]).unwrap();
        assert_eq!(read.certificates.keys().collect::<Vec<_>>(), ["ca.crt"]);
        assert_eq!(&*read.certificates["ca.crt"], pem.as_bytes());
        assert!(read.password.unwrap_err().contains("has no key password"));
    }

    #[test]
    fn what_cannot_be_a_login_is_refused_without_its_value() {
        for wrong in ["a\u{1}b", "a\nb", &"x".repeat(LONGEST + 1)] {
            let error = read(&Value::Null, &[("password", wrong)]).unwrap().password.unwrap_err();
            assert!(error.contains("key password of secret db") && !error.contains(wrong), "{error}");
        }
    }
}
