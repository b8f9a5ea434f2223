//! One mistake, one error: operations, roles, identities, issuers, figures.
use super::rules::{refused, warned};
use super::support::{GOOD, changed, claims, issuer, world};
use crate::base::ControlId::{Acc1, Acc3, Aud2, Log4, Mon2, Mon3, Mon5, Net1};
use crate::base::ControlId::{Priv1, Priv3, Priv4, Priv5, Tls1};
use crate::base::Name;
use crate::permit::Claims;

#[test]
fn priv_1_operations() {
    let path = "path = \"/stock/{sku}\"";
    refused(
        "upstream = \"warehouse\"",
        "upstream = \"amazon-fe\"",
        "\"amazon-fe\"\nmethod",
        Priv1,
        "built in",
        "https",
    );
    refused("method = \"GET\"", "method = \"HEAD\"", "\"HEAD\"", Priv1, "`HEAD`", "GET");
    refused(
        "method = \"GET\"",
        "method = \"POST\"\nupgrade = \"websocket\"",
        "\"POST\"",
        Priv1,
        "starts with a GET",
        "GET",
    );
    refused(path, "path = \"stock\"", "\"stock\"", Priv1, "path template", "/stock/{sku}");
    refused(path, "path = \"/stock/{sku}\"\nencoded = [\"id\"]", "\"id\"", Priv1, "encoded", "sku");
    refused("query = [\"page\"]", "query = [\"page\", 'page']", "'page'", Priv1, "twice", "remove");
    refused("query = [\"page\"]", "query = [\"a b\"]", "\"a b\"", Priv1, "`a b`", "letters");
    refused(
        "[[issuer]]",
        "[[operation]]\nname = \"warehouse/x\"\nupstream = \"warehouse\"\n\
        method = \"GET\"\npath = \"/stock/{id}\"\n[[issuer]]",
        "\"/stock/{id}\"",
        Priv1,
        "can mean both",
        "differ",
    );
    refused(
        "name = \"warehouse/getStock\"",
        "name = \"orders/getOrders\"",
        "\"orders/getOrders\"\nup",
        Priv1,
        "two operations",
        "catalogue",
    );
}

#[test]
fn priv_1_roles() {
    let allow = "allow = [\"orders/getOrders\", \"warehouse/*:read\"]";
    refused(allow, "allow = []", "[]", Priv1, "allows no operation", "orders/getOrders");
    refused(
        allow,
        "allow = [\"orders/getOrders\", \"orders/getOrderz\"]",
        "\"orders/getOrderz\"",
        Priv1,
        "no operation has this name",
        "getOrder",
    );
    refused(
        allow,
        "allow = [\"orders/getOrders\", \"orders/getOrder\"]",
        "\"orders/getOrder\"]",
        Priv1,
        "several versions",
        "orders/v0/getOrder",
    );
    refused(
        allow,
        "allow = [\"orders/getOrders\", \"nothing/*\"]",
        "\"nothing/*\"",
        Priv1,
        "no operation fits",
        "sekisho catalog",
    );
    refused(
        "deny = [\"BuyerEmail\"]",
        "parameter = \"X\"",
        "{ operations = [\"orders/*\"], par",
        Priv1,
        "either `deny`",
        "values",
    );
    refused(
        "operations = [\"orders/*\"], deny",
        "operations = [\"feeds/*\"], deny",
        "\"feeds/*\"",
        Priv1,
        "allows none",
        "allow",
    );
    refused("purpose = \"print labels\"", "purpose = \" \"", "\" \"", Aud2, "blank", "needed for");
    refused(
        "purpose = \"print labels\"",
        "",
        "[role.shipping]",
        Aud2,
        "`purpose` is missing",
        "add",
    );
    warned(
        "[admin]",
        "[role.old]\npurpose = \"x\"\nallow = [\"feeds/*\"]\n[admin]",
        "old]",
        Priv1,
        "no identity",
    );
}

