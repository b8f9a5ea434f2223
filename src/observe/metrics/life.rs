//! Numbers about the life of keys, certificates and what stands on them (TLS-5, ACC-3).
use std::collections::BTreeMap;

use parking_lot::Mutex;
use prometheus::{GaugeVec, IntCounterVec, Registry};

use super::register::{counters, times};
use super::table::{AGED_BEGINS, AGED_ENDS, CONNECTIONS_CUT};
use crate::base::Name;
use crate::evidence::Fixed;

/// The label of what belongs to an owner that has no name. No [`Name`] starts with a hyphen.
const UNNAMED: &str = "-";

/// Kind, name and owner.
pub type Labels<'a> = (Fixed, Option<&'a Name>, Fixed);

type Series = BTreeMap<[String; 3], u64>;

/// See [`METRICS`](super::METRICS).
#[derive(Debug)]
pub struct LifeMetrics {
    shown: Mutex<(Series, Series)>,
    cut: IntCounterVec,
    begins: GaugeVec,
    ends: GaugeVec,
}

impl LifeMetrics {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        Ok(Self {
            shown: Mutex::default(),
            cut: counters(registry, &CONNECTIONS_CUT)?,
            begins: times(registry, &AGED_BEGINS)?,
            ends: times(registry, &AGED_ENDS)?,
        })
    }

    /// Open connections were cut; `cause` is a word of the program.
    pub fn cut(&self, cause: Fixed, count: u64) {
        self.cut.with_label_values(&[cause.as_str()]).inc_by(count);
    }

    /// Everything that ages. Of several of a kind and owner the oldest counts, and the first to end;
    /// what is not there any more has no series any more. Kinds and owners are words of the program.
    pub fn age<'a>(&self, all: impl Iterator<Item = (Labels<'a>, Option<u64>, Option<u64>)>) {
        let (mut begins, mut ends) = (Series::new(), Series::new());
        for ((kind, name, owner), begun, ended) in all {
            let labels = [kind.as_str(), name.map_or(UNNAMED, Name::as_str), owner.as_str()];
            for (series, time) in [(&mut begins, begun), (&mut ends, ended)] {
                let Some(secs) = time else { continue };
                let first = series.entry(labels.map(str::to_owned)).or_insert(secs);
                *first = secs.min(*first);
            }
        }
        let mut shown = self.shown.lock();
        let (begun, ended) = &mut *shown;
        for (gauges, before, series) in [(&self.begins, begun, begins), (&self.ends, ended, ends)] {
            for gone in before.keys().filter(|labels| !series.contains_key(*labels)) {
                // It was there, or it is not there now, either of which will do.
                let _ = gauges.remove_label_values(&gone.each_ref().map(String::as_str));
            }
            for (labels, secs) in &series {
                let secs = f64::from(u32::try_from(*secs).unwrap_or(u32::MAX));
                gauges.with_label_values(&labels.each_ref().map(String::as_str)).set(secs);
            }
            *before = series;
        }
    }
}
