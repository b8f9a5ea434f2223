//! The scanner beside a slow reader that holds the whole document and compares paths as texts.
use std::collections::HashSet;
use std::fmt::{self, Write as _};

use proptest::prelude::*;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor as DeVisitor};

use super::*;

const FIELDS: &[Field<'_>] = &[
    field("next"),
    field("total.amount"),
    field("total.note"),
    classed("seller.name", Class::Name, Subject::Seller),
    classed("ids[]", Class::OrderId, Subject::Buyer),
    field("orders[].id"),
    classed("orders[].buyer.email", Class::Email, Subject::Buyer),
    classed("orders[].buyer.name", Class::Name, Subject::Buyer),
    classed("orders[].lines[].note", Class::FreeText, Subject::Buyer),
    field("orders[].lines[].amount"),
    classed("orders[].x{}", Class::Document, Subject::Customer),
    classed("orders[].ids[]", Class::TrackingId, Subject::Recipient),
    Field { path: "orders[].open", class: None, is_open: true },
    field("orders[].total.amount"),
    classed("{}.name", Class::Geo, Subject::Recipient),
];
const UNITS: &[Unit<'_>] = &[Unit { kind: RecordKind::Order, path: "orders[]", id: Some("id") }];

const fn field(path: &str) -> Field<'_> {
    Field { path, class: None, is_open: false }
}

const fn classed(path: &str, class: Class, subject: Subject) -> Field<'_> {
    Field { path, class: Some((class, subject)), is_open: false }
}

/// A document as it is written: repeated keys stay.
#[derive(Clone, Debug)]
enum Doc {
    Null,
    /// As written, without quotes; whether it is a string.
    Scalar(String),
    List(Vec<Doc>),
    Object(Vec<(String, Doc)>),
}

impl<'de> Deserialize<'de> for Doc {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> DeVisitor<'de> for Read {
            type Value = Doc;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("JSON")
            }
            fn visit_unit<E: Error>(self) -> Result<Doc, E> {
                Ok(Doc::Null)
            }
            fn visit_bool<E: Error>(self, value: bool) -> Result<Doc, E> {
                Ok(Doc::Scalar(value.to_string()))
            }
            fn visit_u64<E: Error>(self, value: u64) -> Result<Doc, E> {
                Ok(Doc::Scalar(value.to_string()))
            }
            fn visit_i64<E: Error>(self, value: i64) -> Result<Doc, E> {
                Ok(Doc::Scalar(value.to_string()))
            }
            fn visit_f64<E: Error>(self, value: f64) -> Result<Doc, E> {
                Ok(Doc::Scalar(value.to_string()))
            }
            fn visit_str<E: Error>(self, value: &str) -> Result<Doc, E> {
                Ok(Doc::Scalar(value.to_owned()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut all: A) -> Result<Doc, A::Error> {
                let mut list = Vec::new();
                while let Some(one) = all.next_element()? {
                    list.push(one);
                }
                Ok(Doc::List(list))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut all: A) -> Result<Doc, A::Error> {
                let mut members = Vec::new();
                while let Some(one) = all.next_entry()? {
                    members.push(one);
                }
                Ok(Doc::Object(members))
            }
        }
        from.deserialize_any(Read)
    }
}

#[derive(Default)]
struct Slow {
    tally: Tally,
    distinct: HashSet<String>,
}

#[derive(Default)]
struct SlowRecord {
    classes: ClassSet,
    is_customer: bool,
    id: Option<String>,
    values: Vec<String>,
}

fn slow(text: &[u8]) -> Option<(Tally, usize)> {
    let doc: Doc = serde_json::from_slice(text).ok()?;
    let (mut slow, mut whole) = (Slow::default(), SlowRecord::default());
    slow.read(&doc, "", &mut whole);
    slow.count("whole", whole);
    Some((slow.tally, slow.distinct.len()))
}

