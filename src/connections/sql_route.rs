//! The route to a database: its server, its login and its CA. Does I/O: reads the Service and the Secrets.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::ClientConfig;
use sha2::{Digest as _, Sha256};

use crate::api::{Sql, SqlTlsMode, WaitReason};
use crate::backends::sql::server::{Encryption, Host};
use crate::backends::sql::{Access, Account, AllowedHost, Database, Known, Server};
use crate::connections::connection::Connection;
use crate::connections::route_error::RouteError;
use crate::connections::secrets::{CredentialsError, Secrets};
use crate::connections::services::{Leads, Services};
use crate::connections::sql_secret::SqlSecret;

/// The most TLS configurations kept: parsing the certificates of a CA takes longer than all else of a route.
const MOST_CONFIGS: usize = 64;

/// The key of the CA's certificate in the Secret with the password.
const CA_KEY: &str = "ca.crt";

/// The certificates of a CA, whether names are verified, and the configuration made of them.
type Config = (Arc<[u8]>, bool, Arc<ClientConfig>);

/// Makes the routes to databases.
pub struct SqlRoutes {
    pub services: Services,
    pub secrets: Arc<Secrets>,
    pub allowed: Vec<AllowedHost>,
    /// The addresses of the API server.
    pub api_server: Vec<IpAddr>,
    pub configs: Mutex<Vec<Config>>,
}

impl SqlRoutes {
    /// The database of `connection`, which `sql` describes. `known` is what is known of it.
    pub async fn database(
        &self,
        connection: &Connection,
        sql: &Sql,
        (known, request_timeout): (Arc<Known>, Duration),
    ) -> Result<Database, RouteError> {
        let namespace = connection.home();
        let unavailable = |reason, text: String| RouteError::Unavailable(reason, format!("{connection}: {text}"));
        let secret_name = &sql.credentials.secret_ref.name;
        let secret = self.secret(namespace, secret_name).await?;
        let (encryption, has_own_ca) = self.encryption(namespace, sql, &secret).await?;
        let (server, names, is_named) = match (&sql.service, &sql.host) {
            (Some(service), None) => {
                let port = u16::try_from(service.port).unwrap_or_default();
                let leads = self.services.leads(namespace, &service.name, port).await?;
                let Leads { addresses, port: dialled } =
                    leads.map_err(|error| unavailable(WaitReason::EndpointNotAllowed, error))?;
                let host = format!("{}.{namespace}.svc", service.name);
                let names = vec![format!("{}:{port}", service.name), format!("{host}:{port}")];
                let host = Host { name: host, port: dialled };
                (Server::of_service(host, addresses, self.api_server.clone(), encryption), names, false)
            }
            (None, Some(host)) => {
                let not_allowed = |error| unavailable(WaitReason::EndpointNotAllowed, error);
                let host: Host = host.parse().map_err(not_allowed)?;
                let names = vec![host.to_string()];
                let is_named = self.allowed.contains(&AllowedHost::Host(host.clone()));
                (Server::of_host(host, &self.allowed, encryption).map_err(not_allowed)?, names, is_named)
            }
            _ => {
                let text = "spec.sql needs either service or host".to_owned();
                return Err(unavailable(WaitReason::EndpointNotAllowed, text));
            }
        };
        // Whoever runs the operator vouches for a host by its name, and whoever wrote the Secret for its CA. In a range anybody
        // may have a server.
        let is_vouched_for = is_named || has_own_ca;
        let no_login = |error| RouteError::Unavailable(WaitReason::CredentialsUnavailable, error);
        let password = secret.password_for(secret_name, &names, is_vouched_for).map_err(no_login)?;
        let user = sql.user.clone().or(secret.username).ok_or_else(|| {
            no_login(format!("secret {secret_name} has no key username: add it, or set spec.sql.user of {connection}"))
        })?;
        let access = Access {
            server,
            account: Account { user, password, source: format!("Secret {secret_name}") },
            cluster: sql.cluster.clone(),
            tenant: sql.tenant.clone(),
            request_timeout,
            known,
        };
        Ok(Database { access })
    }

    /// How the connection is encrypted, and whether the CA is the one in the Secret with the password.
    async fn encryption(
        &self,
        namespace: &str,
        sql: &Sql,
        secret: &SqlSecret,
    ) -> Result<(Encryption, bool), RouteError> {
        let verifies_name = match sql.tls.mode {
            SqlTlsMode::Disabled => return Ok((Encryption::Disabled, false)),
            SqlTlsMode::VerifyIdentity => true,
            SqlTlsMode::VerifyCa => false,
        };
        let own = &sql.credentials.secret_ref.name;
        let (name, key) = match &sql.tls.ca_ref {
            Some(ca) => (&ca.name, ca.key.as_str()),
            None => (own, CA_KEY),
        };
        let of_other = if name == own { None } else { Some(self.secret(namespace, name).await?) };
        let is_own = of_other.is_none();
        let certificates = of_other.as_ref().unwrap_or(secret).certificates.get(key).cloned();
        let unavailable = |error| RouteError::Unavailable(WaitReason::CredentialsUnavailable, error);
        let certificates = certificates.ok_or_else(|| {
            unavailable(format!(
                "secret {name} has no certificate in PEM in its key {key}: put the certificate of the server's CA there, or see \
                 spec.sql.tls"
            ))
        })?;
        let config = self.config(&certificates, verifies_name);
        let config = config.map_err(|error| unavailable(format!("key {key} of secret {name}: {error}")))?;
        let mut digest = Sha256::new_with_prefix([u8::from(verifies_name)]);
        digest.update(&certificates);
        let (name, digest) = (sql.tls.server_name.clone(), digest.finalize().into());
        Ok((Encryption::Verified { config, name, digest }, is_own))
    }

    fn config(&self, certificates: &Arc<[u8]>, verifies_name: bool) -> Result<Arc<ClientConfig>, String> {
        let mut configs = self.configs.lock().unwrap_or_else(PoisonError::into_inner);
        let is_it = |(kept, verifies, _): &Config| kept == certificates && *verifies == verifies_name;
        if let Some((.., config)) = configs.iter().find(|kept| is_it(kept)) {
            return Ok(config.clone());
        }
        let config = crate::backends::sql::wire::client_config(certificates, verifies_name)?;
        if configs.len() >= MOST_CONFIGS {
            configs.remove(0);
        }
        configs.push((certificates.clone(), verifies_name, config.clone()));
        Ok(config)
    }

    async fn secret(&self, namespace: &str, name: &str) -> Result<SqlSecret, RouteError> {
        self.secrets.sql(namespace, name).await.map_err(|error| match error {
            CredentialsError::Api(error) => RouteError::Api(error),
            CredentialsError::Unavailable(text) => RouteError::Unavailable(WaitReason::CredentialsUnavailable, text),
        })
    }
}
