//! Texts without a unit: networks, addresses on the web, pins, paths, HTTP words, patterns.
use std::borrow::Cow;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use http::HeaderName;
use ipnet::IpNet;
use rustls_pki_types::ServerName;

use super::value::{Misfit, TextValue, quoted};
use crate::base::ControlId;
use crate::policy::{Method, Template};

/// A network: `203.0.113.0/24`, `2001:db8:1::/48`, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CidrText(pub IpNet);

impl TextValue for CidrText {
    const FORMAT: &'static str = "sekisho-cidr";
    const WHAT: &'static str = "a network in CIDR form";
    const EXAMPLE: &'static str = "203.0.113.0/24";
    const PATTERN: &'static str = "^[0-9A-Fa-f:.]+(/[0-9]{1,3})?$";

    fn parse_text(text: &str) -> Result<Self, Misfit> {
        let single = || text.parse::<IpAddr>().ok().map(IpNet::from);
        let net: IpNet = text
            .parse()
            .ok()
            .or_else(single)
            .ok_or_else(|| Self::misfit(text).under(ControlId::Net1))?;
        if net.addr() != net.network() {
            // 203.0.113.7/24 may mean the host or the net; guessing wrong opens 255 addresses.
            return Err(Misfit::new(
                format!("{} has address bits beyond its prefix", quoted(text)),
                format!(
                    "write \"{}\" for the network or \"{}\" for the host",
                    net.trunc(),
                    net.addr()
                ),
            )
            .under(ControlId::Net1));
        }
        if matches!(net, IpNet::V6(v6) if v6.addr().to_ipv4_mapped().is_some()) {
            return Err(Misfit::new(
                format!("{} is an IPv4-mapped network, which never matches", quoted(text)),
                "write the IPv4 network; mapped addresses are judged as IPv4",
            )
            .under(ControlId::Net3));
        }
        Ok(Self(net))
    }

    fn to_text(&self) -> Cow<'_, str> {
        self.0.to_string().into()
    }
}

/// An `https://` URL: a host, perhaps a port, perhaps a path. Nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpsUrl {
    /// Lower case; an IPv6 address without brackets.
    pub host: String,
    pub port: u16,
    /// `/` if there is none.
    pub path: String,
}

impl HttpsUrl {
    /// The host in the form of a URL.
    fn bracketed(&self) -> Cow<'_, str> {
        if self.host.contains(':') {
            format!("[{}]", self.host).into()
        } else {
            (&*self.host).into()
        }
    }

    /// The authority as far as the port.
    pub(super) fn authority_without_port(&self) -> Cow<'_, str> {
        self.bracketed()
    }

    /// The `Host` header's value.
    #[must_use]
    pub fn authority(&self) -> String {
        if self.port == 443 {
            self.bracketed().into_owned()
        } else {
            format!("{}:{}", self.bracketed(), self.port)
        }
    }

    /// The name to be verified. `None` can't happen after parsing.
    #[must_use]
    pub fn server_name(&self) -> Option<ServerName<'static>> {
        ServerName::try_from(self.host.clone()).ok()
    }

    fn parts(rest: &str) -> Option<Self> {
        let (authority, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, "/"),
        };
        let uri: http::uri::Authority = authority.parse().ok()?;
        let plain = |c: char| c.is_ascii_graphic() && !"?#@\\".contains(c);
        if !authority.chars().all(plain) || !path.chars().all(plain) {
            return None;
        }
        let port = match authority.strip_prefix(uri.host())? {
            "" => 443,
            tail => tail.strip_prefix(':')?.parse().ok().filter(|port| *port > 0)?,
        };
        let host = uri.host().trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
        let url = Self { host, port, path: path.to_owned() };
        url.server_name().map(|_| url)
    }
}

impl TextValue for HttpsUrl {
    const FORMAT: &'static str = "sekisho-https-url";
    const WHAT: &'static str = "an https:// address";
    const EXAMPLE: &'static str = "https://warehouse.internal:8443";
    const PATTERN: &'static str = "^https://[^/?#@]+(/[^?#]*)?$";

