//! A request for programs.

use sessionkill_api::SessionKill;

use crate::errors::Result;
use crate::output::{json, print, yaml};

use super::flags::Format;

/// Prints a request for programs.
pub fn print_request(request: &SessionKill, format: Format) -> Result<()> {
    let mut request = request.clone();
    request.metadata.managed_fields = None;
    match format {
        Format::Yaml => print(&yaml(&request)?),
        Format::Json => print(&json(&request)?),
        Format::Name => {
            print(&format!("sessionkill.sessionkill.dev/{}\n", request.metadata.name.as_deref().unwrap_or_default()))
        }
    }
}
