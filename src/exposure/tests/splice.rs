//! What a visitor is told is enough to take values out of a text that streams by: spans, first and
//! last pieces, the ends of containers.
use super::*;

/// Made for each chunk; leaves out what `hides` says and passes the rest.
struct Splice<'a> {
    chunk: &'a [u8],
    /// What of the chunk has been passed or left out.
    done: usize,
    out: &'a mut Vec<u8>,
    is_inside: &'a mut bool,
}

const MARKER: &[u8] = br#""[withheld]""#;

fn hides(mark: Mark) -> bool {
    mark.is_outside() || mark.class().is_some_and(Class::is_personal)
}

impl Splice<'_> {
    fn pass(&mut self, until: usize) {
        self.out.extend_from_slice(&self.chunk[self.done..until]);
        self.done = until;
    }
}

impl Visitor for Splice<'_> {
    const SKIPS_CLEAR: bool = false;

    fn open(&mut self, mark: Mark, at: usize) -> Descend {
        if !hides(mark) {
            return Descend::Into;
        }
        self.pass(at);
        self.out.extend_from_slice(MARKER);
        *self.is_inside = true;
        Descend::Over
    }

    fn scalar(&mut self, mark: Mark, piece: Piece<'_>) {
        let inner = usize::from(piece.kind == Kind::String);
        let quotes = inner * usize::from(piece.is_first) + inner * usize::from(piece.is_last);
        assert_eq!(piece.text.len() + quotes, piece.span.len());
        assert!(
            self.chunk[piece.span.clone()]
                .windows(piece.text.len().max(1))
                .any(|w| w == piece.text)
                || piece.text.is_empty()
        );
        if hides(mark) {
            self.pass(piece.span.start);
            if piece.is_first {
                self.out.extend_from_slice(MARKER);
            }
            self.done = piece.span.end;
        }
    }

    fn close(&mut self, mark: Mark, at: usize) {
        if hides(mark) {
            *self.is_inside = false;
            self.done = at + 1;
        }
    }
}

fn spliced<'a>(tree: &FieldTree, pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let (mut scan, mut out, mut is_inside) = (Scan::default(), Vec::new(), false);
    for chunk in pieces {
        let mut splice = Splice { chunk, done: 0, out: &mut out, is_inside: &mut is_inside };
        scan.feed(tree, chunk, &mut splice).unwrap();
        let done = splice.done;
        if !is_inside {
            out.extend_from_slice(&chunk[done..]);
        }
    }
    let mut splice = Splice { chunk: b"", done: 0, out: &mut out, is_inside: &mut is_inside };
    scan.finish(tree, &mut splice).unwrap();
    out
}

#[test]
fn mon_3_a_visitor_can_take_values_out_of_the_stream() {
    let tree = contract_of("orders/v0/getOrders");
    let text = r#"{ "payload":{"Orders":[{"AmazonOrderId":"902-1","BuyerInfo":{"BuyerEmail" : "a\"@\u0062",
        "BuyerName":12.5,"BuyerPet":{"a":["]}",1]},"PurchaseOrderNumber":["x",{"y":"z"}]},
        "IsPrime":true,"OrderTotal":{"Amount":"1","Owner":"Hana","Tags":[1,[2]]},"OrderType":[false]}]}}"#;
    let expect = r#"{ "payload":{"Orders":[{"AmazonOrderId":"902-1","BuyerInfo":{"BuyerEmail" : "[withheld]",
        "BuyerName":"[withheld]","BuyerPet":"[withheld]","PurchaseOrderNumber":"[withheld]"},
        "IsPrime":true,"OrderTotal":{"Amount":"1","Owner":"[withheld]","Tags":"[withheld]"},"OrderType":"[withheld]"}]}}"#;
    let text = text.as_bytes();
    for at in 0..text.len() {
        let (a, b) = text.split_at(at);
        let out = spliced(&tree, [a, b]);
        assert_eq!(String::from_utf8(out).unwrap(), expect, "cut at {at}");
    }
    assert_eq!(spliced(&tree, text.chunks(1)), expect.as_bytes());
    let root = FieldTree::compile(
        &[Field { path: "$", class: Some((Class::Payment, Subject::Buyer)), is_open: false }],
        &[],
    )
    .unwrap();
    assert_eq!(spliced(&root, b" 1234 ".chunks(1)), [b" ", MARKER, b" "].concat());
    assert_eq!(spliced(&root, b"1234".chunks(1)), MARKER);
}
