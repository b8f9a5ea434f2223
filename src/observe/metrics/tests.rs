//! The table of metrics is what is served.
use prometheus::proto::{LabelPair, MetricFamily};

use super::*;

fn metrics() -> Metrics {
    Metrics::new("0.1.0", Moment::new(1_795_342_500_123, 0)).unwrap()
}

fn touch_all(metrics: &Metrics) {
    let name = Name::parse("some").unwrap();
    metrics.operation(Some(&name)).count(Outcome::Allowed);
    metrics.operation(None).count(Outcome::Denied);
    metrics.upstream(&name).first_byte.observe(0.003);
    metrics.upstream(&name).breaker_open(Fixed::new("token")).set(1);
    metrics.upstream(&name).unresolved(Fixed::new("main")).set(1);
    metrics.listener(&name).refused(Fixed::new("address"));
    metrics.listener(&name).handshake_failed(Fixed::new("timed_out"));
    metrics.issuer(&name).fetch_failed(Fixed::new("unreachable"));
    metrics.pass(&name, &name).ended(Fixed::new("closed"));
    metrics.pass(&name, &name).target_up(&name).set(1);
    metrics.pass(&name, &name).failed(&name, Fixed::new("refused"));
    metrics.denied(Denial::OperationNotGranted);
    metrics.exposed(Fixed::new("name"), 3);
    metrics.unread(Fixed::new("malformed"));
    metrics.noticed("canary", "act");
    metrics.locked("lock", "canary");
    metrics.limit_exceeded(&name, Fixed::new("shadow"));
    metrics.noticed("rate", "act");
    metrics.locked("lock", "rate");
    metrics.admin_act(Fixed::new("lock"), Fixed::new("done"));
    metrics.alarms.raised(Fixed::new("high"), 1);
    metrics.alarms.target(&name).waiting(1, 2);
    metrics.framework(Severity::Warning);
    metrics.pacing.refused(Fixed::new("patience"));
    metrics.pacing.throttled(&name, Fixed::new("429"));
    metrics.permit.ends_tls(&name, true);
    metrics.state.fault(Fixed::new("unreachable"));
    metrics.state.asked(Fixed::new("given"));
    metrics.life.cut(Fixed::new("identity"), 1);
    metrics.space_free(Fixed::new("log"), 1);
    let key = (Fixed::new("key"), Some(&name), Fixed::new("listener"));
    metrics.life.age(std::iter::once((key, Some(1), Some(2))));
}

#[test]
fn what_is_served_is_what_the_table_says() {
    let metrics = metrics();
    touch_all(&metrics);
    let families = metrics.registry.gather();
    let mut served: Vec<_> = families.iter().map(MetricFamily::name).collect();
    let mut told: Vec<_> = METRICS.iter().map(|doc| doc.name).collect();
    served.sort_unstable();
    told.sort_unstable();
    assert_eq!(served, told);
    for doc in METRICS {
        let family = families.iter().find(|family| family.name() == doc.name).unwrap();
        let kind = match family.get_field_type() {
            prometheus::proto::MetricType::COUNTER => MetricKind::Counter,
            prometheus::proto::MetricType::GAUGE => MetricKind::Gauge,
            prometheus::proto::MetricType::HISTOGRAM => MetricKind::Histogram,
            other => panic!("{}: {other:?}", doc.name),
        };
        assert_eq!((family.help(), kind), (doc.help, doc.kind), "{}", doc.name);
        let sample = family.get_metric().first().unwrap();
        let labels: Vec<_> = sample.get_label().iter().map(LabelPair::name).collect();
        assert_eq!(labels, doc.labels, "{}", doc.name);
    }
}

#[test]
fn names_follow_prometheus_conventions() {
    for doc in METRICS {
        let name = doc.name;
        assert!(name.starts_with("sekisho_") || name.starts_with("process_"), "{name}");
        assert_eq!(doc.kind == MetricKind::Counter, name.ends_with("_total"), "{name}");
        assert!(doc.kind != MetricKind::Histogram || name.ends_with("_seconds"), "{name}");
        assert!(doc.help.ends_with('.'), "{name}");
    }
}

#[test]
fn handles_add_to_what_is_served() {
    let metrics = metrics();
    touch_all(&metrics);
    metrics.denied(Denial::Token(crate::base::TokenFault::Expired));
    let text = metrics.render();
    for line in [
        r#"sekisho_requests_total{operation="some",outcome="allowed"} 1"#,
        r#"sekisho_requests_total{operation="some",outcome="failed"} 0"#,
        r#"sekisho_requests_total{operation="-",outcome="denied"} 1"#,
        r#"sekisho_denials_total{code="OperationNotGranted"} 1"#,
        r#"sekisho_denials_total{code="TokenNotAccepted"} 1"#,
        r#"sekisho_limits_exceeded_total{limit="some",mode="shadow"} 1"#,
        r#"sekisho_connections_refused_total{listener="some",reason="address"} 1"#,
        r#"sekisho_upstream_duration_seconds_bucket{upstream="some",le="0.005"} 1"#,
        r#"sekisho_upstream_breaker_open{endpoint="token",upstream="some"} 1"#,
        r#"sekisho_framework_events_total{level="warning"} 1"#,
        r#"sekisho_build_info{version="0.1.0"} 1"#,
        "process_start_time_seconds 1795342500",
        "# TYPE sekisho_requests_total counter",
    ] {
        assert!(text.lines().any(|had| had == line), "{line}\n{text}");
    }
}
