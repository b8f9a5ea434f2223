//! Which headers may cross the gateway, each way. Controls: NET-3, LOG-2, PRIV-1; RFC 9110 §7.6.
//!
//! Never sees: values. A name decides.
//! 1. What a client says of addresses, identities or methods in headers is dropped, never believed.
//! 2. So is a name with another byte than `a-z 0-9 -`: behind CGI, WSGI, Rack and PHP `_` is `-`, so that
//!    `X_Remote_User` would be believed where `X-Remote-User` is.
//! 3. The header that carried the gateway's own credential never travels on.
//! 4. Amazon's token travels to Amazon only.
//! 5. What the upstream says of itself (banner, hops, cookies) stays inside.
//! 6. Cookies travel neither way, to internal stores neither: a session would stand beside the
//!    credential that is checked here, and outlive it (ACC-1).
//! 7. Nobody asks for a part of an answer, a difference or another charset: an id that is cut apart is
//!    not found (MON-4, ACC-5), and half a document is not counted (MON-3). No operation needs one, and a
//!    lock may come while an answer is under way, so this holds always.
use http::HeaderName;

use crate::engine::Reader;

/// Whether a request header may travel to `reader`. `token` is the header that carried the
/// gateway's credential.
pub(super) fn may_go_up(name: &HeaderName, reader: Reader, token: &HeaderName) -> bool {
    if name == token {
        return false;
    }
    let text = name.as_str();
    match text {
        "authorization" => matches!(reader, Reader::Internal),
        "x-amz-access-token" => matches!(reader, Reader::Amazon),
        _ => {
            NEVER.binary_search(&text).is_err()
                && !is_of_family(text)
                && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        }
    }
}

/// Whether a name begins with one of [`FAMILIES`].
fn is_of_family(name: &str) -> bool {
    // None of them begins with another, so only the last one that is not greater can be the beginning.
    let last = FAMILIES.partition_point(|family| *family <= name).checked_sub(1);
    last.and_then(|at| FAMILIES.get(at)).is_some_and(|family| name.starts_with(family))
}

/// Names that never go up, in order. Hop-by-hop ones (RFC 9110 §7.6.1) are among them, but
/// `transfer-encoding`, which is the engine's to keep or drop, because it frames the message; a
/// `WebSocket`'s handshake is made anew (`forward::handshake_head`), and `expect` is answered by the gateway
/// (`respond::go_on`).
const NEVER: [&str; 46] = [
    "a-im",
    "accept-charset",
    "client-ip",
    "connection",
    "cookie",
    "expect",
    "fastly-client-ip",
    "fly-client-ip",
    "forwarded",
    "front-end-https",
    "http2-settings",
    "if-range",
    "keep-alive",
    "range",
    "request-range",
    "te",
    "trailer",
    "true-client-ip",
    "upgrade",
    "via",
    "x-client-dn",
    "x-client-ip",
    "x-client-verify",
    "x-cluster-client-ip",
    "x-forward-for",
    "x-host",
    "x-method-override",
    "x-ms-range",
    "x-nf-client-connection-ip",
    "x-path-info",
    "x-real-ip",
    "x-rewrite-url",
    "x-scheme",
    "x-script-name",
    "x-source-ip",
    "x-true-client-ip",
    "x-uri",
    "x-url-scheme",
    "x-user",
    "x-user-email",
    "x-user-groups",
    "x-user-id",
    "x-user-name",
    "x-user-roles",
    "x-userid",
    "x-username",
];

/// Beginnings of names that never go up, in order: what proxies and login services say of addresses,
/// certificates, users and the request that it "really" is, to those behind them.
const FAMILIES: [&str; 53] = [
    "cf-",
    "client-cert",
    "cloudfront-",
    "impersonate-",
    "iv-",
    "oidc-",
    "proxy",
    "remote-",
    "sekisho-",
    "shib-",
    "sm-",
    "ssl-client",
    "tailscale-user-",
    "wl-proxy-",
    "x-accel-",
    "x-amzn-mtls-",
    "x-amzn-oidc-",
    "x-amzn-tls-",
    "x-apigateway-api-userinfo",
    "x-appengine-",
    "x-arr-",
    "x-auth-email",
    "x-auth-groups",
    "x-auth-request-",
    "x-auth-roles",
    "x-auth-subject",
    "x-auth-user",
    "x-authenticated-",
    "x-azure-",
    "x-client-cert",
    "x-consumer-",
    "x-credential-",
    "x-endpoint-api-userinfo",
    "x-envoy-",
    "x-forwarded",
    "x-goog-authenticated-user-",
    "x-goog-iap-",
    "x-http-host",
    "x-http-method",
    "x-internal-",
    "x-middleware-",
    "x-ms-client-principal",
    "x-ms-token-aad-",
    "x-original-",
    "x-originating-",
    "x-pomerium-",
    "x-remote-",
    "x-sekisho-",
    "x-sendfile",
    "x-ssl-",
    "x-userinfo",
    "x-vouch-",
    "x-webauth-",
];

