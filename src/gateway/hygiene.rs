//! Which headers may cross the gateway, each way. Controls: NET-3, LOG-2, PRIV-1; RFC 9110 §7.6.
//!
//! Never sees: values. A name decides.
//! 1. What a client says of addresses, identities or methods in headers is dropped, never believed.
//! 2. The header that carried the gateway's own credential never travels on.
//! 3. Amazon's token travels to Amazon only.
//! 4. What the upstream says of itself (banner, hops, cookies) stays inside.
//! 5. Cookies travel neither way, to internal stores neither: a session would stand beside the
//!    credential that is checked here, and outlive it (ACC-1).
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
        // Hop-by-hop (RFC 9110 §7.6.1). `transfer-encoding` is the engine's to keep or drop, because
        // it frames the message; a WebSocket's handshake is made anew (`forward::handshake_head`).
        "connection"
        | "upgrade"
        | "http2-settings"
        | "keep-alive"
        | "proxy-connection"
        | "te"
        | "trailer"
        | "proxy-authorization"
        | "proxy-authenticate"
        // Answered by the gateway (`respond::go_on`).
        | "expect"
        // Where the request came from (RFC 7239 and its predecessors).
        | "forwarded"
        | "via"
        | "x-real-ip"
        | "true-client-ip"
        | "client-ip"
        | "x-client-ip"
        | "x-cluster-client-ip"
        | "cf-connecting-ip"
        | "fastly-client-ip"
        // What the request "really" is: routers and frameworks believe these.
        | "x-http-method"
        | "x-http-method-override"
        | "x-method-override"
        | "x-rewrite-url"
        | "x-host"
        | "cookie" => false,
        "authorization" => matches!(reader, Reader::Internal),
        "x-amz-access-token" => matches!(reader, Reader::Amazon),
        _ => {
            !(text.starts_with("x-forwarded")
                || text.starts_with("x-original-")
                || text.starts_with("x-originating-")
                || text.starts_with("x-azure-")
                || text.starts_with("x-sekisho-")
                || text.starts_with("sekisho-")
                || text.starts_with("x-envoy-")
                || text.starts_with("x-client-cert")
                || text.starts_with("x-ssl-")
                || text.starts_with("ssl-client")
                || text.starts_with("x-remote-")
                || text.starts_with("x-authenticated-")
                || text.starts_with("x-auth-request-"))
        }
    }
}

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
