//! The real parts that sessionkill is tested on: control plane, `OceanBase` engine, `OpenAPI` gateway. Never shipped.

pub mod arena;
pub mod bench;
pub mod cache;
pub mod chart;
pub mod control_plane;
pub mod dashboard;
pub mod demo;
pub mod failover;
pub mod fault_proxy;
pub mod gateway;
pub mod gitops;
pub mod go;
pub mod helm;
pub mod image;
pub mod measure;
pub mod oceanbase;
pub mod operator;
pub mod peers;
pub mod port;
pub mod process;
pub mod prometheus;
pub mod python;
pub mod rights;
pub mod scratch;
pub mod stack;
pub mod torture;
