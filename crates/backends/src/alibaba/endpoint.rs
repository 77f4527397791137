//! Which endpoints may be called: whoever chooses one can collect signed requests. Only the product's own hosts and
//! those named by operator flags are allowed. Other Alibaba Cloud hosts are not: customers create host names there and
//! read their logs. Pure.

use std::net::Ipv6Addr;

use crate::addresses::Addresses;

/// A base URL that may be called, and the addresses that its host may have.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    scheme: &'static str,
    /// The host, and the port if it is not the scheme's default.
    authority: String,
    addresses: Addresses,
}

const DOMAIN: &str = ".aliyuncs.com";
const PUBLIC: &str = "oceanbasepro.";
const VPC: &str = "oceanbasepro-vpc.";

/// The Security Token Service without a region.
const STS: &str = "sts.aliyuncs.com";
/// Regions without a public STS of their own, by the endpoint map of the generated STS clients: they use [`STS`].
const WITHOUT_STS: [&str; 8] = [
    "ap-south-1",
    "ap-southeast-2",
    "cn-beijing-finance-1",
    "cn-beijing-gov-1",
    "cn-fujian",
    "cn-wuhan",
    "cn-yushanfang",
    "cn-zhangbei",
];
/// Regions whose STS has a VPC endpoint only, by the same map.
const WITH_STS_IN_VPC: [&str; 2] = ["cn-north-2-gov-1", "cn-shenzhen-finance-1"];

/// The most characters of an endpoint.
const MAX_ENDPOINT: usize = 253;
const MAX_REGION: usize = 64;

impl Endpoint {
    /// The endpoint of `region`, public or in a VPC, by the official SDKs' rule `regional` (they have no list of
    /// regions). Its host may have private addresses only in a VPC, and any address if it is one of `allowed`.
    pub fn regional(region: &str, vpc: bool, allowed: &[Self]) -> Result<Self, EndpointError> {
        if !is_region(region) {
            return Err(EndpointError::NoRegion(region.to_owned()));
        }
        let authority = format!("{}{region}{DOMAIN}", if vpc { VPC } else { PUBLIC });
        let endpoint = Self { scheme: "https", authority, addresses: Addresses::Any };
        Ok(if allowed.contains(&endpoint) { endpoint } else { endpoint.within(vpc) })
    }

    /// The endpoint of the Security Token Service in `region`, public or in a VPC. An OIDC token that is sent there is worth
    /// the same wherever it goes, so no other host is possible but `named`, which an operator flag names.
    pub fn sts(region: &str, vpc: bool, named: Option<&Self>) -> Result<Self, EndpointError> {
        if let Some(named) = named {
            return Ok(named.clone());
        }
        if !is_region(region) {
            return Err(EndpointError::NoRegion(region.to_owned()));
        }
        // It is served by the hosts of its neighbour.
        let region = if region == "cn-hangzhou-finance" { "cn-hangzhou" } else { region };
        let vpc = vpc || WITH_STS_IN_VPC.contains(&region);
        let authority = match vpc {
            true => format!("sts-vpc.{region}{DOMAIN}"),
            false if WITHOUT_STS.contains(&region) => STS.to_owned(),
            false => format!("sts.{region}{DOMAIN}"),
        };
        Ok(Self { scheme: "https", authority, addresses: Addresses::Any }.within(vpc))
    }

    /// An endpoint from a connection's spec: one of the product's own hosts, over https on port 443, or any URL that
    /// equals one of `allowed`, even with `http://`. With `vpc`, the product's hosts may have private addresses.
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

    /// Parses an endpoint without a check of its host: for the operator's flags, which may name any host. It refuses
    /// what no connection could name, so that each flag allows something.
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
        // User information would deceive a reader about which host is called.
        if text.len() > MAX_ENDPOINT || authority.contains('@') || !is_host(host) {
            return Err(malformed());
        }
        // The HTTP client writes a port without leading zeros and omits the default port; the signature covers the host
        // as written.
        let port = authority.strip_prefix(host).filter(|rest| !rest.is_empty());
        let port = port.map(|_| parsed.port_u16().filter(|port| *port > 0).ok_or_else(malformed)).transpose()?;
        let default = if scheme == "https" { 443 } else { 80 };
        let port = port.filter(|port| *port != default);
        let authority = port.map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        Ok(Self { scheme, authority, addresses: Addresses::Any })
    }

    /// The addresses that it may be called at.
    #[must_use]
    pub const fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// Whether an operator flag names it. Only such an endpoint is trusted with what would be valuable elsewhere:
    /// signatures that do not cover the host, and keys of an unknown form.
    #[must_use]
    pub const fn is_named_by_flag(&self) -> bool {
        matches!(self.addresses, Addresses::Any)
    }

    /// `host`, or `host:port` for a port other than the default, as in the header and the signature.
    #[must_use]
    pub fn host_header(&self) -> &str {
        &self.authority
    }

    /// The URL of all RPC calls.
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

