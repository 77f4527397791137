//! Which server is called, at which addresses. Does I/O: resolves names.
//!
//! The name is resolved here, each address is checked, and only checked ones are dialled: whoever answers for a name could
//! otherwise lead the operator to any address inside the network.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;

use ipnet::IpNet;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use super::wire::{Address, Tls};
use crate::addresses::Addresses;

/// A server that whoever runs the operator allows, by `--allow-sql-host`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AllowedHost {
    /// Exactly this host and port, whatever its addresses.
    Host(Host),
    /// Every host all of whose addresses are in this range.
    Range(IpNet),
}

/// A host name or an IP address, and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// The name or address, in lower case, without brackets.
    pub name: String,
    /// The port.
    pub port: u16,
}

impl FromStr for Host {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refusal = || "not a server: write HOST:PORT, such as db.example:2881 or [fd00::1]:2881".to_owned();
        let (name, port) = text.rsplit_once(':').ok_or_else(refusal)?;
        let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
        let is_name = |name: &str| {
            let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
            (1..=253).contains(&name.len()) && name.bytes().all(inner) && !name.starts_with(['-', '.'])
        };
        let is_host = bare.map_or_else(|| is_name(name), |address| address.parse::<IpAddr>().is_ok());
        let port = port.parse().ok().filter(|port| *port > 0 && is_host).ok_or_else(refusal)?;
        Ok(Self { name: bare.unwrap_or(name).to_ascii_lowercase(), port })
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, port } = self;
        if name.contains(':') { write!(f, "[{name}]:{port}") } else { write!(f, "{name}:{port}") }
    }
}

impl FromStr for AllowedHost {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refusal =
            "not a server and not a range: write HOST:PORT, such as db.example:2881, or a range, such as 10.1.0.0/16";
        let text = text.trim();
        if let Ok(range) = text.parse() {
            return Ok(Self::Range(range));
        }
        text.parse().map(Self::Host).map_err(|_| refusal.to_owned())
    }
}

/// Which addresses of a server may be dialled.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Rule {
    /// Those of a kind.
    Kind(Addresses),
    /// Those in one of these ranges.
    Ranges(Vec<IpNet>),
}

/// The server of a connection.
#[derive(Clone, Debug)]
pub struct Server {
    host: Host,
    /// Where to look the addresses up: the host itself, unless its addresses are known.
    known: Vec<IpAddr>,
    rule: Rule,
    /// What a Service must not lead to.
    forbidden: Vec<IpAddr>,
    /// How it is verified.
    encryption: Encryption,
}

/// How a connection is encrypted.
#[derive(Clone, Debug)]
pub enum Encryption {
    /// Not at all.
    Disabled,
    /// By TLS.
    Verified {
        /// With the certificates of the CA.
        config: Arc<ClientConfig>,
        /// The name that its certificate must have; that of the host, if there is none.
        name: Option<String>,
        /// Differs from that of another CA and of another way to verify.
        digest: [u8; 32],
    },
}

impl Server {
    /// The server `host`, if one of `allowed` names it; the error says what to do.
    pub fn of_host(host: Host, allowed: &[AllowedHost], encryption: Encryption) -> Result<Self, String> {
        let is_named = allowed.contains(&AllowedHost::Host(host.clone()));
        let ranges: Vec<IpNet> = allowed
            .iter()
            .filter_map(|it| if let AllowedHost::Range(range) = it { Some(*range) } else { None })
            .collect();
        let rule = match (is_named, ranges.is_empty()) {
            (true, _) => Rule::Kind(Addresses::Any),
            (false, false) => Rule::Ranges(ranges),
            (false, true) => {
                return Err(format!(
                    "host {host} is not allowed: use service for a server in this cluster, or run the operator with \
                     --allow-sql-host={host}"
                ));
            }
        };
        Ok(Self { host, known: vec![], rule, forbidden: vec![], encryption })
    }

    /// The server behind a Service, which is called by `host`, or at these `known` addresses. It must not lead to
    /// `forbidden`, loopback, link-local or metadata addresses.
    #[must_use]
    pub const fn of_service(host: Host, known: Vec<IpAddr>, forbidden: Vec<IpAddr>, encryption: Encryption) -> Self {
        Self { host, known, rule: Rule::Kind(Addresses::Vpc), forbidden, encryption }
    }

    /// Whether the connection is encrypted.
    #[must_use]
    pub const fn is_encrypted(&self) -> bool {
        matches!(self.encryption, Encryption::Verified { .. })
    }

    /// What a connection to it was opened with: with another one it must be opened again.
    pub(super) fn identity(&self) -> String {
        let encryption = match &self.encryption {
            Encryption::Disabled => String::new(),
            Encryption::Verified { name, digest, .. } => format!("{} {name:?}", hex::encode(digest)),
        };
        format!("{self} {encryption}")
    }

