//! `[permit]`.
use std::borrow::Cow;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

use super::At;
use super::value::{Misfit, PathText, TextValue};
use crate::permit::IssuerKey;

/// The platform team's word that this host may end TLS. Without a valid permit no private key of a
/// listener is opened, and only pass-through is served.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawPermit {
    /// The permit, as `sekisho permit issue` wrote it. A new one is taken up when the file changes;
    /// without the file the host has none.
    pub(crate) file: At<PathText>,
    /// Whose permits count: public keys, or files that hold one each. An empty list trusts nobody.
    #[schemars(length(max = 16))]
    pub(crate) issuers: At<Vec<At<IssuerText>>>,
    /// The host's own key, to which private keys are sealed; only the gateway's user may read it.
    /// Default: `host.key` in `gateway.state_dir`.
    #[schemars(extend("x-control" = "PRIV-4"))]
    pub(crate) host_key: Option<At<PathText>>,
    /// The file with the machine's id.
    #[serde(default = "machine_id")]
    pub(crate) machine_id: At<PathText>,
    /// A document that the platform puts on the host at its start, for permits that ask for one.
    /// Default: none.
    pub(crate) instance_document: Option<At<PathText>>,
}

fn machine_id() -> At<PathText> {
    At::default_of(PathText(PathBuf::from("/etc/machine-id")))
}

/// An issuer's public key, or the file that holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IssuerText {
    Key(IssuerKey),
    File(PathText),
}

impl TextValue for IssuerText {
    const FORMAT: &'static str = "sekisho-permit-issuer";
    const WHAT: &'static str = "a public key or a file's path";
    const EXAMPLE: &'static str = "ed25519:11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
    const PATTERN: &'static str = "^[^\\u0000-\\u001f]{1,4096}$";

    fn parse_text(text: &str) -> Result<Self, Misfit> {
        if text.starts_with("ed25519:") {
            return IssuerKey::parse(text).map(Self::Key).ok_or_else(|| Self::misfit(text));
        }
        PathText::parse_text(text).map(Self::File)
    }

    fn to_text(&self) -> Cow<'_, str> {
        match self {
            Self::Key(key) => key.to_string().into(),
            Self::File(path) => path.0.to_string_lossy(),
        }
    }
}
