//! What is looked at, as answers.
use std::collections::BTreeMap;

use super::acts::{acts_of, ended_by, out};
use super::alarmed::AlarmOut;
use super::problem::Fault;
use super::service::Call;
use super::shape::{
    DetectorOut, ExposureOut, GatewayOut, IdentityOut, KeyOut, LockOut, MeOut, Paged, PendingOut,
    TargetStatusOut, TrafficOut, TrafficRow, Word,
};
use crate::base::Name;
use crate::config::IdentityKind;
use crate::engine::{Done, ExposureView, HOURS_DAYS, KEPT_DAYS, PAGE_MAX, Page, TargetStatus};

/// Entries of a page, where nothing is said.
const MOST: usize = 100;

/// The query, read by the names that its route takes.
pub(super) struct Query<'q>(Vec<(&'q str, &'q str)>);

impl<'q> Query<'q> {
    /// Values are numbers, words and names, none of which needs an escape.
    ///
    /// # Errors
    /// On an unknown parameter, or one that is there twice.
    pub(super) fn parse(
        text: Option<&'q str>,
        takes: &'static [super::routes::Param],
    ) -> Result<Self, Fault> {
        let mut pairs: Vec<(&str, &str)> = Vec::new();
        for pair in text.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').ok_or(Fault::QueryMalformed)?;
            let param = takes.iter().find(|param| param.name == name);
            let param = param.ok_or(Fault::QueryMalformed)?;
            let fits = param.words.is_empty() || param.words.contains(&value);
            if !fits || pairs.iter().any(|(known, _)| *known == name) {
                return Err(Fault::QueryMalformed);
            }
            pairs.push((name, value));
        }
        Ok(Self(pairs))
    }

    pub(super) fn text(&self, name: &str) -> Option<&'q str> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }

    fn number(&self, name: &str, default: usize) -> Result<usize, Fault> {
        match self.text(name) {
            None => Ok(default),
            // Digits alone: `parse` would take a sign as well.
            Some(text) if text.bytes().all(|b| b.is_ascii_digit()) => {
                text.parse().map_err(|_| Fault::QueryMalformed)
            }
            Some(_) => Err(Fault::QueryMalformed),
        }
    }

    pub(super) fn page(&self) -> Result<(usize, usize), Fault> {
        let most = self.number("most", MOST)?;
        if !(1..=PAGE_MAX).contains(&most) {
            return Err(Fault::QueryMalformed);
        }
        Ok((self.number("from", 0)?, most))
    }
}

impl Call {
    pub(super) fn gateway(&self) -> GatewayOut {
        let view = self.state.engine.view_gateway();
        let pending = self.state.pending.lock().all(self.now).count();
        GatewayOut {
            environment: (&view.environment).into(),
            version: env!("CARGO_PKG_VERSION").into(),
            snapshot: view.generation,
            unready: view.unready.map(Word::from),
            connections: view.connections.into(),
            requests_under_way: view.under_way,
            locks: count(view.locks),
            pending_acts: count(pending),
        }
    }

    pub(super) fn me(&self) -> MeOut {
        MeOut {
            operator: (&self.who.name).into(),
            role: self.who.role.as_str().into(),
            may: acts_of(&self.who),
        }
    }

    pub(super) fn locks(&self, query: &Query<'_>) -> Result<Paged<LockOut>, Fault> {
        let (from, most) = query.page()?;
        let engine = &self.state.engine;
        let all = engine.list_locks();
        let total = all.len();
        let lock = |lock: &crate::engine::Listed| LockOut {
            target: (&lock.subject).into(),
            step: lock.step.as_str().into(),
            cause: lock.cause.as_str().into(),
            control: lock.cause.control().as_str().into(),
            by: lock.by.as_ref().map(Word::from),
            since: Word::time(lock.since_ms),
            until: lock.until_ms.map(Word::time),
            attempts: lock.attempts,
            ends_by: ended_by(engine, lock).as_str().into(),
        };
        let items: Vec<_> = all.iter().skip(from).take(most).map(lock).collect();
        let end = from.saturating_add(items.len());
        Ok(Paged { items, next: (end < total).then(|| count(end)), total: count(total) })
    }

    pub(super) fn pending(&self) -> Paged<PendingOut> {
        let mut pending = self.state.pending.lock();
        Paged::whole(pending.all(self.now).map(|(id, one)| out(id, one)).collect())
    }

    pub(super) async fn exposure(&self, query: &Query<'_>) -> Result<Paged<ExposureOut>, Fault> {
        let (from, most) = query.page()?;
        let kept = usize::try_from(KEPT_DAYS).unwrap_or(usize::MAX);
        let days = query.number("days", usize::try_from(HOURS_DAYS).unwrap_or(kept))?;
        let days = u32::try_from(days).ok().filter(|days| (1..=KEPT_DAYS).contains(days));
        let days = days.ok_or(Fault::QueryMalformed)?;
        // Of somebody who was taken out of the configuration as well.
        let identity = query.text("identity").map(Name::parse).transpose();
        let identity = identity.map_err(|_fault| Fault::TargetUnknown)?;
        let viewed = self.state.engine.view_exposure(identity.as_ref(), days).await;
        let all = viewed.map_err(|_fault| Fault::StoreUnavailable)?;
        let total = all.len();
        let items: Vec<_> = all.iter().skip(from).take(most).map(exposure).collect();
        let end = from.saturating_add(items.len());
        Ok(Paged { items, next: (end < total).then(|| count(end)), total: count(total) })
    }

