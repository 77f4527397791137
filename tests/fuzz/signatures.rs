//! Signatures: the gateway accepts every signed request, and none that was changed later.

use bolero::{check, produce};
use reqwest::Url;
use secrecy::SecretString;
use sessionkill::oceanbase::signature::{v1, v3};
use sessionkill::oceanbase::signed_request::SignedRequest;
use sessionkill::oceanbase::{Access, Endpoint, Stamp};
use testbed::gateway::{request::decode_pairs, verify};

use crate::material::{key, texts};
use crate::tally::{ITERATIONS, Tally};

const NAMES: [&str; 6] = ["InstanceId", "TenantId", "SessionList", "ByObSessionId", "数", "a~b"];

#[test]
fn signed_requests() {
    let tally = Tally::of("signed requests");
    let values = produce::<Vec<String>>().with().len(0..=NAMES.len()).values(texts());
    let nonces = produce::<Vec<u8>>().with().len(0..=3_usize);
    let inputs = (0..NAMES.len(), values, nonces, produce::<(bool, bool, u16)>());
    check!().with_iterations(ITERATIONS).with_generator(inputs).for_each(
        |(first, values, nonce, (signature_v1, token, change))| {
            // Each name only once, as in every real request.
            let names = NAMES.into_iter().cycle().skip(*first);
            let form: Vec<_> = names.zip(values.iter().cloned()).collect();
            let mut access_key = key();
            access_key.security_token = access_key.security_token.filter(|_| *token);
            let endpoint = Endpoint::parse("oceanbasepro.cn-hangzhou.aliyuncs.com:8443").unwrap();
            let access = Access { endpoint, access_key, signature_v1: *signature_v1 };
            let nonce = nonce.iter().copied().map(char::from).collect();
            let stamp = Stamp { time: "2026-10-05T09:30:00Z".to_owned(), nonce };
            let signed = SignedRequest::new("KillProcessList", &form, &stamp, &access);
            tally.count(signed.is_ok());
            // The nonce of V3 is a header, and not every text can be a header.
            let Ok(signed) = signed else { return assert!(!signature_v1) };
            let again = SignedRequest::new("KillProcessList", &form, &stamp, &access).unwrap();
            assert!(signed.url == again.url && signed.headers == again.headers && signed.body == again.body);
            let secret = &access.access_key.secret;
            let accepts = if *signature_v1 { accepts_v1 } else { accepts_v3 };
            assert!(accepts(&signed, &signed.body, secret), "refused: {form:?}");
            let mut changed = signed.body.clone();
            changed.insert(usize::from(*change) % (changed.len() + 1), 'x');
            assert!(!accepts(&signed, &changed, secret), "accepted although {} was changed: {changed}", signed.body);
        },
    );
    tally.assert_both();
}

fn accepts_v1(signed: &SignedRequest, body: &str, secret: &SecretString) -> bool {
    let url = Url::parse(&signed.url).unwrap();
    let params = [decode_pairs(url.query().unwrap()), decode_pairs(body)].concat();
    verify::v1("POST", &params, secret).is_ok()
}

fn accepts_v3(signed: &SignedRequest, body: &str, secret: &SecretString) -> bool {
    let url = Url::parse(&signed.url).unwrap();
    let header = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    let mut headers: Vec<_> = signed.headers.iter().map(header).collect();
    headers.push(("host".to_owned(), format!("{}:{}", url.host_str().unwrap(), url.port().unwrap())));
    let request = verify::SignedRequest {
        method: "POST",
        path: url.path(),
        query: &[],
        headers: &headers,
        body: body.as_bytes(),
    };
    let authorization = signed.headers["authorization"].to_str().unwrap();
    verify::v3(&request, &verify::Authorization::parse(authorization).unwrap(), secret).is_ok()
}

#[test]
fn canonical_forms() {
    let tally = Tally::of("canonical forms");
    let pairs = produce::<Vec<(String, String)>>().with().len(0..=4_usize).values((texts(), texts()));
    check!().with_iterations(ITERATIONS).with_generator((pairs, texts(), texts())).for_each(|(pairs, method, path)| {
        let pairs: Vec<_> = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let reversed: Vec<_> = pairs.iter().rev().copied().collect();
        let canonical = v1::canonical(pairs.iter().copied());
        assert_eq!(canonical, v1::canonical(reversed.iter().copied()));
        tally.count(canonical.contains('%'));
        assert!(
            canonical.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.~%=&".contains(&byte)),
            "{canonical}"
        );
        assert!(v1::string_to_sign(method, &canonical).is_ascii() || !method.is_ascii());
        let of = |query, headers| v3::Request { method, path, query, headers, payload_hash: "p" };
        let (one, other) = (of(&pairs, &pairs), of(&reversed, &reversed));
        assert_eq!(one.canonical(), other.canonical());
        assert_ne!(one.signature(&"s".into()), other.signature(&"t".into()));
    });
    tally.assert_both();
}
