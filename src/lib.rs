//! sessionkill

pub mod oceanbase;
