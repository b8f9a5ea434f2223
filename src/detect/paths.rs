//! Paths that nobody asks a gateway of the Selling Partner API for but those who look for holes
//! (MON-5). Short on purpose: an unknown path that is not here is somebody's typing error.

/// Looked for anywhere in the path, in lower case.
const PARTS: &[&str] = &[
    "/.env",
    "/.git",
    "/.aws",
    "/.ssh",
    "/.svn",
    "/.hg",
    "/.vscode",
    "/.ds_store",
    "/.well-known/acme",
    "/.htaccess",
    "/.htpasswd",
    "/wp-",
    "/wordpress",
    "/xmlrpc",
    "/phpmyadmin",
    "/pma/",
    "/cgi-bin",
    "/etc/passwd",
    "/proc/self",
    "/actuator",
    "/solr/",
    "/jenkins",
    "/manager/html",
    "/owa/",
    "/autodiscover",
    "/boaform",
    "/hnap1",
    "/server-status",
    "/vendor/phpunit",
    "/telescope",
    "/_ignition",
    "/struts",
    "/console/",
    "/druid/",
    "/geoserver",
    "/jolokia",
    "/graphql",
    "/swagger",
    "/api-docs",
    "/config.json",
    "/id_rsa",
    "/backup",
    "/dump.sql",
    "/shell",
    "/eval-stdin",
    "${jndi:",
    "../",
    "..%2f",
    "%2e%2e",
    "%00",
];
/// Looked for at the path's end.
const ENDS: &[&str] = &[
    ".php", ".asp", ".aspx", ".jsp", ".cgi", ".sql", ".bak", ".old", ".swp", ".ini", ".yml", ".pem",
];
/// No longer path is looked at beyond this, in bytes.
const LOOKED_AT: usize = 1_024;

/// Whether the path is one that scanners try. For refused requests only; allocates nothing.
pub fn is_scanner_path(path: &[u8]) -> bool {
    let path = path.get(..LOOKED_AT).unwrap_or(path);
    PARTS.iter().any(|part| holds(path, part.as_bytes()))
        || ENDS.iter().any(|end| {
            path.len()
                .checked_sub(end.len())
                .and_then(|at| path.get(at..))
                .is_some_and(|tail| tail.eq_ignore_ascii_case(end.as_bytes()))
        })
}

fn holds(path: &[u8], part: &[u8]) -> bool {
    path.windows(part.len()).any(|window| window.eq_ignore_ascii_case(part))
}

#[cfg(test)]
mod tests {
    use super::is_scanner_path;

    #[test]
    fn mon_5_paths_of_scanners_are_told_from_typing_errors() {
        for path in [
            "/.env",
            "/.git/config",
            "/WP-login.php",
            "/index.php",
            "/cgi-bin/luci",
            "/orders/v0/orders/../../../etc/passwd",
            "/orders/%2e%2e/x",
            "/actuator/health",
        ] {
            assert!(is_scanner_path(path.as_bytes()), "{path}");
        }
        for path in [
            "/",
            "/orders/v0/order",
            "/orders/v0/orders/902-1-2/adress",
            "/fba/inbound",
            "/stock/A.1",
        ] {
            assert!(!is_scanner_path(path.as_bytes()), "{path}");
        }
        let long = [&b"/a".repeat(4_000)[..], b"/.env"].concat();
        assert!(!is_scanner_path(&long));
    }
}
