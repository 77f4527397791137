//! Where calls go. Whoever chooses the endpoint can collect signed requests, so only the product's own hosts and those that
//! the operator's own flags name are ever called. Not any host of Alibaba Cloud: customers name hosts there, and read their
//! logs.

use std::net::Ipv6Addr;

use super::addresses::Addresses;

/// A base URL that may be called, and where its host may be.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    scheme: &'static str,
    /// The host, with its port unless that is the scheme's own.
    authority: String,
    addresses: Addresses,
}

const DOMAIN: &str = ".aliyuncs.com";
const PUBLIC: &str = "oceanbasepro.";
const VPC: &str = "oceanbasepro-vpc.";

/// The longest text of an endpoint, and of a region.
const MAX_ENDPOINT: usize = 253;
const MAX_REGION: usize = 64;

impl Endpoint {
    /// The endpoint of `region`, public or inside a VPC: the rule `regional` of the official SDKs, which carry no
    /// regional map. Its host may have private addresses inside a VPC only, and any if it is one of `allowed`.
    pub fn regional(region: &str, vpc: bool, allowed: &[Self]) -> Result<Self, EndpointError> {
        if !is_region(region) {
            return Err(EndpointError::NoRegion(region.to_owned()));
        }
        let authority = format!("{}{region}{DOMAIN}", if vpc { VPC } else { PUBLIC });
        let endpoint = Self { scheme: "https", authority, addresses: Addresses::Any };
        Ok(if allowed.contains(&endpoint) { endpoint } else { endpoint.within(vpc) })
    }

    /// An endpoint set by hand: one of the product's own hosts, always called over https at port 443; anything, anywhere,
    /// even over `http://`, if it equals one of `allowed`. `vpc` says that its host may have private addresses.
    pub fn custom(text: &str, vpc: bool, allowed: &[Self]) -> Result<Self, EndpointError> {
        let endpoint = Self::parse(text)?;
        if allowed.contains(&endpoint) {
            return Ok(endpoint);
        }
        if endpoint.is_the_products_own() {
            Ok(endpoint.within(vpc))
        } else {
            Err(EndpointError::NotAllowed(text.to_owned()))
        }
    }

    /// Checks the form only: for the operator's own flags, which may name any host at any address. What no connection could
    /// name is refused here, too, so that each flag allows something.
    pub fn parse(text: &str) -> Result<Self, EndpointError> {
        let malformed = || EndpointError::Malformed(text.to_owned());
        let (scheme, authority) = match text.split_once("://") {
            Some(("https", authority)) => ("https", authority),
            Some(("http", authority)) => ("http", authority),
            Some(_) => return Err(malformed()),
            None => ("https", text),
        };
        let authority = authority.strip_suffix('/').unwrap_or(authority).to_ascii_lowercase();
        let parsed: http::uri::Authority = authority.parse().map_err(|_| malformed())?;
        let host = parsed.host();
        // User information would change who is called in the eyes of a reader.
        if text.len() > MAX_ENDPOINT || authority.contains('@') || !is_host(host) {
            return Err(malformed());
        }
        // As the HTTP client will write it, because that is signed: a port without its leading zeros, the default one not at
        // all.
        let port = authority.strip_prefix(host).filter(|rest| !rest.is_empty());
        let port = port.map(|_| parsed.port_u16().filter(|port| *port > 0).ok_or_else(malformed)).transpose()?;
        let default = if scheme == "https" { 443 } else { 80 };
        let port = port.filter(|port| *port != default);
        let authority = port.map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        Ok(Self { scheme, authority, addresses: Addresses::Any })
    }

    /// The addresses at which it may be called.
    #[must_use]
    pub const fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// Whether the operator's own flags name it. Only such an endpoint is trusted with what is worth something elsewhere:
    /// signatures that do not cover the host, and keys that do not look like Alibaba Cloud's.
    #[must_use]
    pub const fn is_named_by_flag(&self) -> bool {
        matches!(self.addresses, Addresses::Any)
    }

    /// `host`, or `host:port` when the port is not the default: what the header and the signature say.
    #[must_use]
    pub fn host_header(&self) -> &str {
        &self.authority
    }

    /// The URL of every RPC call.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{self}/")
    }

    fn within(self, vpc: bool) -> Self {
        Self { addresses: if vpc { Addresses::Vpc } else { Addresses::Public }, ..self }
    }

    fn is_the_products_own(&self) -> bool {
        let host = self.authority.strip_suffix(DOMAIN).unwrap_or_default();
        let region = host.strip_prefix(PUBLIC).or_else(|| host.strip_prefix(VPC));
        self.scheme == "https" && region.is_some_and(is_region)
    }
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}://{}", self.scheme, self.authority)
    }
}

