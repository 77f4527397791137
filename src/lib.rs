//! sessionkill
