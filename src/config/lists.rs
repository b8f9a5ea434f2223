//! Lists of revoked certificates that are in force, as they are kept in the state directory for the next
//! start (ACC-3): an older file in the place of one would let somebody in again.
//!
//! A line that names the form; of each list its file and itself, each behind its length; at the end
//! SHA-256 of all that. Each is still believed by nothing but its authority's signature.
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{SHA256, digest};
use rustls_pki_types::CertificateRevocationListDer;

use super::Snapshot;
use super::settings::{RevocationList, TlsSettings};

/// The record's name in the state directory.
pub const LISTS_FILE: &str = "client_crl.kept";
/// All of it: sixteen of the longest lists.
pub(super) const RECORD_BYTES_MAX: u64 = 256 << 20;
const FORM: &[u8] = b"sekisho-lists-1\n";
/// What every version's form begins with.
const FORMS: &[u8] = b"sekisho-lists-";
const SUM: usize = 32;

/// A list and the file that it was read from.
pub(super) type Kept = (PathBuf, CertificateRevocationListDer<'static>);

/// Why a record can't be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RecordFault {
    /// Written by a newer version of this program.
    Newer,
    /// Cut short, changed, or something else.
    Damaged,
}

impl Snapshot {
    /// What is to be kept of the lists in force, and how many of them there is no room for. Nothing, if
    /// there are none.
    #[must_use]
    pub fn lists_record(&self) -> (Option<Vec<u8>>, usize) {
        let listeners = self.listeners.iter().filter_map(|listener| listener.tls.as_ref());
        let all = listeners.chain(self.api.as_ref().map(|api| &api.tls));
        let room = usize::try_from(RECORD_BYTES_MAX).unwrap_or(usize::MAX);
        record(all.flat_map(|tls: &TlsSettings| &tls.client_crl), room)
    }
}

fn record<'l>(
    lists: impl Iterator<Item = &'l RevocationList>,
    room: usize,
) -> (Option<Vec<u8>>, usize) {
    let (mut out, mut left_out) = (FORM.to_vec(), 0);
    let mut known: Vec<(&Path, &[u8])> = Vec::new();
    for list in lists {
        let own = (&*list.file, &*list.der);
        if known.contains(&own) {
            continue;
        }
        known.push(own);
        let before = out.len();
        let parts = [own.0.as_os_str().as_encoded_bytes(), own.1];
        for part in parts {
            out.extend_from_slice(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
            out.extend_from_slice(part);
        }
        if out.len().saturating_add(SUM) > room {
            out.truncate(before);
            left_out += 1;
        }
    }
    if known.is_empty() {
        return (None, 0);
    }
    let sum = digest(&SHA256, &out);
    out.extend_from_slice(sum.as_ref());
    (Some(out), left_out)
}

pub(super) fn read(bytes: &[u8]) -> Result<Vec<Kept>, RecordFault> {
    let damaged = RecordFault::Damaged;
    if !bytes.starts_with(FORM) {
        return Err(if bytes.starts_with(FORMS) { RecordFault::Newer } else { damaged });
    }
    let (content, sum) = bytes.split_last_chunk::<SUM>().ok_or(damaged)?;
    if digest(&SHA256, content).as_ref() != sum {
        return Err(damaged);
    }
    let (mut rest, mut lists) = (content.strip_prefix(FORM).ok_or(damaged)?, Vec::new());
    let mut part = || {
        let (length, after) = rest.split_first_chunk().ok_or(damaged)?;
        let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| damaged)?;
        let (part, after) = after.split_at_checked(length).ok_or(damaged)?;
        rest = after;
        Ok((part, after.is_empty()))
    };
    loop {
        let ((file, _), (der, is_last)) = (part()?, part()?);
        // A path that is no text is known as another, and its list by its authority still.
        let file = PathBuf::from(String::from_utf8_lossy(file).into_owned());
        lists.push((file, CertificateRevocationListDer::from(der.to_vec())));
        if is_last {
            return Ok(lists);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::OnDisk;

    fn list(file: &str, der: Vec<u8>) -> RevocationList {
        RevocationList {
            file: PathBuf::from(file),
            on_disk: OnDisk::Same,
            der: CertificateRevocationListDer::from(der),
            this_update_unix_secs: 1,
            next_update_unix_secs: 2,
        }
    }

    #[test]
    fn acc_3_what_is_kept_of_lists_is_what_was_in_force() {
        let lists = [
            list("tls/a.crl", vec![1; 300]),
            list("tls/b.crl", Vec::new()),
            list("tls/a.crl", vec![1; 300]),
            list("tls/a.crl", vec![2; 70_000]),
        ];
        let (bytes, left_out) = record(lists.iter(), 100_000);
        let (bytes, kept) = (bytes.unwrap(), [&lists[0], &lists[1], &lists[3]]);
        let kept = kept.map(|list| (list.file.clone(), list.der.clone()));
        assert_eq!((read(&bytes), left_out), (Ok(kept.to_vec()), 0));
        assert_eq!(record([].iter(), 100_000), (None, 0));
        for at in [0, FORM.len(), FORM.len() + 40, bytes.len() - 1] {
            let mut other = bytes.clone();
            other[at] ^= 1;
            assert_eq!(read(&other), Err(RecordFault::Damaged), "{at}");
            assert!(read(&bytes[..at]).is_err(), "{at}");
        }
        let newer = bytes.strip_prefix(FORM).unwrap();
        let newer = [&b"sekisho-lists-2\n"[..], newer].concat();
        assert_eq!(read(&newer), Err(RecordFault::Newer));
    }

    #[test]
    fn acc_3_more_lists_than_there_is_room_for_are_counted() {
        let lists = [list("a", vec![0; 9_900]), list("b", vec![1; 9_000]), list("c", vec![2])];
        let (bytes, left_out) = record(lists.iter(), 10_000);
        let bytes = bytes.unwrap();
        assert_eq!((left_out, read(&bytes).unwrap().len()), (1, 2));
        assert!(bytes.len() <= 10_000);
    }
}
