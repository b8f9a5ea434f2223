//! Texts in which `*` stands for any run of bytes. No other character is special.

/// A compiled text with stars.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob(Box<[u8]>);

impl Glob {
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.as_bytes().into())
    }

    /// Whether whatever the other one matches is matched by this one. Where that can't be seen at once
    /// it is denied.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        let plain = !other.0.contains(&b'*');
        self == other || *self.0 == *b"*" || (plain && self.matches(other.0.iter().copied()))
    }

    /// Takes at most (bytes of the pattern) × (bytes of the text) steps, and allocates nothing.
    pub fn matches(&self, text: impl Iterator<Item = u8> + Clone) -> bool {
        let mut text = text;
        let mut pattern: &[u8] = &self.0;
        // Where to resume when what follows the last star does not fit here.
        let mut resume = None;
        loop {
            if let [b'*', rest @ ..] = pattern {
                pattern = rest;
                resume = Some((rest, text.clone()));
                continue;
            }
            let ahead = text.next();
            match (pattern, ahead) {
                ([], None) => return true,
                ([first, rest @ ..], Some(byte)) if *first == byte => pattern = rest,
                (_, None) => return false,
                (_, Some(_)) => {
                    let Some((behind, from)) = &mut resume else { return false };
                    from.next();
                    pattern = behind;
                    text = from.clone();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_star_is_any_run() {
        for (pattern, text, expected) in [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("*", "a/b", true),
            ("a*", "a", true),
            ("a*", "ba", false),
            ("*c", "abc", true),
            ("a*c*e", "abcde", true),
            ("a*c*e", "abcd", false),
            ("*ab", "aab", true),
            ("**a", "ba", true),
            ("a?", "ab", false),
            ("[a]", "a", false),
        ] {
            assert_eq!(Glob::new(pattern).matches(text.bytes()), expected, "{pattern} {text}");
        }
    }

    fn reference(pattern: &[u8], text: &[u8]) -> bool {
        match pattern.split_first() {
            None => text.is_empty(),
            Some((b'*', rest)) => (0..=text.len()).any(|at| reference(rest, &text[at..])),
            Some((first, rest)) => text.first() == Some(first) && reference(rest, &text[1..]),
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_definition(pattern in "[ab*]{0,8}", text in "[ab]{0,10}") {
            let expected = reference(pattern.as_bytes(), text.as_bytes());
            prop_assert_eq!(Glob::new(&pattern).matches(text.bytes()), expected);
        }
    }
}