    fn parse_text(text: &str) -> Result<Self, Misfit> {
        if let Some(rest) = text.strip_prefix("http://") {
            let instead = match Self::parts(rest) {
                Some(_) => format!("write {}", quoted(&format!("https://{rest}"))),
                None => format!("write {}, such as \"{}\"", Self::WHAT, Self::EXAMPLE),
            };
            return Err(
                Misfit::new("plaintext http:// is never spoken", instead).under(ControlId::Tls1)
            );
        }
        text.strip_prefix("https://")
            .and_then(Self::parts)
            .ok_or_else(|| Self::misfit(text).under(ControlId::Tls1))
    }

    fn to_text(&self) -> Cow<'_, str> {
        format!("https://{}{}", self.authority(), self.path).into()
    }
}

/// A file's path; a relative one starts at the directory of the file it is written in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathText(pub PathBuf);

impl PathText {
    /// The path seen from `config`, the file that names it.
    #[must_use]
    pub fn from(&self, config: &Path) -> PathBuf {
        config.parent().unwrap_or(Path::new("")).join(&self.0)
    }
}

impl TextValue for PathText {
    const FORMAT: &'static str = "sekisho-path";
    const WHAT: &'static str = "a file's path";
    const EXAMPLE: &'static str = "tls/apps.pem";
    const PATTERN: &'static str = "^[^\\u0000-\\u001f]{1,4096}$";

    fn parse_text(text: &str) -> Result<Self, Misfit> {
        if text.contains("-----BEGIN") {
            // The text itself is never quoted: it may be a private key.
            return Err(Misfit::new(
                "PEM text stands where a file's path belongs",
                "put it in a file that only the gateway's user may read, and write the file's path",
            )
            .under(ControlId::Priv4));
        }
        let fits = !text.is_empty() && text.len() <= 4_096 && !text.chars().any(char::is_control);
        if fits { Ok(Self(PathBuf::from(text))) } else { Err(Self::misfit(text)) }
    }

    fn to_text(&self) -> Cow<'_, str> {
        self.0.to_string_lossy()
    }
}

/// Which policy files to read: a path whose last part may hold one `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyGlob {
    pub directory: PathBuf,
    /// What a file's name starts and ends with; without `*`, the name and nothing.
    pub prefix: String,
    pub suffix: Option<String>,
}

impl PolicyGlob {
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        match &self.suffix {
            None => name == self.prefix,
            // A leading dot hides: Kubernetes keeps the data behind its symlinks in `..data`.
            Some(suffix) => {
                !name.starts_with('.')
                    && name.len() >= self.prefix.len() + suffix.len()
                    && name.starts_with(&self.prefix)
                    && name.ends_with(suffix)
            }
        }
    }
}

impl TextValue for PolicyGlob {
    const FORMAT: &'static str = "sekisho-policy-files";
    const WHAT: &'static str = "a path that ends in .toml, with at most one * in its last part";
    const EXAMPLE: &'static str = "policy/*.toml";
    const PATTERN: &'static str = "^([^*]*/)?[^/*]*\\*?[^/*]*\\.toml$";

    fn parse_text(text: &str) -> Result<Self, Misfit> {
        let whole = Path::new(text);
        let name = whole.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let directory = whole.parent().unwrap_or(Path::new("")).to_owned();
        let (prefix, suffix) = match name.split_once('*') {
            Some((prefix, suffix)) => (prefix.to_owned(), Some(suffix.to_owned())),
            None => (name.to_owned(), None),
        };
        let stars = text.matches('*').count();
        let fits = name.strip_suffix(".toml").is_some()
            && stars == usize::from(suffix.is_some())
            && !text.chars().any(char::is_control);
        if fits { Ok(Self { directory, prefix, suffix }) } else { Err(Self::misfit(text)) }
    }

    fn to_text(&self) -> Cow<'_, str> {
        let star = self.suffix.as_ref().map_or(String::new(), |suffix| format!("*{suffix}"));
        let path = self.directory.join(format!("{}{star}", self.prefix));
        path.to_string_lossy().into_owned().into()
    }
}

