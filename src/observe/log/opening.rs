//! How every line begins.
use crate::base::Name;
use crate::evidence::Record;

/// Names the environment that the gateway serves, so that lines of several may share a store (PRIV-5).
/// Written once; a line is its copy.
#[derive(Clone, Debug)]
pub(super) struct Opening(Box<[u8]>);

impl Opening {
    /// The field's key, of the Elastic Common Schema.
    pub(super) const KEY: &'static str = "service.environment";

    pub(super) fn of(environment: &Name) -> Self {
        // A `Name` holds nothing that has to be escaped.
        Self(format!("{{\"{}\":\"{environment}\"", Self::KEY).into_bytes().into())
    }

    /// Appends a line.
    pub(super) fn write(&self, record: &impl Record, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0);
        let joint = out.len();
        record.write_json(out);
        // The record's own opening brace is where its fields go on.
        if let Some(brace) = out.get_mut(joint) {
            *brace = b',';
        }
    }
}
