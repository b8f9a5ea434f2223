//! Puts rows of the table into the registry.
use prometheus::core::Collector;
use prometheus::{
    GaugeVec, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry,
};

use super::{BUCKETS, MetricDoc};

pub(super) const NO_LABELS: &[&str] = &[];

fn enter<C: Collector + Clone + 'static>(
    registry: &Registry,
    collector: C,
) -> Result<C, prometheus::Error> {
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}

fn opts(doc: &MetricDoc) -> Opts {
    Opts::new(doc.name, doc.help)
}

pub(super) fn counter(
    registry: &Registry,
    doc: &MetricDoc,
) -> Result<IntCounter, prometheus::Error> {
    enter(registry, IntCounter::with_opts(opts(doc))?)
}

pub(super) fn counters(
    registry: &Registry,
    doc: &MetricDoc,
) -> Result<IntCounterVec, prometheus::Error> {
    enter(registry, IntCounterVec::new(opts(doc), doc.labels)?)
}

pub(super) fn gauge(registry: &Registry, doc: &MetricDoc) -> Result<IntGauge, prometheus::Error> {
    enter(registry, IntGauge::with_opts(opts(doc))?)
}

pub(super) fn gauges(
    registry: &Registry,
    doc: &MetricDoc,
) -> Result<IntGaugeVec, prometheus::Error> {
    enter(registry, IntGaugeVec::new(opts(doc), doc.labels)?)
}

pub(super) fn times(registry: &Registry, doc: &MetricDoc) -> Result<GaugeVec, prometheus::Error> {
    enter(registry, GaugeVec::new(opts(doc), doc.labels)?)
}

pub(super) fn histograms(
    registry: &Registry,
    doc: &MetricDoc,
) -> Result<HistogramVec, prometheus::Error> {
    let opts = HistogramOpts::new(doc.name, doc.help).buckets(BUCKETS.to_vec());
    enter(registry, HistogramVec::new(opts, doc.labels)?)
}