    /// The addresses to dial now; the error says why there is none.
    pub(super) async fn resolve(&self) -> Result<Address, NoAddress> {
        let Host { name, port } = &self.host;
        let mut found: Vec<IpAddr> = self.known.clone();
        if found.is_empty() {
            let looked_up = tokio::net::lookup_host((name.as_str(), *port)).await;
            let looked_up = looked_up.map_err(|error| NoAddress::Unknown(format!("cannot resolve {name}: {error}")))?;
            found.extend(looked_up.map(|address| address.ip()));
        }
        let (allowed, refused): (Vec<_>, Vec<_>) = found.into_iter().partition(|address| self.allows(*address));
        if allowed.is_empty() {
            let refused = refused.first().map_or_else(|| "no address".to_owned(), ToString::to_string);
            return Err(NoAddress::NotAllowed(format!(
                "{} leads to {refused}, which the operator does not call for it: name another server, or run the \
                 operator with --allow-sql-host={}",
                self.host, self.host
            )));
        }
        let addresses = allowed.into_iter().map(|address| SocketAddr::new(address, *port)).collect();
        Ok(Address { addresses, tls: self.tls()? })
    }

    fn allows(&self, address: IpAddr) -> bool {
        let is_in_rule = match &self.rule {
            Rule::Kind(kind) => kind.allow(address),
            Rule::Ranges(ranges) => ranges.iter().any(|range| range.contains(&address.to_canonical())),
        };
        is_in_rule && !self.forbidden.contains(&address)
    }

    fn tls(&self) -> Result<Tls, NoAddress> {
        let Encryption::Verified { config, name, .. } = &self.encryption else { return Ok(Tls::Disabled) };
        let name = name.as_ref().unwrap_or(&self.host.name);
        let name = ServerName::try_from(name.clone()).map_err(|_| {
            NoAddress::Unknown(format!("{name} is no name that a certificate can have: set tls.serverName"))
        })?;
        Ok(Tls::Verified { config: config.clone(), name })
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.host.fmt(f)
    }
}

/// Why a server cannot be dialled.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NoAddress {
    /// It has no address now.
    Unknown(String),
    /// It has none that may be dialled.
    NotAllowed(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(text: &str) -> Host {
        text.parse().unwrap()
    }

    fn allowed(texts: &[&str]) -> Vec<AllowedHost> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn refusal(text: &str, flags: &[&str]) -> Option<String> {
        Server::of_host(host(text), &allowed(flags), Encryption::Disabled).err()
    }

    #[test]
    fn a_host_has_a_name_or_an_address_and_a_port() {
        assert_eq!(host("DB.example:2881"), Host { name: "db.example".to_owned(), port: 2881 });
        assert_eq!(host("[fd00::1]:2881").to_string(), "[fd00::1]:2881");
        for wrong in
            ["", "db", "db:", "db:0", "db:65536", ":1", "fd00::1:2881", "[db]:1", "a b:1", "-a:1", "a/b:1", "u@h:1"]
        {
            assert!(wrong.parse::<Host>().is_err(), "{wrong}");
        }
        for wrong in ["10.0.0.0/33", "10.0.0.0", "*"] {
            assert!(wrong.parse::<AllowedHost>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn only_an_allowed_host_is_called() {
        assert_eq!(refusal("db.example:2881", &["db.example:2881"]), None);
        for flags in [&[] as &[&str], &["db.example:2882"], &["db2.example:2881"]] {
            let refusal = refusal("db.example:2881", flags).unwrap();
            assert!(refusal.contains("--allow-sql-host=db.example:2881"), "{refusal}");
        }
    }

    #[tokio::test]
    async fn of_a_range_only_its_addresses_are_dialled() {
        let resolved = async |text: &str| {
            let server = Server::of_host(host(text), &allowed(&["10.1.0.0/16"]), Encryption::Disabled).unwrap();
            server.resolve().await.map(|address| address.addresses)
        };
        assert_eq!(resolved("10.1.2.3:2881").await, Ok(vec!["10.1.2.3:2881".parse().unwrap()]));
        assert_eq!(resolved("[::ffff:10.1.2.3]:2881").await.map(|found| found.len()), Ok(1));
        for outside in ["10.2.0.1:2881", "127.0.0.1:2881", "localhost:2881", "169.254.169.254:2881"] {
            assert!(matches!(resolved(outside).await, Err(NoAddress::NotAllowed(_))), "{outside}");
        }
    }

    #[tokio::test]
    async fn a_service_leads_to_no_special_address() {
        let api_server: IpAddr = "10.96.0.1".parse().unwrap();
        let resolved = async |address: &str| {
            let known = vec![address.parse().unwrap()];
            let host = host("ob.prod.svc:2881");
            Server::of_service(host, known, vec![api_server], Encryption::Disabled).resolve().await
        };
        assert!(resolved("10.96.7.7").await.is_ok());
        for special in ["10.96.0.1", "127.0.0.1", "169.254.169.254", "100.100.100.200", "::1", "fe80::1", "0.0.0.0"] {
            assert!(matches!(resolved(special).await, Err(NoAddress::NotAllowed(_))), "{special}");
        }
    }
}