    pub(super) fn identities(&self, query: &Query<'_>) -> Result<Paged<IdentityOut>, Fault> {
        let (from, most) = query.page()?;
        Ok(paged(&self.state.engine.view_identities(from, most), |view| IdentityOut {
            name: (&view.name).into(),
            kind: match view.kind {
                IdentityKind::Service => "service".into(),
                IdentityKind::Person => "person".into(),
            },
            roles: view.roles.iter().map(Word::from).collect(),
            held: view.held.map(|step| step.as_str().into()),
            barred: view.barred.iter().map(|why| Word::from(*why)).collect(),
            review_by: view.review_by_unix_day.map(Word::day),
            last_seen: view.last_seen_ms.map(Word::time),
        }))
    }

    pub(super) fn keys(&self) -> Paged<KeyOut> {
        let all = self.state.engine.view_keys();
        let out = |aged: &crate::engine::Aged| KeyOut {
            kind: aged.kind.as_str().into(),
            owner: aged.owner.as_str().into(),
            name: aged.name.as_ref().map(Word::from),
            place: aged.place.into(),
            since: aged.begins.map(|secs| Word::time(secs.saturating_mul(1_000))),
            age_secs: aged.age_secs(self.now),
            expires: aged.ends.map(|secs| Word::time(secs.saturating_mul(1_000))),
            max_age_secs: aged.max_age.map(|age| age.as_secs()),
            state: aged.stands(self.now).0.as_str().into(),
        };
        Paged::whole(all.iter().map(out).collect())
    }

    pub(super) fn detectors(&self) -> Paged<DetectorOut> {
        let views = self.state.engine.view_detectors();
        Paged::whole(
            views
                .iter()
                .map(|view| DetectorOut {
                    name: view.detector.as_str().into(),
                    control: view.detector.control().as_str().into(),
                    mode: view.mode.as_str().into(),
                    settings: view
                        .settings
                        .iter()
                        .map(|(name, value)| ((*name).to_owned(), *value))
                        .collect::<BTreeMap<_, _>>(),
                })
                .collect(),
        )
    }

    /// The latest first.
    pub(super) fn alarms(&self, query: &Query<'_>) -> Result<Paged<AlarmOut>, Fault> {
        let (from, most) = query.page()?;
        let recent = self.state.engine.alarms.recent();
        let total = recent.len();
        let items: Vec<_> = recent.iter().rev().skip(from).take(most).map(AlarmOut::from).collect();
        let end = from.saturating_add(items.len());
        Ok(Paged { items, next: (end < total).then(|| count(end)), total: count(total) })
    }

    pub(super) fn alarm_targets(&self) -> Paged<TargetStatusOut> {
        let targets = self.state.engine.alarms.targets();
        let out = |target: TargetStatus| TargetStatusOut {
            name: (&target.name).into(),
            kind: target.kind.into(),
            waiting: target.waiting,
            oldest: target.oldest_ms.map(Word::time),
            told: target.told,
            lost: target.lost,
            fault: target.fault.map(|fault| fault.word().into()),
            reached: target.reached_ms.map(Word::time),
        };
        Paged::whole(targets.into_iter().map(out).collect())
    }

    pub(super) fn traffic(&self, query: &Query<'_>) -> Result<TrafficOut, Fault> {
        let (_, most) = query.page()?;
        let key: fn(&Done) -> u64 = match query.text("by") {
            Some("refused") => |done| done.refused,
            Some("bytes") => |done| done.bytes,
            Some("records") => |done| done.records,
            _ => |done| done.requests,
        };
        let engine = &self.state.engine;
        let gateway = engine.view_gateway();
        let rows = engine.view_traffic(most, key).into_iter().map(|view| TrafficRow {
            identity: view.identity.as_ref().map(Word::from),
            requests: view.done.requests,
            refused: view.done.refused,
            bytes: view.done.bytes,
            records: view.done.records,
            held: view.held.map(|step| step.as_str().into()),
        });
        Ok(TrafficOut {
            at: Word::time(self.now.unix_ms()),
            connections: gateway.connections.into(),
            requests_under_way: gateway.under_way,
            locks: count(gateway.locks),
            rows: rows.collect(),
        })
    }
}

fn exposure(view: &ExposureView) -> ExposureOut {
    let sum = &view.sum;
    ExposureOut {
        identity: (&view.identity).into(),
        operation: (&view.operation).into(),
        from: Word::time(view.from_ms),
        until: Word::time(view.until_ms),
        answers: sum.requests,
        bytes: sum.bytes,
        records: sum.records,
        customers: sum.customers,
        distinct: sum.distinct.estimate(),
        unread: sum.unread,
        classes: sum.by_class.iter().map(|(class, n)| (class.as_str().into(), n)).collect(),
    }
}

pub(super) fn paged<T, O>(page: &Page<T>, out: impl Fn(&T) -> O) -> Paged<O> {
    Paged {
        items: page.items.iter().map(out).collect(),
        next: page.next.map(count),
        total: count(page.total),
    }
}

pub(super) fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::api::{Does, ROUTES};

    fn parse(text: &str) -> Result<(usize, usize), Fault> {
        let route = ROUTES.iter().find(|route| route.does == Does::Locks).unwrap();
        Query::parse(Some(text), route.query)?.page()
    }

    #[test]
    fn a_query_is_read_in_one_way_only() {
        assert_eq!(parse("").unwrap(), (0, 100));
        assert_eq!(parse("from=5&most=500").unwrap(), (5, 500));
        for bad in [
            "from",
            "from=",
            "from=-1",
            "from=+1",
            "from=1&from=2",
            "most=0",
            "most=501",
            "x=1",
            "from=99999999999999999999",
            "from=%31",
            "by=requests",
        ] {
            let fault = parse(bad);
            assert!(fault.is_err(), "{bad}: {fault:?}");
        }
    }
}
