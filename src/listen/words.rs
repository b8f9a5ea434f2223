//! What is written in the HTTP engine's place, or put behind its words. Controls: MON-5, LOG-2.
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite;

use super::lent::Lent;
use super::replies::{Refused, explained};
use crate::answer::{self, Subject};
use crate::base::{Denial, HeadFault, RequestId};

/// What is written in the engine's place.
pub(super) struct Words {
    bytes: Vec<u8>,
    written: usize,
}

impl Words {
    pub(super) const fn new(bytes: Vec<u8>) -> Self {
        Self { bytes, written: 0 }
    }

    pub(super) fn poll_write(
        &mut self,
        to: &mut Lent,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while let Some(rest @ [_, ..]) = self.bytes.get(self.written..) {
            let written = ready!(Pin::new(&mut *to).poll_write(cx, rest))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written = self.written.saturating_add(written);
        }
        Poll::Ready(Ok(()))
    }
}

/// An answer of the engine's own with what makes it one of the gateway's, the body where there may be one.
pub(super) fn explain(
    own: &[u8],
    denial: Denial,
    request: RequestId,
    may_follow: impl FnOnce(&str) -> bool,
) -> Vec<u8> {
    let row = answer::line(denial);
    let known = [(answer::ERROR_TYPE, row.error_type), (answer::REQUEST_ID, request.as_str())];
    let body = answer::body(denial, Subject::default(), request);
    if !may_follow(&body) {
        return explained(own, &known, None);
    }
    let length = body.len().to_string();
    let about = [
        ("content-type", "application/json"),
        ("content-length", length.as_str()),
        ("cache-control", "no-store"),
    ];
    explained(own, &[&known[..], &about].concat(), Some(&body))
}

pub(super) const fn fault_of(refused: Refused) -> HeadFault {
    match refused {
        Refused::Authority => HeadFault::Host,
        Refused::HeaderList => HeadFault::TooLarge,
        Refused::Malformed => HeadFault::Engine,
        Refused::Streams => HeadFault::Streams,
    }
}
