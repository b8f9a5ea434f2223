//! Reads the PROXY protocol header, versions 1 and 2 (`HAProxy`'s `proxy-protocol.txt`), that a
//! trusted balancer puts before the TLS handshake. Controls: NET-3, MON-5.
//! Never sees: sockets, time, or who the peer is; whether a header is due and from whom is decided
//! by the caller, before this is asked.
//!
//! 1. A torn header is [`Step::NeedMore`] or a fault, never an address.
//! 2. Not a byte behind the header is consumed.
//! 3. At most [`V1_BYTES_MAX`] or [`V2_BYTES_MAX`] bytes are looked at.
//! 4. What the header says beyond the client's address (destination, TLVs) is checked for form and
//!    then forgotten: no decision rests on it.
//!
//! On a fault: the connection is to be closed without an answer.
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The longest version 1 line, CRLF included (section 2.1).
pub const V1_BYTES_MAX: usize = 107;
/// The longest version 2 header, signature and TLVs included. The format allows 64 KiB; balancers
/// send some hundred bytes.
pub const V2_BYTES_MAX: usize = 4096;

const V1_START: &[u8] = b"PROXY ";
const V2_START: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family and transport, length.
const V2_FIXED: usize = 16;

/// How far reading came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The header goes on behind these bytes.
    NeedMore,
    /// The header is whole: its first `consumed` bytes are no longer needed.
    Done { consumed: usize, source: Source },
}

/// Whom the balancer speaks for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// A client with this address.
    Proxied { client: SocketAddr },
    /// Nobody: the balancer's own connection, such as a health check (`LOCAL`, `UNKNOWN`). The
    /// peer's address counts.
    Local,
}

/// The address is personal data (LOG-2).
impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Proxied { .. } => "Proxied([pii])",
            Self::Local => "Local",
        })
    }
}

/// What is wrong with a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyFault {
    /// It starts like neither version.
    NotProxy,
    /// It is longer than its version may be.
    TooLong,
    /// A version 1 line that breaks the grammar: spaces, digits, line end.
    Line,
    /// A version other than 1 and 2, or a command other than `LOCAL` and `PROXY`.
    Command,
    /// A family and transport other than TCP over IPv4 or IPv6.
    Family,
    /// Too short for the addresses of its family.
    Length,
    /// TLVs that do not fill the rest of the header exactly, or two checksums.
    Tlv,
    /// The `CRC32c` does not fit.
    Checksum,
}

impl ProxyFault {
    /// For records and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotProxy => "not_proxy",
            Self::TooLong => "too_long",
            Self::Line => "line",
            Self::Command => "command",
            Self::Family => "family",
            Self::Length => "length",
            Self::Tlv => "tlv",
            Self::Checksum => "checksum",
        }
    }
}

/// Reads a header from the first bytes of a connection. Call again with all bytes so far, and more,
/// on [`Step::NeedMore`].
///
/// # Errors
/// As soon as no further bytes could make a valid header.
pub fn parse(buf: &[u8]) -> Result<Step, ProxyFault> {
    if starts_alike(buf, V2_START) {
        v2(buf)
    } else if starts_alike(buf, V1_START) {
        v1(buf)
    } else {
        Err(ProxyFault::NotProxy)
    }
}

/// Whether the shorter one begins the longer one.
fn starts_alike(buf: &[u8], start: &[u8]) -> bool {
    buf.iter().zip(start).all(|(a, b)| a == b)
}

fn v1(buf: &[u8]) -> Result<Step, ProxyFault> {
    let head = buf.get(..V1_BYTES_MAX).unwrap_or(buf);
    let Some(end) = memchr::memchr2(b'\r', b'\n', head) else {
        return if buf.len() < V1_BYTES_MAX {
            Ok(Step::NeedMore)
        } else {
            Err(ProxyFault::TooLong)
        };
    };
    let (line, ending) = head.split_at_checked(end).ok_or(ProxyFault::Line)?;
    match ending {
        [b'\r', b'\n', ..] => {}
        [b'\r'] if end + 2 <= V1_BYTES_MAX => return Ok(Step::NeedMore),
        [b'\r'] => return Err(ProxyFault::TooLong),
        _ => return Err(ProxyFault::Line),
    }
    Ok(Step::Done { consumed: end + 2, source: v1_line(line).ok_or(ProxyFault::Line)? })
}