/// Whether a contract line lies below a path, in the form that a step of this kind leads to.
fn leads(path: &str, step: &str) -> bool {
    let prefix = join(path, step);
    FIELDS.iter().any(|f| {
        f.path
            .strip_prefix(&prefix)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[', '{']))
    })
}

fn join(path: &str, step: &str) -> String {
    let dot = if path.is_empty() || step.starts_with(['[', '{']) { "" } else { "." };
    format!("{path}{dot}{step}")
}

/// Whether anything at or below a path is marked.
fn is_marked(path: &str) -> bool {
    let below = |other: &str| {
        other.strip_prefix(path).is_some_and(|rest| {
            path.is_empty() || rest.is_empty() || rest.starts_with(['.', '[', '{'])
        })
    };
    FIELDS.iter().any(|f| f.class.is_some() && below(f.path))
        || UNITS.iter().any(|u| below(u.path) || below(&join(u.path, u.id.unwrap_or_default())))
}

impl Slow {
    fn read(&mut self, doc: &Doc, path: &str, record: &mut SlowRecord) {
        let is_unit = UNITS.iter().any(|unit| unit.path == path);
        if is_unit && matches!(doc, Doc::List(_) | Doc::Object(_)) && Self::has_form(doc, path) {
            let mut own = SlowRecord::default();
            self.read_inside(doc, path, &mut own);
            self.count("order", own);
        } else {
            self.read_inside(doc, path, record);
        }
    }

    fn has_form(doc: &Doc, path: &str) -> bool {
        match doc {
            Doc::List(_) => leads(path, "[]"),
            _ => {
                !path.is_empty() && FIELDS.iter().any(|f| f.path.starts_with(&format!("{path}.")))
                    || leads(path, "{}")
                    || path.is_empty()
            }
        }
    }

    fn read_inside(&mut self, doc: &Doc, path: &str, record: &mut SlowRecord) {
        let line = FIELDS.iter().find(|field| field.path == path);
        let class = line.and_then(|field| field.class);
        let is_id = UNITS.iter().any(|u| join(u.path, u.id.unwrap_or_default()) == path);
        match doc {
            Doc::Null => {}
            Doc::Scalar(text) if text.is_empty() => {}
            Doc::Scalar(text) => match line {
                Some(_) => Self::note(text, class, is_id, record),
                None => self.tally.drift += 1,
            },
            _ if Self::has_form(doc, path) => self.descend(doc, path, record),
            Doc::List(items) if class.is_some() => {
                for item in items {
                    self.read_inside(item, path, record);
                }
            }
            Doc::Object(members) if class.is_some() => {
                for (_, item) in members {
                    self.read_inside(item, path, record);
                }
            }
            Doc::List(_) | Doc::Object(_) if line.is_some_and(|field| field.is_open) => {}
            Doc::List(_) | Doc::Object(_) => self.tally.drift += 1,
        }
    }

    fn descend(&mut self, doc: &Doc, path: &str, record: &mut SlowRecord) {
        if !is_marked(path) {
            return;
        }
        match doc {
            Doc::List(items) => {
                for item in items {
                    self.read(item, &join(path, "[]"), record);
                }
            }
            Doc::Object(members) => {
                for (key, value) in members {
                    let is_listed = !key.is_empty()
                        && key.bytes().all(|b| b.is_ascii_lowercase())
                        && leads(path, key);
                    if is_listed {
                        self.read(value, &join(path, key), record);
                    } else if leads(path, "{}") {
                        self.read(value, &join(path, "{}"), record);
                    } else if !matches!(value, Doc::Null)
                        && !matches!(value, Doc::Scalar(text) if text.is_empty())
                    {
                        self.tally.drift += 1;
                    }
                }
            }
            Doc::Null | Doc::Scalar(_) => {}
        }
    }

    fn note(text: &str, class: Option<(Class, Subject)>, is_id: bool, record: &mut SlowRecord) {
        if is_id && record.id.is_none() {
            record.id = Some(text.to_owned());
        }
        if let Some((class, subject)) = class {
            record.classes = record.classes.with(class);
            if class.is_personal() {
                record.is_customer |= subject.is_customer();
                record.values.push(format!("{class:?} {text}"));
            }
        }
    }

    fn count(&mut self, kind: &str, mut record: SlowRecord) {
        for class in record.classes.iter() {
            self.tally.by_class.add(class, 1);
        }
        if record.classes.is_personal() {
            self.tally.records += 1;
            self.tally.customers += u64::from(record.is_customer);
            record.values.sort();
            self.distinct.insert(match record.id {
                Some(id) => format!("{kind} {id}"),
                None => format!("{kind} {:?}", record.values),
            });
        }
    }
}

fn tree() -> Arc<FieldTree> {
    Arc::new(FieldTree::compile(FIELDS, UNITS).unwrap())
}

/// Texts that mostly follow the contract: its words, in any place.
fn document() -> impl Strategy<Value = Doc> {
    let word = prop::sample::select(vec![
        "",
        "a",
        "902-1",
        "Hanako",
        "h\u{e9} \"q\" \\ /",
        "[{\"id\":1}]",
    ]);
    let leaf = prop_oneof![
        1 => Just(Doc::Null),
        6 => word.prop_map(|text| Doc::Scalar(format!("\"{text}"))),
        1 => (-3_i64..3).prop_map(|n| Doc::Scalar(n.to_string())),
        1 => any::<bool>().prop_map(|b| Doc::Scalar(b.to_string())),
    ];
    let key = prop::sample::select(vec![
        "orders", "id", "buyer", "email", "name", "lines", "note", "amount", "total", "x", "ids",
        "open", "seller", "next", "new", "h\u{e9}", "",
    ]);
    let any = leaf.prop_recursive(4, 40, 6, move |inner| {
        prop_oneof![
            1 => prop::collection::vec(inner.clone(), 0..5).prop_map(Doc::List),
            2 => prop::collection::vec((key.clone().prop_map(str::to_owned), inner), 0..7)
                .prop_map(Doc::Object),
        ]
    });
    // Half of them begin as the contract does, so that its deeper parts are reached.
    let pairs = || {
        prop::collection::vec(
            (
                prop::sample::select(vec!["id", "buyer", "lines", "x", "ids", "open", "total"])
                    .prop_map(str::to_owned),
                any.clone(),
            ),
            0..5,
        )
    };
    prop_oneof![
        any.clone(),
        prop::collection::vec(pairs().prop_map(Doc::Object), 0..4)
            .prop_map(|orders| Doc::Object(vec![("orders".to_owned(), Doc::List(orders))])),
        prop::collection::vec(
            (prop::sample::select(vec!["email", "name", "z"]).prop_map(str::to_owned), any.clone()),
            1..3
        )
        .prop_map(|buyer| {
            let order = vec![
                ("buyer".to_owned(), Doc::Object(buyer)),
                ("id".to_owned(), Doc::Scalar("\"7".to_owned())),
            ];
            Doc::Object(vec![("orders".to_owned(), Doc::List(vec![Doc::Object(order)]))])
        }),
    ]
}

/// Writes a document with blanks and needless escapes as `taste` says; a string's scalar begins with
/// a quote.
fn write(doc: &Doc, taste: &mut impl FnMut(u32) -> bool, out: &mut String) {
    let blank = |taste: &mut dyn FnMut(u32) -> bool, out: &mut String| {
        if taste(3) {
            out.push_str(
                [" ", "\n    ", "\t", "\r\n"][usize::from(taste(2)) * 2 + usize::from(taste(2))],
            );
        }
    };
    blank(taste, out);
    match doc {
        Doc::Null => out.push_str("null"),
        Doc::Scalar(text) => match text.strip_prefix('"') {
            Some(text) => out.push_str(&serde_json::to_string(text).unwrap()),
            None => out.push_str(text),
        },
        Doc::List(items) => {
            out.push('[');
            for (n, item) in items.iter().enumerate() {
                if n > 0 {
                    out.push(',');
                }
                write(item, taste, out);
            }
            blank(taste, out);
            out.push(']');
        }
        Doc::Object(members) => {
            out.push('{');
            for (n, (key, value)) in members.iter().enumerate() {
                if n > 0 {
                    out.push(',');
                }
                blank(taste, out);
                out.push('"');
                for unit in key.encode_utf16() {
                    match u8::try_from(unit) {
                        Ok(byte) if byte.is_ascii() && !taste(4) => out.push(char::from(byte)),
                        _ => write!(out, "\\u{unit:04x}").unwrap(),
                    }
                }
                out.push('"');
                blank(taste, out);
                out.push(':');
                write(value, taste, out);
            }
            blank(taste, out);
            out.push('}');
        }
    }
    blank(taste, out);
}

fn written(doc: &Doc, seed: u64) -> String {
    let mut state = seed | 1;
    let mut taste = |of: u32| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33).is_multiple_of(u64::from(of))
    };
    let mut out = String::new();
    write(doc, &mut taste, &mut out);
    out
}

