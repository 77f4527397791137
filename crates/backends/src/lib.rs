//! Everything that speaks to a cloud API or a database to end sessions. Knows nothing of Kubernetes.

pub mod alibaba;