/// Text values that are checked words; the text is kept as written, or in lower case.
macro_rules! words {
    ($($(#[$doc:meta])* $ty:ident: $format:literal, $what:literal, $example:literal, $pattern:literal,
       $read:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub struct $ty(pub String);

        impl TextValue for $ty {
            const FORMAT: &'static str = $format;
            const WHAT: &'static str = $what;
            const EXAMPLE: &'static str = $example;
            const PATTERN: &'static str = $pattern;

            fn parse_text(text: &str) -> Result<Self, Misfit> {
                let read: fn(&str) -> Option<String> = $read;
                read(text).map(Self).ok_or_else(|| Self::misfit(text))
            }

            fn to_text(&self) -> Cow<'_, str> {
                (&*self.0).into()
            }
        }
    )*};
}

words! {
    /// A DNS name, in lower case; `*.` in front stands for one label.
    HostText: "sekisho-host", "a DNS name", "fe.spapi.example.com",
        "^(\\*\\.)?[A-Za-z0-9_-]+(\\.[A-Za-z0-9_-]+)*$",
        |text| {
            let name = text.strip_prefix("*.").unwrap_or(text);
            let dns = matches!(ServerName::try_from(name), Ok(ServerName::DnsName(_)));
            (dns && !name.ends_with('.')).then(|| text.to_ascii_lowercase())
        };
    /// An HTTP method that an operation can have. HEAD is served by the operation of GET.
    MethodText: "sekisho-method", "GET, POST, PUT, PATCH or DELETE, in capitals", "GET",
        "^(GET|POST|PUT|PATCH|DELETE)$",
        |text| {
            let method = Method::parse(text.as_bytes()).filter(|method| *method != Method::Head)?;
            Some(method.as_str().to_owned())
        };
    /// A header's name, in lower case.
    HeaderText: "sekisho-header", "a header's name", "authorization",
        "^[A-Za-z0-9!#$%&'*+.^_`|~-]+$",
        |text| HeaderName::from_bytes(text.as_bytes()).ok().map(|name| name.as_str().to_owned());
    /// The word before a token (RFC 9110 §11.1), or nothing for a bare token.
    AuthSchemeText: "sekisho-auth-scheme", "an authentication scheme", "Bearer",
        "^[A-Za-z0-9._~+-]{0,32}$",
        |text| {
            let token = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._~+-".contains(&b));
            (token && text.len() <= 32).then(|| text.to_owned())
        };
    /// How somebody logged in, in a token's words (RFC 8176, RFC 9470).
    LoginWord: "sekisho-login", "a method or class of logins, without spaces and quotes", "mfa",
        "^[!#-\\[\\]-~]{1,128}$",
        |text| {
            let plain = text.bytes().all(|b| b.is_ascii_graphic() && b != b'"' && b != b'\\');
            (plain && (1..=128).contains(&text.len())).then(|| text.to_owned())
        };
    /// Which operations: a name, or `*` for the rest of one, then perhaps `:read` or `:write`.
    PatternText: "sekisho-operations", "an operation's name or pattern", "orders/*:read",
        "^(\\*|[A-Za-z0-9][A-Za-z0-9._/@-]*\\*?)(:read|:write)?$",
        |text| {
            let name = text.strip_suffix(":read").or(text.strip_suffix(":write")).unwrap_or(text);
            let stem = name.strip_suffix('*').unwrap_or(name);
            let plain = |b: u8| b.is_ascii_alphanumeric() || b"._/@-".contains(&b);
            let starts = stem.bytes().next().map_or(name == "*", |b| b.is_ascii_alphanumeric());
            (starts && stem.bytes().all(plain) && text.len() <= 128).then(|| text.to_owned())
        };
}

/// An operation's path: `/stock/{sku}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateText(pub String);

impl TextValue for TemplateText {
    const FORMAT: &'static str = "sekisho-path-template";
    const WHAT: &'static str = "a path template";
    const EXAMPLE: &'static str = "/stock/{sku}";
    const PATTERN: &'static str = "^(/([^/{}?#]+|\\{[A-Za-z][A-Za-z0-9_-]*\\}))+$";