#[test]
fn mon_2_limits() {
    let requests = "requests = [\"10/s\", \"300/min\"]";
    refused(
        requests,
        "requests = [\"10/s\", \"300/60 s\", '1/min']",
        "'1/min'",
        Mon2,
        "same period",
        "lower",
    );
    let empty = "{ operations = [\"orders/*\"], requests = []";
    refused(requests, "requests = []", empty, Mon2, "counts nothing", "concurrent");
    refused(requests, "requests = [\"ten\"]", "\"ten\"", Mon2, "`ten`", "300/min");
    for (bytes, text) in
        [("2 GB", "`2 GB`"), ("0 MB/day", "`0 MB/day`"), ("1 EB/day", "`1 EB/day`")]
    {
        let line = format!("bytes = [\"{bytes}\"]");
        refused(requests, &line, &format!("\"{bytes}\""), Mon3, text, "2 GB/day");
    }
    let twice = "pii_records = [\"5000/day\", '6000/24 h']";
    refused(requests, twice, "'6000", Mon2, "same period", "lower");
    refused(requests, "concurrent = 0", "0 }", Mon2, "0", "1 to 1000000");
    let seller = "concurrent = 1, per = \"seller\"";
    refused(requests, seller, "\"seller\"", Mon2, "one seller account", "[limit.…]");
    let role = "[limit.total]\nper = \"role\"\noperations = [\"*\"]\nrequests = [\"1/s\"]\n[role.shipping]";
    refused("[role.shipping]", role, "\"role\"", Mon2, "one role", "per = \"seller\" or");
}

#[test]
fn mon_3_a_limit_on_records_that_nobody_counts_is_refused() {
    let of_orders = "operations = [\"orders/*\"], requests = [\"10/s\", \"300/min\"]";
    for uncounted in ["\"warehouse/*\"", "\"sellers/*\", \"warehouse/getStock\""] {
        let limit = format!("operations = [{uncounted}], pii_records = [\"5000/day\"]");
        let (found, instead) = ("no records are counted", "personal_data = true");
        refused(of_orders, &limit, "\"5000/day", Mon3, found, instead);
    }
    let of_store = "operations = [\"warehouse/*\"], pii_records = [\"5000/day\"]";
    let said = "query = [\"page\"]\npersonal_data = true";
    for text in [
        changed(of_orders, of_store).replace("query = [\"page\"]", said),
        changed(of_orders, &of_store.replace("\"warehouse/*\"", "\"*\"")),
    ] {
        world(&text).load().unwrap_or_else(|errors| panic!("{errors}"));
    }
}

#[test]
fn acc_1_identities() {
    let uri = "certificate = { san_uri = \"spiffe://example.com/label-printer\" }";
    let token = "token = { issuer = \"corp\", subject = \"hanako\" }";
    refused(uri, "", "label-printer]", Acc1, "no credential", "certificate or token");
    refused(
        uri,
        "certificate = { cn = \"label-printer\" }",
        "{ cn",
        Acc1,
        "none of its",
        "san_uri",
    );
    refused(
        uri,
        "certificate = { san_uri = \"spiffe://example.com/*\" }",
        "{ san_uri",
        Acc1,
        "holds *",
        "write it out",
    );
    refused(
        token,
        "token = { issuer = \"crop\", subject = \"hanako\" }",
        "\"crop\"",
        Acc1,
        "no issuer `crop`",
        "write \"corp\"",
    );
    let shared = "certificate = { san_uri = 'spiffe://example.com/label-printer' }";
    refused(token, shared, "{ san_uri = \"", Acc1, "have the same", "its own");
    refused(
        "[identity.label-printer]",
        "[identity.shared]",
        "shared]",
        Acc1,
        "several could use",
        "one",
    );
    refused("owner = \"support@example.com\"", "owner = \"\"", "\"\"", Acc1, "empty", "1 to 254");
    refused(
        "owner = \"support@example.com\"",
        "",
        "[identity.\"hanako",
        Acc1,
        "`owner` is missing",
        "add",
    );
    refused(
        "client_ca = \"tls/ca.pem\"\nclient_auth = \"optional\"",
        "",
        "{ san_uri",
        Acc1,
        "no listener asks",
        "client_auth",
    );
    refused(
        token,
        "token = { issuer = \"corp\", subject = \"hanako\", bound = \"tls\" }",
        "\"tls\"",
        Acc1,
        "can't be `tls`",
        "certificate",
    );
    refused(
        "[\"shipping\"]\nreview_by = 2027-01-31\n\n[token]",
        "[\"shiping\"]\n\n[token]",
        "\"shiping\"",
        Priv1,
        "no role `shiping`",
        "shipping",
    );
}

