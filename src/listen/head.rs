//! Inspects HTTP/1.1 request heads as raw bytes, before the HTTP engine parses them, and refuses
//! whatever two parsers could read in two ways. Controls: MON-5.
//! Never sees: sockets, time, operations; bodies only as far as their framing is told.
//!
//! 1. The first offending byte decides, so the verdict does not depend on how the bytes were cut.
//! 2. Every line feed is judged when it arrives: no other parser can see a line end that this one
//!    does not.
//! 3. A head that is done has one request line, one Host and at most one length.
//! 4. Fixed memory, no allocation.
//!
//! On a fault: the connection is to be closed; the verdict stays until [`HeadGuard::reset`].
mod text;

use std::fmt;

use crate::base::HeadFault;
use crate::policy::Method;
use text::{Bytes, Field, is_host, plain_number, text_len, token_len, trim, visible_len};

/// What a head may measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadLimits {
    /// Bytes of the whole head, line ends included.
    pub bytes_max: usize,
    /// Field lines.
    pub count_max: usize,
    /// Bytes of the request target.
    pub target_max: usize,
}

/// What became of the bytes fed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadStep {
    /// All bytes belong to the head, which goes on.
    NeedMore,
    /// The head ended with the chunk's first `head_len_in_chunk` bytes.
    Done {
        head_len_in_chunk: usize,
    },
    Refuse(HeadFault),
}

/// How the body behind a head is delimited (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyFraming {
    None,
    /// Bytes.
    Length(u64),
    Chunked,
}

/// The longest Host: 255 bytes of name, a colon and a port.
const HOST_MAX: usize = 261;
/// The longest value, white space around it included, that a deciding field may have.
const TEXT_MAX: usize = HOST_MAX + 11;
const SCHEME: &[u8] = b"https://";
/// Scheme, authority, and the slash behind it.
const ABSOLUTE_MAX: usize = SCHEME.len() + HOST_MAX + 1;

/// What the next byte belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Start,
    BlankLf,
    Method,
    Target,
    Version,
    VersionLf,
    LineStart,
    Name,
    Value(Field),
    ValueLf(Field),
    EndLf,
    Done,
    Refused(HeadFault),
}

/// Follows one head after another.
#[derive(Clone)]
pub struct HeadGuard {
    limits: HeadLimits,
    state: State,
    /// Bytes of this head so far.
    seen: usize,
    fields: usize,
    target_len: usize,
    /// An empty line came before the request line; one is tolerated (RFC 9112 §2.2).
    blank: bool,
    host: bool,
    chunked: bool,
    length: Option<u64>,
    /// The start of a target that is no path; empty otherwise.
    absolute: Bytes<ABSOLUTE_MAX>,
    /// The method, version, field name or deciding field value that is being read.
    text: Bytes<TEXT_MAX>,
}

/// Heads hold credentials and personal data (LOG-2).
impl fmt::Debug for HeadGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeadGuard").field("state", &self.state).finish_non_exhaustive()
    }
}

impl HeadGuard {
    pub const fn new(limits: HeadLimits) -> Self {
        Self {
            limits,
            state: State::Start,
            seen: 0,
            fields: 0,
            target_len: 0,
            blank: false,
            host: false,
            chunked: false,
            length: None,
            absolute: Bytes::new(),
            text: Bytes::new(),
        }
    }

    /// Expects the next head.
    pub fn reset(&mut self) {
        self.state = State::Start;
        (self.seen, self.fields, self.target_len) = (0, 0, 0);
        (self.blank, self.host, self.chunked) = (false, false, false);
        self.length = None;
        self.absolute.clear();
        self.text.clear();
    }

    /// Whether a byte of the current head has come.
    pub const fn started(&self) -> bool {
        self.seen > 0
    }

    /// How the body is delimited, once the head is done.
    pub const fn body(&self) -> BodyFraming {
        match (self.chunked, self.length) {
            (true, _) => BodyFraming::Chunked,
            (false, Some(length)) => BodyFraming::Length(length),
            (false, None) => BodyFraming::None,
        }
    }

    /// Looks at the next bytes of the connection. Behind the end of the head nothing is consumed.
    pub fn feed(&mut self, chunk: &[u8]) -> HeadStep {
        let room = self.limits.bytes_max.saturating_sub(self.seen);
        let window = chunk.get(..room).unwrap_or(chunk);
        let mut rest = window;
        while !rest.is_empty() && !matches!(self.state, State::Done | State::Refused(_)) {
            match self.step(rest) {
                Ok((state, used)) => {
                    self.state = state;
                    rest = rest.get(used..).unwrap_or_default();
                }
                Err(fault) => self.state = State::Refused(fault),
            }
        }
        let used = window.len() - rest.len();
        self.seen = self.seen.saturating_add(used);
        if self.state == State::Done {
            return HeadStep::Done { head_len_in_chunk: used };
        }
        if let State::Refused(fault) = self.state {
            return HeadStep::Refuse(fault);
        }
        if chunk.len() > window.len() {
            self.state = State::Refused(HeadFault::TooLarge);
            return HeadStep::Refuse(HeadFault::TooLarge);
        }
        HeadStep::NeedMore
    }

