//! The victim, which must not suffer.

/// The namespace, connection and tenant whose kills must go on.
#[derive(Clone, Debug)]
pub struct Victim {
    /// Where the kills are requested.
    pub namespace: String,
    /// The connection that they name.
    pub connection: String,
    /// The instance that they name.
    pub instance: String,
    /// The tenant whose sessions they end.
    pub tenant: String,
}
