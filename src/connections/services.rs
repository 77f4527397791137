//! Reads the Service that a connection names. Does I/O: GETs one Service by name, and keeps what it says for seconds.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{Service, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::{Api, Client};

use crate::kubernetes::calls::{ApiError, found};

/// How long what a Service says is kept.
const KEPT: Duration = Duration::from_secs(5);
/// The most Services kept.
const MOST: usize = 500;

/// Where a Service leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leads {
    /// The addresses of the Service itself. Empty for one without: then its name leads to those of its Pods.
    pub addresses: Vec<IpAddr>,
    /// The port to dial there.
    pub port: u16,
}

/// Namespace, name and port of a Service.
type Named = (String, String, u16);

/// When a Service was read, and what it says: the error says what is wrong with it.
type Kept = HashMap<Named, (Instant, Result<Leads, String>)>;

/// Reads Services.
pub struct Services {
    client: Client,
    kept: Mutex<Kept>,
}

impl Services {
    pub fn new(client: Client) -> Self {
        Self { client, kept: Mutex::default() }
    }

    /// Where `port` of the Service `name` leads. The inner error says what is wrong with the Service; the outer, that no answer
    /// came.
    pub async fn leads(&self, namespace: &str, name: &str, port: u16) -> Result<Result<Leads, String>, ApiError> {
        let key = (namespace.to_owned(), name.to_owned(), port);
        if let Some((_, kept)) = self.kept().get(&key).filter(|(since, _)| since.elapsed() < KEPT) {
            return Ok(kept.clone());
        }
        let services = Api::<Service>::namespaced(self.client.clone(), namespace);
        let leads = match found("read Service", services.get(name)).await {
            Ok(Some(service)) => leads(name, port, &service.spec.unwrap_or_default()),
            Ok(None) => Err(format!("service {name} does not exist in namespace {namespace}: create it")),
            Err(error) if error.is_refused() => Err(format!(
                "service {name} may not be read ({error}): let the operator's service account get Services in namespace \
                 {namespace}, by rbac.secretsNamespaces of the chart or by a RoleBinding there"
            )),
            Err(error) => return Err(error),
        };
        let mut kept = self.kept();
        kept.retain(|_, (since, _)| since.elapsed() < KEPT);
        if kept.len() < MOST {
            kept.insert(key, (Instant::now(), leads.clone()));
        }
        Ok(leads)
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn leads(name: &str, port: u16, spec: &ServiceSpec) -> Result<Leads, String> {
    if spec.type_.as_deref() == Some("ExternalName") {
        return Err(format!(
            "service {name} is of type ExternalName, which may lead anywhere: use spec.sql.host, which --allow-sql-host allows"
        ));
    }
    let named = spec.ports.iter().flatten().find(|named| named.port == i32::from(port));
    let Some(named) = named else {
        return Err(format!("service {name} has no port {port}: add it, or correct spec.sql.service.port"));
    };
    // The one address is the first of the list. Each address that is dialled has a share of the time.
    let mut addresses: Vec<IpAddr> = vec![];
    for address in spec.cluster_ips.iter().flatten().chain(&spec.cluster_ip).filter_map(|address| address.parse().ok())
    {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    // Without an address of its own, nothing translates the port.
    let of_pods = match &named.target_port {
        Some(IntOrString::Int(port)) if addresses.is_empty() => u16::try_from(*port).ok(),
        Some(IntOrString::String(target)) if addresses.is_empty() => {
            return Err(format!(
                "service {name} has no address of its own, and the targetPort of port {port} is the name {target}: write its number, or \
                 use a Service with an address"
            ));
        }
        _ => None,
    };
    Ok(Leads { addresses, port: of_pods.unwrap_or(port) })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn of(spec: Value) -> Result<Leads, String> {
        leads("ob", 2881, &serde_json::from_value(spec).unwrap())
    }

    #[test]
    fn a_service_leads_to_its_own_address_or_to_its_pods() {
        let ports = json!([{"port": 2881, "targetPort": 12881}, {"port": 1}]);
        let spec = json!({"ports": ports, "clusterIP": "10.96.0.7", "clusterIPs": ["10.96.0.7", "fd00::7"]});
        let leads = of(spec).unwrap();
        assert_eq!(leads.port, 2881);
        assert_eq!(leads.addresses, ["10.96.0.7", "fd00::7"].map(|address| address.parse::<IpAddr>().unwrap()));
        let headless = of(json!({"ports": ports, "clusterIP": "None", "clusterIPs": ["None"]}));
        assert_eq!(headless, Ok(Leads { addresses: vec![], port: 12881 }));
    }

    #[test]
    fn a_service_that_may_lead_anywhere_or_nowhere_is_refused() {
        let external = json!({"type": "ExternalName", "externalName": "metadata.internal", "ports": [{"port": 2881}]});
        assert!(of(external).unwrap_err().contains("of type ExternalName"));
        let named = json!({"ports": [{"port": 2881, "targetPort": "sql"}], "clusterIP": "None"});
        assert!(of(named).unwrap_err().contains("targetPort of port 2881 is the name sql: write its number"));
        assert!(of(json!({"ports": [{"port": 1}]})).unwrap_err().contains("has no port 2881"));
        assert!(of(json!({})).unwrap_err().contains("has no port 2881"));
    }
}
