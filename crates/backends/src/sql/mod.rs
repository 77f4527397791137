//! The backend that ends sessions over SQL: a connection of its own to a database that speaks the MySQL protocol. Does
//! I/O; knows nothing of Kubernetes.

pub mod wire;
