//! Answers of Redis as types. Anything that is not exactly what the script gives is `None`.
use std::time::Duration;

use redis::{RedisError, ServerErrorKind, Value};

use super::guard::UNANSWERED_MAX;
use crate::store::bucket::{Ask, Holder, Lease, OWNED_FOR};
use crate::store::fault::StoreFault;
use crate::store::key::{BlobKey, Gateway, LockKey, Shelf};
use crate::store::register::VALUE_MAX;
use crate::store::seal::{Purpose, SharedSecret};
use crate::store::stance::Peers;
use crate::store::{
    ALARM_MAX, Alarm, AlarmPage, BLOB_PAGE_MAX, Blob, Cursor, LOCK_VALUE_MAX, LockPage, LockRecord,
    PAGE_MAX,
};

/// Which fault an error of the client library is. Its texts stay behind.
pub(super) fn fault(error: &RedisError) -> StoreFault {
    use redis::ErrorKind as Kind;
    match error.kind() {
        Kind::AuthenticationFailed | Kind::Server(ServerErrorKind::NoPerm) => StoreFault::Denied,
        Kind::Parse | Kind::UnexpectedReturnType => StoreFault::Nonsense,
        Kind::Io => {
            if error.is_timeout() {
                StoreFault::TimedOut
            } else {
                StoreFault::Unreachable
            }
        }
        Kind::Extension => match error.code() {
            Some("FORGOT") => StoreFault::Forgot,
            Some("FULL") => StoreFault::Full,
            Some("TAKEN") => StoreFault::NumberTaken,
            Some("WRONGPASS" | "NOAUTH") => StoreFault::Denied,
            _ => StoreFault::Refused,
        },
        // Loading, read-only, out of memory, no replicas.
        _ => StoreFault::Refused,
    }
}

fn items(value: Value, most: usize) -> Option<Vec<Value>> {
    match value {
        Value::Array(items) if items.len() <= most => Some(items),
        _ => None,
    }
}

fn bytes(value: &Value, most: usize) -> Option<&[u8]> {
    match value {
        Value::BulkString(bytes) if bytes.len() <= most => Some(bytes),
        _ => None,
    }
}

pub(super) fn number(value: &Value) -> Option<u64> {
    match value {
        Value::Int(number) => u64::try_from(*number).ok(),
        _ => None,
    }
}

fn decimal(value: &Value) -> Option<u64> {
    std::str::from_utf8(bytes(value, 20)?).ok()?.parse().ok()
}

/// Schema and epoch.
pub(super) fn founded(value: Value) -> Option<(u32, u64)> {
    let [schema, epoch] = <[Value; 2]>::try_from(items(value, 2)?).ok()?;
    let epoch = std::str::from_utf8(bytes(&epoch, 16)?).ok()?;
    let epoch = u64::from_str_radix(epoch, 16).ok().filter(|epoch| *epoch != 0)?;
    Some((u32::try_from(decimal(&schema)?).ok()?, epoch))
}

/// Who is there, and this gateway's place among them. A list without it is not its answer.
pub(super) fn peers(value: Value, me: Gateway) -> Option<Peers> {
    let mut numbers = items(value, 1_024)?
        .iter()
        .map(|item| decimal(item).and_then(|number| u16::try_from(number).ok()))
        .collect::<Option<Vec<u16>>>()?;
    numbers.sort_unstable();
    numbers.dedup();
    let place = numbers.binary_search(&me.0).ok()?;
    Some(Peers { count: u16::try_from(numbers.len()).ok()?, place: u16::try_from(place).ok()? })
}

pub(super) fn locks(value: Value, secret: &SharedSecret, after: Cursor) -> Option<LockPage> {
    let items = items(value, 3 * (PAGE_MAX + 1))?;
    let (triples, []) = items.as_chunks::<3>() else { return None };
    let more = triples.len() > PAGE_MAX;
    let mut page = LockPage { records: Vec::new(), next: after, more, forged: 0 };
    for [key, sealed, sequence] in triples.iter().take(PAGE_MAX) {
        let sequence = number(sequence).filter(|sequence| *sequence > page.next.sequence)?;
        page.next.sequence = sequence;
        match lock(key, sealed, secret) {
            Some(record) => page.records.push(record),
            None => page.forged += 1,
        }
    }
    Some(page)
}

