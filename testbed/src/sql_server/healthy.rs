//! A cluster that is as the operator wants it.

use jiff::SignedDuration;

use super::{
    cluster::Cluster,
    reply::Table,
    session::{Kernel, Session},
};

impl Cluster {
    /// A cluster of this kind with the cluster name `obcluster`, in the tenant `sys`.
    #[must_use]
    pub fn new(kernel: Kernel, sessions: Vec<Session>) -> Self {
        let values = [
            ("HOST_IP()", "192.168.13.119"),
            ("RPC_PORT()", "2882"),
            ("MYSQL_PORT()", "2881"),
            ("OB_VERSION()", "4.2.1.8"),
            ("VERSION()", "5.7.25-OceanBase-v4.2.1.8"),
            ("EFFECTIVE_TENANT()", "sys"),
            ("EFFECTIVE_TENANT_ID()", "1"),
            ("@@VERSION_COMMENT", "OceanBase_CE 4.2.1.8"),
            ("@@OB_COMPATIBILITY_MODE", "MYSQL"),
            ("@@MAX_ALLOWED_PACKET", "16777216"),
            ("@@WAIT_TIMEOUT", "28800"),
            ("@@TIME_ZONE", "+08:00"),
        ];
        let tables = [
            (
                "SHOW GRANTS",
                Table::new(&["Grants for sessionkill@%"], &[&["GRANT PROCESS, SUPER ON *.* TO 'sessionkill'"]]),
            ),
            (
                "SHOW VARIABLES LIKE 'OB_COMPATIBILITY_MODE'",
                Table::new(&["Variable_name", "Value"], &[&["ob_compatibility_mode", "MYSQL"]]),
            ),
            (
                "SHOW PARAMETERS LIKE 'CLUSTER'",
                Table::new(&["svr_ip", "name", "value"], &[&["192.168.13.119", "cluster", "obcluster"]]),
            ),
            ("SHOW TENANT", Table::new(&["Current_tenant_name"], &[&["sys"]])),
            ("GV$OB_PARAMETERS", Table::new(&["NAME", "VALUE"], &[&["cluster", "obcluster"]])),
            (
                "DBA_OB_TENANTS",
                Table::new(&["TENANT_ID", "TENANT_NAME", "COMPATIBILITY_MODE"], &[&["1", "sys", "MYSQL"]]),
            ),
        ];
        Self {
            version: "5.7.25".into(),
            columns: kernel.columns(),
            view: kernel.view().into(),
            sessions,
            own: Session::new(0).with("USER_CLIENT_IP", "127.0.0.1"),
            keeps_killed: false,
            lead: SignedDuration::ZERO,
            values: values.map(|(name, value)| (name.to_owned(), Some(value.to_owned()))).into(),
            tables: tables.map(|(name, table)| (name.to_owned(), table)).into(),
        }
    }
}