/// `PROXY TCP4 source destination port port`, one space between; the rest of `UNKNOWN` is ignored.
fn v1_line(line: &[u8]) -> Option<Source> {
    let text = std::str::from_utf8(line).ok()?;
    if !text.bytes().all(|b| (b' '..=b'~').contains(&b)) {
        return None;
    }
    let rest = text.strip_prefix("PROXY ")?;
    if rest == "UNKNOWN" || rest.starts_with("UNKNOWN ") {
        return Some(Source::Local);
    }
    let mut fields = rest.split(' ');
    let mut next = || fields.next();
    let (family, source, destination) = (next()?, next()?, next()?);
    let (source_port, destination_port) = (port(next()?)?, port(next()?)?);
    if next().is_some() {
        return None;
    }
    let addr = |text: &str| -> Option<IpAddr> {
        match family {
            // The standard library's grammar is the one asked for: no leading zeros, no short forms.
            "TCP4" => text.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
            "TCP6" => text.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
            _ => None,
        }
    };
    let (source, _) = (addr(source)?, addr(destination)?);
    let _: u16 = destination_port;
    Some(Source::Proxied { client: SocketAddr::new(source, source_port) })
}

/// 0 to 65535 in decimal digits without leading zeros.
fn port(text: &str) -> Option<u16> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    plain.then(|| text.parse().ok()).flatten()
}

/// What a version 2 header is about.
#[derive(Clone, Copy)]
enum Command {
    Local,
    Tcp4,
    Tcp6,
}

fn v2(buf: &[u8]) -> Result<Step, ProxyFault> {
    // Each byte is judged as soon as it is there, so that nobody waits for the rest of nonsense.
    let Some(command) = buf.get(12) else { return Ok(Step::NeedMore) };
    if !matches!(command, 0x20 | 0x21) {
        return Err(ProxyFault::Command);
    }
    let Some(family) = buf.get(13) else { return Ok(Step::NeedMore) };
    let command = match (command, family) {
        // "The receiver must … discard the protocol block including the family" (section 2.2).
        (0x20, _) => Command::Local,
        (_, 0x11) => Command::Tcp4,
        (_, 0x21) => Command::Tcp6,
        _ => return Err(ProxyFault::Family),
    };
    let (Some(high), Some(low)) = (buf.get(14), buf.get(15)) else { return Ok(Step::NeedMore) };
    let consumed = V2_FIXED + usize::from(u16::from_be_bytes([*high, *low]));
    if consumed > V2_BYTES_MAX {
        return Err(ProxyFault::TooLong);
    }
    let addresses = match command {
        Command::Local => 0,
        Command::Tcp4 => 12,
        Command::Tcp6 => 36,
    };
    if consumed < V2_FIXED + addresses {
        return Err(ProxyFault::Length);
    }
    let Some(header) = buf.get(..consumed) else { return Ok(Step::NeedMore) };
    let body = header.get(V2_FIXED..).ok_or(ProxyFault::Length)?;
    let client = match command {
        Command::Local => return Ok(Step::Done { consumed, source: Source::Local }),
        Command::Tcp4 => client::<4>(body),
        Command::Tcp6 => client::<16>(body),
    };
    let client = client.ok_or(ProxyFault::Length)?;
    check_tlvs(header, V2_FIXED + addresses)?;
    Ok(Step::Done { consumed, source: Source::Proxied { client } })
}

/// Source and destination address of `N` bytes each, then source and destination port.
fn client<const N: usize>(body: &[u8]) -> Option<SocketAddr>
where
    IpAddr: From<[u8; N]>,
{
    let addr: [u8; N] = *body.first_chunk()?;
    let port: [u8; 2] = *body.get(2 * N..)?.first_chunk()?;
    Some(SocketAddr::new(addr.into(), u16::from_be_bytes(port)))
}

/// The type of a TLV that carries a `CRC32c` of the whole header (section 2.2.5).
const TLV_CRC32C: u8 = 0x03;

