//! What the connections share: the cluster, the orders of the test, and the records.

use std::{
    collections::HashSet,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rustls::ServerConfig;
use tokio::sync::watch::Sender;

use super::{
    cluster::{Cluster, Memory},
    greeting::{Greeting, Login},
    reply::{Reply, Rule, SqlError, Table},
};

/// A statement as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// The number of the connection, from 0.
    pub connection: usize,
    /// The text. A command that is no statement is `command` and its number.
    pub text: String,
}

/// What the connections share.
pub(super) struct Shared {
    state: Mutex<State>,
    /// How often all connections were closed.
    pub(super) closings: Sender<u32>,
}

pub(super) struct State {
    pub(super) cluster: Cluster,
    pub(super) accounts: Vec<(String, String)>,
    pub(super) greeting: Greeting,
    pub(super) tls: Option<Arc<ServerConfig>>,
    pub(super) rules: Vec<Rule>,
    pub(super) logins: Vec<Login>,
    pub(super) statements: Vec<Statement>,
    pub(super) files: Vec<Vec<u8>>,
    /// The IDs of the connections that were let in and are there, and the most at once so far.
    pub(super) present: HashSet<u32>,
    pub(super) most_at_once: usize,
}

impl State {
    pub(super) fn new(cluster: Cluster, accounts: Vec<(String, String)>, tls: Option<Arc<ServerConfig>>) -> Self {
        Self {
            cluster,
            accounts,
            greeting: Greeting::Normal,
            tls,
            rules: vec![],
            logins: vec![],
            statements: vec![],
            files: vec![],
            present: HashSet::new(),
            most_at_once: 0,
        }
    }
}

impl Shared {
    pub(super) fn new(state: State) -> Self {
        Self { state: Mutex::new(state), closings: Sender::new(0) }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records a connection. Returns its number.
    pub(super) fn arrive(&self) -> usize {
        let mut state = self.state();
        let number = state.logins.len();
        state.logins.push(Login { connection: number, ..Login::default() });
        number
    }

    /// Replaces what is known of a login.
    pub(super) fn note(&self, login: &Login) {
        self.state().logins[login.connection] = login.clone();
    }

    pub(super) fn note_file(&self, content: Vec<u8>) {
        self.state().files.push(content);
    }

    /// The greeting, the certificate, and the version.
    pub(super) fn first_words(&self) -> (Greeting, Option<Arc<ServerConfig>>, String) {
        let state = self.state();
        (state.greeting.clone(), state.tls.clone(), state.cluster.version.clone())
    }

    /// Whether the user may log in with a password that fits.
    pub(super) fn knows(&self, user: &str, fits: impl Fn(&str) -> bool) -> bool {
        let accounts = &self.state().accounts;
        accounts.is_empty() || accounts.iter().any(|(name, password)| name == user && fits(password))
    }

    /// Adds the row of a connection.
    pub(super) fn enter(&self, id: u32, user: &str, peer: SocketAddr) {
        let mut state = self.state();
        let user = user.split('@').next().unwrap_or_default();
        let row = state.cluster.own.clone().named(id).with("USER", user).with("HOST", peer.to_string());
        state.cluster.sessions.push(row);
        state.present.insert(id);
        state.most_at_once = state.most_at_once.max(state.present.len());
    }

    /// Removes the row of a connection.
    pub(super) fn leave(&self, id: u32) {
        let mut state = self.state();
        state.present.remove(&id);
        state.cluster.sessions.retain(|session| session.id() != id);
    }

    /// Records a statement, and decides what is done with it. `None` means that the connection was killed.
    pub(super) fn reply_to(&self, connection: usize, text: &str, id: u32) -> Option<Reply> {
        let mut state = self.state();
        if !state.cluster.sessions.iter().any(|session| session.id() == id) {
            return None;
        }
        state.statements.push(Statement { connection, text: text.into() });
        let upper = text.to_uppercase();
        let rule = state.rules.iter_mut().find_map(|rule| rule.takes(&upper).then(|| rule.reply.clone()));
        Some(rule.unwrap_or(Reply::Execute))
    }

    pub(super) fn execute(&self, text: &str, memory: &mut Memory) -> Result<Option<Table>, SqlError> {
        self.state().cluster.execute(text, memory)
    }
}