#[test]
fn acc_3_dates_warn_and_never_stop_a_start() {
    let date = "review_by = 2027-01-31\n\n[token]";
    let at = |value: &str| format!("{value}\n\n[token]");
    warned(date, &at("review_by = 2026-11-21"), "2026-11-21", Acc3, "overdue");
    warned(date, &at("review_by = 2027-02-21"), "2027-02-21", Acc3, "90 days");
    warned(date, &at("# none"), "\"hanako.yamada\"]", Acc3, "no day is set");
    let ends = |day: &str| at(&format!("review_by = 2026-12-01\nexpires = {day}"));
    warned(date, &ends("2026-11-21"), "2026-11-21", Acc3, "expired");
    let last_day = world(&changed(date, &ends("2026-11-22"))).load().unwrap();
    assert_eq!(last_day.warnings, [], "the last day still counts");
    refused(
        date,
        &at("review_by = 2026-11-21T10:00:00Z"),
        "2026-11-21T",
        Acc3,
        "date or time",
        "without",
    );
    refused(
        date,
        &at("review_by = \"2027-01-01\""),
        "\"2027-01-01\"",
        Acc3,
        "a text",
        "without quotes",
    );
}

#[test]
fn acc_1_issuers() {
    let jwks = "jwks = { url = \"https://login.example.com/jwks\" }";
    refused(jwks, "jwks = {}", "{}", Acc1, "neither", "file");
    refused(
        jwks,
        "jwks = { file = \"keys.jwks\" }",
        "\"keys.jwks\"",
        Acc1,
        "does not exist",
        "path",
    );
    refused(
        jwks,
        "jwks = { file = \"tls/ca.pem\" }",
        "\"tls/ca.pem\" }",
        Acc1,
        "key set",
        "RFC 7517",
    );
    refused(
        jwks,
        "jwks = { url = \"http://x/\" }",
        "\"http://x/\"",
        Tls1,
        "never spoken",
        "https://x/",
    );
    refused("[\"ES256\"]", "[\"HS256\"]", "\"HS256\"", Acc1, "can't be `HS256`", "\"ES256\"");
    refused("[\"ES256\"]", "[\"none\"]", "\"none\"", Acc1, "can't be `none`", "ES256");
    refused("audiences = [\"sekisho\"]", "audiences = []", "[]", Acc1, "0 entries", "1 to 32");
    warned(jwks, &format!("{jwks}\nenvironment = \"test\""), "\"test\"", Priv5, "refused in this");
    let claim = "environment_claim = \"env\"";
    let text = changed(claim, "");
    let warnings = world(&text).load().unwrap().warnings;
    let [warning] = warnings.as_slice() else { panic!("{warnings:?}") };
    assert_eq!(warning.control, Some(Priv5));
    assert!(warning.found.contains("for which environment `corp` signs"), "{warning:?}");
    let said = world(&changed(claim, "environment = 'production'")).load().unwrap();
    assert_eq!(said.warnings, []);
}

