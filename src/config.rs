//! The operator's options, read once at start; an invalid one refuses to start and names itself.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;
use clap::builder::BoolishValueParser;

use crate::oceanbase::Endpoint;

/// Options of `sessionkill-operator run`. Each can be set by its environment variable too.
#[derive(Args, Clone, Debug)]
pub struct Config {
    /// An endpoint that may be called although it is outside .aliyuncs.com, or although its host has private addresses: a
    /// host name with an optional port, or <http://HOST:PORT> for a plain-text one. May be repeated.
    #[arg(long = "allow-endpoint", env = "SESSIONKILL_ALLOW_ENDPOINTS", value_delimiter = ',', value_parser = endpoint)]
    pub allow_endpoints: Vec<String>,

    /// The only namespace to work in. Without it, all namespaces.
    #[arg(long, env = "SESSIONKILL_NAMESPACE")]
    pub namespace: Option<String>,

    /// The proxy for calls to Alibaba Cloud. None is taken from the environment variables that other programs use.
    #[arg(long, env = "SESSIONKILL_PROXY")]
    pub proxy: Option<String>,

    /// Speak HTTP/1.1 to the API server even where it offers HTTP/2. Then calls are spread over connections: for several API
    /// servers behind a TCP load balancer.
    #[arg(long, env = "SESSIONKILL_API_SERVER_HTTP1", value_parser = BoolishValueParser::new())]
    pub api_server_http1: bool,

    /// Where /livez, /readyz and /metrics are served.
    #[arg(long, env = "SESSIONKILL_HEALTH_ADDRESS", default_value = "0.0.0.0:8080")]
    pub health_address: SocketAddr,

    /// The name of this operator in claims; a random part is added to it.
    #[arg(long, env = "POD_NAME", default_value = "sessionkill-operator")]
    pub identity: String,

    /// For how many seconds after its claim a call may be sent.
    #[arg(long, env = "SESSIONKILL_DISPATCH_WINDOW_SECONDS", default_value_t = 15, value_parser = clap::value_parser!(u16).range(6..=300))]
    pub dispatch_window_seconds: u16,

    /// The most calls in flight at once, over all tenants.
    #[arg(long, env = "SESSIONKILL_MAX_CONCURRENT_CALLS", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub max_concurrent_calls: u16,

    /// Seconds between two sweeps of finished requests and old receipts.
    #[arg(long, env = "SESSIONKILL_SWEEP_INTERVAL_SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub sweep_interval_seconds: u32,

    /// Seconds after notAfterTime for which a receipt is kept.
    #[arg(long, env = "SESSIONKILL_RECEIPT_RETENTION_SECONDS", default_value_t = 86_400, value_parser = clap::value_parser!(u32).range(60..))]
    pub receipt_retention_seconds: u32,
}

impl Config {
    /// The time between two sweeps.
    #[must_use]
    pub fn sweep_interval(&self) -> Duration {
        Duration::from_secs(self.sweep_interval_seconds.into())
    }
}

fn endpoint(text: &str) -> Result<String, String> {
    Endpoint::parse(text).map(|_| text.to_owned()).map_err(|error| error.to_string())
}
