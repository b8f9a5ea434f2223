//! The words every room uses. Decides nothing, does no I/O (except `Clock::System`, which reads the
//! clock), and imports nothing of ours.
pub(crate) mod base64url;
mod blocks;
mod class;
mod clock;
mod control;
mod denial;
mod detector;
mod marks;
mod names;
mod net;
mod pii;
mod range;
mod raw_key;
mod siphash;
mod utc;

pub use blocks::Blocks;
pub(crate) use class::closed_words;
pub use class::{Class, ClassSet};
pub use clock::{Clock, ManualClock, Moment};
pub use control::ControlId;
pub use denial::{
    ClosedFault, Denial, HeadFault, LockFault, PacingFault, PathFault, RevokedFault, StepUpFault,
    TokenFault, UpstreamFault, WithheldFault,
};
pub use detector::Detector;
pub use marks::Marks;
pub use names::{
    IdentityIx, LimitIx, ListenerIx, Name, NameError, NetworkIx, OperationIx, RequestId,
    RequestIds, RoleIx, UpstreamIx,
};
pub use net::ClientAddr;
pub use pii::{Pii, Pseudonym, PseudonymKey, Secret, Use};
pub use range::{Shape, SourceRange, TooWide};
pub use raw_key::RawKind;
pub use siphash::{HashKey, SipHasher};
pub use utc::Utc;
pub(crate) use utc::digit;
