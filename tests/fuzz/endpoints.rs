//! Endpoints: a host that our rule accepts as the product's own must be the host that the HTTP client calls.

use bolero::{check, produce};
use reqwest::Url;
use sessionkill::backends::addresses::Addresses;
use sessionkill::oceanbase::Endpoint;

use crate::tally::{ITERATIONS, Tally};

const PARTS: [&str; 32] = [
    "oceanbasepro.cn-hangzhou",
    "oceanbasepro-vpc.cn-hangzhou",
    "oceanbasepro.",
    "oceanbasepro-vpc.",
    "cn-hangzhou",
    "oss-",
    ".aliyuncs.com",
    "aliyuncs.com",
    "https://",
    "http://",
    "evil.com",
    "169.254.169.254",
    "0x7f.1",
    "[::1]",
    ":443",
    ":0443",
    ":8080",
    ":99999",
    ":",
    "@",
    "/",
    "\\",
    "#",
    "?",
    "%2f",
    "%00",
    ".",
    "-",
    "_",
    "X",
    "ａ。",
    "\t",
];

/// Whether the host can only be the product's own: between its name and the domain of Alibaba Cloud is exactly one
/// label, a region.
fn is_own(host: &str) -> bool {
    let labels: Vec<&str> = host.split('.').collect();
    let [product, region, "aliyuncs", "com"] = labels[..] else { return false };
    let (area, rest) = region.split_once('-').unwrap_or_default();
    let is_area = area.len() == 2 && area.bytes().all(|byte| byte.is_ascii_lowercase());
    let is_rest =
        !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_lowercase() || b"-0123456789".contains(&byte));
    ["oceanbasepro", "oceanbasepro-vpc"].contains(&product) && is_area && is_rest
}

#[test]
fn endpoints() {
    let tally = Tally::of("endpoints");
    // Use few parts as often as many, and put them often between the beginning and the end of an endpoint.
    let parts = produce::<Vec<u8>>().with().len(0..=6_usize);
    check!().with_iterations(ITERATIONS).with_generator((parts, produce::<(bool, bool, bool, char)>())).for_each(
        |(parts, (begins, ends, vpc, odd))| {
            let parts =
                parts.iter().map(|part| PARTS.get(usize::from(*part) % 33).map_or(odd.to_string(), |it| (*it).into()));
            let begin = if *begins { "oceanbasepro.cn-hangzhou" } else { "" };
            let text = begin.to_owned() + &parts.collect::<String>() + if *ends { ".aliyuncs.com" } else { "" };
            let endpoint = Endpoint::custom(&text, *vpc, &[]);
            tally.count(endpoint.is_ok());
            let Ok(endpoint) = endpoint else { return };
            assert_ne!(endpoint.addresses(), Addresses::Any, "{text:?}");
            let url = Url::parse(&endpoint.url()).unwrap();
            let host = url.host_str().unwrap();
            assert!(is_own(host), "{text:?}");
            assert_eq!((url.scheme(), url.port()), ("https", None), "{text:?}");
            assert_eq!(
                (url.username(), url.password(), url.path(), url.query(), url.fragment()),
                ("", None, "/", None, None)
            );
            // The signed host is the host that is called.
            let authority = url.port().map_or(host.to_owned(), |port| format!("{host}:{port}"));
            assert_eq!(endpoint.host_header(), authority, "{text:?}");
            assert_eq!(Endpoint::custom(&endpoint.to_string(), *vpc, &[]).unwrap().url(), endpoint.url());
        },
    );
    tally.assert_both();
}
