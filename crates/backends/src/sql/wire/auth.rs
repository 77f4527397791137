//! Authentication by `mysql_native_password`: the server gives a nonce, and gets a hash of nonce and password. Pure.

use secrecy::{ExposeSecret as _, SecretString};
use sha1::{Digest as _, Sha1};
use zeroize::Zeroizing;

use super::cursor::Cursor;
use super::error::{Broken, OpenError, readable};

/// The only plugin that is answered. All others send the password itself, or encrypt it with a key that the server
/// chooses, or are older and weaker.
pub(super) const NATIVE: &[u8] = b"mysql_native_password";

/// How many bytes a nonce has.
pub(super) const NONCE: usize = 20;

/// What the server asks to be hashed with the password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Nonce(pub(super) [u8; NONCE]);

/// The answer to `nonce`; empty for an empty password.
pub(super) fn response(password: &SecretString, nonce: Nonce) -> Zeroizing<Vec<u8>> {
    let password = password.expose_secret();
    if password.is_empty() {
        return Zeroizing::default();
    }
    let once = sha1(&[password.as_bytes()]);
    let twice = sha1(&[once.as_slice()]);
    let salted = sha1(&[&nonce.0, twice.as_slice()]);
    Zeroizing::new(once.iter().zip(salted.iter()).map(|(once, salted)| once ^ salted).collect())
}

fn sha1(parts: &[&[u8]]) -> Zeroizing<[u8; NONCE]> {
    let mut hasher = Sha1::new();
    for part in parts {
        hasher.update(part);
    }
    Zeroizing::new(hasher.finalize().into())
}

/// The nonce in a packet with which the server asks for another plugin. Any plugin but the native one is refused.
pub(super) fn switched(packet: &[u8]) -> Result<Nonce, OpenError> {
    let mut cursor = Cursor::new(packet);
    cursor.u8();
    if cursor.is_empty() {
        return Err(refused(b"mysql_old_password"));
    }
    let plugin = cursor.until_zero().unwrap_or(cursor.rest());
    if plugin != NATIVE {
        return Err(refused(plugin));
    }
    let nonce = cursor.array().map(Nonce).filter(|_| matches!(cursor.rest(), [] | [0]));
    nonce.ok_or(Broken::Malformed("a nonce that has not 20 bytes").while_opening())
}

/// The error for a plugin that is not answered.
fn refused(plugin: &[u8]) -> OpenError {
    let plugin = readable(plugin.get(..64).unwrap_or(plugin));
    OpenError::Unsupported(format!(
        "the server wants the password by {plugin}; only mysql_native_password is answered: give the user that plugin"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKED: Nonce = Nonce(*b"abcdefghijklmnopqrst");

    #[test]
    fn the_response_is_that_of_other_clients() {
        // As pymysql's scramble_native_password has it.
        let expected = "f818c19fe633b29679484354514737c5394f4954";
        assert_eq!(hex::encode(&*response(&"correct horse".into(), ASKED)), expected);
        assert_eq!(response(&"".into(), ASKED).len(), 0);
    }

    #[test]
    fn a_switch_to_the_native_plugin_gives_its_nonce() {
        let packet = [b"\xfe", NATIVE, b"\0", &ASKED.0].concat();
        assert_eq!(switched(&packet), Ok(ASKED));
        assert_eq!(switched(&[&packet[..], b"\0"].concat()), Ok(ASKED));
        for wrong in [&packet[..packet.len() - 1], &[&packet[..], b"u"].concat(), &[&packet[..], b"\0\0"].concat()] {
            assert!(matches!(switched(wrong), Err(OpenError::Unsupported(text)) if text.contains("20 bytes")));
        }
    }

    #[test]
    fn a_switch_to_any_other_plugin_is_refused_by_its_name() {
        for plugin in ["mysql_clear_password", "caching_sha2_password", "sha256_password", "dialog", ""] {
            let refused = switched(&[b"\xfe", plugin.as_bytes(), b"\0abcdefghijklmnopqrst\0"].concat()).unwrap_err();
            assert!(matches!(&refused, OpenError::Unsupported(text) if text.contains(&format!("by {plugin};"))));
        }
        assert!(switched(b"\xfe").unwrap_err().to_string().contains("mysql_old_password"));
        assert!(switched(b"").is_err());
        let long = switched(&[b"\xfe\x1b".to_vec(), vec![b'x'; 100_000]].concat()).unwrap_err().to_string();
        assert!(long.len() < 256 && !long.contains(char::is_control), "{long}");
    }
}