/// Whether `host` is a lower-case name, an IPv4 address, or an IPv6 address in brackets.
fn is_host(host: &str) -> bool {
    if let Some(address) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return address.parse::<Ipv6Addr>().is_ok();
    }
    let is_alphanumeric = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    host.bytes().all(|byte| is_alphanumeric(&byte) || matches!(byte, b'.' | b'-'))
        && [host.as_bytes().first(), host.as_bytes().last()].iter().all(|end| end.is_some_and(is_alphanumeric))
}

/// The prefixes of region IDs, and the suffixes for a special purpose.
const AREAS: [&str; 8] = ["af", "ap", "cn", "eu", "me", "na", "sa", "us"];
const PURPOSES: [&str; 5] = ["acdr", "finance", "gov", "jva", "lr"];

/// Whether `text` has the form of a region ID, such as `cn-hangzhou`, `ap-southeast-1` or `cn-north-2-gov-1`. An
/// arbitrary label must not pass: with `oss-cn-hangzhou` the endpoint would be the host of a customer's bucket.
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

/// Why an endpoint must not be called.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// Not the ID of a region.
    #[error("regionID {0:?} is not the ID of a region, such as cn-hangzhou: correct spec.alibabaCloud.regionID")]
    NoRegion(String),
    /// Not a host name with an optional port.
    #[error("endpoint {0:?} is not a host name with an optional port, such as oceanbasepro.cn-hangzhou.aliyuncs.com")]
    Malformed(String),
    /// Neither the product's own host nor named by a flag.
    #[error(
        "endpoint {0:?} is neither oceanbasepro.REGION.aliyuncs.com nor oceanbasepro-vpc.REGION.aliyuncs.com at port 443: \
         remove spec.alibabaCloud.endpoint to use the region's own, or have the operator started with --allow-endpoint for \
         exactly this value"
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
    fn tokens_go_to_the_regions_own_token_service_or_to_the_one_that_a_flag_names() {
        let sts = |region: &str, vpc| {
            let endpoint = Endpoint::sts(region, vpc, None).unwrap();
            assert!(!endpoint.is_named_by_flag());
            (endpoint.url(), endpoint.addresses())
        };
        for (region, vpc, host, addresses) in [
            ("cn-hangzhou", false, "sts.cn-hangzhou", Addresses::Public),
            ("cn-hangzhou", true, "sts-vpc.cn-hangzhou", Addresses::Vpc),
            ("ap-southeast-1", true, "sts-vpc.ap-southeast-1", Addresses::Vpc),
            ("cn-hangzhou-finance", false, "sts.cn-hangzhou", Addresses::Public),
            ("cn-hangzhou-finance", true, "sts-vpc.cn-hangzhou", Addresses::Vpc),
            ("cn-wuhan", false, "sts", Addresses::Public),
            ("cn-wuhan", true, "sts-vpc.cn-wuhan", Addresses::Vpc),
            ("cn-north-2-gov-1", false, "sts-vpc.cn-north-2-gov-1", Addresses::Vpc),
        ] {
            assert_eq!(sts(region, vpc), (format!("https://{host}.aliyuncs.com/"), addresses), "{region} {vpc}");
        }
        for bad in ["", "oss-cn-hangzhou", "cn-hangzhou.evil.com/", "cn-hangzhou@evil"] {
            assert_eq!(Endpoint::sts(bad, false, None), Err(EndpointError::NoRegion(bad.to_owned())));
        }
        let named = Endpoint::parse("http://127.0.0.1:8080").unwrap();
        assert_eq!(Endpoint::sts("cn-hangzhou", true, Some(&named)), Ok(named));
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
