//! The real parts that sessionkill is tested on: control plane, `OceanBase` engine, `OpenAPI` gateway. Never shipped.

pub mod gateway;
pub mod python;
