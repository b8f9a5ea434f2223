//! `[role.…]` and what identities hold of them, to the policy (PRIV-1, AUD-2).
use std::collections::BTreeSet;

use super::Ctx;
use crate::base::{ControlId, IdentityIx, Name, RoleIx};
use crate::config::raw::value::{PatternText, quoted};
use crate::config::raw::{At, Presence as RawPresence, RawQuery, RawRole};
use crate::config::read::Entry;
use crate::config::source::Place as Spot;
use crate::policy::{
    IdentitySpec, Operations, ParameterLimit, PatternError, Place, Policy, PolicyError,
    PolicyFault, Presence, QueryRule, RoleSpec,
};

impl Ctx<'_> {
    pub(super) fn policy(&mut self, operations: Operations) -> Option<Policy> {
        let document = self.document;
        let whole = self.operations_are_whole(&operations);
        let mut taken = Vec::new();
        let mut roles = Vec::new();
        for entry in &document.role.entries {
            let (spec, kept) = self.role(entry)?;
            roles.push(spec);
            taken.push(kept);
        }
        let identities: Vec<IdentitySpec> = document
            .identity
            .entries
            .iter()
            .map(|entry| IdentitySpec {
                networks: self.mask(entry, &entry.raw.networks, ControlId::Net1),
                roles: entry.raw.roles.iter().map(|name| name.0.as_str().to_owned()).collect(),
            })
            .collect();
        self.unused_roles();
        match Policy::build(operations, &roles, &identities) {
            Ok(policy) => Some(policy),
            Err(errors) => {
                // A role whose `allow` is wrong can't be blamed for rules that then fit nothing.
                let shaken: BTreeSet<RoleIx> = errors
                    .iter()
                    .filter_map(|error| match error.place {
                        Place::Role(ix) | Place::Allow(ix, _) => Some(ix),
                        _ => None,
                    })
                    .collect();
                for error in &errors {
                    let of_rule = match error.place {
                        Place::Query(ix, _) | Place::QueryOperation(ix, ..) => Some(ix),
                        _ => None,
                    };
                    let follows = of_rule.is_some_and(|ix| shaken.contains(&ix));
                    if !(follows && error.fault == PolicyFault::LimitsNothing) {
                        self.policy_error(error, &taken, whole);
                    }
                }
                None
            }
        }
    }

    fn unused_roles(&mut self) {
        let identities = &self.document.identity;
        if !identities.is_whole() || self.document.torn {
            return;
        }
        let held: BTreeSet<&str> = identities
            .entries
            .iter()
            .flat_map(|entry| entry.raw.roles.iter().map(|name| name.0.as_str()))
            .collect();
        for entry in &self.document.role.entries {
            if !held.contains(entry.name.as_str()) {
                let found = format!("no identity has the role {}", quoted(&entry.name));
                self.report.warning(
                    &entry.place,
                    ControlId::Priv1,
                    found,
                    "remove it if it is over",
                );
            }
        }
    }

    /// The role, and which of its query rules were taken.
    fn role(&mut self, entry: &Entry<RawRole>) -> Option<(RoleSpec, Vec<usize>)> {
        let raw = &entry.raw;
        if raw.purpose.trim().is_empty() {
            let place = entry.at(&raw.purpose.span);
            let (found, instead) = ("`purpose` is blank", "say what the data is needed for");
            self.report.error(&place, ControlId::Aud2, found, instead);
        }
        let (mut query, mut kept) = (Vec::new(), Vec::new());
        for (at, rule) in raw.query.iter().enumerate() {
            if let Some(rule) = self.rule(entry, rule) {
                query.push(rule);
                kept.push(at);
            }
        }
        let name = Name::parse(&entry.name).ok()?;
        Some((RoleSpec { name, allow: texts(&raw.allow), query }, kept))
    }

    fn rule(&mut self, entry: &Entry<RawRole>, rule: &At<RawQuery>) -> Option<QueryRule> {
        let limit = match (&rule.deny, &rule.parameter, &rule.values) {
            (Some(deny), None, None) => {
                ParameterLimit::Deny(deny.iter().map(|name| name.value.clone()).collect())
            }
            (None, Some(parameter), Some(values)) => ParameterLimit::Values {
                parameter: parameter.value.clone(),
                values: values.iter().map(|value| value.value.clone()).collect(),
                presence: match rule.presence {
                    RawPresence::Required => Presence::Required,
                    RawPresence::Optional => Presence::Optional,
                },
            },
            _ => {
                if !["deny", "parameter", "values"].iter().any(|key| entry.lost(key)) {
                    let found = "a rule has either `deny`, or `parameter` and `values`";
                    let instead =
                        "write deny = [\"BuyerEmail\"], or parameter = \"…\" and values = [\"…\"]";
                    self.report.error(&entry.at(&rule.span), ControlId::Priv1, found, instead);
                }
                return None;
            }
        };
        Some(QueryRule { operations: texts(&rule.operations), limit })
    }

    fn policy_error(&mut self, error: &PolicyError, taken: &[Vec<usize>], whole: bool) {
        let document = self.document;
        let role_at = |ix: RoleIx| document.role.entries.get(ix.index());
        let query_rule = |ix: RoleIx, at: usize| {
            let entry = role_at(ix)?;
            let at = taken.get(ix.index()).and_then(|kept| kept.get(at))?;
            entry.raw.query.get(*at).map(|rule| (entry, rule))
        };
        let identity = |ix: IdentityIx| document.identity.entries.get(ix.index());
        let place = match error.place {
            Place::Roles => document.role.entries.last().map(|entry| entry.place.clone()),
            Place::Identities => document.identity.entries.last().map(|entry| entry.place.clone()),
            Place::Role(ix) => role_at(ix).map(|entry| entry.at(&entry.raw.allow.span)),
            Place::Allow(ix, at) => {
                role_at(ix).and_then(|entry| Some(entry.at(&entry.raw.allow.get(at)?.span)))
            }
            Place::Query(ix, at) => query_rule(ix, at).map(|(entry, rule)| entry.at(&rule.span)),
            Place::QueryOperation(ix, at, nth) => query_rule(ix, at)
                .and_then(|(entry, rule)| Some(entry.at(&rule.operations.get(nth)?.span))),
            Place::QueryItem(ix, at, nth) => query_rule(ix, at).map(|(entry, rule)| {
                let list = rule.deny.as_ref().or(rule.values.as_ref().map(|values| &values.value));
                let item =
                    list.and_then(|list| list.get(nth)).map_or(&rule.span, |item| &item.span);
                entry.at(item)
            }),
            Place::Identity(ix) => identity(ix).map(|entry| entry.at(&entry.raw.roles.span)),
            Place::IdentityRole(ix, at) => {
                let named = identity(ix).and_then(|entry| Some((entry, entry.raw.roles.get(at)?)));
                let Some((entry, name)) = named else { return };
                let place = entry.at(&name.span);
                if error.fault == PolicyFault::UnknownRole {
                    self.resolve(&document.role, "role", &name.value, &place, ControlId::Priv1);
                    return;
                }
                Some(place)
            }
        };
        let Some(place) = place else { return };
        // A list that lost an entry may be short only for that.
        let lost = match error.place {
            Place::Role(ix) => role_at(ix).is_some_and(|entry| entry.lost("allow")),
            Place::Query(ix, _) | Place::QueryItem(ix, ..) => {
                role_at(ix).is_some_and(|entry| !entry.lost.is_empty())
            }
            Place::Roles
            | Place::Allow(..)
            | Place::QueryOperation(..)
            | Place::Identities
            | Place::Identity(_)
            | Place::IdentityRole(..) => false,
        };
        if !lost {
            self.policy_fault(&place, &error.fault, whole);
        }
    }

    fn policy_fault(&mut self, place: &Spot, fault: &PolicyFault, whole: bool) {
        let instead = match fault {
            PolicyFault::Pattern(error) => return self.pattern_error(place, error, whole),
            PolicyFault::LimitsNothing | PolicyFault::ParameterNotListed(_) if !whole => return,
            PolicyFault::NameTwice => "rename one of them",
            PolicyFault::TooMany(_) => "remove some",
            PolicyFault::GrantsNothing => {
                "name operations, such as \"orders/getOrders\", or remove it"
            }
            PolicyFault::LimitsNothing => "name operations that `allow` names",
            PolicyFault::EmptyRule => "name what is meant, or remove the rule",
            PolicyFault::ParameterName => "write the parameter's name as the API has it",
            PolicyFault::ParameterNotListed(_) => {
                "add it to the operation's `query`, or correct it"
            }
            PolicyFault::Value => "write one value in each pair of quotes",
            PolicyFault::UnknownRole => "define it",
        };
        self.report.error(place, ControlId::Priv1, fault.to_string(), instead);
    }

    /// Says what is wrong with a pattern, unless it may be right about an operation that is broken.
    pub(super) fn pattern_error(&mut self, place: &Spot, error: &PatternError, whole: bool) {
        let either = |names: &[Name]| {
            let names: Vec<String> = names.iter().map(|name| format!("\"{name}\"")).collect();
            format!("write {}", names.join(" or "))
        };
        let (found, instead) = match error {
            PatternError::Suffix => {
                let found = "after a colon only `read` or `write` may stand";
                (found, "write \"orders/*:read\"".to_owned())
            }
            PatternError::Ambiguous { candidates } => {
                ("several versions of the API have this operation", either(candidates))
            }
            PatternError::MatchesNothing | PatternError::Unknown { .. } if !whole => return,
            PatternError::MatchesNothing => {
                let instead = "see `sekisho catalog` for the names".to_owned();
                ("no operation fits this pattern", instead)
            }
            PatternError::Unknown { closest } if closest.is_empty() => {
                ("no operation has this name", "see `sekisho catalog` for the names".to_owned())
            }
            PatternError::Unknown { closest } => ("no operation has this name", either(closest)),
        };
        self.report.error(place, ControlId::Priv1, found, instead);
    }
}

fn texts(patterns: &[At<PatternText>]) -> Vec<String> {
    patterns.iter().map(|pattern| pattern.0.clone()).collect()
}
