//! Reads the server name in the first message of a TLS connection, the `ClientHello` (RFC 8446 §4.1.2),
//! and nothing else of it. Controls: TLS-3, MON-5.
//! Never sees: sockets, time, keys. What comes of the name is decided by the caller, and the bytes go
//! on unchanged.
//!
//! 1. Bytes are judged as they come, split anywhere: into packets, into records, or both.
//! 2. Each byte is looked at once, however many pieces it comes in.
//! 3. At most [`HELLO_BYTES_MAX`] bytes are taken.
//! 4. Values that mean nothing here are passed over (GREASE, RFC 8701). Of a hello with another one
//!    encrypted in it (ECH), the outer name counts: the inner one is for whoever holds its key.
//!
//! On a fault: the connection is to be closed without an answer.

/// The longest hello, its records' headers included.
pub const HELLO_BYTES_MAX: usize = 64 << 10;
/// The longest payload of a record (RFC 8446 §5.1).
const RECORD_BYTES_MAX: usize = 1 << 14;
/// The longest DNS name in text.
const NAME_BYTES_MAX: usize = 253;

const RECORD_HEADER: usize = 5;
const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const SERVER_NAME: u16 = 0;
const HOST_NAME: u8 = 0;

/// How far reading came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HelloStep {
    NeedMore,
    /// The name in the hello, in lower case and without a dot at the end; empty if it is no DNS name.
    Done {
        server_name: Option<String>,
    },
}

/// Why these bytes are no hello.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HelloFault {
    /// Something other than a TLS handshake.
    NotTls,
    TooLong,
    /// The hello breaks its own grammar.
    Malformed,
}

/// See the module.
#[derive(Debug, Default)]
pub struct HelloReader {
    /// The header of the record that begins.
    header: [u8; RECORD_HEADER],
    header_read: usize,
    /// Of the record's payload.
    record_left: usize,
    /// The handshake message, out of its records.
    message: Vec<u8>,
    seen: usize,
}

impl HelloReader {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes of the connection.
    ///
    /// # Errors
    /// As soon as no further bytes could make a hello.
    pub fn feed(&mut self, mut bytes: &[u8]) -> Result<HelloStep, HelloFault> {
        while !bytes.is_empty() {
            let before = bytes.len();
            if self.record_left == 0 {
                bytes = self.feed_header(bytes)?;
            } else {
                let (payload, rest) =
                    bytes.split_at_checked(self.record_left).unwrap_or((bytes, &[]));
                self.message.extend_from_slice(payload);
                self.record_left = self.record_left.saturating_sub(payload.len());
                bytes = rest;
            }
            self.seen = self.seen.saturating_add(before.saturating_sub(bytes.len()));
            if let Some(body) = self.body()? {
                return Ok(HelloStep::Done { server_name: server_name(body)? });
            }
            if self.seen >= HELLO_BYTES_MAX {
                return Err(HelloFault::TooLong);
            }
        }
        Ok(HelloStep::NeedMore)
    }

    /// Each byte is judged as soon as it is there, so that nobody waits for the rest of nonsense.
    fn feed_header<'b>(&mut self, bytes: &'b [u8]) -> Result<&'b [u8], HelloFault> {
        let mut rest = bytes.iter();
        for slot in self.header.iter_mut().skip(self.header_read) {
            let Some(byte) = rest.next() else { break };
            *slot = *byte;
            self.header_read = self.header_read.saturating_add(1);
        }
        let [kind, major, _minor, high, low] = self.header;
        if kind != HANDSHAKE || self.header_read > 1 && major != 3 {
            return Err(HelloFault::NotTls);
        }
        if self.header_read == RECORD_HEADER {
            self.header_read = 0;
            self.record_left = usize::from(u16::from_be_bytes([high, low]));
            // An empty fragment is forbidden, and would let a hello last for ever.
            if self.record_left == 0 || self.record_left > RECORD_BYTES_MAX {
                return Err(HelloFault::Malformed);
            }
        }
        Ok(rest.as_slice())
    }

    /// The hello, if it is whole.
    fn body(&self) -> Result<Option<&[u8]>, HelloFault> {
        if self.message.first().is_some_and(|kind| *kind != CLIENT_HELLO) {
            return Err(HelloFault::Malformed);
        }
        let Some((&[_kind, high, middle, low], rest)) = self.message.split_first_chunk::<4>()
        else {
            return Ok(None);
        };
        let length = u32::from_be_bytes([0, high, middle, low]);
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > HELLO_BYTES_MAX {
            return Err(HelloFault::TooLong);
        }
        Ok(rest.get(..length))
    }
}

/// What is left of a message.
struct Rest<'m>(&'m [u8]);

impl<'m> Rest<'m> {
    fn take(&mut self, count: usize) -> Result<&'m [u8], HelloFault> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(HelloFault::Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, HelloFault> {
        self.take(1)?.first().copied().ok_or(HelloFault::Malformed)
    }

    fn number(&mut self) -> Result<u16, HelloFault> {
        match self.take(2)? {
            [high, low] => Ok(u16::from_be_bytes([*high, *low])),
            _ => Err(HelloFault::Malformed),
        }
    }

    /// A list with its length in one byte.
    fn short(&mut self) -> Result<&'m [u8], HelloFault> {
        let length = self.byte()?;
        self.take(usize::from(length))
    }

    /// A list with its length in two bytes.
    fn long(&mut self) -> Result<&'m [u8], HelloFault> {
        let length = self.number()?;
        self.take(usize::from(length))
    }
}

fn server_name(hello: &[u8]) -> Result<Option<String>, HelloFault> {
    let mut rest = Rest(hello);
    let _version_and_random = rest.take(2 + 32)?;
    let _session = rest.short()?;
    let _suites = rest.long()?;
    let _compressions = rest.short()?;
    if rest.0.is_empty() {
        return Ok(None);
    }
    let mut extensions = Rest(rest.long()?);
    if !rest.0.is_empty() {
        return Err(HelloFault::Malformed);
    }
    let mut name = None;
    while !extensions.0.is_empty() {
        let kind = extensions.number()?;
        let content = extensions.long()?;
        if kind == SERVER_NAME && name.replace(host_name(content)?).is_some() {
            return Err(HelloFault::Malformed);
        }
    }
    Ok(name)
}

/// The one host name in the extension (RFC 6066 §3).
fn host_name(extension: &[u8]) -> Result<String, HelloFault> {
    let mut rest = Rest(extension);
    let mut list = Rest(rest.long()?);
    let mut name = None;
    while !list.0.is_empty() {
        let kind = list.byte()?;
        let content = list.long()?;
        if kind == HOST_NAME && name.replace(content).is_some() {
            return Err(HelloFault::Malformed);
        }
    }
    match name {
        Some(name @ [_, ..]) if rest.0.is_empty() => Ok(dns_name(name).unwrap_or_default()),
        Some(_) | None => Err(HelloFault::Malformed),
    }
}

/// As whoever ends TLS reads it (rustls): the dot that ends a name written in full is no part of it. Two
/// readings of one name would end TLS here for a name that is to be passed on.
fn dns_name(bytes: &[u8]) -> Option<String> {
    let fits = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
    if bytes.len() > NAME_BYTES_MAX || !bytes.iter().all(fits) {
        return None;
    }
    let text = std::str::from_utf8(bytes).ok()?;
    Some(text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase())
}

#[cfg(test)]
mod tests;
