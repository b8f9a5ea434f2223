//! Finds the operation that a method and a path mean. Controls: PRIV-1, MON-5.
//! Never sees: who asks, the query. One table per listener, or per set of server names of one.
//!
//! 1. A path means at most one operation: templates of one method that can fit one path are
//!    refused when the table is built, a fixed segment beside a parameter included, because the
//!    upstream's router may tell them apart in another way (letter case, decoding).
//! 2. A path that means an operation is in the spelling its template asks for, byte for byte.
//! 3. The search visits each node of a tree at most once, and allocates nothing.
use std::collections::HashMap;

use super::escape::cut;
use super::operation::{Method, Operation, Operations};
use super::path::{self, Spelling};
use super::template::Segment;
use crate::base::{Denial, Name, OperationIx, UpstreamIx};

/// What a request's method and path mean here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    pub operation: OperationIx,
    pub upstream: UpstreamIx,
}

/// The operations that one listener (or one server name on it) serves.
#[derive(Clone, Debug)]
pub struct OperationTable {
    /// One tree per method, in the order of `tree_of`.
    trees: [Node; 5],
    len: usize,
}

/// Why operations can't be served side by side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TableError {
    /// One path can mean both; where the names are the same, two upstreams serve it.
    Conflict { first: Name, second: Name },
    /// No operation has this index.
    NoOperation(OperationIx),
}

#[derive(Clone, Debug, Default)]
struct Node {
    /// Sorted by text.
    fixed: Vec<(Box<[u8]>, Node)>,
    parameter: Option<Box<Node>>,
    leaf: Option<Leaf>,
}

#[derive(Clone, Copy, Debug)]
struct Leaf {
    route: Route,
    /// Bit n is set where segment n is a parameter.
    parameters: u32,
    /// Bit n is set where that parameter may be written in [`Spelling::Encoded`].
    encoded: u32,
}

impl OperationTable {
    /// `served` says which operations there are, and which upstream answers them.
    pub fn build(operations: &Operations, served: &[Route]) -> Result<Self, Vec<TableError>> {
        let mut errors = conflicts(operations, served);
        let mut table = Self { trees: Default::default(), len: served.len() };
        for route in served {
            let Some(operation) = operations.get(route.operation) else {
                errors.push(TableError::NoOperation(route.operation));
                continue;
            };
            let [get, post, put, patch, delete] = &mut table.trees;
            let tree = match operation.method {
                Method::Get | Method::Head => get,
                Method::Post => post,
                Method::Put => put,
                Method::Patch => patch,
                Method::Delete => delete,
            };
            tree.insert(operation.template.segments(), *route);
        }
        if errors.is_empty() { Ok(table) } else { Err(errors) }
    }

    /// How many operations are served.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The operation of a request.
    ///
    /// # Errors
    /// [`Denial::Path`] if the path is in no spelling that is accepted, else
    /// [`Denial::OperationUnknown`], also where only another method has the path.
    pub fn match_request(&self, method: Method, path: &[u8]) -> Result<Route, Denial> {
        let Some(leaf) = self.tree(method).find_path(path) else {
            path::check(path).map_err(Denial::Path)?;
            return Err(Denial::OperationUnknown);
        };
        let (mut parameters, mut encoded) = (leaf.parameters, leaf.encoded);
        for segment in path.split(|byte| *byte == b'/').skip(1) {
            // A fixed segment was compared with the template; nothing else can be wrong with it.
            if parameters & 1 == 1 {
                let spelling = if encoded & 1 == 1 { Spelling::Encoded } else { Spelling::Strict };
                path::check_segment(segment, spelling).map_err(Denial::Path)?;
            }
            parameters >>= 1;
            encoded >>= 1;
        }
        Ok(leaf.route)
    }

    const fn tree(&self, method: Method) -> &Node {
        let [get, post, put, patch, delete] = &self.trees;
        match method {
            Method::Get | Method::Head => get,
            Method::Post => post,
            Method::Put => put,
            Method::Patch => patch,
            Method::Delete => delete,
        }
    }
}

impl Node {
    fn insert(&mut self, segments: &[Segment], route: Route) {
        let mut node = self;
        let (mut parameters, mut encoded) = (0, 0);
        for (place, segment) in segments.iter().enumerate() {
            match segment {
                Segment::Fixed(text) => {
                    let text = text.as_bytes();
                    let at = match node.fixed.binary_search_by(|(known, _)| (**known).cmp(text)) {
                        Ok(at) => at,
                        Err(at) => {
                            node.fixed.insert(at, (text.into(), Self::default()));
                            at
                        }
                    };
                    // `at` is in range on both arms above.
                    let Some((_, next)) = node.fixed.get_mut(at) else { return };
                    node = next;
                }
                Segment::Parameter(spelling) => {
                    parameters |= 1 << place;
                    encoded |= u32::from(*spelling == Spelling::Encoded) << place;
                    node = &mut **node.parameter.get_or_insert_default();
                }
            }
        }
        node.leaf = Some(Leaf { route, parameters, encoded });
    }

    fn find_path(&self, path: &[u8]) -> Option<&Leaf> {
        match path {
            b"/" => self.leaf.as_ref(),
            [b'/', rest @ ..] => self.find(Some(rest)),
            _ => None,
        }
    }

    /// `rest` is what follows a slash, or nothing at the path's end.
    fn find(&self, rest: Option<&[u8]>) -> Option<&Leaf> {
        let Some(rest) = rest else { return self.leaf.as_ref() };
        let (segment, rest) = cut(rest, b'/');
        let fixed = self
            .fixed
            .binary_search_by(|(known, _)| (**known).cmp(segment))
            .ok()
            .and_then(|at| self.fixed.get(at))
            .and_then(|(_, next)| next.find(rest));
        fixed.or_else(|| self.parameter.as_ref()?.find(rest))
    }
}

/// All pairs that can fit one path. Compared only within one method and number of segments.
fn conflicts(operations: &Operations, served: &[Route]) -> Vec<TableError> {
    let mut groups: HashMap<_, Vec<&Operation>> = HashMap::new();
    let mut errors = Vec::new();
    for operation in served.iter().filter_map(|route| operations.get(route.operation)) {
        let group =
            groups.entry((operation.method, operation.template.segments().len())).or_default();
        for earlier in &*group {
            if operation.template.overlaps(&earlier.template) {
                let (first, second) = (earlier.name.clone(), operation.name.clone());
                errors.push(TableError::Conflict { first, second });
            }
        }
        group.push(operation);
    }
    errors
}
