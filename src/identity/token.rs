//! Reads a compact JWS (RFC 7515 §7.1) strictly, before any cryptography: one spelling, one
//! reading, an allow-list of header members. What is accepted here is no claim to be genuine.
use std::fmt;

use serde_json::{Map, Value};

use super::json::{self, JsonFault};
use crate::base::TokenFault;
use crate::base::base64url;

/// A `kid` longer than this is no key's name.
const KID_MAX: usize = 256;
const TYP_MAX: usize = 32;

/// The signature algorithms there are (RFC 7518 §3.1, RFC 8037 §3.1). The list is closed: `none`
/// and the HMAC family, whose key would have to be secret, can't be written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// ECDSA, P-256, SHA-256.
    Es256,
    /// ECDSA, P-384, SHA-384.
    Es384,
    /// Ed25519.
    EdDsa,
    /// RSASSA-PKCS1-v1_5, SHA-256.
    Rs256,
    /// RSASSA-PKCS1-v1_5, SHA-384.
    Rs384,
    /// RSASSA-PKCS1-v1_5, SHA-512.
    Rs512,
    /// RSASSA-PSS, SHA-256.
    Ps256,
    /// RSASSA-PSS, SHA-384.
    Ps384,
    /// RSASSA-PSS, SHA-512.
    Ps512,
}

impl Algorithm {
    pub const ALL: [Self; 9] = [
        Self::Es256,
        Self::Es384,
        Self::EdDsa,
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
    ];

    /// The algorithm of a JOSE `alg` value, which is case-sensitive.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.as_str() == text)
    }

    /// The JOSE `alg` value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::EdDsa => "EdDSA",
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
        }
    }
}

/// A token that has the right form. Nothing in it is proved.
pub struct Token<'t> {
    pub(super) algorithm: Algorithm,
    pub(super) kid: Option<Box<str>>,
    pub(super) claims: Map<String, Value>,
    /// `header.payload`, the bytes that are signed.
    pub(super) signed: &'t [u8],
    /// The signature as it is spelt; the spelling is known to be canonical.
    pub(super) signature_text: &'t str,
    pub(super) signature: Vec<u8>,
}

impl Token<'_> {
    /// The algorithm that the header names.
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

/// Prints no claim: a token says who somebody is.
impl fmt::Debug for Token<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

/// Reads a token of at most `bytes_max` bytes.
///
/// # Errors
/// `TooLarge`, `Malformed`, `Header` or `Algorithm`. Every other fault needs keys or a clock.
pub fn parse_token(bytes: &[u8], bytes_max: usize) -> Result<Token<'_>, TokenFault> {
    if bytes.len() > bytes_max {
        return Err(TokenFault::TooLarge);
    }
    let mut dots = memchr::memchr_iter(b'.', bytes);
    let (Some(first), Some(second), None) = (dots.next(), dots.next(), dots.next()) else {
        return Err(TokenFault::Malformed);
    };
    let part = |from, to| bytes.get(from..to).ok_or(TokenFault::Malformed);
    let signed = part(0, second)?;
    let payload = part(first + 1, second)?;
    let signature_text = part(second + 1, bytes.len())?;

    let (algorithm, kid) = header(&decoded(part(0, first)?)?)?;
    let claims = json::object(&decoded(payload)?).map_err(|_| TokenFault::Malformed)?;
    let signature = decoded(signature_text)?;
    let signature_text = std::str::from_utf8(signature_text).map_err(|_| TokenFault::Malformed)?;
    Ok(Token { algorithm, kid, claims, signed, signature_text, signature })
}

/// An empty part decodes to nothing, which is no header, no payload and no signature.
fn decoded(part: &[u8]) -> Result<Vec<u8>, TokenFault> {
    base64url::decode(part).filter(|bytes| !bytes.is_empty()).ok_or(TokenFault::Malformed)
}

/// Only three members are understood. Every other one either asks for behaviour that is not here
/// (`crit`, `b64`, `zip`, `cty`: RFC 7515 §4.1.11 demands refusal for the first) or brings its own
/// key (`jwk`, `jku`, `x5c`, `x5u`), which an attacker would be glad to.
fn header(text: &[u8]) -> Result<(Algorithm, Option<Box<str>>), TokenFault> {
    let members = json::object(text).map_err(|fault| match fault {
        JsonFault::Form => TokenFault::Malformed,
        JsonFault::Duplicate => TokenFault::Header,
    })?;
    let mut algorithm = None;
    let mut kid = None;
    for (name, value) in &members {
        match (name.as_str(), value) {
            ("alg", Value::String(text)) => algorithm = Algorithm::parse(text),
            ("kid", Value::String(text)) if (1..=KID_MAX).contains(&text.len()) => {
                kid = Some(Box::from(text.as_str()));
            }
            ("typ", Value::String(text)) if is_token_type(text) => {}
            _ => return Err(TokenFault::Header),
        }
    }
    Ok((algorithm.ok_or(TokenFault::Algorithm)?, kid))
}

