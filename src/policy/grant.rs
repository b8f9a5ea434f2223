//! Compiles roles and identities into the policy that `decide` asks. Control: PRIV-1.
//! Never sees: requests. Deny is the default: what no role names is not in any set.
//!
//! 1. All errors are found at once, as values that say where they are.
//! 2. A role is one bit per operation plus its limits, so 1,000 roles over 400 operations take
//!    50 KB, and identities that hold the same roles share one list of them.
//! 3. Roles add up: a request passes if one of the identity's roles grants it with all of that
//!    role's own limits. A limit of one role never narrows another role.
mod compare;

use std::collections::{HashMap, HashSet};
use std::fmt;

use super::NetworkMask;
use super::glob::Glob;
use super::operation::{Operation, OperationSet, Operations, PatternError, QueryNames};
use super::query::{Presence, QueryLimit, QueryRefusal};
use crate::base::{IdentityIx, Name, OperationIx, RoleIx};
pub use compare::{GrantChange, Grants};

/// A role as the configuration has it.
#[derive(Clone, Debug)]
pub struct RoleSpec {
    pub name: Name,
    /// Patterns of operations; empty allows nothing, and is refused as a mistake.
    pub allow: Vec<String>,
    pub query: Vec<QueryRule>,
}

/// Limits that a role puts on query parameters of some of its operations.
#[derive(Clone, Debug)]
pub struct QueryRule {
    /// Patterns; the rule holds for those of them that the role allows.
    pub operations: Vec<String>,
    pub limit: ParameterLimit,
}

/// A limit on query parameters as the configuration has it.
#[derive(Clone, Debug)]
pub enum ParameterLimit {
    /// None of these parameters may occur.
    Deny(Vec<String>),
    /// The parameter's values must each be one of these, in which `*` is any run of characters.
    Values { parameter: String, values: Vec<String>, presence: Presence },
}

/// An identity as far as the decision needs it.
#[derive(Clone, Debug)]
pub struct IdentitySpec {
    /// Empty: it may come from nowhere.
    pub networks: NetworkMask,
    /// Names of roles; empty: it may do nothing.
    pub roles: Vec<String>,
}

/// Where in the lists given to [`Policy::build`] an error is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Roles,
    Role(RoleIx),
    /// An entry of `allow`.
    Allow(RoleIx, usize),
    /// An entry of `query`.
    Query(RoleIx, usize),
    /// A pattern of an entry of `query`.
    QueryOperation(RoleIx, usize, usize),
    /// A parameter of `deny`, or a value of `values`, of an entry of `query`.
    QueryItem(RoleIx, usize, usize),
    Identities,
    Identity(IdentityIx),
    /// An entry of an identity's `roles`.
    IdentityRole(IdentityIx, usize),
}

/// Why the policy can't be built, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyError {
    pub place: Place,
    pub fault: PolicyFault,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PolicyFault {
    /// Another role has this name.
    NameTwice,
    /// More than this many.
    TooMany(usize),
    /// The role allows no operation.
    GrantsNothing,
    Pattern(PatternError),
    /// The rule's operations are none that the role allows, so it would limit nothing.
    LimitsNothing,
    /// The rule denies nothing, or leaves no value.
    EmptyRule,
    /// No text that a parameter's name can be.
    ParameterName,
    /// This operation's list of parameters lacks the one the rule is about.
    ParameterNotListed(Name),
    /// A value that is empty or holds a comma or a control character can never match.
    Value,
    /// No role has this name.
    UnknownRole,
}

impl fmt::Display for PolicyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NameTwice => f.write_str("two roles have this name"),
            Self::TooMany(most) => write!(f, "at most {most} are possible"),
            Self::GrantsNothing => f.write_str("the role allows no operation"),
            Self::Pattern(error) => error.fmt(f),
            Self::LimitsNothing => f.write_str("the role allows none of these operations"),
            Self::EmptyRule => f.write_str("the rule names no parameter or no value"),
            Self::ParameterName => {
                f.write_str("a parameter's name holds letters, digits and - . _ ~ $ : @ only")
            }
            Self::ParameterNotListed(operation) => {
                write!(f, "{operation} lists its query parameters, and not this one")
            }
            Self::Value => {
                f.write_str("a value is not empty and holds no comma or control character")
            }
            Self::UnknownRole => f.write_str("no role has this name"),
        }
    }
}

/// The compiled policy of one snapshot.
#[derive(Clone, Debug)]
pub struct Policy {
    operations: Operations,
    roles: Box<[Role]>,
    identities: Box<[Identity]>,
    /// Lists of roles, one behind the other; identities with the same roles share one.
    role_lists: Box<[RoleIx]>,
}

#[derive(Clone, Debug)]
pub(super) struct Role {
    name: Name,
    granted: OperationSet,
    limits: Box<[Limit]>,
}

#[derive(Clone, Debug)]
struct Limit {
    operations: OperationSet,
    limit: QueryLimit,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Identity {
    pub(super) networks: NetworkMask,
    first: u32,
    count: u16,
}

impl Policy {
    pub const ROLES_MAX: usize = 16_384;
    /// Keeps the decision's time bounded.
    pub const ROLES_OF_IDENTITY_MAX: usize = 64;
    pub const RULES_OF_ROLE_MAX: usize = 64;
    pub const IDENTITIES_MAX: usize = 4_000_000;