fn lock(key: &Value, sealed: &Value, secret: &SharedSecret) -> Option<LockRecord> {
    let place = bytes(key, 32)?;
    let key = LockKey::decode(place).ok()?;
    let sealed = bytes(sealed, VALUE_MAX)?;
    let state = secret.open_register(Purpose::Lock, place, sealed, LOCK_VALUE_MAX)?;
    Some(LockRecord { key, state })
}

/// Keys and bytes of records that were newer than what was to be written.
pub(super) fn pairs(value: Value, most: usize) -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
    let items = items(value, 2 * most)?;
    let (pairs, []) = items.as_chunks::<2>() else { return None };
    let pair = |[key, record]: &[Value; 2]| {
        Some((bytes(key, 32)?.to_vec(), bytes(record, UNANSWERED_MAX)?.to_vec()))
    };
    pairs.iter().map(pair).collect()
}

pub(super) fn lease(value: Value, ask: &Ask) -> Option<Lease> {
    let [granted, wait, holder, left, full_in] = <[Value; 5]>::try_from(items(value, 5)?).ok()?;
    // Whoever grants more than was asked for is not to be believed in anything; nor is whoever has a
    // quota shut for longer than an empty one takes to fill.
    let granted = u32::try_from(number(&granted)?).ok().filter(|granted| *granted <= ask.wanted)?;
    let within = |value: &Value, most: Duration| {
        number(value).map(Duration::from_micros).filter(|time| *time <= most)
    };
    let (wait, left) = (within(&wait, ask.wait_max())?, within(&left, OWNED_FOR)?);
    let full_in = within(&full_in, ask.wait_max())?;
    let holder = match number(&holder)? {
        0 => Holder::All,
        1 => Holder::Me(left),
        2 => Holder::Another(left),
        _ => return None,
    };
    Some(Lease { granted, wait, full_in, holder })
}

pub(super) fn sum(value: &Value) -> Option<u64> {
    decimal(value)
}

/// A blob as it is there; empty if there is none.
pub(super) fn blob(value: Value) -> Option<Vec<u8>> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        _ => None,
    }
}

/// Whether a blob was stored, or the bytes that were there.
pub(super) fn put(value: Value) -> Option<Result<(), Vec<u8>>> {
    match value {
        Value::Int(1) => Some(Ok(())),
        Value::BulkString(bytes) => Some(Err(bytes)),
        _ => None,
    }
}

/// Entries, and those among them that no gateway wrote, as they were.
pub(super) struct Sifted<T, F> {
    pub(super) page: T,
    pub(super) forged: Vec<F>,
}

type Pair = (Vec<u8>, Vec<u8>);

pub(super) fn blobs(
    value: Value,
    secret: &SharedSecret,
    shelf: Shelf,
) -> Option<Sifted<Vec<Blob>, Pair>> {
    let mut sifted = Sifted { page: Vec::new(), forged: Vec::new() };
    for (place, sealed) in pairs(value, BLOB_PAGE_MAX)? {
        let key = BlobKey::decode(&place).ok().filter(|key| key.shelf == shelf);
        let state = secret.open_register(Purpose::Blob, &place, &sealed, VALUE_MAX);
        match (key, state) {
            (Some(key), Some(state)) => sifted.page.push(Blob { key, state }),
            _ => sifted.forged.push((place, sealed)),
        }
    }
    Some(sifted)
}

pub(super) fn alarms(value: Value, secret: &SharedSecret) -> Option<Sifted<AlarmPage, Vec<u8>>> {
    let [lost, waiting] = <[Value; 2]>::try_from(items(value, 2)?).ok()?;
    let page = AlarmPage { alarms: Vec::new(), lost: number(&lost)? };
    let mut sifted = Sifted { page, forged: Vec::new() };
    for item in &items(waiting, BLOB_PAGE_MAX)? {
        let entry = bytes(item, UNANSWERED_MAX)?;
        match alarm(entry, secret) {
            Some(alarm) => sifted.page.alarms.push(alarm),
            None => sifted.forged.push(entry.to_vec()),
        }
    }
    Some(sifted)
}

fn alarm(entry: &[u8], secret: &SharedSecret) -> Option<Alarm> {
    let (sequence, sealed) = entry.split_first_chunk::<16>()?;
    let sequence = std::str::from_utf8(sequence).ok()?.parse().ok()?;
    let body = secret.open(Purpose::Alarm, &[], sealed).filter(|body| body.len() <= ALARM_MAX)?;
    Some(Alarm { sequence, body: body.to_vec() })
}
