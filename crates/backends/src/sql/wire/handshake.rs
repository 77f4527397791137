//! The server's first packet, and the client's two answers to it. Pure, and total: no input makes it panic.

use zeroize::Zeroizing;

use super::auth::{NATIVE, NONCE, Nonce};
use super::cursor::Cursor;
use super::error::{Broken, readable};
use super::packet::MAX_PACKET;

/// The most bytes of the server's first packet (4 KiB). Known servers send about 100.
pub(super) const MAX_HANDSHAKE: usize = 4 << 10;

const LONG_PASSWORD: u32 = 1;
const PROTOCOL_41: u32 = 1 << 9;
const SSL: u32 = 1 << 11;
const TRANSACTIONS: u32 = 1 << 13;
const SECURE_CONNECTION: u32 = 1 << 15;
const PLUGIN_AUTH: u32 = 1 << 19;

/// What a server must offer.
const NEEDED: u32 = PROTOCOL_41 | SECURE_CONNECTION;
/// What is announced if the server offers it. Nothing with which a server could ask for files, and nothing by which one
/// packet would be several statements or have several answers.
const ANNOUNCED: u32 = NEEDED | LONG_PASSWORD | TRANSACTIONS | PLUGIN_AUTH;

/// utf8mb4, so that texts are UTF-8 in both directions.
const UTF8MB4: u8 = 45;
const VERSION: u8 = 10;
const ZEROES: [u8; 23] = [0; 23];

/// What the server's first packet says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Handshake {
    /// Printable, 256 characters at most.
    pub(super) server_version: String,
    pub(super) connection_id: u32,
    pub(super) nonce: Nonce,
    offered: u32,
    /// Whether the server's own way to authenticate is the native one.
    pub(super) is_native: bool,
}

impl Handshake {
    pub(super) fn read(packet: &[u8]) -> Result<Self, Broken> {
        if packet.first() != Some(&VERSION) {
            return Err(Broken::Malformed("no handshake of protocol version 10"));
        }
        Self::fields(packet).ok_or(Broken::Malformed("a malformed handshake"))
    }

    fn fields(packet: &[u8]) -> Option<Self> {
        let mut cursor = Cursor::new(packet);
        cursor.u8()?;
        let server_version = readable(cursor.until_zero()?);
        let connection_id = cursor.u32()?;
        let begin: [u8; 8] = cursor.array()?;
        cursor.take(1)?;
        let low = cursor.u16()?;
        // Character set and status.
        cursor.take(3)?;
        let high = cursor.u16()?;
        let offered = u32::from(high) << 16 | u32::from(low);
        let nonce_length = cursor.u8()?;
        cursor.take(10)?;
        // With the zero byte at its end. A server without plugins may leave the length at 0.
        if offered & NEEDED != NEEDED || !matches!(usize::from(nonce_length), 0 | NONCE | NONCE_AND_ZERO) {
            return None;
        }
        let end: [u8; 12] = cursor.array()?;
        let mut nonce = [0; NONCE];
        nonce.iter_mut().zip(begin.into_iter().chain(end)).for_each(|(to, from)| *to = from);
        cursor.take(1).filter(|zero| *zero == [0])?;
        // Some servers leave out the zero byte after the plugin's name.
        let plugin = cursor.until_zero().unwrap_or(cursor.rest());
        let is_native = offered & PLUGIN_AUTH == 0 || plugin.is_empty() || plugin == NATIVE;
        Some(Self { server_version, connection_id, nonce: Nonce(nonce), offered, is_native })
    }

    pub(super) fn offers_tls(&self) -> bool {
        self.offered & SSL != 0
    }

    /// What asks the server to begin TLS.
    pub(super) fn tls_request(&self) -> Vec<u8> {
        self.client_head(true)
    }

    /// What logs in as `user`, which has no zero byte.
    pub(super) fn login(&self, is_tls: bool, user: &[u8], response: &[u8]) -> Zeroizing<Vec<u8>> {
        let mut packet = Zeroizing::new(Vec::with_capacity(512));
        packet.extend(self.client_head(is_tls));
        packet.extend(user);
        packet.push(0);
        // An authentication response has 0 or 20 bytes.
        packet.push(u8::try_from(response.len()).unwrap_or(0));
        packet.extend(response);
        if self.offered & PLUGIN_AUTH != 0 {
            packet.extend(NATIVE);
            packet.push(0);
        }
        packet
    }

