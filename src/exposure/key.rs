//! Keys of objects as bytes, with their escapes resolved: `"\u006eame"` is `name`.

/// Resolves a key's escapes into `out` and gives its length; nothing if an escape is not one of
/// RFC 8259 §7, stands for half a surrogate pair, or if the bytes are no UTF-8. Of such a key two
/// readers could make two names.
pub(super) fn decode(raw: &[u8], out: &mut [u8]) -> Option<usize> {
    std::str::from_utf8(raw).ok()?;
    let mut length = 0;
    let mut put = |bytes: &[u8]| {
        let end = length + bytes.len();
        out.get_mut(length..end)?.copy_from_slice(bytes);
        length = end;
        Some(())
    };
    let mut rest = raw;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        put(rest.get(..at)?)?;
        let [code, after @ ..] = rest.get(at + 1..)? else { return None };
        rest = after;
        let plain = match code {
            b'"' | b'\\' | b'/' => char::from(*code),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => unicode(&mut rest)?,
            _ => return None,
        };
        put(plain.encode_utf8(&mut [0; 4]).as_bytes())?;
    }
    put(rest)?;
    Some(length)
}

/// What stands behind `\u`, its second half included.
fn unicode(rest: &mut &[u8]) -> Option<char> {
    let first = unit(rest)?;
    let units = if (0xd800..0xdc00).contains(&first) {
        *rest = rest.strip_prefix(br"\u")?;
        [first, unit(rest)?]
    } else {
        [first, 0]
    };
    char::decode_utf16(units).next()?.ok()
}

fn unit(rest: &mut &[u8]) -> Option<u16> {
    let (digits, after) = rest.split_first_chunk::<4>()?;
    *rest = after;
    digits.iter().try_fold(0, |unit, digit| {
        Some(unit << 4 | u16::try_from(char::from(*digit).to_digit(16)?).ok()?)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decoded(raw: &[u8]) -> Option<Vec<u8>> {
        let mut out = vec![0; raw.len()];
        let length = decode(raw, &mut out)?;
        out.truncate(length);
        Some(out)
    }

    #[test]
    fn an_escaped_key_has_one_reading_or_none() {
        let good: &[(&[u8], &str)] = &[
            (br"\u006eame", "name"),
            (br"\u006E\u0061me", "name"),
            (br"a\/b\\\n\u00e9", "a/b\\\n\u{e9}"),
            (br"\ud83d\ude00", "\u{1f600}"),
            ("caf\u{e9}".as_bytes(), "caf\u{e9}"),
            (br"\u0000", "\0"),
        ];
        for (raw, expect) in good {
            assert_eq!(decoded(raw).unwrap(), expect.as_bytes());
        }
        let bad: &[&[u8]] = &[
            br"\ud83d",
            br"\ude00",
            br"\ud83dx",
            br"\ud83d\n",
            br"\ud83d\ud83d",
            br"\u00g0",
            br"\u+0e9",
            br"\u00",
            br"\x41",
            b"\\",
            b"\xff",
            b"\xc1\xae",
            b"\xed\xa0\xbd",
        ];
        for raw in bad {
            assert_eq!(decoded(raw), None, "{raw:?}");
        }
    }

    proptest! {
        #[test]
        fn agrees_with_another_reader(raw in r#"([ !#-\[\]-~é]|\\["\\/a-z]|\\u[0-9a-fA-Fg]{4}|\\ud[89c-f]0e){0,12}"#) {
            let other = serde_json::from_str::<String>(&format!("\"{raw}\"")).ok();
            prop_assert_eq!(decoded(raw.as_bytes()), other.map(String::into_bytes));
        }
    }
}
