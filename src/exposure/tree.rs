//! The contract of an answer, compiled: from each place of a JSON text to what may lie there.
use std::fmt;

use super::class::{RecordKind, Subject};
use super::draft::Draft;
use crate::base::Class;

/// What a place of the contract says about its values.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Mark {
    pub(super) class: Option<Class>,
    pub(super) subject: Option<Subject>,
    pub(super) unit: Option<RecordKind>,
    pub(super) flags: u8,
}

pub(super) const ID: u8 = 1;
const OUTSIDE_FLAG: u8 = 2;
/// Something below carries a class, an id or a unit.
pub(super) const BELOW: u8 = 4;

impl Mark {
    /// The class of the value, and of everything below it if it is a container.
    #[must_use]
    pub const fn class(self) -> Option<Class> {
        self.class
    }

    #[must_use]
    pub fn subject(self) -> Subject {
        self.subject.unwrap_or(Subject::Nobody)
    }

    /// The container is one record of this kind.
    #[must_use]
    pub const fn unit(self) -> Option<RecordKind> {
        self.unit
    }

    /// The value names the record around it.
    #[must_use]
    pub const fn is_id(self) -> bool {
        self.flags & ID != 0
    }

    /// The contract does not know this place, or expects another form of value here.
    #[must_use]
    pub const fn is_outside(self) -> bool {
        self.flags & OUTSIDE_FLAG != 0
    }

    pub(super) const fn leads_to_marks(self) -> bool {
        self.flags & BELOW != 0
    }

    /// Whether a visitor is told of containers here.
    pub(super) const fn is_shown(self) -> bool {
        self.class.is_some() || self.unit.is_some() || self.is_outside()
    }
}

impl fmt::Debug for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mark")
            .field("class", &self.class)
            .field("subject", &self.subject())
            .field("unit", &self.unit)
            .field("is_id", &self.is_id())
            .field("is_outside", &self.is_outside())
            .finish_non_exhaustive()
    }
}

/// A place in a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place(pub u32);

impl Place {
    /// Known, and of no interest; so is all below.
    pub(super) const CLEAR: Self = Self(0);
    /// Not in the contract; nor is anything below.
    pub(super) const OUTSIDE: Self = Self(1);
    pub(super) const ROOT: Self = Self(2);

    const fn index(self) -> usize {
        self.0 as usize
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Node {
    pub slots_at: u32,
    pub slots_mask: u32,
    /// Where an array's elements are.
    pub element: Place,
    /// Where the value of a key without a slot is.
    pub other_key: Place,
    /// Which place a value of each form takes here: this one, [`Place::CLEAR`] or [`Place::OUTSIDE`].
    pub as_scalar: Place,
    pub as_object: Place,
    pub as_array: Place,
    pub mark: Mark,
}

pub(super) const fn terminal(place: Place, flags: u8) -> Node {
    Node {
        slots_at: 0,
        slots_mask: 0,
        element: place,
        other_key: place,
        as_scalar: place,
        as_object: place,
        as_array: place,
        mark: Mark { class: None, subject: None, unit: None, flags },
    }
}

pub(super) const OUTSIDE_NODE: Node = terminal(Place::OUTSIDE, OUTSIDE_FLAG);

/// One key of one object, in an open hash table that is at most a quarter full:
/// few keys have to look further than their own slot.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    pub key: KeyWords,
    /// Where the name starts in [`FieldTree::names`].
    pub name_at: u32,
    /// [`Place::CLEAR`] in an empty slot, which no key leads to.
    pub place: Place,
}

impl Slot {
    pub(super) fn empty() -> Self {
        Self { key: KeyWords::of(b""), name_at: 0, place: Place::CLEAR }
    }
}

/// A key's length, first and last eight bytes: up to sixteen bytes, that is the whole key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct KeyWords {
    length: usize,
    head: u64,
    tail: u64,
}

impl KeyWords {
    const WHOLE: usize = 16;

    #[inline]
    pub(super) fn of(key: &[u8]) -> Self {
        let length = key.len();
        let (head, tail) = if let Some(ends) = key.first_chunk::<8>().zip(key.last_chunk::<8>()) {
            (u64::from_le_bytes(*ends.0), u64::from_le_bytes(*ends.1))
        } else if let Some(ends) = key.first_chunk::<4>().zip(key.last_chunk::<4>()) {
            (u32::from_le_bytes(*ends.0).into(), u32::from_le_bytes(*ends.1).into())
        } else {
            (key.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)), 0)
        };
        Self { length, head, tail }
    }

    #[inline]
    pub(super) fn slot(self, mask: u32) -> u32 {
        let mixed = self.head ^ self.tail.rotate_left(23) ^ self.length as u64;
        (mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as u32 & mask
    }
}

/// The contract of one operation's answers. Made from the built-in catalogue, or from a list of
/// [`Field`]s.
pub struct FieldTree {
    pub(super) nodes: Box<[Node]>,
    pub(super) slots: Box<[Slot]>,
    pub(super) names: Box<[u8]>,
    pub(super) whole: RecordKind,
}

impl fmt::Debug for FieldTree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FieldTree").field("places", &self.nodes.len()).finish_non_exhaustive()
    }
}