    /// Resolves every name. Indices of roles and identities are places in the lists given.
    pub fn build(
        operations: Operations,
        roles: &[RoleSpec],
        identities: &[IdentitySpec],
    ) -> Result<Self, Vec<PolicyError>> {
        let mut build =
            Build { operations: &operations, known: HashMap::new(), errors: Vec::new() };
        let roles_built: Box<[_]> = build.roles(roles);
        let (identities, role_lists) = build.identities(roles, identities);
        let errors = build.errors;
        if !errors.is_empty() {
            return Err(errors);
        }
        Ok(Self { operations, roles: roles_built, identities, role_lists })
    }

    #[must_use]
    pub const fn operations(&self) -> &Operations {
        &self.operations
    }

    pub fn operation(&self, ix: OperationIx) -> Option<&Operation> {
        self.operations.get(ix)
    }

    pub fn role_name(&self, ix: RoleIx) -> Option<&Name> {
        self.role(ix).map(|role| &role.name)
    }

    /// All roles that grant an operation, with or without limits: for hints, not for decisions.
    #[must_use]
    pub fn roles_granting(&self, operation: OperationIx) -> Vec<RoleIx> {
        let roles = (0..).map(RoleIx).zip(&self.roles);
        roles.filter(|(_, role)| role.grants(operation)).map(|(ix, _)| ix).collect()
    }

    /// The networks an identity may come from.
    pub fn networks_of(&self, identity: IdentityIx) -> NetworkMask {
        self.identity(identity).map_or(NetworkMask::default(), |identity| identity.networks)
    }

    /// What an identity's roles are.
    pub fn roles_of(&self, identity: IdentityIx) -> &[RoleIx] {
        self.identity(identity).map_or(&[], |identity| self.role_list(identity))
    }

    /// The heap it takes, in bytes, operations aside.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let set = self.operations.len().div_ceil(64) * 8;
        let roles: usize = self
            .roles
            .iter()
            .map(|role| size_of::<Role>() + set + role.limits.len() * (size_of::<Limit>() + set))
            .sum();
        roles + size_of_val(&*self.identities) + size_of_val(&*self.role_lists)
    }

    pub(super) fn role(&self, ix: RoleIx) -> Option<&Role> {
        self.roles.get(ix.index())
    }

    pub(super) fn identity(&self, ix: IdentityIx) -> Option<&Identity> {
        self.identities.get(ix.index())
    }

    pub(super) fn role_list(&self, identity: &Identity) -> &[RoleIx] {
        let first = usize::try_from(identity.first).unwrap_or(usize::MAX);
        let end = first.saturating_add(usize::from(identity.count));
        self.role_lists.get(first..end).unwrap_or_default()
    }
}

impl Role {
    #[inline]
    pub(super) fn grants(&self, operation: OperationIx) -> bool {
        self.granted.contains(operation)
    }

    /// Whether a well-formed query keeps to all limits that the role puts on the operation.
    pub(super) fn admit(
        &self,
        operation: OperationIx,
        query: &[u8],
    ) -> Result<(), QueryRefusal<'_>> {
        let mut limits = self.limits.iter().filter(|limit| limit.operations.contains(operation));
        limits.try_for_each(|limit| limit.limit.admit(query))
    }
}

struct Build<'a> {
    operations: &'a Operations,
    /// Patterns that were resolved already: many roles say the same.
    known: HashMap<&'a str, Result<OperationSet, PatternError>>,
    errors: Vec<PolicyError>,
}

impl<'a> Build<'a> {
    fn error(&mut self, place: Place, fault: PolicyFault) {
        self.errors.push(PolicyError { place, fault });
    }

    fn at_most(&mut self, most: usize, count: usize, place: Place) {
        if count > most {
            self.error(place, PolicyFault::TooMany(most));
        }
    }

    fn select(&mut self, pattern: &'a str, place: Place) -> Option<OperationSet> {
        let operations = self.operations;
        let found = self.known.entry(pattern).or_insert_with(|| operations.select(pattern)).clone();
        found.map_err(|error| self.error(place, PolicyFault::Pattern(error))).ok()
    }

    fn roles(&mut self, specs: &'a [RoleSpec]) -> Box<[Role]> {
        self.at_most(Policy::ROLES_MAX, specs.len(), Place::Roles);
        let mut names = HashSet::new();
        let mut roles = Vec::with_capacity(specs.len());
        for (ix, spec) in (0..u16::MAX).map(RoleIx).zip(specs) {
            if !names.insert(&spec.name) {
                self.error(Place::Role(ix), PolicyFault::NameTwice);
            }
            if spec.allow.is_empty() {
                self.error(Place::Role(ix), PolicyFault::GrantsNothing);
            }
            self.at_most(Policy::RULES_OF_ROLE_MAX, spec.query.len(), Place::Role(ix));
            let mut granted = OperationSet::empty(self.operations.len());
            for (at, pattern) in spec.allow.iter().enumerate() {
                if let Some(set) = self.select(pattern, Place::Allow(ix, at)) {
                    granted.insert_all(&set);
                }
            }
            let mut limits = Vec::new();
            for (at, rule) in spec.query.iter().enumerate() {
                self.rule(ix, at, rule, &granted, &mut limits);
            }
            roles.push(Role { name: spec.name.clone(), granted, limits: limits.into() });
        }
        roles.into()
    }

