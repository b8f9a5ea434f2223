//! What several events have in common, as fields of their lines.
use super::super::about::{Gathered, LockSubject, Operated, Raised};
use super::EventRecord;
use crate::base::Name;

impl<'a> EventRecord<'a> {
    pub(super) fn raised(self, raised: &Raised<'a>) -> Self {
        Self {
            alarm: Some(raised.alarm),
            grade: Some(raised.grade),
            count: Some(raised.count),
            identity: raised.identity,
            operation: raised.operation,
            upstream: raised.upstream,
            listener: raised.listener,
            issuer: raised.issuer,
            source: raised.source.map(|(pseudonym, _)| pseudonym),
            source_day: raised.source.map(|(_, day)| day),
            seen: raised.numbers.map(|[seen, _, _]| seen),
            expected: raised.numbers.map(|[_, expected, _]| expected),
            most: raised.numbers.map(|[_, _, most]| most),
            ..self
        }
    }

    pub(super) fn gathered(self, gathered: &Gathered<'a>) -> Self {
        Self {
            listener: gathered.listener,
            denial: gathered.denial,
            source: gathered.source.map(|(pseudonym, _)| pseudonym),
            source_day: gathered.source.map(|(_, day)| day),
            count: Some(gathered.count),
            ..self
        }
    }

    pub(super) const fn of_target(self, target: Option<&'a Name>, count: u64) -> Self {
        Self { target, count: Some(count), ..self }
    }

    pub(super) const fn about(self, subject: LockSubject<'a>) -> Self {
        Self {
            subject: Some(subject.kind()),
            identity: subject.identity(),
            operation: subject.operation(),
            upstream: subject.upstream(),
            ..self
        }
    }

    pub(super) const fn operated(self, act: &Operated<'a>) -> Self {
        let about = match act.subject {
            Some(subject) => self.about(subject),
            None => self,
        };
        Self {
            actor: act.operator,
            role: act.role,
            act: Some(act.act),
            outcome: Some(act.outcome),
            reason: act.reason,
            case: act.case,
            asked_by: act.asked_by,
            request: act.request,
            count: act.count,
            ..about
        }
    }
}
