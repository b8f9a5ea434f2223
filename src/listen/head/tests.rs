use proptest::prelude::*;

use super::*;

const LIMITS: HeadLimits = HeadLimits { bytes_max: 2_048, count_max: 8, target_max: 64 };

fn feed(head: &str) -> HeadStep {
    HeadGuard::new(LIMITS).feed(head.as_bytes())
}

fn refused(head: &str, fault: HeadFault) {
    assert_eq!(feed(head), HeadStep::Refuse(fault), "{head:?}");
}

/// A head with these field lines beside Host.
fn with(fields: &str) -> String {
    format!("GET /a HTTP/1.1\r\nHost: h\r\n{fields}\r\n")
}

fn body_of(fields: &str) -> BodyFraming {
    let mut guard = HeadGuard::new(LIMITS);
    let head = with(fields);
    assert_eq!(guard.feed(head.as_bytes()), HeadStep::Done { head_len_in_chunk: head.len() });
    guard.body()
}

#[test]
fn mon_5_good_heads_pass_and_end_where_they_end() {
    for head in [
        "GET / HTTP/1.1\r\nHost: example.com\r\n\r\n",
        "\r\nGET /a?b=c&d=%20 HTTP/1.1\r\nhost:\texample.com:8443 \t\r\nX-Empty:\r\n\r\n",
        "POST https://Example.com:443/a HTTP/1.1\r\nHOST: example.COM:443\r\nContent-Length: 0\r\n\r\n",
        "DELETE /~x HTTP/1.1\r\nHost: [2001:db8::1]:8443\r\nX!#$%&'*+-.^_`|~: \"a\tb\" \u{e9}\r\n\r\n",
        "HEAD / HTTP/1.1\r\nHost: 192.0.2.1\r\n\r\n",
    ] {
        let behind = format!("{head}\0\n\nbody");
        assert_eq!(feed(&behind), HeadStep::Done { head_len_in_chunk: head.len() }, "{head:?}");
    }
}

#[test]
fn mon_5_line_ends_are_crlf_only() {
    for head in [
        "\nGET / HTTP/1.1\r\n",
        "\rGET / HTTP/1.1\r\n",
        "G\n",
        "GET /\n",
        "GET / HTTP/1.1\nHost: h\r\n\r\n",
        "GET / HTTP/1.1\rHost: h\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\rX: y\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\n\n",
        "GET / HTTP/1.1\r\nHost: h\r\n\rX",
        "GET / HTTP/1.1\r\nHost\n: h\r\n\r\n",
    ] {
        refused(head, HeadFault::BareLineEnd);
    }
}

#[test]
fn mon_5_control_bytes_are_refused_everywhere() {
    for byte in (0..=0x1f).chain([0x7f]).filter(|b| !b"\t\r\n".contains(b)).map(char::from) {
        refused(&format!("G{byte}ET / HTTP/1.1\r\n"), HeadFault::ControlByte);
        refused(&format!("GET /{byte} HTTP/1.1\r\n"), HeadFault::ControlByte);
        refused(&format!("GET / HTTP{byte}/1.1\r\n"), HeadFault::ControlByte);
        refused(&with(&format!("X{byte}: y\r\n")), HeadFault::ControlByte);
        refused(&with(&format!("X: y{byte}z, and some more text\r\n")), HeadFault::ControlByte);
        refused(&with(&format!("X: some text before the byte {byte}\r\n")), HeadFault::ControlByte);
    }
}

#[test]
fn mon_5_a_fragment_within_the_bound_is_told_before_the_length() {
    let limits = HeadLimits { bytes_max: 100, count_max: 6, target_max: 2 };
    for (head, fault) in [
        (&b"POST #a/b HTTP/1.1\r\n"[..], HeadFault::RequestLine),
        (b"POST /#a/b HTTP/1.1\r\n", HeadFault::RequestLine),
        (b"POST /a#b HTTP/1.1\r\n", HeadFault::TargetTooLong),
    ] {
        assert_eq!(judge(limits, [head].into_iter()).0, HeadStep::Refuse(fault));
        assert_eq!(judge(limits, head.chunks(1)).0, HeadStep::Refuse(fault));
    }
}

