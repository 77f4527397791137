//! How a connection begins: what the server says first, and what it learns from the client before it answers.

use std::{io, sync::Arc};

use rustls::ServerConfig;
use sha1::{Digest, Sha1};
use tokio::{io::AsyncReadExt, net::TcpStream, time::sleep};
use tokio_rustls::TlsAcceptor;

use super::{
    greeting::{Greeting, Login},
    reply::SqlError,
    shared::Shared,
    wire::{self, Wire, capability},
};

const NATIVE: &str = "mysql_native_password";
const CACHING: &str = "caching_sha2_password";
/// How a client without TLS begins to send its password.
const ASKS_FOR_KEY: [u8; 1] = [2];
const PERFORM_FULL_AUTHENTICATION: [u8; 2] = [1, 4];

/// Greets a client. Returns its connection if it may ask something.
pub(super) async fn greet(stream: TcpStream, login: &mut Login, id: u32, shared: &Shared) -> io::Result<Option<Wire>> {
    let (greeting, tls, version) = shared.first_words();
    let peer = stream.peer_addr()?;
    let mut wire = Wire::new(stream);
    match greeting {
        Greeting::Close => return Ok(None),
        Greeting::Refuse(error) => {
            wire.send(wire::error(&error)).await?;
            return Ok(None);
        }
        Greeting::Silent => return listen(wire, login, shared).await,
        Greeting::NotMysql => {
            wire.send_raw(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await?;
            return listen(wire, login, shared).await;
        }
        Greeting::Raw(bytes) => {
            wire.send_raw(&bytes).await?;
            return listen(wire, login, shared).await;
        }
        Greeting::Late(pause) => sleep(pause).await,
        _ => {}
    }
    login.nonce = std::array::from_fn(|_| fastrand::u8(1..127));
    let plugin = if let Greeting::Plugin(plugin) = &greeting { plugin } else { NATIVE };
    let offers_tls = tls.is_some() || matches!(greeting, Greeting::BreakTls);
    wire.send(wire::greeting(&version, id, &login.nonce, plugin, offers_tls)).await?;

    let mut packet = hear(&mut wire, login, shared).await?;
    if asks_for_tls(&packet) {
        let Some(tls) = tls.filter(|_| !matches!(greeting, Greeting::BreakTls)) else {
            wire.send_raw(b"this is not TLS").await?;
            return Ok(None);
        };
        wire = secure(wire, tls).await?;
        login.tls = true;
        packet = wire.receive().await?;
    }
    read(&packet, login);
    shared.note(login);
    if let Some(error) = decide(&mut wire, &greeting, login, shared).await? {
        wire.send(wire::error(&error)).await?;
        return Ok(None);
    }
    login.accepted = true;
    shared.note(login);
    shared.enter(id, &login.user, peer);
    wire.send(wire::ok()).await?;
    Ok(Some(wire))
}

/// Asks for more, if the greeting says so. The error with which the login is refused, if any.
async fn decide(
    wire: &mut Wire,
    greeting: &Greeting,
    login: &mut Login,
    shared: &Shared,
) -> io::Result<Option<SqlError>> {
    let plugin = match greeting {
        Greeting::RefuseLogin(error) => return Ok(Some(error.clone())),
        Greeting::Plugin(plugin) => plugin.as_str(),
        Greeting::AuthSwitch(plugin) => {
            wire.send(wire::auth_switch(plugin, &login.nonce)).await?;
            demand(wire, login, shared).await?;
            plugin
        }
        _ => NATIVE,
    };
    if plugin == CACHING {
        wire.send(PERFORM_FULL_AUTHENTICATION.into()).await?;
        demand(wire, login, shared).await?;
        // There is no key: that the client asked for one is all that a test wants to know.
        if login.more_auth.last().is_some_and(|answer| *answer == ASKS_FOR_KEY) {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
    }
    let proof = login.more_auth.last().unwrap_or(&login.auth);
    let is_known = plugin != NATIVE || shared.knows(&login.user, |password| *proof == scramble(password, &login.nonce));
    Ok((!is_known).then(|| SqlError::access_denied(&login.user)))
}

async fn demand(wire: &mut Wire, login: &mut Login, shared: &Shared) -> io::Result<()> {
    let answer = if login.tls { wire.receive().await? } else { hear(wire, login, shared).await? };
    login.more_auth.push(answer);
    shared.note(login);
    Ok(())
}

/// The next packet, which came without TLS.
async fn hear(wire: &mut Wire, login: &mut Login, shared: &Shared) -> io::Result<Vec<u8>> {
    let packet = wire.receive().await?;
    login.clear.extend(wire::header(packet.len(), wire.sequence.wrapping_sub(1)));
    login.clear.extend(&packet);
    shared.note(login);
    Ok(packet)
}

/// Notes what the client says to a server that does not listen to it.
async fn listen(mut wire: Wire, login: &mut Login, shared: &Shared) -> io::Result<Option<Wire>> {
    let mut buffer = [0; 4096];
    loop {
        let length = wire.stream.read(&mut buffer).await?;
        if length == 0 {
            return Ok(None);
        }
        login.clear.extend(&buffer[..length]);
        shared.note(login);
    }
}

async fn secure(wire: Wire, tls: Arc<ServerConfig>) -> io::Result<Wire> {
    let sequence = wire.sequence;
    let stream = TlsAcceptor::from(tls).accept(wire.stream).await?;
    Ok(Wire { stream: Box::new(stream), sequence })
}

fn capabilities(packet: &[u8]) -> u32 {
    packet.first_chunk().copied().map_or(0, u32::from_le_bytes)
}

/// A login without a user, of the fixed length, and with the capability.
fn asks_for_tls(packet: &[u8]) -> bool {
    packet.len() == 32 && capabilities(packet) & capability::SSL != 0
}

/// Reads what there is: a login that ends early has empty fields.
fn read(packet: &[u8], login: &mut Login) {
    login.capabilities = capabilities(packet);
    let has = |capability| login.capabilities & capability != 0;
    let mut rest = packet.get(32..).unwrap_or_default();
    login.user = text(&mut rest);
    // A longer length than a byte's takes a password that no hash has.
    let length = rest.split_off_first().copied().unwrap_or_default();
    login.auth = rest.split_off(..usize::from(length).min(rest.len())).unwrap_or_default().to_vec();
    login.database = has(capability::CONNECT_WITH_DB).then(|| text(&mut rest));
    login.plugin = has(capability::PLUGIN_AUTH).then(|| text(&mut rest));
}

fn text(rest: &mut &[u8]) -> String {
    let end = rest.iter().position(|byte| *byte == 0).unwrap_or(rest.len());
    let text = String::from_utf8_lossy(&rest[..end]).into_owned();
    *rest = rest.get(end + 1..).unwrap_or_default();
    text
}

/// `mysql_native_password`.
fn scramble(password: &str, nonce: &[u8; 20]) -> Vec<u8> {
    if password.is_empty() {
        return vec![];
    }
    let once = Sha1::digest(password);
    let twice = Sha1::digest(once);
    let mask = Sha1::new().chain_update(nonce).chain_update(twice).finalize();
    once.iter().zip(mask).map(|(left, right)| left ^ right).collect()
}
