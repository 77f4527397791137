//! Where calls go. Whoever chooses the endpoint can collect signed requests, so only Alibaba's hosts and those that the
//! operator's own flags name are ever called.

use super::addresses::Addresses;

/// A base URL that may be called, and where its host may be.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    scheme: &'static str,
    authority: String,
    addresses: Addresses,
}

const ALIBABA_DOMAIN: &str = ".aliyuncs.com";

impl Endpoint {
    /// The endpoint of `region`, public or inside a VPC: the rule `regional` of the official SDKs, which carry no
    /// regional map. Its host may have private addresses inside a VPC only, and any if it is one of `allowed`.
    #[must_use]
    pub fn regional(region: &str, vpc: bool, allowed: &[String]) -> Self {
        let product = if vpc { "oceanbasepro-vpc" } else { "oceanbasepro" };
        let authority = format!("{product}.{region}{ALIBABA_DOMAIN}");
        let endpoint = Self { scheme: "https", authority, addresses: Addresses::Any };
        if endpoint.is_one_of(allowed) { endpoint } else { endpoint.within(vpc) }
    }

    /// An endpoint set by hand: a host name with an optional port, always called over https, if its host ends in
    /// `.aliyuncs.com`; anything, anywhere, even over `http://`, if it equals one of `allowed`. `vpc` says that its host
    /// may have private addresses.
    pub fn custom(text: &str, vpc: bool, allowed: &[String]) -> Result<Self, EndpointError> {
        let endpoint = Self::parse(text)?;
        if endpoint.is_one_of(allowed) {
            return Ok(endpoint);
        }
        let trusted = endpoint.scheme == "https" && endpoint.is_alibaba();
        if trusted { Ok(endpoint.within(vpc)) } else { Err(EndpointError::NotAllowed(text.to_owned())) }
    }

    /// Checks the form only: for the operator's own flags, which may name any host at any address.
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
        // User information would change who is called in the eyes of a reader.
        if parsed.host().is_empty() || authority.contains('@') {
            return Err(malformed());
        }
        // As the HTTP client will write it, because that is signed: a port without its leading zeros.
        let port = authority.strip_prefix(parsed.host()).filter(|rest| !rest.is_empty());
        let port = port.map(|_| parsed.port_u16().ok_or_else(malformed)).transpose()?;
        let authority = port.map_or(parsed.host().to_owned(), |port| format!("{}:{port}", parsed.host()));
        Ok(Self { scheme, authority, addresses: Addresses::Any })
    }

    /// The addresses at which it may be called.
    #[must_use]
    pub const fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// `host`, or `host:port` when the port is not the default: what the header and the signature say.
    #[must_use]
    pub fn host_header(&self) -> &str {
        let default_port = if self.scheme == "https" { ":443" } else { ":80" };
        self.authority.strip_suffix(default_port).unwrap_or(&self.authority)
    }

    /// The URL of every RPC call.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}://{}/", self.scheme, self.host_header())
    }

    fn is_one_of(&self, allowed: &[String]) -> bool {
        allowed.iter().any(|entry| Self::parse(entry).is_ok_and(|entry| entry.url() == self.url()))
    }

    fn within(self, vpc: bool) -> Self {
        Self { addresses: if vpc { Addresses::Vpc } else { Addresses::Public }, ..self }
    }

    fn is_alibaba(&self) -> bool {
        let host = self.authority.rsplit_once(':').map_or(self.authority.as_str(), |(host, _)| host);
        host.strip_suffix(ALIBABA_DOMAIN).is_some_and(|rest| !rest.is_empty() && !rest.ends_with('.'))
    }
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}://{}", self.scheme, self.host_header())
    }
}

