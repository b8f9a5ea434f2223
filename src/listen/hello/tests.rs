use proptest::prelude::*;

use super::*;

fn long(bytes: &[u8]) -> Vec<u8> {
    [&u16::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}

fn extension(kind: u16, content: &[u8]) -> Vec<u8> {
    [kind.to_be_bytes().to_vec(), long(content)].concat()
}

fn sni(name: &[u8]) -> Vec<u8> {
    extension(0, &long(&[&[0][..], &long(name)].concat()))
}

/// The handshake message with these extensions.
fn message(extensions: Option<&[u8]>) -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.push(32);
    body.extend([9; 32]);
    body.extend(long(&[0x1a, 0x1a, 0x13, 0x01, 0x13, 0x02]));
    body.extend([1, 0]);
    body.extend(extensions.map(long).unwrap_or_default());
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&[1], &length[1..], &body].concat()
}

/// In records of at most so many bytes.
fn records(message: &[u8], size: usize) -> Vec<u8> {
    message.chunks(size).flat_map(|piece| [vec![22, 3, 1], long(piece)].concat()).collect()
}

fn hello(extensions: &[Vec<u8>]) -> Vec<u8> {
    records(&message(Some(&extensions.concat())), RECORD_BYTES_MAX)
}

fn read(bytes: &[u8]) -> Result<HelloStep, HelloFault> {
    HelloReader::new().feed(bytes)
}

fn named(name: &str) -> HelloStep {
    HelloStep::Done { server_name: Some(name.to_owned()) }
}

const NOBODY: Result<HelloStep, HelloFault> = Ok(HelloStep::Done { server_name: None });

/// What clients put around the name: GREASE in front and behind, and an encrypted hello.
fn around(name: Option<&[u8]>) -> Vec<Vec<u8>> {
    let mut all = vec![extension(0x0a0a, &[])];
    all.extend(name.map(sni));
    all.extend([
        extension(0xfe0d, &[0; 200]),
        extension(16, b"\0\x0c\x02h2\x08http/1.1"),
        extension(0xfafa, &[0]),
    ]);
    all
}

#[test]
fn tls_3_the_name_is_found_among_whatever_else_there_is() {
    assert_eq!(read(&hello(&around(Some(b"apps.example.com")))), Ok(named("apps.example.com")));
    assert_eq!(read(&hello(&[sni(b"Apps.EXAMPLE.com")])), Ok(named("apps.example.com")));
    assert_eq!(read(&hello(&around(None))), NOBODY);
    assert_eq!(read(&records(&message(None), 100)), NOBODY, "no extensions at all");
    // Other kinds of names may stand in the list.
    let other = [&[7][..], &long(b"x"), &[0], &long(b"a.b")].concat();
    assert_eq!(read(&hello(&[extension(0, &long(&other))])), Ok(named("a.b")));
}

#[test]
fn tls_3_what_is_no_dns_name_is_a_name_that_nobody_serves() {
    let too_long = [b'a'; 254];
    for odd in [&b"a b"[..], b"a/b", b"\xff", b"a\0b", b"[::1]", &too_long] {
        assert_eq!(read(&hello(&[sni(odd)])), Ok(named("")), "{odd:?}");
    }
}

#[test]
fn tls_3_a_name_written_in_full_is_the_same_name() {
    for (written, read_as) in [
        (&b"a.b."[..], "a.b"),
        (b"Shops.Example.NET.", "shops.example.net"),
        (b"localhost.", "localhost"),
        // One dot ends a name; of two, the first is part of what is no name of any server.
        (b"a.b..", "a.b."),
        (b".", ""),
    ] {
        assert_eq!(read(&hello(&[sni(written)])), Ok(named(read_as)), "{written:?}");
        // Whoever ends TLS reads the same, or none.
        let ends = rustls_pki_types::DnsName::try_from(written).ok();
        let ends = ends.map(|name| name.as_ref().to_ascii_lowercase());
        assert!(ends.is_none_or(|ends| ends == read_as), "{written:?}");
    }
}

#[test]
fn tls_3_the_clients_of_our_own_library_are_read() {
    let roots = rustls::RootCertStore::empty();
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let config = std::sync::Arc::new(config);
    for (name, read_as) in [("fe.example.com", Ok(named("fe.example.com"))), ("10.0.0.1", NOBODY)] {
        let name = rustls_pki_types::ServerName::try_from(name).unwrap();
        let mut client = rustls::ClientConnection::new(config.clone(), name).unwrap();
        let mut bytes = Vec::new();
        client.write_tls(&mut bytes).unwrap();
        assert_eq!(read(&bytes), read_as);
    }
}