/// One line of a contract.
#[derive(Clone, Copy, Debug)]
pub struct Field<'a> {
    /// Such as `orders[].buyer.email`: `[]` an array's element, `{}` the value of any key, `$` the
    /// whole answer.
    pub path: &'a str,
    pub class: Option<(Class, Subject)>,
    /// Whether containers with anything in them may stand here. With a class, they always may.
    pub is_open: bool,
}

/// What one record is, and which field names it.
#[derive(Clone, Copy, Debug)]
pub struct Unit<'a> {
    pub kind: RecordKind,
    /// The container that is one record; `$` the whole answer. It does not lie in another unit.
    pub path: &'a str,
    /// From there to the id.
    pub id: Option<&'a str>,
}

/// Why a contract can't be compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TreeError {
    /// A path that is not of the form given at [`Field::path`].
    Path,
    /// A unit or id where the contract has nothing, or a unit that holds another.
    Unit,
    /// More than 2³⁰ places.
    TooLarge,
}

impl FieldTree {
    pub fn compile(fields: &[Field<'_>], units: &[Unit<'_>]) -> Result<Self, TreeError> {
        let mut draft = Draft::new();
        for field in fields {
            let at = draft.make(Draft::ROOT, field.path).ok_or(TreeError::Path)?;
            draft.set_value(at, field.class, field.is_open);
        }
        for unit in units {
            draft.set_unit(unit).ok_or(TreeError::Unit)?;
        }
        draft.compile()
    }

    /// What a record is that no unit of its own encloses: the whole answer, by this name.
    #[must_use]
    pub const fn whole(&self) -> RecordKind {
        self.whole
    }

    /// Bytes of memory.
    #[must_use]
    pub fn size(&self) -> usize {
        size_of::<Self>()
            + size_of_val::<[Node]>(&self.nodes)
            + size_of_val::<[Slot]>(&self.slots)
            + self.names.len()
    }

    /// What the contract says of a path in the grammar of [`Field::path`]; outside it, that.
    #[must_use]
    pub fn mark_at(&self, path: &str) -> Mark {
        let Some(steps) = steps(path) else { return OUTSIDE_NODE.mark };
        let place = steps.iter().fold(Place::ROOT, |at, step| match step {
            Step::Element => self.node(at).element,
            Step::AnyKey => self.node(at).other_key,
            Step::Key(key) => self.child(at, key.as_bytes()).unwrap_or(self.node(at).other_key),
        });
        self.node(place).mark
    }

    /// Every place with a class, a recursive one once.
    pub fn classes(&self) -> impl Iterator<Item = (Class, Subject)> {
        self.nodes.iter().filter_map(|node| Some((node.mark.class?, node.mark.subject())))
    }

    #[inline]
    pub(super) fn node(&self, place: Place) -> &Node {
        self.nodes.get(place.index()).unwrap_or(&OUTSIDE_NODE)
    }

    /// Where a key of the contract leads; nothing if the object lists no such key.
    #[inline]
    pub(super) fn child(&self, at: Place, key: &[u8]) -> Option<Place> {
        let node = self.node(at);
        let words = KeyWords::of(key);
        let mut slot = words.slot(node.slots_mask);
        loop {
            let found = self.slots.get(node.slots_at.wrapping_add(slot) as usize)?;
            if found.key == words && (key.len() <= KeyWords::WHOLE || self.is_name(found, key)) {
                return (found.place != Place::CLEAR).then_some(found.place);
            }
            if found.place == Place::CLEAR {
                return None;
            }
            slot = slot.wrapping_add(1) & node.slots_mask;
        }
    }

    /// Whether a key with the words of a slot is its name: they leave out only the middle.
    #[inline]
    fn is_name(&self, slot: &Slot, key: &[u8]) -> bool {
        let (key, _) = key.as_chunks::<8>();
        let (name, _) = self.name(slot).as_chunks::<8>();
        key.iter().zip(name).skip(1).all(|(a, b)| a == b)
    }

    fn name(&self, slot: &Slot) -> &[u8] {
        let start = slot.name_at as usize;
        self.names.get(start..start + slot.key.length).unwrap_or_default()
    }
}

/// One step of a path.
pub(super) enum Step<'a> {
    Element,
    AnyKey,
    Key(&'a str),
}

pub(super) fn steps(path: &str) -> Option<Vec<Step<'_>>> {
    let mut steps = Vec::new();
    if path == "$" {
        return Some(steps);
    }
    for (n, part) in path.split('.').enumerate() {
        let end = part.find(['[', '{']).unwrap_or(part.len());
        let (key, mut rest) = part.split_at_checked(end)?;
        match key {
            // Only the whole answer can be a list or a map without being some key's value.
            "" if n > 0 || rest.is_empty() => return None,
            "" => {}
            _ => steps.push(Step::Key(key)),
        }
        while !rest.is_empty() {
            rest = if let Some(rest) = rest.strip_prefix("[]") {
                steps.push(Step::Element);
                rest
            } else {
                steps.push(Step::AnyKey);
                rest.strip_prefix("{}")?
            };
        }
    }
    Some(steps)
}