/// Whether a connection can name `host`: a name in lower case or an IPv4 address, or an IPv6 address in brackets.
fn is_host(host: &str) -> bool {
    if let Some(address) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return address.parse::<Ipv6Addr>().is_ok();
    }
    let is_alphanumeric = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    host.bytes().all(|byte| is_alphanumeric(&byte) || matches!(byte, b'.' | b'-'))
        && [host.as_bytes().first(), host.as_bytes().last()].iter().all(|end| end.is_some_and(is_alphanumeric))
}

/// What IDs of regions begin with, and what may follow the place: what the region is for.
const AREAS: [&str; 8] = ["af", "ap", "cn", "eu", "me", "na", "sa", "us"];
const PURPOSES: [&str; 5] = ["acdr", "finance", "gov", "jva", "lr"];

/// Whether `text` has the form of a region's ID, such as `cn-hangzhou`, `ap-southeast-1` or `cn-north-2-gov-1`. Not any label
/// has: with `oss-cn-hangzhou` the endpoint would be the host of a customer's bucket.
fn is_region(text: &str) -> bool {
    let is_number = |part: &&str| (1..=2).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
    let mut parts = text.split('-').peekable();
    let area = parts.next_if(|part| AREAS.contains(part));
    let place = parts.next_if(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase()));
    parts.next_if(is_number);
    if parts.next_if(|part| PURPOSES.contains(part)).is_some() {
        parts.next_if(is_number);
    }
    text.len() <= MAX_REGION && area.is_some() && place.is_some() && parts.next().is_none()
}

