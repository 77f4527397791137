//! Which IP addresses may be called: whoever answers for a trusted name could lead signed requests to a service inside
//! the network, such as the cloud's metadata service. Pure, except for the resolver.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// The addresses that may be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Addresses {
    /// Addresses that the whole Internet can reach.
    Public,
    /// Those, and the private addresses of VPC endpoints.
    Vpc,
    /// All addresses: whoever runs the operator named the host.
    Any,
}

/// Alibaba Cloud's metadata service, which gives a machine its credentials.
const METADATA: Ipv4Addr = Ipv4Addr::new(100, 100, 100, 200);

impl Addresses {
    /// Whether `address` may be called. Loopback, link-local and metadata addresses are neither public nor private.
    #[must_use]
    pub fn allow(self, address: IpAddr) -> bool {
        match (self, address) {
            (Self::Any, _) => true,
            (_, IpAddr::V4(address)) => is_public_v4(address) || self == Self::Vpc && is_private_v4(address),
            (_, IpAddr::V6(address)) => match inner_v4(address) {
                Some(inner) => self.allow(inner.into()),
                None => is_public_v6(address) || self == Self::Vpc && address.is_unique_local(),
            },
        }
    }

    /// The addresses in `found` that may be called; the error names one of them if none may be called.
    fn among(self, host: &str, found: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, NotAllowed> {
        let (allowed, refused): (Vec<_>, Vec<_>) = found.into_iter().partition(|found| self.allow(found.ip()));
        match refused.first() {
            Some(refused) if allowed.is_empty() => Err(NotAllowed(host.to_owned(), refused.ip())),
            _ => Ok(allowed),
        }
    }
}

/// A host name resolves to no address that may be called.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0} leads to {1}, which is no address for it: use network VPC for a VPC endpoint, or --allow-endpoint (for STS, --sts-endpoint)"
)]
struct NotAllowed(String, IpAddr);

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [first, second, third, _] = address.octets();
    let is_special = match (first, second) {
        // "This network" (0/8), carrier-grade NAT, benchmarking, and multicast and above.
        (0 | 224.., _) | (100, 64..=127) | (198, 18 | 19) => true,
        // IETF protocol assignments.
        (192, 0) => third == 0,
        _ => false,
    };
    !(is_special
        || address.is_documentation()
        || address.is_private()
        || address.is_loopback()
        || address.is_link_local())
}

/// The shared range (100.64/10) counts as private, as Alibaba Cloud has services in it.
fn is_private_v4(address: Ipv4Addr) -> bool {
    let is_shared = matches!(address.octets(), [100, 64..=127, ..]);
    address.is_private() || is_shared && address != METADATA
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    match address.segments() {
        // IETF protocol assignments and documentation.
        [0x2001, second, ..] => second > 0x01ff && second != 0x0db8,
        [0x3fff, second, ..] => second > 0x0fff,
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

/// The IPv4 address that this address leads to: mapped, translated (NAT64) or tunnelled (6to4).
fn inner_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let join = |high: u16, low: u16| Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low));
    match address.segments() {
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => {
            Some(join(high, low))
        }
        _ => None,
    }
}

/// Resolves names like the system and drops addresses that may not be called, so that a checked address is called.
#[derive(Clone, Copy, Debug)]
pub struct Resolver(pub Addresses);

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let addresses = self.0;
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let allowed = addresses.among(name.as_str(), found.collect())?;
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(addresses: Addresses, texts: &[&str]) -> Vec<bool> {
        texts.iter().map(|text| addresses.allow(text.parse().unwrap())).collect()
    }

    const PUBLIC: [&str; 4] = ["47.96.1.2", "198.17.0.1", "2408:4000::1", "2002:2f60:102::1"];
    const PRIVATE: [&str; 7] =
        ["10.0.0.1", "172.16.0.1", "192.168.1.1", "100.118.28.4", "fd00::1", "::ffff:10.0.0.1", "64:ff9b::a00:1"];
    const NEVER: [&str; 26] = [
        "127.0.0.1",
        "127.8.8.8",
        "169.254.169.254",
        "100.100.100.200",
        "0.0.0.0",
        "0.1.2.3",
        "192.0.0.170",
        "192.0.2.1",
        "198.18.0.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "fe80::1",
        "fec0::1",
        "ff02::1",
        "2001::1",
        "2001:db8::1",
        "3fff::1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "64:ff9b::6464:64c8",
        "64:ff9b::a9fe:a9fe",
        "2002:7f00:1::1",
        "::7f00:1",
    ];

    #[test]
    fn a_public_name_is_called_at_public_addresses_only() {
        assert_eq!(allowed(Addresses::Public, &PUBLIC), [true; 4]);
        assert_eq!(allowed(Addresses::Public, &PRIVATE), [false; 7]);
        assert_eq!(allowed(Addresses::Public, &NEVER), [false; 26]);
    }

    #[test]
    fn a_vpc_endpoint_may_be_private_but_not_on_this_machine_or_link() {
        assert_eq!(allowed(Addresses::Vpc, &PUBLIC), [true; 4]);
        assert_eq!(allowed(Addresses::Vpc, &PRIVATE), [true; 7]);
        assert_eq!(allowed(Addresses::Vpc, &NEVER), [false; 26]);
    }

    #[test]
    fn a_host_of_the_operators_own_flags_may_be_anywhere() {
        assert_eq!(allowed(Addresses::Any, &NEVER), [true; 26]);
    }

    #[test]
    fn of_several_addresses_only_those_that_may_be_called_are_left() {
        let found = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<SocketAddr>>();
        let public = found(&["47.96.1.2:0"]);
        assert_eq!(Addresses::Public.among("h", found(&["127.0.0.1:0", "47.96.1.2:0"])), Ok(public));
        let refused = Addresses::Public.among("h.aliyuncs.com", found(&["10.0.0.1:0", "[::1]:0"])).unwrap_err();
        assert!(refused.to_string().starts_with("h.aliyuncs.com leads to 10.0.0.1, which is no"), "{refused}");
        assert_eq!(Addresses::Public.among("h", vec![]), Ok(vec![]));
    }
}
