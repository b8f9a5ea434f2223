//! Contracts while they are put together, from the catalogue's shapes or from a list of paths.
use std::collections::BTreeMap;

use super::class::{RecordKind, Subject};
use super::tree::{
    BELOW, FieldTree, ID, KeyWords, Mark, Node, OUTSIDE_NODE, Place, Slot, Step, TreeError, Unit,
    steps, terminal,
};
use crate::base::Class;

/// A contract while it is put together.
pub(super) struct Draft<'a> {
    nodes: Vec<DraftNode<'a>>,
    whole: RecordKind,
}

#[derive(Default)]
struct DraftNode<'a> {
    keys: BTreeMap<&'a str, usize>,
    any_key: Option<usize>,
    element: Option<usize>,
    is_scalar: bool,
    is_open: bool,
    class: Option<(Class, Subject)>,
    unit: Option<RecordKind>,
    is_id: bool,
    same_as: Option<usize>,
}

impl<'a> Draft<'a> {
    pub(super) const ROOT: usize = 0;
    const NODES_MAX: usize = 1 << 30;

    pub(super) fn new() -> Self {
        Self { nodes: vec![DraftNode::default()], whole: RecordKind::Answer }
    }

    /// The place at `path` below `at`, made if it is missing.
    pub(super) fn make(&mut self, mut at: usize, path: &'a str) -> Option<usize> {
        for step in steps(path)? {
            at = match step {
                Step::Element => self.element(at)?,
                Step::AnyKey => self.any_key(at)?,
                Step::Key(key) => self.key(at, key)?,
            };
        }
        Some(at)
    }

    pub(super) fn element(&mut self, at: usize) -> Option<usize> {
        let next = self.nodes.len();
        let made = *self.nodes.get_mut(at)?.element.get_or_insert(next);
        self.made(made)
    }

    pub(super) fn any_key(&mut self, at: usize) -> Option<usize> {
        let next = self.nodes.len();
        let made = *self.nodes.get_mut(at)?.any_key.get_or_insert(next);
        self.made(made)
    }

    pub(super) fn key(&mut self, at: usize, key: &'a str) -> Option<usize> {
        let next = self.nodes.len();
        let made = *self.nodes.get_mut(at)?.keys.entry(key).or_insert(next);
        self.made(made)
    }

    /// Makes a place stand for one around it: a contract that contains itself.
    pub(super) fn set_same(&mut self, at: usize, as_place: usize) -> Option<()> {
        self.nodes.get_mut(at)?.same_as = Some(as_place);
        Some(())
    }

    fn resolve(&self, at: usize) -> usize {
        self.nodes.get(at).and_then(|node| node.same_as).unwrap_or(at)
    }

    fn made(&mut self, at: usize) -> Option<usize> {
        if at == self.nodes.len() {
            self.nodes.push(DraftNode::default());
        }
        (at < self.nodes.len()).then_some(at)
    }

    /// What is said first of a place stands.
    pub(super) fn set_value(&mut self, at: usize, class: Option<(Class, Subject)>, is_open: bool) {
        if let Some(node) = self.nodes.get_mut(at)
            && !node.is_scalar
        {
            node.is_scalar = true;
            node.is_open = is_open;
            node.class = class;
        }
    }

    pub(super) fn set_unit(&mut self, unit: &Unit<'_>) -> Option<()> {
        let at = self.find(Self::ROOT, unit.path)?;
        if at == Self::ROOT {
            self.whole = unit.kind;
        } else {
            self.nodes.get_mut(at)?.unit = Some(unit.kind);
        }
        if let Some(id) = unit.id {
            let id = self.find(at, id)?;
            self.nodes.get_mut(id)?.is_id = true;
        }
        Some(())
    }

    fn find(&self, mut at: usize, path: &str) -> Option<usize> {
        for step in steps(path)? {
            let node = self.nodes.get(at)?;
            at = match step {
                Step::Element => node.element?,
                Step::AnyKey => node.any_key?,
                Step::Key(key) => *node.keys.get(key)?,
            };
        }
        Some(at)
    }

