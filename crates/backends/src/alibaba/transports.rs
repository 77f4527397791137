//! The HTTP clients of the process: one for each kind of addresses, as each reads all certificates. No I/O of its own.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, PoisonError};

use super::transport::Transport;
use crate::addresses::Addresses;

/// Makes each HTTP client once. No `Debug`: the URL of the proxy may hold a password.
pub struct Transports {
    proxy: Option<String>,
    made: Mutex<HashMap<Addresses, Transport>>,
}

impl Transports {
    /// All of them call through the proxy with this URL, if there is one.
    #[must_use]
    pub fn new(proxy: Option<String>) -> Self {
        Self { proxy, made: Mutex::default() }
    }

    /// The one that calls these addresses only. Fails if the URL of the proxy or the system's certificates cannot be read.
    pub fn to(&self, addresses: Addresses) -> Result<Transport, String> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        match made.entry(addresses) {
            Entry::Occupied(made) => Ok(made.get().clone()),
            Entry::Vacant(place) => {
                let transport = Transport::new(addresses, self.proxy.as_deref());
                let transport = transport.map_err(|error| format!("cannot make an HTTP client: {error}"))?;
                Ok(place.insert(transport).clone())
            }
        }
    }
}