/// Whether a response header may travel to the caller.
pub(super) fn may_go_down(name: &HeaderName) -> bool {
    let text = name.as_str();
    match text {
        "keep-alive"
        | "proxy-connection"
        | "proxy-authenticate"
        | "proxy-authorization"
        // The upstream's word on itself.
        | "server"
        | "via"
        | "x-powered-by"
        | "x-aspnet-version"
        | "x-aspnetmvc-version"
        | "x-runtime"
        | "alt-svc"
        | "x-served-by"
        | "x-backend-server"
        // A session would outlive the credential that opened it (ACC-1).
        | "set-cookie" => false,
        _ => !(text.starts_with("x-sekisho-") || text.starts_with("x-envoy-")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn up(name: &'static str, reader: Reader) -> bool {
        may_go_up(&HeaderName::from_static(name), reader, &http::header::AUTHORIZATION)
    }

    #[test]
    fn net_3_nothing_said_of_addresses_travels_on() {
        for name in [
            "forwarded",
            "x-forwarded-for",
            "x-forwarded-proto",
            "via",
            "x-real-ip",
            "x-original-forwarded-for",
            "x-azure-clientip",
        ] {
            assert!(!up(name, Reader::Amazon), "{name}");
            assert!(!up(name, Reader::Internal), "{name}");
        }
    }

    #[test]
    fn acc_1_the_gateway_s_credential_stays_here_wherever_it_is_carried() {
        let token = HeaderName::from_static("x-gate-token");
        assert!(!may_go_up(&token, Reader::Internal, &token));
        assert!(!up("authorization", Reader::Internal));
        assert!(may_go_up(&http::header::AUTHORIZATION, Reader::Internal, &token));
        assert!(!may_go_up(&http::header::AUTHORIZATION, Reader::Amazon, &token));
    }

    #[test]
    fn acc_1_cookies_travel_neither_way() {
        for reader in [Reader::Amazon, Reader::TokenServer, Reader::Internal] {
            assert!(!up("cookie", reader), "{reader:?}");
        }
        assert!(!may_go_down(&http::header::SET_COOKIE));
    }

    #[test]
    fn priv_4_amazon_s_token_goes_to_amazon_only() {
        assert!(up("x-amz-access-token", Reader::Amazon));
        assert!(!up("x-amz-access-token", Reader::Internal));
        assert!(!up("x-amz-access-token", Reader::TokenServer));
    }

    #[test]
    fn net_3_both_lists_are_in_order() {
        assert!(NEVER.is_sorted() && FAMILIES.is_sorted());
        for (one, other) in FAMILIES.iter().zip(FAMILIES.iter().skip(1)) {
            assert!(!other.starts_with(one), "{one} {other}");
        }
        for name in NEVER {
            assert!(!is_of_family(name), "{name} twice");
        }
        for family in FAMILIES {
            assert!(is_of_family(family) && is_of_family(&format!("{family}zz")), "{family}");
        }
    }

    #[test]
    fn net_3_an_underscore_is_no_way_round() {
        for name in ["x_forwarded_for", "x-forwarded_for", "x.real.ip", "a_b"] {
            assert!(!up(name, Reader::Internal), "{name}");
        }
    }

    #[test]
    fn ordinary_headers_pass() {
        for name in ["accept", "content-type", "user-agent", "x-amz-date", "x-amzn-idempotencykey"]
        {
            assert!(up(name, Reader::Amazon), "{name}");
        }
        for name in ["x-amzn-requestid", "x-amzn-ratelimit-limit", "content-type", "etag"] {
            assert!(may_go_down(&HeaderName::from_static(name)), "{name}");
        }
        assert!(!may_go_down(&http::header::SERVER));
        assert!(!may_go_down(&http::header::SET_COOKIE));
    }
}
