use proptest::prelude::*;

use super::*;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

const END: u8 = END_STREAM | END_HEADERS;
/// `:status: 431` as a literal that enters the table, and by its place there.
const LITERAL_431: &[u8] = &[0x48, 0x83, 0x69, 0x90, 0xff];
const INDEXED_431: &[u8] = &[0xbe];

fn reset(stream: u32, reason: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &reason.to_be_bytes())
}

fn goaway(reason: u32, said: &[u8]) -> Vec<u8> {
    frame(GOAWAY, 0, 0, &[&[0; 4][..], &reason.to_be_bytes(), said].concat())
}

/// The client opened streams up to `newest`, of which so many were handed over.
fn begun(newest: u32, handed_over: u64) -> Begun {
    Begun { opened: u64::from(newest.div_ceil(2)), newest, handed_over }
}

fn found(watch: &mut ReplyWatch, bytes: &[u8], begun: Begun) -> Vec<Found> {
    let mut all = Vec::new();
    watch.wrote(bytes, begun, |what| all.push(what));
    all
}

#[test]
fn log_1_the_engine_s_own_answers_are_told_from_the_gateway_s() {
    for (block, refused) in [
        (&[STATUS_400][..], Refused::Authority),
        (LITERAL_431, Refused::HeaderList),
        (INDEXED_431, Refused::HeaderList),
        // A table size update before it.
        (&[0x3f, 0xe1, 0x1f, STATUS_400], Refused::Authority),
    ] {
        let mut watch = ReplyWatch::default();
        let own = frame(HEADERS, END, 1, block);
        let ping = frame(0x6, 0, 0, &[0; 8]);
        assert_eq!(watch.next(&own), Next::Own { length: own.len(), stream: 1 });
        assert_eq!(
            watch.next(&[&own[..], &ping].concat()),
            Next::Own { length: own.len(), stream: 1 }
        );
        assert_eq!(watch.next(&[&ping[..], &own].concat()), Next::Pass(ping.len()));
        assert_eq!(watch.next(&own[..own.len() - 1]), Next::Pass(own.len() - 1), "not whole");
        assert_eq!(found(&mut watch, &own, begun(1, 0)), [Found::Refused(refused)]);
        // The reset of the rest of the request is no second refusal, though another one is open.
        assert_eq!(found(&mut watch, &reset(1, PROTOCOL_ERROR), begun(3, 0)), []);
    }
    let mut watch = ReplyWatch::default();
    let gateway = frame(HEADERS, END, 1, &[0; BARE_MAX + 1]);
    assert_eq!(watch.next(&gateway), Next::Pass(gateway.len()));
    assert_eq!(found(&mut watch, &gateway, begun(3, 1)), []);
}

#[test]
fn trailers_are_no_answer() {
    let mut watch = ReplyWatch::default();
    let head = frame(HEADERS, END_HEADERS, 1, &[0; 40]);
    let trailers = frame(HEADERS, END, 1, &[0xbf]);
    assert_eq!(found(&mut watch, &head, begun(3, 1)), []);
    assert_eq!(watch.next(&trailers), Next::Pass(trailers.len()));
    assert_eq!(found(&mut watch, &trailers, begun(3, 1)), []);
    assert!(watch.answering.is_empty());
    // Nor is one remembered of which the client wants no more.
    found(&mut watch, &head, begun(3, 1));
    watch.given_up(1);
    assert!(watch.answering.is_empty());
    found(&mut watch, &head, begun(3, 1));
    found(&mut watch, &frame(DATA, END_STREAM, 1, b"x"), begun(3, 1));
    assert!(watch.answering.is_empty());
}

#[test]
fn log_1_resets_are_refusals_of_what_was_not_handed_over() {
    let malformed = [Found::Refused(Refused::Malformed)];
    let mut watch = ReplyWatch::default();
    assert_eq!(found(&mut watch, &reset(1, PROTOCOL_ERROR), begun(1, 0)), malformed);
    // All that were opened are settled: a body that broke HTTP belongs to a request of the gateway's.
    assert_eq!(found(&mut watch, &reset(3, PROTOCOL_ERROR), begun(3, 1)), []);
    // Two at once.
    let two = [reset(5, PROTOCOL_ERROR), reset(7, PROTOCOL_ERROR)].concat();
    assert_eq!(found(&mut watch, &two, begun(7, 1)).len(), 2);
    // An answer has begun on it, so it was handed over; stream 11 is not yet.
    found(&mut watch, &frame(HEADERS, END_HEADERS, 9, &[0; 40]), begun(9, 2));
    assert_eq!(found(&mut watch, &reset(9, PROTOCOL_ERROR), begun(11, 2)), []);
    // A stream that was settled before the one that is open now.
    assert_eq!(found(&mut watch, &reset(3, PROTOCOL_ERROR), begun(11, 2)), []);
    assert_eq!(found(&mut watch, &reset(11, PROTOCOL_ERROR), begun(11, 2)), malformed);
    // Cancelled by the gateway itself.
    assert_eq!(found(&mut watch, &reset(13, 8), begun(13, 2)), []);
    let streams = [Found::Refused(Refused::Streams)];
    assert_eq!(found(&mut watch, &reset(15, REFUSED_STREAM), begun(15, 3)), streams);
}

