//! What becomes of a signal: judged, put in the table and asked at the gate as the gateway does it.
#![allow(clippy::expect_used, reason = "made-up names, and a table that is never full")]
use std::collections::BTreeMap;

use sekisho::base::{IdentityIx, Moment, Name};
use sekisho::detect::{Response, Signal};
use sekisho::lockout::{
    Accusation, Asked, Author, Backing, Cause, GatewayId, Imposed, LockTable, Places, Probation,
    Proof, Rules, Shown, Standings, Step, Subject, Trust, judge,
};

use super::workload::Caller;

/// One identity on the ladder, among so many that the cap is out of reach.
#[derive(Debug)]
pub struct Ladder {
    table: LockTable,
    standings: Standings,
    identities: BTreeMap<Name, IdentityIx>,
    shown: Shown,
}

impl Ladder {
    pub fn new(caller: &Caller, now: Moment) -> Self {
        let name = Name::parse("accused").expect("a name");
        let identities = BTreeMap::from([(name, IdentityIx(0))]);
        let (table, standings) = (LockTable::new(now), Standings::default());
        Self { table, standings, identities, shown: caller.shown }
    }

    /// The step that a signal leads to.
    pub fn follow(&mut self, signal: &Signal) -> Step {
        let (name, identity) = self.identities.first_key_value().expect("the accused");
        let asks = match signal.asks {
            Response::Note => return Step::Note,
            Response::Slow => Step::Slow,
            Response::StepUp => Step::StepUp,
            Response::Lock => Step::Lock,
        };
        let (backing, shown) = (Backing::Credential, self.shown);
        // Which detector it was makes no difference to the ladder.
        let (cause, at) = (Cause::Volume, signal.at);
        let accusation = Accusation { identity: *identity, asks, backing, shown, cause, at };
        let subject = Subject::Identity(name.clone());
        let census = self.table.census(&subject, 1_000, at);
        let verdict = judge(&accusation, Probation::Over, census, &Rules::default());
        if let Some(until) = verdict.until {
            let (step, author) = (verdict.step, Author::Detector);
            let lock = Imposed { step, until, cause, author, shown: Some(shown) };
            self.table.impose(&subject, &lock, GatewayId(1), at).expect("there is room");
            let none = (BTreeMap::new(), BTreeMap::new());
            let places =
                Places { identities: &self.identities, operations: &none.0, upstreams: &none.1 };
            self.standings = Standings::compile(&self.table, places, at);
        }
        verdict.step
    }

    /// Whether somebody who shows what the accused showed, and nothing newer, is kept out.
    pub fn keeps_out(&self, now: Moment) -> bool {
        let proof = match self.shown {
            Shown::Bearer => Proof::Absent,
            Shown::KeyAndToken | Shown::Certificate => Proof::Carried,
        };
        let asked = Asked {
            identity: self.identities.values().next().copied(),
            trust: if proof == Proof::Carried { Trust::Proof } else { Trust::KnownSource },
            source: 1,
            operation: None,
            upstream: None,
            account: None,
            order: None,
        };
        let standing = self.standings.standing(&asked, now);
        match standing.step {
            None | Some((Step::Note | Step::Slow, _)) => false,
            Some((Step::StepUp, _)) => !standing.demand.is_met(proof, 0),
            Some((Step::Lock | Step::Kill, _)) => true,
        }
    }
}