    pub(super) fn compile(self) -> Result<FieldTree, TreeError> {
        if self.nodes.len() > Self::NODES_MAX {
            return Err(TreeError::TooLarge);
        }
        let leads = self.leads_to_marks();
        if self.units_nest() {
            return Err(TreeError::Unit);
        }
        let mut tree = Parts {
            nodes: vec![terminal(Place::CLEAR, 0), OUTSIDE_NODE],
            slots: vec![Slot::empty()],
            names: Vec::new(),
        };
        let place_of = |at| place(self.resolve(at));
        for (at, (draft, leads)) in self.nodes.iter().zip(leads).enumerate() {
            tree.add(place(at), draft, leads, place_of);
        }
        Ok(FieldTree {
            nodes: tree.nodes.into(),
            slots: tree.slots.into(),
            names: tree.names.into(),
            whole: self.whole,
        })
    }

    /// For each place, whether anything at or below it is marked.
    fn leads_to_marks(&self) -> Vec<bool> {
        let marked =
            |node: &DraftNode<'_>| node.class.is_some() || node.unit.is_some() || node.is_id;
        self.spread(marked)
    }

    fn units_nest(&self) -> bool {
        let leads = self.spread(|node| node.unit.is_some());
        let below = |node: &DraftNode<'_>| {
            node.children().any(|child| leads.get(child).copied().unwrap_or(true))
        };
        self.nodes.iter().any(|node| node.unit.is_some() && below(node))
    }

    /// Carries a property from places to all places that lead there, around circles too.
    fn spread(&self, has: impl Fn(&DraftNode<'_>) -> bool) -> Vec<bool> {
        let mut all: Vec<bool> = self.nodes.iter().map(has).collect();
        loop {
            let mut changed = false;
            for (at, node) in self.nodes.iter().enumerate().rev() {
                let below = node.children().any(|child| all.get(child) == Some(&true));
                if let Some(own) = all.get_mut(at)
                    && below
                    && !*own
                {
                    *own = true;
                    changed = true;
                }
            }
            if !changed {
                return all;
            }
        }
    }
}

impl DraftNode<'_> {
    fn children(&self) -> impl Iterator<Item = usize> {
        self.keys.values().copied().chain(self.any_key).chain(self.element).chain(self.same_as)
    }
}

struct Parts {
    nodes: Vec<Node>,
    slots: Vec<Slot>,
    names: Vec<u8>,
}

fn number(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

fn place(at: usize) -> Place {
    Place(number(at).saturating_add(Place::ROOT.0))
}

impl Parts {
    fn add(
        &mut self,
        own: Place,
        draft: &DraftNode<'_>,
        leads: bool,
        place: impl Fn(usize) -> Place,
    ) {
        let (slots_at, slots_mask) = self.add_keys(draft, &place);
        let beyond = match (draft.class, draft.is_open) {
            // What lies below a value of a class is of that class.
            (Some(_), _) => own,
            (None, true) => Place::CLEAR,
            (None, false) => Place::OUTSIDE,
        };
        let has_keys = !draft.keys.is_empty() || draft.any_key.is_some();
        let flags = if draft.is_id { ID } else { 0 } | if leads { BELOW } else { 0 };
        self.nodes.push(Node {
            slots_at,
            slots_mask,
            element: draft.element.map_or(beyond, &place),
            other_key: draft.any_key.map_or(beyond, &place),
            as_scalar: match (draft.class.is_some() || draft.is_id, draft.is_scalar) {
                (true, _) => own,
                (false, true) => Place::CLEAR,
                (false, false) => Place::OUTSIDE,
            },
            as_object: if has_keys { own } else { beyond },
            as_array: if draft.element.is_some() { own } else { beyond },
            mark: Mark {
                class: draft.class.map(|(class, _)| class),
                subject: draft.class.map(|(_, subject)| subject),
                unit: draft.unit,
                flags,
            },
        });
    }

    fn add_keys(&mut self, draft: &DraftNode<'_>, place: impl Fn(usize) -> Place) -> (u32, u32) {
        if draft.keys.is_empty() {
            // The one empty slot at the front serves all.
            return (0, 0);
        }
        let size = (draft.keys.len() * 4).next_power_of_two();
        let slots_at = self.slots.len();
        self.slots.resize(slots_at + size, Slot::empty());
        let mask = number(size - 1);
        for (key, child) in &draft.keys {
            let words = KeyWords::of(key.as_bytes());
            let mut slot = words.slot(mask);
            while let Some(taken) = self.slots.get_mut(slots_at + slot as usize) {
                if taken.place == Place::CLEAR {
                    let name_at = number(self.names.len());
                    *taken = Slot { key: words, name_at, place: place(*child) };
                    break;
                }
                slot = (slot + 1) & mask;
            }
            self.names.extend_from_slice(key.as_bytes());
        }
        (number(slots_at), mask)
    }
}