    /// Takes some of the bytes at hand, of which there is one at least: the next state and how many
    /// were taken.
    fn step(&mut self, rest: &[u8]) -> Result<(State, usize), HeadFault> {
        let Some(first) = rest.first().copied() else { return Ok((self.state, 0)) };
        match self.state {
            State::Start if first == b'\r' && !self.blank => Ok((State::BlankLf, 1)),
            State::Start => Ok((State::Method, 0)),
            State::Method => self.method(rest),
            State::Target => self.target(rest),
            State::Version => self.version(rest),
            State::LineStart => self.line_start(first),
            State::Name => self.name(rest),
            State::Value(field) => self.value(field, rest),
            State::BlankLf | State::VersionLf | State::ValueLf(_) | State::EndLf
                if first != b'\n' =>
            {
                Err(HeadFault::BareLineEnd)
            }
            State::BlankLf => {
                self.blank = true;
                Ok((State::Start, 1))
            }
            State::VersionLf => Ok((State::LineStart, 1)),
            State::ValueLf(field) => {
                // No exclusive borrow may last while the field is judged; it is at most 272 bytes.
                let text = std::mem::replace(&mut self.text, Bytes::new());
                self.end_field(field, text.get())?;
                Ok((State::LineStart, 1))
            }
            State::EndLf if self.host => Ok((State::Done, 1)),
            State::EndLf => Err(HeadFault::Host),
            State::Done | State::Refused(_) => Ok((self.state, 0)),
        }
    }

    fn method(&mut self, rest: &[u8]) -> Result<(State, usize), HeadFault> {
        let length = token_len(rest);
        let (token, after) = rest.split_at(length);
        self.text.push(token);
        match after.first() {
            None => Ok((State::Method, length)),
            // Not a token at all, rather than one that nobody may use.
            Some(b' ') if self.text.is_empty() => Err(HeadFault::RequestLine),
            Some(b' ') if self.text.get().and_then(Method::parse).is_some() => {
                self.text.clear();
                Ok((State::Target, length + 1))
            }
            Some(b' ') => Err(HeadFault::Method),
            Some(byte) => Err(misplaced(*byte, HeadFault::RequestLine)),
        }
    }

    fn target(&mut self, rest: &[u8]) -> Result<(State, usize), HeadFault> {
        let room = self.limits.target_max.saturating_sub(self.target_len);
        let length = visible_len(rest);
        let (part, after) = rest.split_at(length);
        // A request target has no fragment (RFC 9112 §3.2); the engine would drop it.
        if memchr::memchr(b'#', part.get(..room).unwrap_or(part)).is_some() {
            return Err(HeadFault::RequestLine);
        }
        if length > room {
            return Err(HeadFault::TargetTooLong);
        }
        let is_path = self.absolute.is_empty()
            && (self.target_len > 0 || part.first().is_some_and(|b| *b == b'/'));
        if !is_path {
            self.absolute.push(part);
        }
        self.target_len += length;
        match after.first() {
            None => Ok((State::Target, length)),
            Some(b' ') if self.target_len == 0 => Err(HeadFault::RequestLine),
            Some(b' ') => {
                if !is_path {
                    self.check_absolute()?;
                }
                Ok((State::Version, length + 1))
            }
            Some(byte) => Err(misplaced(*byte, HeadFault::RequestLine)),
        }
    }

    /// `https://authority/…`: no other form than this and a path is for an origin server. The
    /// listener speaks TLS only, so `http` names another resource.
    fn check_absolute(&self) -> Result<(), HeadFault> {
        let start = self.absolute.start();
        if start == b"*" {
            return Err(HeadFault::Method);
        }
        let (scheme, rest) = start.split_at_checked(SCHEME.len()).ok_or(HeadFault::RequestLine)?;
        if !scheme.eq_ignore_ascii_case(SCHEME) {
            return Err(HeadFault::RequestLine);
        }
        let end = rest.iter().position(|b| matches!(b, b'/' | b'?'));
        match end.and_then(|end| rest.get(..=end)) {
            Some([authority @ .., b'/']) if is_host(authority) => Ok(()),
            // User information, which is how one host is passed off as another, falls here too.
            Some([_, .., b'/']) => Err(HeadFault::Host),
            None if self.absolute.get().is_none() => Err(HeadFault::Host),
            Some(_) | None => Err(HeadFault::RequestLine),
        }
    }