/// Why an endpoint is not called.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// Not a host name with an optional port.
    #[error("endpoint {0:?} is not a host name with an optional port, such as oceanbasepro.cn-hangzhou.aliyuncs.com")]
    Malformed(String),
    /// A host that nobody vouched for.
    #[error(
        "endpoint {0:?} does not end in .aliyuncs.com: remove spec.endpoint to use the region's own, or have the operator \
         started with --allow-endpoint for exactly this value"
    )]
    NotAllowed(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regional_endpoints_follow_the_documented_rule() {
        assert_eq!(
            Endpoint::regional("cn-hangzhou", false, &[]).url(),
            "https://oceanbasepro.cn-hangzhou.aliyuncs.com/"
        );
        assert_eq!(
            Endpoint::regional("cn-hangzhou", true, &[]).url(),
            "https://oceanbasepro-vpc.cn-hangzhou.aliyuncs.com/"
        );
    }

    #[test]
    fn only_what_a_flag_names_is_called_at_any_address() {
        let regional = "oceanbasepro.cn-hangzhou.aliyuncs.com";
        let flags = [regional.to_owned(), "x.aliyuncs.com:443".to_owned()];
        for (vpc, addresses) in [(false, Addresses::Public), (true, Addresses::Vpc)] {
            assert_eq!(Endpoint::regional("cn-hangzhou", vpc, &[]).addresses(), addresses);
            assert_eq!(Endpoint::custom("x.aliyuncs.com", vpc, &[]).unwrap().addresses(), addresses);
            assert_eq!(Endpoint::custom("x.aliyuncs.com", vpc, &flags).unwrap().addresses(), Addresses::Any);
        }
        assert_eq!(Endpoint::regional("cn-hangzhou", false, &flags).addresses(), Addresses::Any);
        assert_eq!(Endpoint::regional("cn-beijing", false, &flags).addresses(), Addresses::Public);
    }

    #[test]
    fn only_alibaba_hosts_over_tls_are_called_without_a_flag() {
        for good in ["oceanbasepro.cn-hangzhou.aliyuncs.com", "https://x.aliyuncs.com", "x.aliyuncs.com:443"] {
            assert!(Endpoint::custom(good, false, &[]).is_ok(), "{good}");
        }
        for bad in [
            "evil.com",
            "aliyuncs.com",
            ".aliyuncs.com",
            "evilaliyuncs.com",
            "x.aliyuncs.com.evil.com",
            "http://x.aliyuncs.com",
            "169.254.169.254",
            "127.0.0.1:8080",
        ] {
            assert!(Endpoint::custom(bad, false, &[]).is_err(), "{bad}");
        }
    }

    #[test]
    fn malformed_endpoints_are_refused_even_when_listed() {
        for bad in ["", "ftp://x", "user@x.aliyuncs.com", "x.aliyuncs.com/path", "x y", "x.aliyuncs.com:", "x:99999"] {
            assert!(
                matches!(Endpoint::custom(bad, false, &[bad.to_owned()]), Err(EndpointError::Malformed(_))),
                "{bad}"
            );
        }
    }

    #[test]
    fn a_flag_allows_exactly_its_value() {
        let allowed = ["http://127.0.0.1:8080".to_owned()];
        assert!(Endpoint::custom("http://127.0.0.1:8080", false, &allowed).is_ok());
        assert!(Endpoint::custom("http://127.0.0.1:8081", false, &allowed).is_err());
        assert!(Endpoint::custom("127.0.0.1:8080", false, &allowed).is_err());
    }

    #[test]
    fn the_default_port_is_not_signed() {
        assert_eq!(Endpoint::parse("x.aliyuncs.com:443").unwrap().host_header(), "x.aliyuncs.com");
        assert_eq!(Endpoint::parse("x.aliyuncs.com:0443").unwrap().host_header(), "x.aliyuncs.com");
        assert_eq!(Endpoint::parse("http://h:8080").unwrap().host_header(), "h:8080");
        assert_eq!(Endpoint::parse("http://[::1]:8080").unwrap().host_header(), "[::1]:8080");
    }
}
