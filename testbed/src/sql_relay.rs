//! A relay between operators and a SQL server. It holds or loses the statements that a test chooses, on their way to the
//! server or on the way back, and records every statement in order. So a test can name "the second kill", and act at
//! exactly that point.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{
    io::{self, AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, tcp::OwnedReadHalf},
    sync::watch,
    task::AbortHandle,
};

use crate::sql_statements::kind_of;

/// The command of a packet with a statement.
const COM_QUERY: u8 = 3;

/// What happens to a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It does not go on to the server until the order is released. Then it does, even if its client is gone.
    HeldBefore,
    /// The server has answered it, and its answer does not go on until the order is released.
    HeldAfter,
    /// The connection is closed instead.
    LostBefore,
    /// The server has answered it, and the connection is closed before its answer.
    LostAfter,
}

/// A running relay. It ends when it is dropped.
pub struct SqlRelay {
    address: SocketAddr,
    shared: Arc<Shared>,
    serving: AbortHandle,
}

#[derive(Default)]
struct Shared {
    orders: Mutex<Vec<Arc<Order>>>,
    trace: Mutex<Vec<String>>,
}

type Which = Box<dyn Fn(&str) -> bool + Send + Sync>;

/// A fate, and the statements that get it.
pub struct Rule {
    which: Which,
    fate: Fate,
    skip: usize,
    times: usize,
}

impl Rule {
    /// `fate` for all statements for whose text `which` is true.
    pub fn new(fate: Fate, which: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        Self { which: Box::new(which), fate, skip: 0, times: usize::MAX }
    }

    /// `fate` for all statements of this [kind](kind_of).
    #[must_use]
    pub fn of(fate: Fate, kind: &str) -> Self {
        let kind = kind.to_owned();
        Self::new(fate, move |statement| kind_of(statement) == kind)
    }

    /// Lets this number of statements pass first.
    #[must_use]
    pub fn after(self, skip: usize) -> Self {
        Self { skip, ..self }
    }

    /// Applies to this number of statements only.
    #[must_use]
    pub fn times(self, times: usize) -> Self {
        Self { times, ..self }
    }
}

/// A rule in force, until it is released.
pub struct Order {
    rule: Rule,
    seen: Mutex<usize>,
    /// The clients whose statements have met it.
    met: watch::Sender<Vec<SocketAddr>>,
    released: watch::Sender<bool>,
}

impl Order {
    /// How many statements have met it.
    #[must_use]
    pub fn count(&self) -> usize {
        self.met.borrow().len()
    }

    /// Waits until a statement has met it. Returns the address from which its client is connected.
    pub async fn reached(&self) -> Option<SocketAddr> {
        let mut met = self.met.subscribe();
        let first = met.wait_for(|met| !met.is_empty()).await;
        first.ok().and_then(|met| met.first().copied())
    }

    /// Waits until it is released.
    pub async fn released(&self) {
        // The sender lives as long as `self`.
        let _ = self.released.subscribe().wait_for(|released| *released).await;
    }

    /// Lets those that are held go on, and later ones pass.
    pub fn release(&self) {
        self.released.send_replace(true);
    }

    fn meets(&self, statement: &str) -> bool {
        if *self.released.borrow() || !(self.rule.which)(statement) {
            return false;
        }
        let mut seen = locked(&self.seen);
        *seen += 1;
        *seen > self.rule.skip && *seen - self.rule.skip <= self.rule.times
    }

    fn note(&self, client: SocketAddr) {
        self.met.send_modify(|met| met.push(client));
    }
}

impl Drop for SqlRelay {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl SqlRelay {
    /// Starts it in front of the server on this port of 127.0.0.1.
    pub async fn start(port: u16) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::default());
        let for_all = shared.clone();
        let serving = tokio::spawn(async move {
            while let Ok((client, peer)) = listener.accept().await {
                let shared = for_all.clone();
                tokio::spawn(async move {
                    if let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await {
                        relay((client, peer), server, &shared).await;
                    }
                });
            }
        });
        Ok(Self { address, shared, serving: serving.abort_handle() })
    }

    /// Where operators connect.
    #[must_use]
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// From now on `rule` is in force. Each statement gets the first one that applies to it.
    #[expect(clippy::must_use_candidate, reason = "it is in force, whether somebody looks at it or not")]
    pub fn order(&self, rule: Rule) -> Arc<Order> {
        let order =
            Order { rule, seen: Mutex::default(), met: watch::Sender::default(), released: watch::Sender::new(false) };
        let order = Arc::new(order);
        locked(&self.shared.orders).push(order.clone());
        order
    }

    /// Gives all statements with this text this fate.
    #[expect(clippy::must_use_candidate, reason = "as above")]
    pub fn rule(&self, text: &'static str, fate: Fate) -> Arc<Order> {
        self.order(Rule::new(fate, move |statement| statement.contains(text)))
    }

    /// Ends all rules, and lets all statements go on that are held.
    pub fn clear(&self) {
        for order in std::mem::take(&mut *locked(&self.shared.orders)) {
            order.release();
        }
    }

    /// All statements so far, in the order in which they came.
    #[must_use]
    pub fn trace(&self) -> Vec<String> {
        locked(&self.shared.trace).clone()
    }
}

/// Relays one connection until one side closes it or a rule loses it.
async fn relay((client, peer): (TcpStream, SocketAddr), server: TcpStream, shared: &Shared) {
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
        (client.into_split(), server.into_split());
    // Held while an answer must not go on.
    let gate = tokio::sync::Mutex::new(());
    let answers = watch::Sender::new(0_usize);
    let there = async {
        while let Ok(Some(packet)) = packet(&mut from_client).await {
            let order = met(&packet, shared);
            let fate = order.as_ref().map(|order| order.rule.fate);
            let note = || order.iter().for_each(|order| order.note(peer));
            let released = async || {
                if let Some(order) = &order {
                    order.released().await;
                }
            };
            match fate {
                Some(Fate::LostBefore) => return note(),
                Some(Fate::HeldBefore) => {
                    note();
                    released().await;
                }
                Some(Fate::HeldAfter | Fate::LostAfter) => {
                    let _closed = gate.lock().await;
                    let before = *answers.borrow();
                    if to_server.write_all(&packet).await.is_err() {
                        return;
                    }
                    // The server has executed it when its answer is there.
                    let _ = answers.subscribe().wait_for(|answers| *answers > before).await;
                    note();
                    if fate == Some(Fate::LostAfter) {
                        return;
                    }
                    released().await;
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
async fn packet(from: &mut OwnedReadHalf) -> io::Result<Option<Vec<u8>>> {
    let mut packet = vec![0; 4];
    if let Err(error) = from.read_exact(&mut packet).await {
        return if error.kind() == io::ErrorKind::UnexpectedEof { Ok(None) } else { Err(error) };
    }
    let length = usize::from(packet[0]) | usize::from(packet[1]) << 8 | usize::from(packet[2]) << 16;
    packet.resize(4 + length, 0);
    from.read_exact(&mut packet[4..]).await?;
    Ok(Some(packet))
}

/// The order that a packet meets. Notes its statement, if it has one.
fn met(packet: &[u8], shared: &Shared) -> Option<Arc<Order>> {
    // A login has a later number in its conversation.
    let [_, _, _, 0, COM_QUERY, statement @ ..] = packet else { return None };
    let statement = String::from_utf8_lossy(statement).into_owned();
    locked(&shared.trace).push(statement.clone());
    locked(&shared.orders).iter().find(|order| order.meets(&statement)).cloned()
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