/// A plain JWT or an access token (RFC 9068 §2.1): an ID token's or a logout token's type is not
/// accepted in their place (RFC 8725 §3.11). `application/` may be left out (RFC 7515 §4.1.9).
fn is_token_type(text: &str) -> bool {
    if text.len() > TYP_MAX {
        return false;
    }
    let lower = text.to_ascii_lowercase();
    let short = lower.strip_prefix("application/").unwrap_or(&lower);
    short == "jwt" || short == "at+jwt"
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn token(header: &str, payload: &str) -> Vec<u8> {
        let (header, payload) =
            (base64url::encode(header.as_bytes()), base64url::encode(payload.as_bytes()));
        format!("{header}.{payload}.{}", base64url::encode(b"signature")).into_bytes()
    }

    fn fault(header: &str) -> Option<TokenFault> {
        parse_token(&token(header, "{}"), 8192).err()
    }

    #[test]
    fn acc_1_three_canonical_parts_and_nothing_else() {
        let good = token(r#"{"alg":"ES256","kid":"a","typ":"at+JWT"}"#, r#"{"iss":"x"}"#);
        let parsed = parse_token(&good, 8192).unwrap();
        assert_eq!((parsed.algorithm(), parsed.kid.as_deref()), (Algorithm::Es256, Some("a")));
        assert!(!format!("{parsed:?}").contains("iss"));
        let text = String::from_utf8(good).unwrap();
        let bad = [
            String::new(),
            ".".into(),
            "..".into(),
            "a.b".into(),
            format!("{text}."),
            format!(".{text}"),
            format!("{text}="),
            format!("{text} "),
            format!("{text}\n"),
            text.replace('.', ".."),
            text.rsplit_once('.').unwrap().0.to_owned() + ".",
        ];
        for bad in bad {
            let found = parse_token(bad.as_bytes(), 8192).unwrap_err();
            assert_eq!(found, TokenFault::Malformed, "{bad}");
        }
    }

    #[test]
    fn acc_1_a_token_over_the_limit_is_refused_unread() {
        let large = vec![b'a'; 1 << 20];
        assert_eq!(parse_token(&large, 8192).unwrap_err(), TokenFault::TooLarge);
        let good = token(r#"{"alg":"ES256"}"#, "{}");
        assert!(parse_token(&good, good.len()).is_ok());
        assert_eq!(parse_token(&good, good.len() - 1).unwrap_err(), TokenFault::TooLarge);
    }

    #[test]
    fn acc_1_no_other_algorithm_can_be_named() {
        for alg in ["none", "None", "", "HS256", "HS384", "HS512", "es256", "ES512", "ES256K"] {
            let header = format!(r#"{{"alg":"{alg}"}}"#);
            assert_eq!(fault(&header), Some(TokenFault::Algorithm), "{alg}");
        }
        assert_eq!(fault("{}"), Some(TokenFault::Algorithm));
        for algorithm in Algorithm::ALL {
            assert_eq!(fault(&format!(r#"{{"alg":"{}"}}"#, algorithm.as_str())), None);
        }
    }

    #[test]
    fn acc_1_headers_that_bring_a_key_or_change_the_rules_are_refused() {
        for member in [
            r#""crit":["exp"]"#,
            r#""crit":[]"#,
            r#""jku":"https://evil.example/jwks""#,
            r#""x5u":"https://evil.example/x""#,
            r#""jwk":{"kty":"EC"}"#,
            r#""x5c":["MII"]"#,
            r#""x5t":"a""#,
            r#""x5t#S256":"a""#,
            r#""b64":false"#,
            r#""zip":"DEF""#,
            r#""cty":"JWT""#,
            r#""typ":"logout+jwt""#,
            r#""typ":7"#,
            r#""kid":"""#,
            r#""kid":1"#,
            r#""alg":"ES256""#,
            r#""al\u0067":"ES256""#,
            r#""unknown":1"#,
        ] {
            let header = format!(r#"{{"alg":"ES256",{member}}}"#);
            assert_eq!(fault(&header), Some(TokenFault::Header), "{member}");
        }
        assert_eq!(fault(r#"{"alg":["ES256"]}"#), Some(TokenFault::Header));
        for typ in ["JWT", "jwt", "at+jwt", "application/at+jwt"] {
            assert_eq!(fault(&format!(r#"{{"alg":"ES256","typ":"{typ}"}}"#)), None);
        }
    }

    #[test]
    fn acc_1_a_payload_with_two_readings_is_refused() {
        for payload in [
            r#"{"iss":"a","iss":"b"}"#,
            r#"{"iss":"a","is\u0073":"b"}"#,
            r#"{"cnf":{"x5t#S256":"a","x5t#S256":"b"}}"#,
            r#"["iss"]"#,
            "{} {}",
        ] {
            let found = parse_token(&token(r#"{"alg":"ES256"}"#, payload), 8192).unwrap_err();
            assert_eq!(found, TokenFault::Malformed, "{payload}");
        }
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(parse_token(&bytes, 8192).is_err());
        }

        #[test]
        fn random_json_never_panics(header in ".{0,60}", payload in ".{0,60}") {
            drop(parse_token(&token(&header, &payload), 8192));
        }
    }
}
