//! Closed vocabularies: each word is written in the program, so none can carry a byte of a request.

/// Declares enums whose variants have one fixed text each, for lines and metric labels.
macro_rules! words {
    ($(
        $(#[$meta:meta])*
        $vis:vis enum $name:ident { $( $(#[$word_meta:meta])* $word:ident = $text:literal, )+ }
    )+) => {$(
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        $vis enum $name { $( $(#[$word_meta])* $word, )+ }

        impl $name {
            pub const ALL: &'static [Self] = &[$(Self::$word),+];

            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$word => $text,)+ }
            }

            /// Place in [`Self::ALL`].
            #[must_use]
            pub const fn index(self) -> usize {
                self as usize
            }
        }

        impl $crate::evidence::record::sealed::Sealed for $name {}
        impl $crate::evidence::Loggable for $name {
            fn write_value(&self, out: &mut Vec<u8>) {
                const { $( assert!($crate::evidence::needs_no_escape($text)); )+ }
                $crate::evidence::record::write_plain(self.as_str().as_bytes(), out);
            }
        }
    )+};
}
pub(in crate::evidence) use words;

words! {
    /// How a request ended.
    pub enum Outcome {
        /// It was served; the status is the upstream's.
        Allowed = "allowed",
        /// Policy or protocol refused it.
        Denied = "denied",
        /// It was permitted, but the gateway or the upstream could not serve it.
        Failed = "failed",
    }

    /// How the identity was proved.
    pub enum Proof {
        Certificate = "certificate",
        Token = "token",
        /// A token bound to the client's certificate (RFC 8705).
        BoundToken = "bound-token",
        /// A token and a certificate that name the same identity, not bound to each other.
        TokenAndCertificate = "token-and-certificate",
    }

    /// The client connection's TLS version.
    pub enum TlsVersion {
        V1_2 = "1.2",
        V1_3 = "1.3",
    }

    /// The client connection's HTTP.
    pub enum Protocol {
        Http1 = "h1",
        Http2 = "h2",
    }

    /// How loud an event is.
    pub enum Severity {
        Info = "info",
        Warning = "warning",
        Error = "error",
    }

    /// Why the log can't be written.
    pub enum LogFault {
        /// The volume or the quota is full.
        Full = "full",
        /// Permission, or a read-only volume.
        NotPermitted = "not-permitted",
        /// The reader of standard output is gone.
        ReaderGone = "reader-gone",
        /// The file or its directory is no longer what it was.
        Misplaced = "misplaced",
        Other = "other",
    }

    /// Whose words an event of the libraries below us was. A closed list: the target of an event is a
    /// text chosen at run time.
    pub enum Framework {
        Pingora = "pingora",
        Rustls = "rustls",
        H2 = "h2",
        Hyper = "hyper",
        Tokio = "tokio",
        Other = "other",
    }
}

impl Framework {
    /// Sorts a log target (`crate::module`) into the list.
    #[must_use]
    pub fn of_target(target: &str) -> Self {
        let library = target.split_once("::").map_or(target, |(library, _)| library);
        match library {
            "rustls" | "tokio_rustls" | "webpki" | "pingora_rustls" => Self::Rustls,
            "h2" => Self::H2,
            "hyper" | "hyper_util" => Self::Hyper,
            "tokio" | "mio" => Self::Tokio,
            _ if library == "pingora" || library.starts_with("pingora_") => Self::Pingora,
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_2_a_target_becomes_a_word_of_ours() {
        for (target, expect) in [
            ("pingora_proxy::proxy_h1", Framework::Pingora),
            ("pingora", Framework::Pingora),
            ("pingora_rustls", Framework::Rustls),
            ("h2::server", Framework::H2),
            ("hyper_util::client", Framework::Hyper),
            ("h2x", Framework::Other),
            ("hanako@example.com", Framework::Other),
            ("", Framework::Other),
        ] {
            assert_eq!(Framework::of_target(target), expect, "{target}");
        }
    }

    #[test]
    fn an_index_is_the_place_in_the_list() {
        for (place, word) in Outcome::ALL.iter().enumerate() {
            assert_eq!(word.index(), place);
        }
        for (place, word) in Framework::ALL.iter().enumerate() {
            assert_eq!(word.index(), place);
        }
    }
}