fn check_tlvs(header: &[u8], start: usize) -> Result<(), ProxyFault> {
    let mut rest = header.get(start..).ok_or(ProxyFault::Length)?;
    let mut checksum = None;
    while let [kind, high, low, after @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let (value, next) = after.split_at_checked(length).ok_or(ProxyFault::Tlv)?;
        if *kind == TLV_CRC32C {
            let value = value.try_into().map_err(|_| ProxyFault::Tlv)?;
            let place = header.len() - after.len();
            if checksum.replace((place, u32::from_be_bytes(value))).is_some() {
                return Err(ProxyFault::Tlv);
            }
        }
        rest = next;
    }
    if !rest.is_empty() {
        return Err(ProxyFault::Tlv);
    }
    match checksum {
        Some((place, told)) if crc32c_without(header, place) != told => Err(ProxyFault::Checksum),
        Some(_) | None => Ok(()),
    }
}

/// `CRC32c` (RFC 3720, appendix B.4) of the header with the four bytes at `place` taken as zero. Bit by
/// bit: it is once per connection, and only from balancers that send one.
fn crc32c_without(header: &[u8], place: usize) -> u32 {
    let sum = header.iter().enumerate().fold(u32::MAX, |sum, (at, byte)| {
        let byte = if (place..place + 4).contains(&at) { 0 } else { *byte };
        (0..8).fold(sum ^ u32::from(byte), |sum, _| (sum >> 1) ^ (0x82f6_3b78 * (sum & 1)))
    });
    !sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn v2_header(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let mut header = V2_START.to_vec();
        header.extend([command, family]);
        header.extend(u16::try_from(body.len()).unwrap().to_be_bytes());
        header.extend(body);
        header
    }

    fn tcp4() -> Vec<u8> {
        vec![192, 0, 2, 7, 10, 0, 0, 1, 0xdc, 0x04, 0x01, 0xbb]
    }

    fn tcp6() -> Vec<u8> {
        let mut body = "2001:db8::7".parse::<Ipv6Addr>().unwrap().octets().to_vec();
        body.extend("2001:db8::1".parse::<Ipv6Addr>().unwrap().octets());
        body.extend([0xdc, 0x04, 0x01, 0xbb]);
        body
    }

    /// The header with a `CRC32c` TLV at its end.
    fn with_crc(command: u8, family: u8, mut body: Vec<u8>) -> Vec<u8> {
        body.extend([TLV_CRC32C, 0, 4, 0, 0, 0, 0]);
        let mut header = v2_header(command, family, &body);
        let place = header.len() - 4;
        let sum = crc32c_without(&header, place).to_be_bytes();
        header[place..].copy_from_slice(&sum);
        header
    }

    fn proxied(client: &str, consumed: usize) -> Step {
        Step::Done { consumed, source: Source::Proxied { client: client.parse().unwrap() } }
    }

    fn local(consumed: usize) -> Step {
        Step::Done { consumed, source: Source::Local }
    }

    #[test]
    fn net_3_version_1_lines() {
        let line = b"PROXY TCP4 192.0.2.7 10.0.0.1 56324 443\r\n\x16\x03\x01";
        assert_eq!(parse(line), Ok(proxied("192.0.2.7:56324", 41)));
        let line = b"PROXY TCP6 2001:db8::7 2001:DB8::1 0 65535\r\n";
        assert_eq!(parse(line), Ok(proxied("[2001:db8::7]:0", 44)));
        assert_eq!(parse(b"PROXY UNKNOWN\r\n"), Ok(local(15)));
        let longest = b"PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff \
            ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n";
        assert_eq!((longest.len(), parse(longest)), (107, Ok(local(107))));
    }

    #[test]
    fn net_3_version_1_grammar_is_exact() {
        for bad in [
            "PROXY TCP4 192.0.2.07 10.0.0.1 1 2",
            "PROXY TCP4 192.0.2.7 10.0.0.1 01 2",
            "PROXY TCP4 192.0.2.7 10.0.0.1 +1 2",
            "PROXY TCP4 192.0.2.7 10.0.0.1 1 65536",
            "PROXY TCP4 192.0.2.7 10.0.0.1 1 ",
            "PROXY TCP4 192.0.2.7 10.0.0.1 1 2 ",
            "PROXY TCP4 192.0.2.7  10.0.0.1 1 2",
            "PROXY TCP4 192.0.2.7\t10.0.0.1 1 2",
            "PROXY TCP4 192.0.2.7 10.0.0.1 1",
            "PROXY TCP4 192.0.2.7 10.0.1 1 2",
            "PROXY TCP4 192.0.2.7 2001:db8::1 1 2",
            "PROXY TCP4 2001:db8::7 2001:db8::1 1 2",
            "PROXY TCP6 192.0.2.7 10.0.0.1 1 2",
            "PROXY TCP6 [2001:db8::7] 2001:db8::1 1 2",
            "PROXY TCP6 fe80::1%eth0 2001:db8::1 1 2",
            "PROXY tcp4 192.0.2.7 10.0.0.1 1 2",
            "PROXY UDP4 192.0.2.7 10.0.0.1 1 2",
            "PROXY UNKNOWNX",
            "PROXY UNKNOWN a\0b",
            "PROXY UNKNOWN \u{e9}",
            "PROXY ",
        ] {
            assert_eq!(parse(format!("{bad}\r\n").as_bytes()), Err(ProxyFault::Line), "{bad}");
        }
        assert_eq!(parse(b"PROXY UNKNOWN\n"), Err(ProxyFault::Line));
        assert_eq!(parse(b"PROXY UNKNOWN\rX"), Err(ProxyFault::Line));
        assert_eq!(parse(&[b"PROXY UNKNOWN ", &[b'x'; 93][..]].concat()), Err(ProxyFault::TooLong));
        let late = [b"PROXY UNKNOWN ", &[b'x'; 92][..], b"\r\n"].concat();
        assert_eq!(parse(&late), Err(ProxyFault::TooLong));
        assert_eq!(parse(b"PROXY\tTCP4"), Err(ProxyFault::NotProxy));
        assert_eq!(parse(b"GET / HTTP/1.1\r\n"), Err(ProxyFault::NotProxy));
        assert_eq!(parse(b"\x16\x03\x01"), Err(ProxyFault::NotProxy));
    }

    #[test]
    fn net_3_version_2_headers() {
        assert_eq!(parse(&v2_header(0x21, 0x11, &tcp4())), Ok(proxied("192.0.2.7:56324", 28)));
        assert_eq!(parse(&v2_header(0x21, 0x21, &tcp6())), Ok(proxied("[2001:db8::7]:56324", 52)));
        assert_eq!(parse(&v2_header(0x20, 0x00, &[])), Ok(local(16)));
        assert_eq!(parse(&v2_header(0x20, 0x31, &[0xff; 216])), Ok(local(232)));
        let tlvs = [tcp4(), vec![0x01, 0, 2, b'h', b'2', 0x04, 0, 0]].concat();
        let mut header = v2_header(0x21, 0x11, &tlvs);
        header.extend(b"behind");
        assert_eq!(parse(&header), Ok(proxied("192.0.2.7:56324", 36)));
    }

    #[test]
    fn net_3_version_2_refusals() {
        let tlv = |tlv: &[u8]| parse(&v2_header(0x21, 0x11, &[&tcp4(), tlv].concat()));
        assert_eq!(parse(&v2_header(0x11, 0x11, &tcp4())), Err(ProxyFault::Command));
        assert_eq!(parse(&v2_header(0x22, 0x11, &tcp4())), Err(ProxyFault::Command));
        for family in [0x00, 0x10, 0x12, 0x13, 0x20, 0x22, 0x31, 0x32, 0x41, 0xff] {
            assert_eq!(parse(&v2_header(0x21, family, &[0; 216])), Err(ProxyFault::Family));
        }
        assert_eq!(parse(&v2_header(0x21, 0x11, &[0; 11])), Err(ProxyFault::Length));
        assert_eq!(parse(&v2_header(0x21, 0x21, &[0; 35])), Err(ProxyFault::Length));
        assert_eq!(parse(&v2_header(0x21, 0x11, &[0; 4081])), Err(ProxyFault::TooLong));
        for bad in [&[1][..], &[1, 0], &[1, 0, 1], &[1, 0, 2, 9], &[4, 0, 0, 4, 0]] {
            assert_eq!(tlv(bad), Err(ProxyFault::Tlv), "{bad:?}");
        }
        for bad in [&[3, 0, 3, 0, 0, 0][..], &[3, 0, 4, 0, 0, 0, 0, 3, 0, 4, 0, 0, 0, 0]] {
            assert_eq!(tlv(bad), Err(ProxyFault::Tlv), "{bad:?}");
        }
    }

    #[test]
    fn net_3_a_checksum_is_verified() {
        // The check value of `CRC-32C`: "123456789" gives e3069283.
        assert_eq!(crc32c_without(b"123456789", 9), 0xe306_9283);
        let good = with_crc(0x21, 0x11, tcp4());
        assert_eq!(parse(&good), Ok(proxied("192.0.2.7:56324", 35)));
        for at in 16..28 {
            let mut bad = good.clone();
            bad[at] ^= 1;
            assert_eq!(parse(&bad), Err(ProxyFault::Checksum), "{at}");
        }
    }

    #[test]
    fn log_2_debug_output_holds_no_address() {
        let step = parse(&v2_header(0x21, 0x11, &tcp4()));
        assert!(!format!("{step:?}").contains("192"));
    }

    fn some_header() -> impl Strategy<Value = (Vec<u8>, Option<SocketAddr>)> {
        let sockets = (any::<[u8; 16]>(), any::<[u8; 16]>(), any::<u16>(), any::<u16>());
        let tlvs =
            prop::collection::vec((4..=255_u8, prop::collection::vec(any::<u8>(), 0..40)), 0..4);
        (0..5_u8, sockets, tlvs).prop_map(|(kind, (from, to, port, to_port), tlvs)| {
            let (from6, to6) = (Ipv6Addr::from(from), Ipv6Addr::from(to));
            let (from4, to4) = (*from.first_chunk::<4>().unwrap(), *to.first_chunk::<4>().unwrap());
            let (name4, to_name4) = (Ipv4Addr::from(from4), Ipv4Addr::from(to4));
            let ports = [port.to_be_bytes(), to_port.to_be_bytes()].concat();
            let tlvs: Vec<u8> = tlvs
                .iter()
                .flat_map(|(t, v)| {
                    [&[*t, 0, u8::try_from(v.len()).unwrap()], v.as_slice()].concat()
                })
                .collect();
            match kind {
                0 => {
                    let line = format!("PROXY TCP4 {name4} {to_name4} {port} {to_port}\r\n");
                    (line.into_bytes(), Some(SocketAddr::new(name4.into(), port)))
                }
                1 => {
                    let line = format!("PROXY TCP6 {from6} {to6} {port} {to_port}\r\n");
                    (line.into_bytes(), Some(SocketAddr::new(from6.into(), port)))
                }
                2 => {
                    let body = [&from4[..], &to4, &ports, &tlvs].concat();
                    (with_crc(0x21, 0x11, body), Some(SocketAddr::new(name4.into(), port)))
                }
                3 => {
                    let body = [&from[..], &to, &ports, &tlvs].concat();
                    (v2_header(0x21, 0x21, &body), Some(SocketAddr::new(from6.into(), port)))
                }
                _ => (v2_header(0x20, from[0], &tlvs), None),
            }
        })
    }

    proptest! {
        #[test]
        fn net_3_torn_header_is_refused((header, client) in some_header(), behind: [u8; 5]) {
            for torn in 0..header.len() {
                prop_assert_eq!(parse(&header[..torn]), Ok(Step::NeedMore), "{}", torn);
            }
            let source = client.map_or(Source::Local, |client| Source::Proxied { client });
            let done = Ok(Step::Done { consumed: header.len(), source });
            prop_assert_eq!(parse(&[&header[..], &behind].concat()), done);
        }

        #[test]
        fn net_3_more_bytes_never_change_a_verdict(
            (mut bytes, _) in some_header(), at: prop::sample::Index, flip in 1..=255_u8,
        ) {
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            let mut decided = None;
            for length in 0..=bytes.len() {
                let now = parse(&bytes[..length]);
                match decided {
                    None if now != Ok(Step::NeedMore) => decided = Some(now),
                    None => {}
                    Some(before) => prop_assert_eq!(now, before),
                }
            }
        }
    }
}