    fn client_head(&self, is_tls: bool) -> Vec<u8> {
        let tls = if is_tls { SSL } else { 0 };
        let capabilities = self.offered & ANNOUNCED | tls;
        let max_packet = u32::try_from(MAX_PACKET).unwrap_or(u32::MAX);
        [&capabilities.to_le_bytes()[..], &max_packet.to_le_bytes(), &[UTF8MB4], &ZEROES].concat()
    }
}

const NONCE_AND_ZERO: usize = NONCE.saturating_add(1);

#[cfg(test)]
mod tests {
    use super::super::tests::peer::{ALL, handshake};
    use super::*;

    #[test]
    fn a_handshake_tells_version_connection_and_nonce() {
        let read = Handshake::read(&handshake(ALL, NATIVE)).unwrap();
        assert_eq!((read.server_version.as_str(), read.connection_id), ("5.7.25-OceanBase-v4.3.5.3", 263));
        assert!(&read.nonce.0 == b"abcdefghijklmnopqrst" && read.is_native && read.offers_tls());
        assert!(!Handshake::read(&handshake(ALL, b"caching_sha2_password")).unwrap().is_native);
        assert!(Handshake::read(&handshake(NEEDED, b"ignored")).unwrap().is_native);
        assert!(!Handshake::read(&handshake(ALL & !SSL, NATIVE)).unwrap().offers_tls());
    }

    #[test]
    fn a_handshake_that_is_cut_before_its_nonce_ends_is_refused() {
        let whole = handshake(ALL, NATIVE);
        let nonce_ends = whole.len() - NATIVE.len() - 1;
        for length in 0..nonce_ends {
            assert!(Handshake::read(&whole[..length]).is_err(), "{length}");
        }
        assert!(Handshake::read(&whole[..nonce_ends]).unwrap().is_native);
    }

    #[test]
    fn other_protocols_and_other_nonces_are_refused() {
        let change = |at: usize, to: u8| {
            let mut packet = handshake(ALL, NATIVE);
            packet[at] = to;
            Handshake::read(&packet).is_err()
        };
        let length_at = handshake(ALL, b"").len() - 1 - 13 - 10 - 1;
        assert!(!change(length_at, 20) && !change(length_at, 0));
        assert!(change(0, 9) && change(0, 0) && change(length_at, 8) && change(length_at, 255));
        assert!(change(length_at + 11 + 12, 1), "a nonce of more than 20 bytes");
        for missing in [PROTOCOL_41, SECURE_CONNECTION] {
            assert!(Handshake::read(&handshake(ALL & !missing, NATIVE)).is_err());
        }
    }

    #[test]
    fn only_what_is_needed_is_announced() {
        let read = Handshake::read(&handshake(ALL, NATIVE)).unwrap();
        let announced = |packet: &[u8]| u32::from_le_bytes(packet[..4].try_into().unwrap());
        assert_eq!(announced(&read.login(false, b"u", b"")), ANNOUNCED);
        assert_eq!(announced(&read.login(true, b"u", b"")), ANNOUNCED | SSL);
        assert_eq!((announced(&read.tls_request()), read.tls_request().len()), (ANNOUNCED | SSL, 32));
        let (local_files, multi_statements, compress) = (1 << 7, 1 << 16, 1 << 5);
        assert_eq!(ANNOUNCED & (local_files | multi_statements | 1 << 17 | 1 << 18 | compress | 1 << 24), 0);
    }

    #[test]
    fn a_login_names_user_response_and_plugin() {
        let read = Handshake::read(&handshake(ALL, NATIVE)).unwrap();
        assert_eq!(&read.login(false, b"root@sys", b"01234567890123456789")[32..], {
            b"root@sys\0\x1401234567890123456789mysql_native_password\0"
        });
        let without = Handshake::read(&handshake(NEEDED, NATIVE)).unwrap();
        assert_eq!(&without.login(false, b"u", b"")[32..], b"u\0\0");
    }
}
