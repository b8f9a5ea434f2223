//! MON-3 against answers that are made to be misread.
use super::*;

fn orders() -> Arc<FieldTree> {
    contract_of("orders/v0/getOrders")
}

fn order(inside: &str) -> String {
    format!(r#"{{"payload":{{"Orders":[{{"AmazonOrderId":"1",{inside}}}]}}}}"#)
}

#[test]
fn mon_3_an_escaped_key_is_the_field_it_spells() {
    for key in [r"\u0042uyerEmail", r"Buyer\u0045mail", r"\u0042\u0075\u0079\u0065rEmai\u006C"] {
        let text = order(&format!(r#""BuyerInfo":{{"{key}":"a@example.com"}}"#));
        let (tally, fault, _) = scan_every_way(&orders(), text.as_bytes());
        assert_eq!((fault, tally.by_class.of(Class::Email), tally.drift), (None, 1, 0), "{key}");
    }
}

#[test]
fn mon_3_of_a_repeated_key_both_values_count() {
    let text =
        order(r#""BuyerInfo":{"BuyerEmail":""},"BuyerInfo":{"BuyerEmail":"a@b"},"BuyerInfo":null"#);
    let (tally, fault, _) = scan_every_way(&orders(), text.as_bytes());
    assert_eq!((fault, tally.records), (None, 1));
    let twice = order(r#""AmazonOrderId":"2","BuyerInfo":{"BuyerEmail":"a@b"}"#);
    let (tally, ..) = scan_every_way(&orders(), twice.as_bytes());
    assert_eq!(tally.records, 1);
    let mut both = tally.distinct.clone();
    both.merge(
        &scan(&orders(), order(r#""BuyerInfo":{"BuyerEmail":"a@b"}"#).as_bytes()).0.distinct,
    );
    assert_eq!(both.estimate(), 1, "the first id names it");
}

/// Same length, same beginning, same end, for every length and every place of the difference.
#[test]
fn mon_3_a_key_that_is_nearly_a_field_is_not_the_field() {
    for length in 1..=40 {
        let key: String = ('a'..='z').cycle().take(length).collect();
        let field =
            Field { path: &key, class: Some((Class::Name, Subject::Buyer)), is_open: false };
        let tree = Arc::new(FieldTree::compile(&[field], &[]).unwrap());
        let count = |key: &str| {
            let (tally, ..) = scan(&tree, format!(r#"{{"{key}":"Hanako"}}"#).as_bytes());
            (tally.records, tally.drift)
        };
        assert_eq!(count(&key), (1, 0));
        for place in 0..length {
            let mut other = key.clone().into_bytes();
            other[place] = b'_';
            assert_eq!(count(std::str::from_utf8(&other).unwrap()), (0, 1), "{place} of {key}");
        }
        assert_eq!(count(key.strip_prefix('a').unwrap()), (0, 1));
        assert_eq!(count(&format!("{key}a")), (0, 1));
    }
}

#[test]
fn mon_3_a_key_with_two_readings_ends_the_scan() {
    for (key, bytes) in [
        ("half a surrogate pair", br"\ud83d".as_slice()),
        ("no hexadecimal digits", br"\u00zz"),
        ("no UTF-8", b"\xff"),
        ("an overlong n", b"\xc1\xaeame"),
    ] {
        let mut text = br#"{"payload":{""#.to_vec();
        text.extend(bytes);
        text.extend(br#"":1}}"#);
        let (_, fault, halt) = scan_every_way(&orders(), &text);
        assert_eq!(fault, Some(Fault::KeyEncoding), "{key}");
        assert_eq!(halt.unwrap().at, 13 + bytes.len() as u64, "{key}");
    }
}

#[test]
fn mon_3_a_key_may_be_long_but_not_endless() {
    let text = |length: usize| format!(r#"{{"{}":1}}"#, "k".repeat(length));
    let (tally, fault, _) = scan_every_way(&orders(), text(KEY_MAX).as_bytes());
    assert_eq!((fault, tally.drift), (None, 1));
    let (_, fault, halt) = scan_every_way(&orders(), text(KEY_MAX + 1).as_bytes());
    assert_eq!((fault, halt.unwrap().at), (Some(Fault::KeyTooLong), 2 + KEY_MAX as u64));
    let open_end = format!(r#"{{"{}"#, "k".repeat(KEY_MAX + 50));
    assert_eq!(scan_every_way(&orders(), open_end.as_bytes()).1, Some(Fault::KeyTooLong));
}

#[test]
fn mon_3_nesting_has_a_bottom() {
    for (open, close, inside) in [("[", "]", ""), (r#"{"k":"#, "}", "1")] {
        for prefix in ["", r#"{"payload":{"NextToken":"#] {
            let levels = DEPTH_MAX - prefix.matches('{').count();
            let text = |levels: usize| {
                let end = "}".repeat(prefix.matches('{').count());
                format!("{prefix}{}{inside}{}{end}", open.repeat(levels), close.repeat(levels))
            };
            assert_eq!(scan_every_way(&orders(), text(levels).as_bytes()).1, None);
            let (_, fault, halt) = scan_every_way(&orders(), text(levels + 1).as_bytes());
            assert_eq!(fault, Some(Fault::TooDeep));
            assert_eq!(halt.unwrap().at, (prefix.len() + open.len() * levels) as u64);
        }
    }
    let bomb = "[".repeat(1_000_000);
    assert_eq!(scan(&orders(), bomb.as_bytes()).1, Some(Fault::TooDeep));
}

#[test]
fn mon_3_a_value_of_another_form_than_agreed_is_drift_or_its_class() {
    // A number, a literal, a container where the contract has a string of a class: of that class.
    for value in ["5", "0", "true", "false", r#"["a"]"#, r#"{"x":{"y":[0]}}"#, r#"[null,"",["a"]]"#]
    {
        let text = order(&format!(r#""BuyerInfo":{{"BuyerEmail":{value}}}"#));
        let (tally, fault, _) = scan_every_way(&orders(), text.as_bytes());
        assert_eq!((fault, tally.by_class.of(Class::Email), tally.drift), (None, 1, 0), "{value}");
    }
    for value in ["null", r#""""#, "[]", "{}", r#"[null,""]"#] {
        let text = order(&format!(r#""BuyerInfo":{{"BuyerEmail":{value}}}"#));
        let (tally, ..) = scan_every_way(&orders(), text.as_bytes());
        assert_eq!((tally.records, tally.drift), (0, 0), "{value}");
    }
    // Where it has an object, or a plain value, there is no saying what the other form holds.
    for text in [
        order(r#""BuyerInfo":[{"BuyerEmail":"a@b"}]"#),
        order(r#""BuyerInfo":"a@b""#),
        order(r#""OrderStatus":{"Name":"a"}"#),
        order(r#""PaymentMethodDetails":["a",["b"]]"#),
        r#"{"payload":{"Orders":{"AmazonOrderId":"1"}}}"#.to_owned(),
        r#"{"payload":{"Orders":["902-1"]}}"#.to_owned(),
        r#""902-1""#.to_owned(),
    ] {
        let (tally, fault, _) = scan_every_way(&orders(), text.as_bytes());
        assert_eq!((fault, tally.records), (None, 0), "{text}");
        // The last but one of the list lies where nothing is marked and is not looked at.
        assert_eq!(tally.drift, u64::from(!text.contains(r#"["b"]"#)), "{text}");
    }
}

#[test]
fn mon_3_unknown_fields_are_drift() {
    let text = order(
        r#""buyeremail":"a@b","BuyerInfo":{"BuyerNickname":"Hana","BuyerPet":{"Name":["Kuro"]},"N":null,"E":""}"#,
    );
    let (tally, fault, _) = scan_every_way(&orders(), text.as_bytes());
    assert_eq!((fault, tally.records, tally.drift), (None, 0, 3));
}

#[test]
fn mon_3_huge_strings_need_no_room() {
    for (unit, count) in
        [("x", 3_000_000), (r"\\", 1_000_000), (r#"\""#, 1_000_000), ("\u{e9}", 1_000_000)]
    {
        let text = order(&format!(r#""BuyerInfo":{{"BuyerEmail":"{}"}}"#, unit.repeat(count)));
        let (tally, fault, _) = scan(&orders(), text.as_bytes());
        assert_eq!((fault, tally.records), (None, 1));
        assert_eq!(scan_pieces(&orders(), text.as_bytes().chunks(997)).0, tally);
    }
    let skipped = format!(r#"{{"payload":{{"x":[{}"#, r#"["x",{"y":"\"]}"}],"#.repeat(200_000));
    assert_eq!(scan(&orders(), skipped.as_bytes()).1, Some(Fault::Truncated));
}

#[test]
fn mon_3_what_is_no_json_ends_the_scan_where_it_stops_being_json() {
    use Fault::{Malformed, Trailing, Truncated};
    for (text, fault, at) in [
        ("", Truncated, 0),
        (" \n", Truncated, 2),
        ("\u{feff}{}", Malformed, 0),
        ("{} {}", Trailing, 3),
        ("{}\n{}", Trailing, 3),
        ("{}x", Trailing, 2),
        ("1 2", Trailing, 2),
        ("nulll", Trailing, 4),
        ("nul", Truncated, 3),
        ("nuul", Malformed, 2),
        ("True", Malformed, 0),
        ("NaN", Malformed, 0),
        ("12x", Trailing, 2),
        ("[1,]", Malformed, 3),
        ("[1 2]", Malformed, 3),
        ("[,1]", Malformed, 1),
        ("[1}", Malformed, 2),
        (r#"{"a"}"#, Malformed, 4),
        (r#"{"a":}"#, Malformed, 5),
        (r#"{"a":1,}"#, Malformed, 7),
        (r#"{"a" "b"}"#, Malformed, 5),
        (r#"{"a"::1}"#, Malformed, 5),
        ("{1:2}", Malformed, 1),
        ("{'a':1}", Malformed, 1),
        ("{a:1}", Malformed, 1),
        ("]", Malformed, 0),
        ("[1]]", Trailing, 3),
        ("[/* */1]", Malformed, 1),
        ("\"a\u{1}\"", Malformed, 2),
        ("\"a\nb\"", Malformed, 2),
        (r#""\q""#, Malformed, 2),
        (r#""a"#, Truncated, 2),
        (r#"{"a\"#, Truncated, 4),
        // Skipped parts too.
        (r#"{"payload":{"zz":[}]"#, Malformed, 18),
        (r#"{"payload":{"zz":{'a'"#, Malformed, 18),
        (r#"{"payload":{"zz":["\q"]"#, Malformed, 20),
        ("{\"payload\":{\"zz\":[\u{e9}", Malformed, 18),
        (r#"{"payload":{"zz":[1"#, Truncated, 19),
    ] {
        let (tally, found, halt) = scan_every_way(&orders(), text.as_bytes());
        assert_eq!(found, Some(fault), "{text}");
        if fault != Truncated {
            assert_eq!(halt.map(|halt| halt.at), Some(at), "{text}");
        }
        assert_eq!(tally.bytes, text.len() as u64);
    }
    for text in [
        "1",
        " -0.5e+3 ",
        "null",
        "[]",
        "{}",
        " [ 1 , { } ] ",
        r#""\u0041\/""#,
        "\t{\"a\" : [ true,false , null]}\r\n",
    ] {
        assert_eq!(scan_every_way(&orders(), text.as_bytes()).1, None, "{text}");
    }
}

#[test]
fn mon_3_what_was_seen_before_a_fault_stays_counted() {
    let text = r#"{"payload":{"Orders":[{"AmazonOrderId":"1","BuyerInfo":{"BuyerEmail":"a@b"}},
        {"BuyerInfo":{"BuyerEmail":"c@"#;
    for end in ["", "\u{1}", "d\"}}]}} more", "d\"}},]"] {
        let text = format!("{text}{end}");
        let (tally, fault, _) = scan_every_way(&orders(), text.as_bytes());
        assert!(fault.is_some());
        assert_eq!((tally.records, tally.distinct.estimate()), (2, 2), "{end}");
        assert_eq!(tally.bytes, text.len() as u64);
    }
}
