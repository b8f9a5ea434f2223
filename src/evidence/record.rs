//! What may be written down, as a property of types: a record holds [`Loggable`] fields only, and the
//! log writer takes records only (LOG-2).
use std::time::Duration;

use crate::base::{ControlId, Moment, Name, Pseudonym, RequestId, Utc, digit};

/// Only this room can say that a type is fit for the log.
pub(in crate::evidence) mod sealed {
    pub trait Sealed {}
}

/// A value that can't hold anything from a request: numbers, closed vocabularies, names from the
/// configuration, pseudonyms, times. Sealed: no other room can add a type.
///
/// ```
/// use sekisho::{base::Name, evidence::{Fixed, Record, record}};
/// record! {
///     pub struct Kept<'a> in "example" {
///         pub count: u64 = "count",
///         pub word: Fixed = "word",
///         pub name: Option<&'a Name> = "name",
///     }
/// }
/// let mut line = Vec::new();
/// Kept { count: 7, word: Fixed::new("seven"), name: None }.write_json(&mut line);
/// assert_eq!(line, b"{\"event.dataset\":\"example\",\"count\":7,\"word\":\"seven\"}\n");
/// ```
/// The same record with anything that can carry a peer's bytes does not compile:
/// ```compile_fail,E0277
/// use sekisho::evidence::record;
/// record! { pub struct Kept in "example" { pub x: String = "x", } }
/// ```
/// ```compile_fail,E0277
/// use sekisho::evidence::record;
/// record! { pub struct Kept<'a> in "example" { pub x: &'a str = "x", } }
/// ```
/// ```compile_fail,E0277
/// use sekisho::evidence::record;
/// record! { pub struct Kept in "example" { pub x: &'static str = "x", } }
/// ```
/// ```compile_fail,E0277
/// use sekisho::evidence::record;
/// record! { pub struct Kept in "example" { pub x: Option<http::Uri> = "x", } }
/// ```
/// ```compile_fail,E0277
/// use sekisho::evidence::record;
/// record! { pub struct Kept in "example" { pub x: http::HeaderValue = "x", } }
/// ```
/// ```compile_fail,E0277
/// use sekisho::evidence::record;
/// record! { pub struct Kept in "example" { pub x: std::net::IpAddr = "x", } }
/// ```
/// ```compile_fail,E0277
/// use sekisho::evidence::record;
/// record! { pub struct Kept in "example" { pub x: sekisho::base::ClientAddr = "x", } }
/// ```
/// ```compile_fail,E0277
/// use sekisho::{base::Pii, evidence::record};
/// record! { pub struct Kept in "example" { pub x: Pii<u64> = "x", } }
/// ```
/// ```compile_fail,E0277
/// use sekisho::evidence::record;
/// record! { pub struct Kept in "example" { pub x: Vec<u8> = "x", } }
/// ```
pub trait Loggable: sealed::Sealed {
    /// Appends the value as JSON.
    fn write_value(&self, out: &mut Vec<u8>);

    /// Whether there is no value; its key is then left out of the line.
    fn is_absent(&self) -> bool {
        false
    }
}

/// What the log accepts. Implemented by [`record!`](crate::evidence::record!) alone.
pub trait Record {
    /// The JSON keys in the order in which they are written.
    const KEYS: &'static [&'static str];

    /// Appends one line of JSON, newline included. Allocates nothing but room in `out`.
    fn write_json(&self, out: &mut Vec<u8>);
}

/// No line of this program is longer, in bytes: names are bounded, and nothing else in a record has
/// a length that a peer could choose.
pub const LINE_BYTES_MAX: usize = 2_048;