/// Why an endpoint is not called.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// Not the ID of a region.
    #[error("regionID {0:?} is not the ID of a region, such as cn-hangzhou: correct spec.regionID")]
    NoRegion(String),
    /// Not a host name with an optional port.
    #[error("endpoint {0:?} is not a host name with an optional port, such as oceanbasepro.cn-hangzhou.aliyuncs.com")]
    Malformed(String),
    /// A host that nobody vouched for.
    #[error(
        "endpoint {0:?} is neither oceanbasepro.REGION.aliyuncs.com nor oceanbasepro-vpc.REGION.aliyuncs.com at port 443: \
         remove spec.endpoint to use the region's own, or have the operator started with --allow-endpoint for exactly this \
         value"
    )]
    NotAllowed(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn regional(region: &str, vpc: bool, allowed: &[Endpoint]) -> Endpoint {
        Endpoint::regional(region, vpc, allowed).unwrap()
    }

    fn flags(texts: &[&str]) -> Vec<Endpoint> {
        texts.iter().map(|text| Endpoint::parse(text).unwrap()).collect()
    }

    #[test]
    fn regional_endpoints_follow_the_documented_rule() {
        assert_eq!(regional("cn-hangzhou", false, &[]).url(), "https://oceanbasepro.cn-hangzhou.aliyuncs.com/");
        assert_eq!(regional("cn-hangzhou", true, &[]).url(), "https://oceanbasepro-vpc.cn-hangzhou.aliyuncs.com/");
    }

    #[test]
    fn a_region_is_an_area_and_a_place_and_no_host_of_a_customer_is_made_of_it() {
        for good in [
            "cn-qingdao",
            "cn-hangzhou",
            "cn-hongkong",
            "ap-southeast-1",
            "ap-northeast-2",
            "eu-central-1",
            "us-west-1",
            "me-east-1",
            "na-south-1",
            "cn-hangzhou-finance",
            "cn-shanghai-finance-1",
            "cn-north-2-gov-1",
            "cn-heyuan-acdr-1",
            "cn-wuhan-lr",
            "cn-zhengzhou-jva",
        ] {
            assert!(Endpoint::regional(good, false, &[]).is_ok(), "{good}");
        }
        for bad in [
            "",
            "cn",
            "cn-",
            "oss-cn-hangzhou",
            "oss-accelerate",
            "img-cn-hangzhou",
            "rds",
            "cn-hangzhou-internal",
            "cn-hangzhou-vpc",
            "cn-hangzhou-",
            "cn--hangzhou",
            "cn-hangzhou-1-2",
            "cn-hangzhou-100",
            "cn-hangzhou.oss",
            "cn-hangzhou.evil.com/",
            "cn-hangzhou@evil",
            "cn-hangzhou\n",
            &format!("cn-{}", "a".repeat(62)),
        ] {
            for vpc in [false, true] {
                let refused = Endpoint::regional(bad, vpc, &[]);
                assert_eq!(refused, Err(EndpointError::NoRegion(bad.to_owned())));
            }
            assert!(Endpoint::custom(&format!("oceanbasepro.{bad}.aliyuncs.com"), false, &[]).is_err(), "{bad}");
        }
        assert!(Endpoint::regional("CN-hangzhou", false, &[]).is_err());
    }

    #[test]
    fn only_what_a_flag_names_is_called_at_any_address() {
        let allowed = flags(&["oceanbasepro.cn-hangzhou.aliyuncs.com", "oceanbasepro.cn-beijing.aliyuncs.com:443"]);
        for (vpc, addresses) in [(false, Addresses::Public), (true, Addresses::Vpc)] {
            assert_eq!(regional("cn-hangzhou", vpc, &[]).addresses(), addresses);
            let custom = "oceanbasepro.cn-beijing.aliyuncs.com";
            assert_eq!(Endpoint::custom(custom, vpc, &[]).unwrap().addresses(), addresses);
            assert_eq!(Endpoint::custom(custom, vpc, &allowed).unwrap().addresses(), Addresses::Any);
        }
        assert_eq!(regional("cn-hangzhou", false, &allowed).addresses(), Addresses::Any);
        assert_eq!(regional("cn-shanghai", false, &allowed).addresses(), Addresses::Public);
    }

    #[test]
    fn only_the_products_own_hosts_over_tls_at_their_port_are_called_without_a_flag() {
        for good in [
            "oceanbasepro.cn-hangzhou.aliyuncs.com",
            "https://oceanbasepro-vpc.cn-hangzhou.aliyuncs.com",
            "oceanbasepro.ap-southeast-1.aliyuncs.com:443",
        ] {
            let endpoint = Endpoint::custom(good, false, &[]).unwrap();
            assert!(!endpoint.is_named_by_flag(), "{good}");
        }
        for bad in [
            "evil.com",
            "aliyuncs.com",
            "evilaliyuncs.com",
            "x.aliyuncs.com",
            "anything.oss-cn-hangzhou.aliyuncs.com",
            "oceanbasepro.oss-cn-hangzhou.aliyuncs.com",
            "oceanbasepro-vpc.oss-cn-hangzhou.aliyuncs.com",
            "x.oceanbasepro.cn-hangzhou.aliyuncs.com",
            "alb-x.cn-hangzhou.alb.aliyuncs.com:8443",
            "oceanbasepro.cn-hangzhou.aliyuncs.com:8443",
            "http://oceanbasepro.cn-hangzhou.aliyuncs.com",
            "http://oceanbasepro.cn-hangzhou.aliyuncs.com:443",
            "oceanbasepro.cn-hangzhou.aliyuncs.com.evil.com",
            "169.254.169.254",
            "127.0.0.1:8080",
        ] {
            assert!(matches!(Endpoint::custom(bad, false, &[]), Err(EndpointError::NotAllowed(_))), "{bad}");
        }
    }

    #[test]
    fn what_no_connection_can_name_is_no_endpoint() {
        for bad in [
            "",
            "ftp://x",
            "user@x.aliyuncs.com",
            "x.aliyuncs.com/path",
            "x y",
            " x",
            "x ",
            "x.aliyuncs.com:",
            "x.aliyuncs.com.",
            "x:99999",
            "x:0",
            "a_b",
            "%41",
            "[::g]",
            "[]",
            "::1",
            &"a".repeat(254),
        ] {
            assert!(matches!(Endpoint::parse(bad), Err(EndpointError::Malformed(_))), "{bad}");
        }
    }

    #[test]
    fn a_flag_allows_exactly_its_value() {
        let allowed = flags(&["http://127.0.0.1:8080"]);
        assert!(Endpoint::custom("http://127.0.0.1:8080", false, &allowed).unwrap().is_named_by_flag());
        assert!(Endpoint::custom("http://127.0.0.1:8081", false, &allowed).is_err());
        assert!(Endpoint::custom("127.0.0.1:8080", false, &allowed).is_err());
        let upper = flags(&["https://Gateway.Example/"]);
        assert!(Endpoint::custom("gateway.example:443", false, &upper).unwrap().is_named_by_flag());
    }

    #[test]
    fn the_default_port_is_not_signed() {
        assert_eq!(Endpoint::parse("x.aliyuncs.com:443").unwrap().host_header(), "x.aliyuncs.com");
        assert_eq!(Endpoint::parse("x.aliyuncs.com:0443").unwrap().host_header(), "x.aliyuncs.com");
        assert_eq!(Endpoint::parse("http://h:8080").unwrap().host_header(), "h:8080");
        assert_eq!(Endpoint::parse("http://h:80").unwrap().url(), "http://h/");
        assert_eq!(Endpoint::parse("http://[::1]:8080").unwrap().host_header(), "[::1]:8080");
    }
}