#[test]
fn tls_3_what_is_no_hello_is_known_by_its_first_bytes() {
    for (bytes, fault) in [
        (&b"GET / HTTP/1.1\r\n"[..], HelloFault::NotTls),
        (b"\x80\x2e\x01", HelloFault::NotTls),
        (b"\x15\x03\x01", HelloFault::NotTls),
        (b"\x16\x02", HelloFault::NotTls),
        (b"\x16\x03\x01\x00\x00", HelloFault::Malformed),
        (b"\x16\x03\x01\x40\x01", HelloFault::Malformed),
        (b"\x16\x03\x01\x00\x04\x02", HelloFault::Malformed),
        (b"\x16\x03\x01\x00\x04\x01\xff\xff\xff", HelloFault::TooLong),
    ] {
        assert_eq!(read(bytes), Err(fault), "{bytes:?}");
        let mut torn = HelloReader::new();
        let all = bytes.chunks(1).map(|byte| torn.feed(byte)).find(Result::is_err);
        assert_eq!(all, Some(Err(fault)), "{bytes:?}");
    }
}

#[test]
fn tls_3_a_hello_that_breaks_its_grammar_names_nobody() {
    let name = sni(b"a.b");
    let empty = extension(0, &long(&[0, 0, 0]));
    let nothing = extension(0, &long(&[]));
    let two = extension(0, &long(&[&[0][..], &long(b"a"), &[0], &long(b"b")].concat()));
    let behind = extension(0, &[long(&[&[0][..], &long(b"a")].concat()), vec![1]].concat());
    for bad in
        [vec![name.clone(), name.clone()], vec![empty], vec![nothing], vec![two], vec![behind]]
    {
        assert_eq!(read(&hello(&bad)), Err(HelloFault::Malformed), "{bad:?}");
    }
    // Lengths that reach too far, or not far enough.
    let whole = message(Some(&name));
    for at in [38, 71, 72, 79, 81, 82, 85, 86, 87, 88, 90, 91] {
        let mut bent = whole.clone();
        bent[at] ^= 0x41;
        assert_ne!(read(&records(&bent, 16_384)), Ok(named("a.b")), "{at}");
    }
}

#[test]
fn mon_5_a_hello_is_bounded_and_each_byte_is_looked_at_once() {
    // The largest: in records of one byte each it would be six times as long.
    let room = |all: usize| vec![extension(21, &vec![0; all]), sni(b"a.b")];
    let whole = hello(&room(65_000));
    assert!(whole.len() <= HELLO_BYTES_MAX);
    assert_eq!(read(&whole), Ok(named("a.b")));
    let mut torn = HelloReader::new();
    let steps: Vec<_> = whole.chunks(1).map(|byte| torn.feed(byte)).collect();
    let (last, before) = steps.split_last().unwrap();
    assert!(before.iter().all(|step| *step == Ok(HelloStep::NeedMore)));
    assert_eq!(*last, Ok(named("a.b")));
    let scattered = records(&message(Some(&room(65_000).concat())), 1);
    let mut reader = HelloReader::new();
    let taken = scattered.chunks(1).position(|byte| reader.feed(byte).is_err()).unwrap();
    assert_eq!(taken + 1, HELLO_BYTES_MAX);
    assert!(reader.message.len() < HELLO_BYTES_MAX / 5);
    // A few bytes a record are fine as long as the whole is.
    let small = records(&message(Some(&room(2_000).concat())), 1);
    assert_eq!(read(&small), Ok(named("a.b")));
}

proptest! {
    /// However a hello is split, it is the same one, and nothing behind it is looked at.
    #[test]
    fn tls_3_a_hello_is_read_alike_however_it_is_split(
        name in "[a-z]{1,20}(\\.[a-z]{1,10}){0,3}",
        padding in 0_usize..3_000,
        record in 1_usize..2_000,
        packets in prop::collection::vec(1_usize..400, 1..40),
        behind in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let extensions = [extension(21, &vec![0; padding]), sni(name.as_bytes())].concat();
        let bytes = records(&message(Some(&extensions)), record);
        let followed = [bytes.clone(), behind].concat();
        prop_assert_eq!(read(&followed), Ok(named(&name)));
        let mut reader = HelloReader::new();
        let (mut rest, mut step) = (bytes.as_slice(), Ok(HelloStep::NeedMore));
        for packet in packets.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            prop_assert_eq!(&step, &Ok(HelloStep::NeedMore));
            let (piece, more) = rest.split_at((*packet).min(rest.len()));
            step = reader.feed(piece);
            rest = more;
        }
        prop_assert_eq!(step, Ok(named(&name)));
    }

    #[test]
    fn mon_5_any_bytes_are_read_without_a_panic_and_alike_in_pieces(
        mut bytes in prop::collection::vec(any::<u8>(), 0..600),
        start in any::<bool>(),
        size in 1_usize..80,
    ) {
        if start {
            let length = bytes.len().min(400);
            let body = message(None);
            bytes.splice(..length, records(&body, 30));
        }
        let whole = read(&bytes);
        let mut reader = HelloReader::new();
        let mut torn = Ok(HelloStep::NeedMore);
        for piece in bytes.chunks(size) {
            torn = reader.feed(piece);
            if torn != Ok(HelloStep::NeedMore) {
                break;
            }
        }
        prop_assert_eq!(torn, whole);
    }
}