/// Declares a [`Record`]: a struct, each field with its JSON key. Every field must be [`Loggable`].
#[doc(hidden)]
#[macro_export]
macro_rules! __record {
    (
        $(#[$meta:meta])*
        $vis:vis struct $name:ident $(<$life:lifetime>)? in $dataset:literal {
            $( $(#[$field_meta:meta])* $field_vis:vis $field:ident : $kind:ty = $key:literal, )+
        }
    ) => {
        $(#[$meta])*
        $vis struct $name $(<$life>)? {
            $( $(#[$field_meta])* $field_vis $field: $kind, )+
        }

        impl $(<$life>)? $crate::evidence::Record for $name $(<$life>)? {
            const KEYS: &'static [&'static str] = &[$($key),+];

            fn write_json(&self, out: &mut Vec<u8>) {
                const {
                    assert!($crate::evidence::needs_no_escape($dataset));
                    $( assert!($crate::evidence::needs_no_escape($key)); )+
                }
                out.extend_from_slice(
                    concat!("{\"event.dataset\":\"", $dataset, "\"").as_bytes(),
                );
                $(
                    let value = &self.$field;
                    if !$crate::evidence::Loggable::is_absent(value) {
                        out.extend_from_slice(concat!(",\"", $key, "\":").as_bytes());
                        $crate::evidence::Loggable::write_value(value, out);
                    }
                )+
                out.extend_from_slice(b"}\n");
            }
        }
    };
}

/// Whether a text can stand between quotes in JSON as it is (RFC 8259 §7), and is ASCII.
#[must_use]
pub const fn needs_no_escape(text: &str) -> bool {
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        if *first < 0x20 || *first > 0x7e || *first == b'"' || *first == b'\\' {
            return false;
        }
        rest = tail;
    }
    true
}

/// A text that was in the program when it was compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fixed(&'static str);

impl Fixed {
    #[must_use]
    pub const fn new(text: &'static str) -> Self {
        Self(text)
    }

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.0
    }
}

/// A length of time that is written in nanoseconds, as ECS wants `event.duration`. A bare `Duration`
/// is written in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Nanos(pub Duration);

/// Appends `text` in quotes. Only for texts that need no escape by construction.
pub(in crate::evidence) fn write_plain(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    out.extend_from_slice(text);
    out.push(b'"');
}

impl sealed::Sealed for Fixed {}
impl Loggable for Fixed {
    fn write_value(&self, out: &mut Vec<u8>) {
        out.push(b'"');
        for &byte in self.0.as_bytes() {
            match byte {
                b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
                // The only characters left that RFC 8259 §7 forbids; no text of ours needs to tell
                // one from another.
                0..0x20 => out.push(b' '),
                _ => out.push(byte),
            }
        }
        out.push(b'"');
    }
}

impl sealed::Sealed for Name {}
impl Loggable for Name {
    fn write_value(&self, out: &mut Vec<u8>) {
        write_plain(self.as_str().as_bytes(), out);
    }
}

impl sealed::Sealed for ControlId {}
impl Loggable for ControlId {
    fn write_value(&self, out: &mut Vec<u8>) {
        write_plain(self.as_str().as_bytes(), out);
    }
}

impl sealed::Sealed for RequestId {}
impl Loggable for RequestId {
    fn write_value(&self, out: &mut Vec<u8>) {
        write_plain(self.as_str().as_bytes(), out);
    }
}

impl sealed::Sealed for Pseudonym {}
impl Loggable for Pseudonym {
    fn write_value(&self, out: &mut Vec<u8>) {
        write_plain(&self.to_hex(), out);
    }
}

impl sealed::Sealed for Moment {}
impl Loggable for Moment {
    fn write_value(&self, out: &mut Vec<u8>) {
        write_plain(&Utc::of(*self).rfc3339(), out);
    }
}

impl sealed::Sealed for Duration {}
impl Loggable for Duration {
    fn write_value(&self, out: &mut Vec<u8>) {
        write_unsigned(u64::try_from(self.as_micros()).unwrap_or(u64::MAX), out);
    }
}

impl sealed::Sealed for Nanos {}
impl Loggable for Nanos {
    fn write_value(&self, out: &mut Vec<u8>) {
        write_unsigned(u64::try_from(self.0.as_nanos()).unwrap_or(u64::MAX), out);
    }
}

impl<T: Loggable> sealed::Sealed for Option<T> {}
impl<T: Loggable> Loggable for Option<T> {
    fn write_value(&self, out: &mut Vec<u8>) {
        match self {
            Some(value) => value.write_value(out),
            None => out.extend_from_slice(b"null"),
        }
    }

    fn is_absent(&self) -> bool {
        self.as_ref().is_none_or(Loggable::is_absent)
    }
}

impl<T: Loggable> sealed::Sealed for &T {}
impl<T: Loggable> Loggable for &T {
    fn write_value(&self, out: &mut Vec<u8>) {
        (*self).write_value(out);
    }

    fn is_absent(&self) -> bool {
        (*self).is_absent()
    }
}

macro_rules! unsigned {
    ($($kind:ty),+) => {$(
        impl sealed::Sealed for $kind {}
        impl Loggable for $kind {
            fn write_value(&self, out: &mut Vec<u8>) {
                write_unsigned(u64::from(*self), out);
            }
        }
    )+};
}
unsigned!(u8, u16, u32, u64);

impl sealed::Sealed for i64 {}
impl Loggable for i64 {
    fn write_value(&self, out: &mut Vec<u8>) {
        if *self < 0 {
            out.push(b'-');
        }
        write_unsigned(self.unsigned_abs(), out);
    }
}

fn write_unsigned(mut value: u64, out: &mut Vec<u8>) {
    let mut digits = [b'0'; 20];
    let mut used = 1;
    for (count, place) in digits.iter_mut().rev().enumerate() {
        if value == 0 {
            break;
        }
        *place = digit(value % 10);
        value /= 10;
        used = count + 1;
    }
    out.extend_from_slice(digits.get(digits.len() - used..).unwrap_or_default());
}
