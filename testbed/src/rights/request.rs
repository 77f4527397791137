//! The kind of a request, as far as rules distinguish it.

/// One kind of request.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Request {
    pub(super) verb: String,
    pub(super) group: String,
    /// The resource with its subresource, such as `sessionkills/status`.
    pub(super) resource: String,
    /// The object's name. Set only if some right is for named objects and has this name.
    pub(super) name: String,
}