    fn parse_text(text: &str) -> Result<Self, Misfit> {
        Template::parse(text, &[]).map(|_| Self(text.to_owned())).map_err(|why| {
            Misfit::new(
                format!("{} is no path template: {why}", quoted(text)),
                format!("write {}, such as \"{}\"", Self::WHAT, Self::EXAMPLE),
            )
        })
    }

    fn to_text(&self) -> Cow<'_, str> {
        (&*self.0).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reads<T: TextValue>(text: &str) -> Option<String> {
        T::parse_text(text).ok().map(|value| value.to_text().into_owned())
    }

    #[test]
    fn net_1_a_network_with_host_bits_is_ambiguous() {
        assert_eq!(reads::<CidrText>("203.0.113.0/24").unwrap(), "203.0.113.0/24");
        assert_eq!(reads::<CidrText>("203.0.113.7").unwrap(), "203.0.113.7/32");
        let misfit = CidrText::parse_text("203.0.113.7/24").unwrap_err();
        assert!(misfit.instead.contains("203.0.113.0/24"), "{}", misfit.instead);
        for bad in ["203.0.113.0/33", "office", "::ffff:10.0.0.0/104", ""] {
            assert!(CidrText::parse_text(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn tls_1_only_https_is_an_endpoint() {
        let misfit = HttpsUrl::parse_text("http://warehouse:8080").unwrap_err();
        assert_eq!(misfit.control, Some(ControlId::Tls1));
        assert!(misfit.instead.contains("https://warehouse:8080"));
        for bad in [
            "warehouse:8443",
            "https://",
            "https://a b",
            "https://u@h",
            "https://h?x=1",
            "https://h:0",
            "https://h:99999",
            "https://h:",
            "https://-a-",
            "ftp://h",
            "https:///x",
        ] {
            assert!(HttpsUrl::parse_text(bad).is_err(), "{bad}");
        }
        let url = HttpsUrl::parse_text("https://[::1]:9443/keys").unwrap();
        assert_eq!((url.host.as_str(), url.port, url.path.as_str()), ("::1", 9443, "/keys"));
        assert_eq!(url.authority(), "[::1]:9443");
        assert_eq!(HttpsUrl::parse_text("https://H.example").unwrap().authority(), "h.example");
    }

    #[test]
    fn priv_4_pem_text_in_place_of_a_path_is_not_repeated() {
        let misfit = PathText::parse_text("-----BEGIN PRIVATE KEY-----\nhunter2").unwrap_err();
        assert_eq!(misfit.control, Some(ControlId::Priv4));
        assert!(!format!("{misfit:?}").contains("hunter2"));
    }

    #[test]
    fn policy_files_are_one_directory_deep() {
        let glob = PolicyGlob::parse_text("policy/*.toml").unwrap();
        assert!(glob.matches("a.toml") && !glob.matches("a.yaml") && !glob.matches(".a.toml"));
        let one = PolicyGlob::parse_text("policy/a.toml").unwrap();
        assert!(one.matches("a.toml") && !one.matches("aa.toml"));
        for bad in ["*/a.toml", "policy/**.toml", "policy/*", "policy", ""] {
            assert!(PolicyGlob::parse_text(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn words_are_checked() {
        assert_eq!(reads::<HostText>("*.Example.com").unwrap(), "*.example.com");
        assert!(reads::<HostText>("10.0.0.1").is_none() && reads::<HostText>("a.*.b").is_none());
        assert!(reads::<MethodText>("get").is_none() && reads::<MethodText>("CONNECT").is_none());
        for good in ["*", "*:read", "orders/*", "warehouse/*:read", "orders/v0/getOrder"] {
            assert!(reads::<PatternText>(good).is_some(), "{good}");
        }
        for bad in ["", ":read", "a*b", "**", "orders/*:all", "/orders", "a b"] {
            assert!(reads::<PatternText>(bad).is_none(), "{bad}");
        }
        for bad in ["stock", "/a?b", "/{}", "/a{b}", "/{a b}", ""] {
            assert!(reads::<TemplateText>(bad).is_none(), "{bad}");
        }
        assert!(reads::<TemplateText>("/stock/{sku}").is_some());
    }
}
