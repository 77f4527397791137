//! What was asked, as rules tell it apart.

/// One kind of request.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Request {
    pub(super) verb: String,
    pub(super) group: String,
    /// With its subresource, as `sessionkills/status`.
    pub(super) resource: String,
    /// Only if some right is for named objects and has this name.
    pub(super) name: String,
}
