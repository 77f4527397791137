//! From a connected socket to a logged-in connection. Does I/O.
//!
//! Nothing is sent before the server's well-formed handshake, and with TLS neither user name nor hash before its
//! certificate is verified.

use std::sync::Arc;

use secrecy::SecretString;
use zeroize::Zeroizing;

use super::answer::done;
use super::auth::{response, switched};
use super::error::{Broken, OpenError, ServerError};
use super::handshake::{Handshake, MAX_HANDSHAKE};
use super::packet::{MAX_PACKET, Packets, Socket};
use super::tls::{Tls, secure};

/// Who logs in.
#[derive(Clone, Debug)]
pub struct Login {
    /// The user, with its tenant if the server has tenants: `user@tenant`.
    pub user: String,
    /// The password; it may be empty.
    pub password: SecretString,
}

/// A logged-in connection.
pub(super) struct LoggedIn {
    pub(super) packets: Packets<Box<dyn Socket>>,
    pub(super) handshake: Handshake,
}

/// Logs in over `socket`.
pub(super) async fn log_in(socket: impl Socket + 'static, tls: &Tls, login: &Login) -> Result<LoggedIn, OpenError> {
    if login.user.contains('\0') {
        return Err(OpenError::Unsupported("the user name has a zero byte".to_owned()));
    }
    let mut packets = Packets::new(socket);
    let handshake = greeted(&mut packets).await?;
    let mut packets: Packets<Box<dyn Socket>> = match tls {
        Tls::Disabled => packets.over(async |socket| Ok::<_, OpenError>(Box::new(socket) as _)).await?,
        Tls::Verified { config, name } => {
            if !handshake.offers_tls() {
                let text =
                    "the server offers no TLS: switch it on there (ssl_client_authentication), or see spec.sql.tls";
                return Err(OpenError::Unsupported(text.to_owned()));
            }
            packets.write(&handshake.tls_request()).await.map_err(Broken::while_opening)?;
            let (config, name) = (Arc::clone(config), name.clone());
            let secured = async |socket| Ok(Box::new(secure(socket, config, name).await?) as _);
            packets.over(secured).await?
        }
    };
    let is_tls = matches!(tls, Tls::Verified { .. });
    authenticate(&mut packets, &handshake, is_tls, login).await?;
    Ok(LoggedIn { packets, handshake })
}

/// The server's handshake, after which it has sent nothing more.
async fn greeted<S: Socket>(packets: &mut Packets<S>) -> Result<Handshake, OpenError> {
    let packet = packets.read(MAX_HANDSHAKE).await.map_err(|broken| match broken {
        Broken::Closed => OpenError::Unreachable("the server closed the connection before its handshake".to_owned()),
        broken => broken.while_opening(),
    })?;
    if let Some(error) = ServerError::read(packet) {
        return Err(OpenError::Refused(error));
    }
    let handshake = Handshake::read(packet).map_err(Broken::while_opening)?;
    // What came in the same piece came before TLS, and would count as if it had come after.
    if packets.has_unread() {
        return Err(Broken::Unasked.while_opening());
    }
    Ok(handshake)
}

async fn authenticate(
    packets: &mut Packets<Box<dyn Socket>>,
    handshake: &Handshake,
    is_tls: bool,
    login: &Login,
) -> Result<(), OpenError> {
    // A server with another plugin of its own asks again by the user's plugin: until then it gets no hash.
    let answer = if handshake.is_native { response(&login.password, handshake.nonce) } else { Zeroizing::default() };
    let packet = handshake.login(is_tls, login.user.as_bytes(), &answer);
    packets.write(&packet).await.map_err(Broken::while_opening)?;
    let packet = packets.read(MAX_PACKET).await.map_err(Broken::while_opening)?;
    if packet.first() != Some(&SWITCH) {
        return logged_in(packet);
    }
    let answer = response(&login.password, switched(packet)?);
    packets.write(&answer).await.map_err(Broken::while_opening)?;
    logged_in(packets.read(MAX_PACKET).await.map_err(Broken::while_opening)?)
}

/// The first byte of a request for another plugin.
const SWITCH: u8 = 0xfe;

fn logged_in(packet: &[u8]) -> Result<(), OpenError> {
    if let Some(error) = ServerError::read(packet) {
        return Err(OpenError::Refused(error));
    }
    let unsupported = match packet.first() {
        Some(0) => return done(packet).map_err(Broken::while_opening),
        Some(1) => "the server asks for more than mysql_native_password answers",
        Some(&SWITCH) => "the server asks for another plugin twice",
        _ => "the server sent no answer to the login",
    };
    Err(OpenError::Unsupported(unsupported.to_owned()))
}
