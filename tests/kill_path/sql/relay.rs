//! A relay between the operator and a SQL server. It holds or loses the statements that a test chooses, on their way to the
//! server or on the way back, so that a test can act at an exact point of a kill.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::OwnedReadHalf;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::scene::eventually;

/// What happens to a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It does not go on to the server until the test lets it.
    HeldBefore,
    /// The server has it, and its answer does not go on until the test lets it.
    HeldAfter,
    /// The connection is closed instead.
    LostBefore,
    /// The server has it, and the connection is closed before its answer.
    LostAfter,
}

/// The command of a packet with a statement.
const COM_QUERY: u8 = 3;

/// A running relay. It ends when it is dropped.
pub struct SqlRelay {
    address: SocketAddr,
    rules: Rules,
    serving: AbortHandle,
}

type Rules = Arc<Mutex<Vec<Arc<Rule>>>>;

/// A rule for all statements with a text, from the test that made it until it is released.
pub struct Rule {
    text: &'static str,
    fate: Fate,
    met: watch::Sender<usize>,
    released: watch::Sender<bool>,
}

impl Rule {
    /// How many statements it has met.
    pub fn count(&self) -> usize {
        *self.met.borrow()
    }

    /// Waits until a statement meets it.
    pub async fn reached(&self) {
        let what = format!("a statement with {} to be {:?}", self.text, self.fate);
        eventually(&what, async || if self.count() > 0 { Ok(()) } else { Err("none came".to_owned()) }).await;
    }

    /// Lets those that are held go on, and later ones pass.
    pub fn release(&self) {
        self.released.send_replace(true);
    }

    async fn wait(&self) {
        let _ = self.released.subscribe().wait_for(|released| *released).await;
    }
}

impl Drop for SqlRelay {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl SqlRelay {
    /// Starts it in front of the server on this port of 127.0.0.1.
    pub async fn start(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let rules = Rules::default();
        let for_all = rules.clone();
        let serving = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let rules = for_all.clone();
                tokio::spawn(async move {
                    if let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await {
                        relay(client, server, &rules).await;
                    }
                });
            }
        });
        Self { address, rules, serving: serving.abort_handle() }
    }

    /// Where the operator connects.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// Gives all statements with this text this fate.
    pub fn rule(&self, text: &'static str, fate: Fate) -> Arc<Rule> {
        let rule = Rule { text, fate, met: watch::Sender::new(0), released: watch::Sender::new(false) };
        let rule = Arc::new(rule);
        self.rules.lock().unwrap().push(rule.clone());
        rule
    }
}

/// Relays one connection until one side closes it or a rule loses it.
async fn relay(client: TcpStream, server: TcpStream, rules: &Rules) {
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
        (client.into_split(), server.into_split());
    // Held while an answer must not go on.
    let gate = tokio::sync::Mutex::new(());
    let answers = watch::Sender::new(0_usize);
    let there = async {
        while let Ok(Some(packet)) = packet(&mut from_client).await {
            let rule = met(&packet, rules);
            match rule.as_ref().map(|rule| rule.fate) {
                Some(Fate::LostBefore) => return,
                Some(Fate::HeldBefore) => rule.as_ref().unwrap().wait().await,
                Some(Fate::LostAfter) => {
                    let _closed = gate.lock().await;
                    let before = *answers.borrow();
                    let _ = to_server.write_all(&packet).await;
                    // The server has executed it when its answer is there.
                    let _ = answers.subscribe().wait_for(|answers| *answers > before).await;
                    return;
                }
                Some(Fate::HeldAfter) => {
                    let _closed = gate.lock().await;
                    if to_server.write_all(&packet).await.is_err() {
                        return;
                    }
                    rule.as_ref().unwrap().wait().await;
                    continue;
                }
                None => {}
            }
            if to_server.write_all(&packet).await.is_err() {
                return;
            }
        }
    };
    let back = async {
        let mut piece = vec![0; 64 * 1024];
        while let Ok(length @ 1..) = from_server.read(&mut piece).await {
            answers.send_modify(|answers| *answers += 1);
            let _open = gate.lock().await;
            if to_client.write_all(&piece[..length]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = there => {}
        () = back => {}
    }
}

/// One packet with its header; `None` at the end.
async fn packet(from: &mut OwnedReadHalf) -> std::io::Result<Option<Vec<u8>>> {
    let mut packet = vec![0; 4];
    if let Err(error) = from.read_exact(&mut packet).await {
        return if error.kind() == std::io::ErrorKind::UnexpectedEof { Ok(None) } else { Err(error) };
    }
    let length = usize::from(packet[0]) | usize::from(packet[1]) << 8 | usize::from(packet[2]) << 16;
    packet.resize(4 + length, 0);
    from.read_exact(&mut packet[4..]).await?;
    Ok(Some(packet))
}

/// The rule that a packet meets.
fn met(packet: &[u8], rules: &Rules) -> Option<Arc<Rule>> {
    let statement = packet.get(4..).and_then(|payload| payload.strip_prefix(&[COM_QUERY]))?;
    let statement = String::from_utf8_lossy(statement).into_owned();
    let rules = rules.lock().unwrap();
    let rule = rules.iter().find(|rule| statement.contains(rule.text) && !*rule.released.borrow())?;
    rule.met.send_modify(|met| *met += 1);
    Some(rule.clone())
}