fn pieces(text: &[u8], mut cuts: Vec<usize>) -> Vec<&[u8]> {
    for cut in &mut cuts {
        *cut %= text.len() + 1;
    }
    cuts.sort_unstable();
    let mut from = 0;
    let mut all: Vec<_> =
        cuts.iter().map(|cut| &text[std::mem::replace(&mut from, *cut)..*cut]).collect();
    all.push(&text[from..]);
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn mon_3_counts_what_a_reader_of_the_whole_document_counts(
        doc in document(),
        seed in any::<u64>(),
        cuts in prop::collection::vec(any::<usize>(), 0..6),
    ) {
        let text = written(&doc, seed);
        let (mut expect, distinct) = slow(text.as_bytes()).expect("what was written is JSON");
        let (tally, fault, _) = scan_pieces(&tree(), pieces(text.as_bytes(), cuts));
        prop_assert_eq!(fault, None, "{}", text);
        prop_assert_eq!(tally.distinct.estimate(), distinct as u64, "{}", text);
        (expect.bytes, expect.distinct) = (text.len() as u64, tally.distinct.clone());
        prop_assert_eq!(tally, expect, "{}", text);
    }

    /// What another reader takes for JSON, this one reads to the end, and counts the same.
    #[test]
    fn mon_3_a_damaged_text_is_refused_or_counted_alike(
        doc in document(),
        seed in any::<u64>(),
        damage in prop::collection::vec((any::<usize>(), prop::sample::select(br#"{}[]:,"\ 0-na/#'u"#.to_vec()), 0_u8..3), 1..4),
        cuts in prop::collection::vec(any::<usize>(), 0..6),
    ) {
        let mut text = written(&doc, seed).into_bytes();
        for (at, byte, how) in damage {
            let at = at % (text.len() + 1);
            match how {
                0 => text.insert(at, byte),
                1 if at < text.len() => text[at] = byte,
                _ => text.truncate(at.max(1)),
            }
        }
        let whole = scan(&tree(), &text);
        prop_assert_eq!(&scan_pieces(&tree(), pieces(&text, cuts)), &whole);
        let (tally, fault, _) = whole;
        if let Some((expect, _)) = slow(&text) {
            prop_assert_eq!(fault, None, "{}", text.escape_ascii());
            prop_assert_eq!((tally.records, tally.customers, tally.drift), (expect.records, expect.customers, expect.drift), "{}", text.escape_ascii());
            prop_assert_eq!(tally.by_class, expect.by_class);
        }
    }

    #[test]
    fn mon_3_any_bytes_end_in_the_same_place_however_they_are_cut(
        text in prop::collection::vec(prop_oneof![3 => prop::sample::select(br#"{}[]:,"\ 0-nul"#.to_vec()), 1 => any::<u8>()], 0..60),
        cuts in prop::collection::vec(any::<usize>(), 0..6),
    ) {
        let whole = scan(&tree(), &text);
        prop_assert_eq!(&scan_pieces(&tree(), pieces(&text, cuts)), &whole);
        prop_assert_eq!(&scan_pieces(&tree(), text.chunks(1)), &whole);
        if serde_json::from_slice::<Doc>(&text).is_ok() {
            prop_assert_eq!(whole.1, None, "{}", text.escape_ascii());
        }
    }
}
