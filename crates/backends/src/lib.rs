//! The backends: all that calls a cloud API or a database to end sessions. Does I/O; does not know Kubernetes.

pub mod alibaba;
