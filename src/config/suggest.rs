//! What was probably meant: the nearest known word, and keys that ask for something that doesn't
//! exist on purpose.
use crate::base::ControlId;

/// The candidate that `word` is most likely a misspelling of, if any is near enough.
pub(super) fn nearest<'c>(
    word: &str,
    candidates: impl IntoIterator<Item = &'c str>,
) -> Option<&'c str> {
    // One slip in three letters; a long word is not compared with every long name (quadratic).
    let allowed = (word.chars().count() / 3).clamp(1, 3);
    if word.len() > 64 {
        return None;
    }
    candidates
        .into_iter()
        .filter(|candidate| candidate.len().abs_diff(word.len()) <= allowed)
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(steps, _)| *steps <= allowed)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Insertions, deletions, substitutions and swaps of neighbours between two words, without case
/// (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let fold = |text: &str| -> Vec<char> { text.chars().flat_map(char::to_lowercase).collect() };
    let (a, b) = (fold(a), fold(b));
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for (row, x) in a.iter().enumerate() {
        let mut here = vec![row + 1];
        for (column, y) in b.iter().enumerate() {
            let at =
                |line: &[usize], place: usize| line.get(place).copied().unwrap_or(usize::MAX - 1);
            let replaced = at(&above, column) + usize::from(x != y);
            let mut steps = replaced.min(at(&above, column + 1) + 1).min(at(&here, column) + 1);
            let swapped =
                row > 0 && column > 0 && a.get(row - 1) == Some(y) && b.get(column - 1) == Some(x);
            if swapped {
                steps = steps.min(at(&before, column - 1) + 1);
            }
            here.push(steps);
        }
        before = std::mem::replace(&mut above, here);
    }
    above.last().copied().unwrap_or(0)
}

/// A key that looks like a switch for something that can't be switched off: the control, and what to
/// say instead of a spelling hint.
pub(super) fn forbidden_switch(key: &str) -> Option<(ControlId, &'static str)> {
    let word: String =
        key.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect();
    let any = |marks: &[&str]| marks.iter().any(|mark| word.contains(mark));
    if any(&[
        "verif",
        "insecure",
        "trustall",
        "acceptinvalid",
        "allowinvalid",
        "allowselfsigned",
        "rejectunauthorized",
        "checkhostname",
        "sslcheck",
        "validatecert",
        "dangerous",
    ]) {
        return Some((
            ControlId::Tls2,
            "remove it: certificates are always verified, and no switch turns that off; \
             for a private authority write ca = \"tls/ca.pem\"",
        ));
    }
    if any(&["plaintext", "cleartext", "disabletls", "tlsoff", "notls", "usetls", "tlsenabled"]) {
        return Some((
            ControlId::Tls1,
            "remove it: every listener and upstream speaks TLS; `sekisho dev-certs` makes \
             certificates for a developer's machine",
        ));
    }
    if any(&["secret", "password", "refreshtoken", "accesstoken", "apikey"]) {
        return Some((
            ControlId::Priv4,
            "remove it, and replace the secret if this file was shared: secrets are never written \
             into the configuration",
        ));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_find_their_word() {
        let words = ["networks", "address", "name", "tls", "upstreams", "bounds"];
        let meant = |word| nearest(word, words);
        assert_eq!(meant("netwroks"), Some("networks"));
        assert_eq!(meant("adress"), Some("address"));
        assert_eq!(meant("upstream"), Some("upstreams"));
        assert_eq!(meant("TLS"), Some("tls"));
        assert_eq!(meant("zebra"), None);
        assert_eq!(meant(""), None);
        assert_eq!(meant(&"n".repeat(100)), None);
    }

    #[test]
    fn swaps_count_once() {
        assert_eq!(distance("ab", "ba"), 1);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
    }

    #[test]
    fn tls_2_every_spelling_of_an_off_switch_is_known() {
        for key in [
            "verify",
            "skip_verify",
            "insecure",
            "InsecureSkipVerify",
            "verify-tls",
            "danger_accept_invalid_certs",
            "tls_verification",
            "allow_self_signed",
        ] {
            assert_eq!(forbidden_switch(key).map(|(id, _)| id), Some(ControlId::Tls2), "{key}");
        }
        assert_eq!(forbidden_switch("client_secret").map(|(id, _)| id), Some(ControlId::Priv4));
        assert_eq!(forbidden_switch("networks"), None);
    }
}