#[test]
fn mon_5_the_request_line_has_one_form() {
    for line in [
        " GET / HTTP/1.1",
        "GET  / HTTP/1.1",
        "GET /  HTTP/1.1",
        "GET / HTTP/1.1 ",
        "GET /\tHTTP/1.1",
        "GET / a HTTP/1.1",
        "GET /",
        "GET",
        "\r\n\r\nGET / HTTP/1.1",
        "G(T / HTTP/1.1",
        "GET /\u{e9} HTTP/1.1",
        "GET /a#b HTTP/1.1",
        "GET /a?b# HTTP/1.1",
        "GET https://h/a#b HTTP/1.1",
        "GET a/b HTTP/1.1",
        "GET example.com:443 HTTP/1.1",
        "GET http://h/ HTTP/1.1",
        "GET ftp://h/ HTTP/1.1",
        "GET https://h HTTP/1.1",
        "GET https://h?x HTTP/1.1",
        "GET https:///x HTTP/1.1",
        "GET / http/1.1",
        "GET / HTTP/11",
        "GET / HTTP/1.10",
        "GET / HTTPS/1.1",
    ] {
        refused(&format!("{line}\r\nHost: h\r\n\r\n"), HeadFault::RequestLine);
    }
    for version in ["HTTP/1.0", "HTTP/0.9", "HTTP/2.0", "HTTP/1.2"] {
        refused(&format!("GET / {version}\r\nHost: h\r\n\r\n"), HeadFault::Version);
    }
    for line in [
        "CONNECT h:443 HTTP/1.1",
        "TRACE / HTTP/1.1",
        "OPTIONS / HTTP/1.1",
        "GET * HTTP/1.1",
        "PRI * HTTP/2.0",
        "get / HTTP/1.1",
        "PROPFIND / HTTP/1.1",
        "AVERYVERYLONGMETHOD / HTTP/1.1",
    ] {
        refused(&format!("{line}\r\nHost: h\r\n\r\n"), HeadFault::Method);
    }
}

#[test]
fn mon_5_field_lines_have_one_form() {
    for line in
        ["X : y", "X\t: y", " X: y", "\tX: y", ": y", "X", "X y", "X(: y", "X\u{e9}: y", "@: y"]
    {
        refused(&with(&format!("{line}\r\n")), HeadFault::FieldLine);
    }
    refused(&with("X: y\r\n folded\r\n"), HeadFault::FieldLine);
    refused("GET / HTTP/1.1\r\n Host: h\r\n\r\n", HeadFault::FieldLine);
}

