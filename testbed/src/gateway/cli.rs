//! `testbed gateway`: the gateway as a program of its own.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use secrecy::ExposeSecret;
use tokio::signal::unix::{SignalKind, signal};

use super::{AccessKey, Backend, Gateway, GatewayOptions, Quota, backend::memory, sts::cli::StsArgs};
use crate::{oceanbase::Engine, scratch};

/// Options of `testbed gateway`.
#[derive(Args, Debug)]
#[command(about = "Stand in for Alibaba's OpenAPI gateway, killing sessions of a real OceanBase engine or of a table")]
pub struct GatewayArgs {
    /// The address to listen at, which must be a loopback address.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8088")]
    listen: SocketAddr,
    /// Where the sessions are.
    #[arg(long, value_enum, default_value = "oceanbase")]
    backend: BackendKind,
    /// The URL of the engine to connect to. Unset means that an engine is started.
    #[arg(long, value_name = "mysql://USER@HOST:PORT")]
    database_url: Option<String>,
    /// An access key that may call. Repeat the option for several keys. Unset means one key, which is printed.
    #[arg(long = "access-key", value_name = "ID:SECRET[:TOKEN]")]
    access_keys: Vec<AccessKey>,
    /// The instance that the sessions belong to.
    #[arg(long, value_name = "ID")]
    instance: Option<String>,
    /// The tenant that the sessions belong to. Repeat the option for several tenants.
    #[arg(long = "tenant", value_name = "ID")]
    tenants: Vec<String>,
    /// How long each call takes, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 0)]
    delay_ms: u64,
    /// The most calls in any one second. The gateway answers further calls with Throttling.User.
    #[arg(long, value_name = "CALLS")]
    quota: Option<u32>,
    /// With a quota: say in x-acs-retry-after when there is room again.
    #[arg(long, requires = "quota")]
    retry_after: bool,
    #[command(flatten)]
    sts: StsArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum BackendKind {
    Oceanbase,
    Memory,
}

/// Runs the gateway until it is interrupted.
pub async fn run(args: GatewayArgs) -> Result<()> {
    match (args.backend, args.database_url.clone()) {
        (BackendKind::Memory, Some(_)) => bail!("--database-url is of no use with --backend memory: leave one out"),
        (BackendKind::Memory, None) => run_on(args, Backend::Memory(memory::initial_sessions())).await,
        (BackendKind::Oceanbase, Some(url)) => run_on(args, Backend::OceanBase { url }).await,
        (BackendKind::Oceanbase, None) => run_with_own_engine(args).await,
    }
}

/// Starts an engine that ends with the gateway.
async fn run_with_own_engine(args: GatewayArgs) -> Result<()> {
    let directory = scratch::directory()?;
    let engine = Engine::start(&directory.path().join("oceanbase")).await?;
    println!("engine at {}", engine.url());
    run_on(args, Backend::OceanBase { url: engine.url() }).await
}

/// Runs the gateway on a backend until it is interrupted.
pub async fn run_on(args: GatewayArgs, backend: Backend) -> Result<()> {
    let defaults = GatewayOptions::default();
    let mut tenants = args.tenants.into_iter();
    let retry_after = args.retry_after;
    let own_keys = args.access_keys.is_empty();
    let access_keys = if own_keys { defaults.access_keys } else { args.access_keys };
    let options = GatewayOptions {
        listen: args.listen,
        backend,
        sts: args.sts.options(&access_keys)?,
        access_keys,
        instance: args.instance.unwrap_or(defaults.instance),
        tenant: tenants.next().unwrap_or(defaults.tenant),
        more_tenants: tenants.collect(),
        delay: Duration::from_millis(args.delay_ms),
        quota: args.quota.map(|calls_per_second| Quota { calls_per_second, retry_after }),
        keep_alive: defaults.keep_alive,
    };
    let (instance, tenant, keys) = (options.instance.clone(), options.tenant.clone(), options.access_keys.clone());
    let roles = options.sts.as_ref().map(|sts| sts.roles.clone()).unwrap_or_default();
    let gateway = Gateway::start(options).await?;
    println!("listening on {}", gateway.url());
    if let Some(metadata) = gateway.metadata_address() {
        println!("metadata service on http://{metadata}");
    }
    for role in roles {
        println!("role {}", role.arn);
    }
    println!("instance {instance}, tenant {tenant}");
    for key in keys {
        // Print only the built-in secret, which is public and of no use elsewhere. Never print a chosen one.
        let secret = if own_keys { format!(", secret {}", key.secret.expose_secret()) } else { String::new() };
        println!("access key {}{secret}", key.id);
    }
    let mut terminated = signal(SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted?,
        _ = terminated.recv() => {}
    }
    gateway.stop().await;
    Ok(())
}