#[test]
fn log_1_a_connection_that_the_engine_ends_names_the_request_that_broke_it() {
    let told = |reason, said: &[u8], begun| {
        let all = found(&mut ReplyWatch::default(), &goaway(reason, said), begun);
        all.first().copied()
    };
    let broken = |refused| Some(Found::ConnectionError(refused));
    assert_eq!(told(PROTOCOL_ERROR, b"", begun(1, 0)), broken(Some(Refused::Malformed)));
    assert_eq!(told(COMPRESSION_ERROR, b"", begun(1, 0)), broken(Some(Refused::Malformed)));
    let list = told(11, b"header_list_way_too_large", begun(1, 0));
    assert_eq!(list, broken(Some(Refused::HeaderList)));
    assert_eq!(told(11, b"too_many_resets", begun(1, 0)), broken(None));
    assert_eq!(told(PROTOCOL_ERROR, b"", begun(1, 1)), broken(None));
    assert_eq!(told(NO_ERROR, b"", begun(1, 0)), None);
}

#[test]
fn fields_put_behind_an_answer_enter_no_table() {
    let own = frame(HEADERS, END, 5, &[STATUS_400]);
    let with = explained(&own, &[("x-a", "bc"), ("x-long", &"y".repeat(200))], None);
    assert_eq!(with, frame(HEADERS, END, 5, b"\x8c\0\x03x-a\x02bc"));
}

#[test]
fn mon_5_a_body_put_behind_an_answer_ends_it() {
    let own = frame(HEADERS, END, 5, &[STATUS_400]);
    let with = explained(&own, &[("x-a", "bc")], Some("why"));
    let head = frame(HEADERS, END_HEADERS, 5, b"\x8c\0\x03x-a\x02bc");
    assert_eq!(with, [head, frame(DATA, END_STREAM, 5, b"why")].concat());
}

fn some_frame() -> impl Strategy<Value = Vec<u8>> {
    let flags = prop::sample::select(vec![0, END_STREAM, END_HEADERS, END]);
    let payload = prop::collection::vec(prop::sample::select(vec![0, 1, 7, 0x8c, 0xbe]), 0..40);
    (0..9_u8, flags, 0..6_u32, payload)
        .prop_map(|(kind, flags, stream, payload)| frame(kind, flags, stream, &payload))
}

proptest! {
    #[test]
    fn log_1_what_is_found_does_not_depend_on_how_the_bytes_are_cut(
        frames in prop::collection::vec(some_frame(), 0..30),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
        handed_over in 0..6_u64,
    ) {
        let bytes = frames.concat();
        // Bookkeeping is by write; here nothing is opened or handed over in between.
        let begun = begun(11, handed_over);
        let mut whole = ReplyWatch { settled: 2, ..ReplyWatch::default() };
        let mut cut = whole.clone();
        let all = found(&mut whole, &bytes, begun);
        let mut at: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        at.extend([0, bytes.len()]);
        at.sort_unstable();
        let mut parts = Vec::new();
        for pair in at.windows(2) {
            parts.extend(found(&mut cut, &bytes[pair[0]..pair[1]], begun));
            cut.settled = 2;
        }
        prop_assert_eq!(cut.seen, 0);
        prop_assert_eq!(parts, all);
    }

    #[test]
    fn log_1_bytes_are_handed_out_whole_and_in_order(
        frames in prop::collection::vec(some_frame(), 0..30),
        short in 1..200_usize,
    ) {
        // A socket that takes at most `short` bytes at a time.
        let bytes = frames.concat();
        let mut watch = ReplyWatch::default();
        let (mut at, mut written) = (0, Vec::new());
        while at < bytes.len() {
            let length = match watch.next(&bytes[at..]) {
                Next::Pass(length) => length.min(short),
                Next::Own { length, .. } => {
                    prop_assert_eq!(watch.seen, 0, "in the middle of a frame");
                    length
                }
            };
            prop_assert!(length > 0);
            let part = &bytes[at..at + length];
            watch.wrote(part, begun(11, 0), |_found| {});
            written.extend_from_slice(part);
            at += length;
        }
        prop_assert_eq!(written, bytes);
    }
}