#[test]
fn mon_5_there_is_one_host() {
    refused("GET / HTTP/1.1\r\n\r\n", HeadFault::Host);
    refused(&with("Host: h\r\n"), HeadFault::Host);
    refused(&with("hOST: other\r\n"), HeadFault::Host);
    let long = "h".repeat(300);
    for host in [
        "",
        " ",
        "a b",
        "a,b",
        "h/",
        "h?",
        "u@h",
        "h:",
        "h:0",
        "h:65536",
        "h:080",
        "h:1:2",
        "h%41",
        "[::1",
        "[::1]x",
        "[::1]:",
        "[h]",
        "::1",
        "h\u{e9}",
        ":443",
        long.as_str(),
    ] {
        refused(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"), HeadFault::Host);
    }
    for (target, host) in [
        ("https://a/", "b"),
        ("https://a/", "a:443"),
        ("https://a:443/", "a"),
        ("https://u@a/", "a"),
        ("https://a@b/", "b"),
        ("https://a\\b/", "b"),
        ("https://a%62/", "ab"),
    ] {
        refused(&format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"), HeadFault::Host);
    }
}

#[test]
fn mon_5_a_body_has_one_length() {
    assert_eq!(body_of(""), BodyFraming::None);
    assert_eq!(body_of("Content-Length: 0\r\n"), BodyFraming::Length(0));
    assert_eq!(body_of("content-length:18446744073709551615 \r\n"), BodyFraming::Length(u64::MAX));
    assert_eq!(body_of("Transfer-Encoding: chunked\r\n"), BodyFraming::Chunked);
    assert_eq!(body_of("X-Content-Length: x\r\nTransfer-Encodings: y\r\n"), BodyFraming::None);
    for fields in [
        "Content-Length: 5\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Content-Length:\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: -5\r\n",
        "Content-Length: 05\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: 5 5\r\n",
        "Content-Length: 0x5\r\n",
        "Content-Length: 5.0\r\n",
        "Content-Length: 18446744073709551616\r\n",
        "Content-Length: \u{0665}\r\n",
    ] {
        refused(&with(fields), HeadFault::Length);
    }
    for coding in [
        "gzip",
        "gzip, chunked",
        "chunked, chunked",
        "chunked;a",
        "Chunked",
        "xchunked",
        "identity",
        "",
        ",chunked",
    ] {
        refused(&with(&format!("Transfer-Encoding: {coding}\r\n")), HeadFault::TransferCoding);
    }
    let twice = "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n";
    refused(&with(twice), HeadFault::TransferCoding);
}

#[test]
fn mon_5_limits_are_exact() {
    let path =
        |length: usize| format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "a".repeat(length - 1));
    assert!(matches!(feed(&path(64)), HeadStep::Done { .. }));
    refused(&path(65), HeadFault::TargetTooLong);
    assert!(matches!(feed(&with(&"X: y\r\n".repeat(7))), HeadStep::Done { .. }));
    refused(&with(&"X: y\r\n".repeat(8)), HeadFault::TooMany);
    let sized = |size: usize| {
        let empty = with("X: \r\n").len();
        with(&format!("X: {}\r\n", "y".repeat(size - empty)))
    };
    assert_eq!(feed(&sized(2_048)), HeadStep::Done { head_len_in_chunk: 2_048 });
    refused(&sized(2_049), HeadFault::TooLarge);
    refused(&"\0".repeat(3_000), HeadFault::ControlByte);
    refused(&format!("{}\0", "A".repeat(2_048)), HeadFault::TooLarge);
}

#[test]
fn mon_5_a_refusal_stays_until_the_next_head() {
    let mut guard = HeadGuard::new(LIMITS);
    assert!(!guard.started());
    assert_eq!(guard.feed(b"GET / HTTP/1.0\r\n"), HeadStep::Refuse(HeadFault::Version));
    assert_eq!(guard.feed(b"Host: h\r\n\r\n"), HeadStep::Refuse(HeadFault::Version));
    for _ in 0..3 {
        guard.reset();
        let head = with("Content-Length: 5\r\n");
        assert_eq!(guard.feed(head.as_bytes()), HeadStep::Done { head_len_in_chunk: head.len() });
        assert_eq!(guard.body(), BodyFraming::Length(5));
        assert_eq!(guard.feed(b"hello"), HeadStep::Done { head_len_in_chunk: 0 });
    }
}

#[test]
fn log_2_debug_output_holds_no_head() {
    let mut guard = HeadGuard::new(LIMITS);
    guard.feed(b"GET https://hanako.example/ HTTP/1.1\r\nHost: hanako");
    assert!(!format!("{guard:?}").to_lowercase().contains("hanako"));
    assert!(!format!("{guard:?}").contains("104, 97"));
}

/// Lines that are good, nearly good or bad.
fn some_line() -> impl Strategy<Value = String> {
    const LINES: &[&str] = &[
        "Host: h",
        "Host: h:1",
        "host:h",
        "Content-Length: 12",
        "Content-Length: 1x",
        "X: y",
        "X:",
        "A-b: c d",
        "Transfer-Encoding: chunked",
        "Transfer-Encoding: x",
        " folded",
        "X : y",
        "X: y\0",
        "X\rY: z",
        "X: \t y\t ",
        "Authorization: Bearer eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJ4In0.c2ln",
    ];
    prop::sample::select(LINES).prop_map(str::to_owned)
}

fn some_head() -> impl Strategy<Value = Vec<u8>> {
    const STARTS: &[&str] = &[
        "GET / HTTP/1.1",
        "POST /a/b?c=d HTTP/1.1",
        "GET https://h/x HTTP/1.1",
        "GET https://h:1/ HTTP/1.1",
        "\r\nGET / HTTP/1.1",
        "GET / HTTP/1.0",
        "TRACE / HTTP/1.1",
    ];
    let start = prop::sample::select(STARTS);
    let lines = prop::collection::vec(some_line(), 0..10);
    let noise = prop::option::weighted(0.3, (any::<prop::sample::Index>(), any::<u8>()));
    (start, lines, noise, 0..4_usize).prop_map(|(start, lines, noise, bare)| {
        let mut head = start.as_bytes().to_vec();
        head.extend(b"\r\n");
        for (place, line) in lines.iter().enumerate() {
            head.extend(line.as_bytes());
            head.extend(if bare == 3 && place == 1 { &b"\n"[..] } else { b"\r\n" });
        }
        head.extend(b"\r\n");
        if let Some((at, byte)) = noise {
            let at = at.index(head.len());
            head[at] = byte;
        }
        head.extend(b"tail\n\0");
        head
    })
}

/// The verdict, where the head ended, and the body's framing.
fn judge<'a>(
    limits: HeadLimits,
    pieces: impl Iterator<Item = &'a [u8]>,
) -> (HeadStep, BodyFraming) {
    let mut guard = HeadGuard::new(limits);
    let mut before = 0;
    for piece in pieces {
        match guard.feed(piece) {
            HeadStep::NeedMore => before += piece.len(),
            HeadStep::Done { head_len_in_chunk } => {
                let end = before + head_len_in_chunk;
                return (HeadStep::Done { head_len_in_chunk: end }, guard.body());
            }
            HeadStep::Refuse(fault) => return (HeadStep::Refuse(fault), BodyFraming::None),
        }
    }
    (HeadStep::NeedMore, BodyFraming::None)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_024))]

    #[test]
    fn mon_5_a_head_is_judged_alike_however_it_is_cut(
        head in some_head(), bytes_max in 20..400_usize, target_max in 1..20_usize, size in 1..9_usize,
    ) {
        let limits = HeadLimits { bytes_max, count_max: 6, target_max };
        let whole = judge(limits, [head.as_slice()].into_iter());
        prop_assert_eq!(judge(limits, head.chunks(size)), whole);
        for cut in 0..=head.len() {
            let (a, b) = head.split_at(cut);
            prop_assert_eq!(judge(limits, [a, b].into_iter()), whole, "{}", cut);
        }
    }

    /// The property that all the others serve: what passes has exactly one reading.
    #[test]
    fn mon_5_what_passes_is_plain(head in some_head()) {
        if let (HeadStep::Done { head_len_in_chunk }, framing) = judge(LIMITS, [head.as_slice()].into_iter()) {
            let text = String::from_utf8_lossy(&head[..head_len_in_chunk]).into_owned();
            let text = text.strip_prefix("\r\n").unwrap_or(&text);
            let lines: Vec<_> = text.strip_suffix("\r\n\r\n").unwrap().split("\r\n").collect();
            prop_assert!(lines.iter().all(|l| !l.is_empty() && !l.contains(['\r', '\n', '\0'])));
            prop_assert!(lines[0].ends_with(" HTTP/1.1") && lines[0].split(' ').count() == 3);
            let named = |name: &str| {
                let names = lines[1..].iter().map(|l| l.split(':').next().unwrap());
                names.filter(|n| n.eq_ignore_ascii_case(name)).count()
            };
            prop_assert_eq!(named("host"), 1);
            let (length, coding) = (named("content-length"), named("transfer-encoding"));
            prop_assert!(length + coding <= 1);
            prop_assert_eq!(coding == 1, framing == BodyFraming::Chunked);
            prop_assert_eq!(length == 1, matches!(framing, BodyFraming::Length(_)));
        }
    }
}