    fn version(&mut self, rest: &[u8]) -> Result<(State, usize), HeadFault> {
        if self.text.is_empty() && rest.starts_with(b"HTTP/1.1\r\n") {
            return Ok((State::LineStart, 10));
        }
        for (place, byte) in rest.iter().enumerate() {
            match byte {
                b'\r' => {
                    let is_current = self.text.get() == Some(b"HTTP/1.1");
                    let fault = match self.text.start() {
                        [b'H', b'T', b'T', b'P', b'/', a, b'.', b]
                            if a.is_ascii_digit() && b.is_ascii_digit() =>
                        {
                            HeadFault::Version
                        }
                        _ => HeadFault::RequestLine,
                    };
                    self.text.clear();
                    return if is_current { Ok((State::VersionLf, place + 1)) } else { Err(fault) };
                }
                b'!'..=b'~' if self.text.start().len() < 8 => self.text.push(&[*byte]),
                byte => return Err(misplaced(*byte, HeadFault::RequestLine)),
            }
        }
        Ok((State::Version, rest.len()))
    }

    fn line_start(&mut self, first: u8) -> Result<(State, usize), HeadFault> {
        if first == b'\r' {
            return Ok((State::EndLf, 1));
        }
        self.fields += 1;
        if self.fields > self.limits.count_max {
            return Err(HeadFault::TooMany);
        }
        self.text.clear();
        Ok((State::Name, 0))
    }

    fn name(&mut self, rest: &[u8]) -> Result<(State, usize), HeadFault> {
        let length = token_len(rest);
        let (token, after) = rest.split_at(length);
        match after.first() {
            None => {
                self.text.push(token);
                Ok((State::Name, length))
            }
            // The usual case: the whole name is here, and need not be copied.
            Some(b':') if self.text.is_empty() && length > 0 => {
                Ok((State::Value(Field::of(token)), length + 1))
            }
            Some(b':') if !self.text.is_empty() => {
                self.text.push(token);
                let field = self.text.get().map_or(Field::Other, Field::of);
                self.text.clear();
                Ok((State::Value(field), length + 1))
            }
            // A space before the colon, a folded line (RFC 9112 §5.1, §5.2), no name at all.
            Some(byte) => Err(misplaced(*byte, HeadFault::FieldLine)),
        }
    }

    fn value(&mut self, field: Field, rest: &[u8]) -> Result<(State, usize), HeadFault> {
        let length = text_len(rest);
        let (part, after) = rest.split_at(length);
        if let [b'\r', b'\n', ..] = after
            && self.text.is_empty()
        {
            // The usual case: the whole value is here, and need not be copied.
            self.end_field(field, Some(part).filter(|part| part.len() <= TEXT_MAX))?;
            return Ok((State::LineStart, length + 2));
        }
        if field != Field::Other {
            self.text.push(part);
        }
        match after {
            [] => Ok((State::Value(field), length)),
            [b'\r', ..] => Ok((State::ValueLf(field), length + 1)),
            [b'\n', ..] => Err(HeadFault::BareLineEnd),
            [_, ..] => Err(HeadFault::ControlByte),
        }
    }

    /// Judges a field by its value; `None` stands for one that is too long.
    fn end_field(&mut self, field: Field, value: Option<&[u8]>) -> Result<(), HeadFault> {
        if field == Field::Other {
            return Ok(());
        }
        let value = value.map(trim);
        match field {
            Field::Other => {}
            Field::Host => {
                let host = value.filter(|host| is_host(host)).ok_or(HeadFault::Host)?;
                let target = self.absolute.start().get(SCHEME.len()..).unwrap_or_default();
                let authority = target.split(|b| *b == b'/').next().unwrap_or_default();
                let differs = !self.absolute.is_empty() && !authority.eq_ignore_ascii_case(host);
                if self.host || differs {
                    return Err(HeadFault::Host);
                }
                self.host = true;
            }
            Field::ContentLength => {
                if self.length.is_some() || self.chunked {
                    return Err(HeadFault::Length);
                }
                self.length = Some(value.and_then(plain_number).ok_or(HeadFault::Length)?);
            }
            Field::TransferEncoding => {
                if self.length.is_some() {
                    return Err(HeadFault::Length);
                }
                if self.chunked || value != Some(b"chunked") {
                    return Err(HeadFault::TransferCoding);
                }
                self.chunked = true;
            }
        }
        Ok(())
    }
}

/// What a byte means where it may not stand.
const fn misplaced(byte: u8, otherwise: HeadFault) -> HeadFault {
    match byte {
        b'\n' => HeadFault::BareLineEnd,
        b'\r' | b'\t' => otherwise,
        0..b' ' | 0x7f => HeadFault::ControlByte,
        _ => otherwise,
    }
}

#[cfg(test)]
mod tests;
