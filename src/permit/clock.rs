//! The latest time a host has seen, kept by it, so that a clock that is moved back while the process
//! is down makes no expired permit good. Within the process the monotonic clock decides: [`Steady`].
use aws_lc_rs::hmac;

use super::verify::PermitFault;
use crate::base::{Moment, Secret, Use, base64url};

/// The record's name in the state directory.
pub const RECORD_FILE: &str = "permit.clock";
/// The longest record.
pub const RECORD_BYTES_MAX: u64 = 512;
/// A clock may be behind the record by so much: NTP steps, and the record's own age.
pub const BACK_MAX_SECS: u64 = 3_600;
const FORM: &str = "sekisho-clock-1";

/// Whether `now` is too far behind the latest time that was seen; both in seconds since 1970.
#[must_use]
pub const fn went_back(latest: u64, now: u64) -> bool {
    latest > now.saturating_add(BACK_MAX_SECS)
}

/// The record of a host, whose public key names it: its form, the host, the time, a code under the
/// host's own key.
#[must_use]
pub fn record(host: &str, key: &Secret<[u8; 32]>, latest: u64) -> String {
    let text = format!("{FORM} {host} {latest}");
    let code = hmac::sign(&own(key), text.as_bytes());
    format!("{text} {}\n", base64url::encode(code.as_ref()))
}

/// The latest time in a record. None if another host wrote it, of which this one has seen nothing.
///
/// # Errors
/// It claims to be this host's and is not.
pub fn read(bytes: &[u8], host: &str, key: &Secret<[u8; 32]>) -> Result<Option<u64>, PermitFault> {
    let text = std::str::from_utf8(bytes).ok().and_then(|text| text.strip_suffix('\n'));
    let (text, code) =
        text.and_then(|text| text.rsplit_once(' ')).ok_or(PermitFault::ClockRecord)?;
    let mut words = text.split(' ');
    let (form, whose, latest) = (words.next(), words.next(), words.next());
    if form != Some(FORM) || words.next().is_some() {
        return Err(PermitFault::ClockRecord);
    }
    if whose != Some(host) {
        return Ok(None);
    }
    let code = base64url::decode(code.as_bytes()).ok_or(PermitFault::ClockRecord)?;
    hmac::verify(&own(key), text.as_bytes(), &code).map_err(|_| PermitFault::ClockRecord)?;
    let latest = latest.and_then(|latest| latest.parse().ok());
    latest.map(Some).ok_or(PermitFault::ClockRecord)
}

fn own(key: &Secret<[u8; 32]>) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, key.reveal_for(Use::Verify))
}

/// Time that a process believes: the wall clock, but never less than what has passed since its start.
#[derive(Clone, Copy, Debug)]
pub struct Steady {
    start: Moment,
}

impl Steady {
    #[must_use]
    pub const fn from(start: Moment) -> Self {
        Self { start }
    }

    /// The same moment; its wall clock, if it was moved back, as far as the start and the monotonic
    /// clock tell.
    #[must_use]
    pub fn of(self, now: Moment) -> Moment {
        let least = self.start.plus(now.since(self.start)).unix_ms();
        Moment::new(now.unix_ms().max(least), now.mono_ns())
    }
}