    fn rule(
        &mut self,
        role: RoleIx,
        at: usize,
        spec: &'a QueryRule,
        granted: &OperationSet,
        limits: &mut Vec<Limit>,
    ) {
        let mut operations = OperationSet::empty(self.operations.len());
        for (n, pattern) in spec.operations.iter().enumerate() {
            let Some(set) = self.select(pattern, Place::QueryOperation(role, at, n)) else {
                continue;
            };
            if !set.intersects(granted) {
                self.error(Place::QueryOperation(role, at, n), PolicyFault::LimitsNothing);
            }
            operations.insert_all(&set);
        }
        let place = Place::Query(role, at);
        if spec.operations.is_empty() {
            self.error(place, PolicyFault::LimitsNothing);
        }
        match &spec.limit {
            ParameterLimit::Deny(parameters) => {
                if parameters.is_empty() {
                    self.error(place, PolicyFault::EmptyRule);
                }
                for (n, parameter) in parameters.iter().enumerate() {
                    self.parameter(parameter, Place::QueryItem(role, at, n));
                    let limit = QueryLimit::Denied { parameter: parameter.as_str().into() };
                    limits.push(Limit { operations: operations.clone(), limit });
                }
            }
            ParameterLimit::Values { parameter, values, presence } => {
                self.parameter(parameter, place);
                if values.is_empty() {
                    self.error(place, PolicyFault::EmptyRule);
                }
                let unfit = |value: &str| {
                    value.is_empty() || value.contains(',') || value.contains(char::is_control)
                };
                for (n, _) in values.iter().enumerate().filter(|(_, value)| unfit(value)) {
                    self.error(Place::QueryItem(role, at, n), PolicyFault::Value);
                }
                for operation in self.lacking(parameter, &operations, granted) {
                    self.error(place, PolicyFault::ParameterNotListed(operation));
                }
                let (parameter, presence) = (parameter.as_str().into(), *presence);
                let values = values.iter().map(|value| Glob::new(value)).collect();
                let limit = QueryLimit::Values { parameter, values, presence };
                limits.push(Limit { operations, limit });
            }
        }
    }

    /// Operations under a rule that list their parameters, and not this one: a required parameter
    /// could never come there, and an optional one is refused anyway.
    fn lacking(&self, parameter: &str, under: &OperationSet, granted: &OperationSet) -> Vec<Name> {
        let lacks = |operation: &Operation| match &operation.query {
            QueryNames::Any => false,
            QueryNames::Listed(names) => names.iter().all(|name| **name != *parameter),
        };
        self.operations
            .iter()
            .filter(|(ix, _)| under.contains(*ix) && granted.contains(*ix))
            .filter(|(_, operation)| lacks(operation))
            .map(|(_, operation)| operation.name.clone())
            .collect()
    }

    fn parameter(&mut self, name: &str, place: Place) {
        let fits = |c: char| c.is_ascii_alphanumeric() || "-._~$:@".contains(c);
        if name.is_empty() || !name.chars().all(fits) {
            self.error(place, PolicyFault::ParameterName);
        }
    }

    fn identities(
        &mut self,
        roles: &'a [RoleSpec],
        specs: &'a [IdentitySpec],
    ) -> (Box<[Identity]>, Box<[RoleIx]>) {
        self.at_most(Policy::IDENTITIES_MAX, specs.len(), Place::Identities);
        let by_name: HashMap<&str, RoleIx> =
            roles.iter().map(|role| role.name.as_str()).zip((0..u16::MAX).map(RoleIx)).collect();
        let mut role_lists = Vec::new();
        let mut places = HashMap::new();
        let mut identities = Vec::with_capacity(specs.len());
        for (ix, spec) in (0..).map(IdentityIx).zip(specs) {
            self.at_most(Policy::ROLES_OF_IDENTITY_MAX, spec.roles.len(), Place::Identity(ix));
            let mut list = Vec::with_capacity(spec.roles.len());
            for (at, name) in spec.roles.iter().enumerate() {
                match by_name.get(name.as_str()) {
                    Some(role) => list.push(*role),
                    None => self.error(Place::IdentityRole(ix, at), PolicyFault::UnknownRole),
                }
            }
            list.sort_unstable();
            list.dedup();
            let count = u16::try_from(list.len()).unwrap_or(0);
            let first = *places.entry(list).or_insert_with_key(|list| {
                let first = u32::try_from(role_lists.len()).unwrap_or(u32::MAX);
                role_lists.extend_from_slice(list);
                first
            });
            identities.push(Identity { networks: spec.networks, first, count });
        }
        (identities.into(), role_lists.into())
    }
}