#[test]
fn priv_5_stages_fit_the_environment() {
    warned(
        "region = \"fe\"",
        "region = \"fe\"\nstage = \"sandbox\"",
        "\"sandbox\"",
        Priv5,
        "sandbox",
    );
    let text = changed("\"production\"", "\"staging\"");
    let claims = Claims { environment: Name::parse("staging").unwrap(), ..claims() };
    let staging = world(&text).with("permit/host.permit", issuer().sign(&claims));
    let warnings = staging.load().unwrap().warnings;
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert_eq!(warnings[0].control, Some(Priv5));
    assert!(warnings[0].found.contains("real orders"), "{warnings:?}");
    // Whatever `stage` says, the endpoint is what is reached.
    let reached = |environment: &str, stage: &str, host: &str| {
        let to = format!("region = \"fe\"\nstage = \"{stage}\"\nendpoint = \"https://{host}\"");
        let text = changed("region = \"fe\"", &to);
        let text = text.replace("\"production\"\nstate", &format!("\"{environment}\"\nstate"));
        let environment = Name::parse(environment).unwrap();
        let claims = Claims { environment, ..super::support::claims() };
        let world = world(&text).with("permit/host.permit", issuer().sign(&claims));
        let warnings = world.load().unwrap().warnings;
        assert!(warnings.iter().all(|one| one.control == Some(Priv5)), "{warnings:?}");
        warnings.first().map_or(String::new(), |one| one.found.clone())
    };
    let (real, sandbox) =
        ("sellingpartnerapi-fe.amazon.com", "sandbox.sellingpartnerapi-fe.amazon.com");
    for (environment, stage, host, says) in [
        ("production", "production", real, ""),
        ("production", "production", sandbox, "sandbox is reached"),
        ("production", "production", "localhost:9443", "something else than Amazon"),
        ("production", "production", "sellingpartnerapi-fe.amazon.com.test", "something else"),
        ("test", "sandbox", real, "real orders are reached"),
        ("test", "sandbox", sandbox, ""),
        ("test", "sandbox", "localhost:9443", ""),
    ] {
        let found = reached(environment, stage, host);
        assert_eq!(found.is_empty(), says.is_empty(), "{environment} {host}: {found}");
        assert!(found.contains(says), "{environment} {host}: {found}");
    }
}

#[test]
fn figures_below_the_floor_are_refused() {
    refused(
        "access = \"stdout\"",
        "keep = \"180 days\"",
        "\"180 days\"",
        Log4,
        "180 days",
        "365 days",
    );
    refused(
        "\"127.0.0.1:9464\"",
        "\"0.0.0.0:9464\"",
        "\"0.0.0.0:9464\"",
        Priv3,
        "without TLS",
        "127.0.0.1:9464",
    );
    let bounds = |line: &str| format!("client_auth = \"optional\"\n[listener.bounds]\n{line}");
    let auth = "client_auth = \"optional\"";
    refused(auth, &bounds("handshake = \"5 min\""), "\"5 min\"", Mon5, "out of range", "\"1 min\"");
    refused(
        auth,
        &bounds("header_count = 0"),
        "0\n\n[[upstream]]\nname = \"amazon",
        Mon5,
        "out of range",
        "16 to 256",
    );
    refused(
        auth,
        &bounds("connections = 5\nconnections_per_address = 6"),
        "6\n\n[[upstream]]\nname = \"ama",
        Mon5,
        "above `connections`",
        "at most 5",
    );
    refused(auth, &bounds("idle = 60"), "60\n", Mon5, "is a number", "\"60 s\"");
}

#[test]
fn the_token_header_is_not_amazons() {
    refused(
        "\"authorization\"",
        "\"X-Amz-Access-Token\"",
        "\"X-Amz",
        Priv4,
        "can't carry",
        "authorization",
    );
    refused("\"authorization\"", "\"Host\"", "\"Host\"", Mon5, "can't carry", "authorization");
}

#[test]
fn two_regions_without_server_names_are_one_error() {
    let text = changed(
        "region = \"fe\"",
        "region = \"fe\"\n[[upstream]]\nname = \"amazon-eu\"\nkind = \
        \"sp-api\"\nregion = \"eu\"",
    )
    .replace("[\"amazon-fe\", \"w", "[\"amazon-fe\", \"amazon-eu\", \"w");
    let errors = world(&text).load().unwrap_err();
    assert_eq!(errors.errors.len(), 1, "{errors}");
    assert!(errors.errors[0].instead.contains("server_names"), "{errors}");
}

#[test]
fn a_broken_entry_is_not_also_unknown() {
    // The upstream has one mistake; that listener and operations name it is no second one.
    refused(
        "kind = \"https\"",
        "kind = \"http\"",
        "\"http\"",
        Tls1,
        "can't be `http`",
        "\"https\"",
    );
    refused("[\"10.0.1.0/24\"]", "7", "7\n", Net1, "is a number", "list");
    refused("purpose = \"print labels\"", "purpose = 7", "7\n", Aud2, "is a number", "text");
}

#[test]
fn gateway_is_needed() {
    let (_, rest) = GOOD.split_once("[network]").unwrap();
    let errors = world(&format!("[network]{rest}")).load().unwrap_err();
    assert!(errors.errors[0].found.contains("`[gateway]` is missing"), "{errors}");
}
