//! What Amazon's 370 operations answer, as data. The facts and their source are in `answers.tsv`; a
//! model of Amazon's that changes there needs no change here.
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, LazyLock, OnceLock};

use super::class::{RecordKind, Subject};
use super::draft::Draft;
use super::tree::{FieldTree, Unit};
use crate::base::Class;

/// The contract of an operation's answers, of all its statuses and of errors; `operation` is its long
/// name in the catalogue, such as `orders/v0/getOrders`. Compiled at the first call.
#[must_use]
pub fn contract(operation: &str) -> Option<Arc<FieldTree>> {
    let entry = ANSWERS.operations.get(operation)?;
    let tree = entry.tree.get_or_init(|| ANSWERS.compile(&entry.sets).map(Arc::new));
    tree.clone()
}

/// The long names of the operations that have a contract.
pub fn operations() -> impl Iterator<Item = &'static str> {
    ANSWERS.operations.keys().copied()
}

/// The contract of one field set alone, without the error envelope.
#[must_use]
pub fn field_set(id: &str) -> Option<FieldTree> {
    let mut draft = Draft::new();
    ANSWERS.expand_set(&mut draft, id)?;
    draft.compile().ok()
}

/// The ids of the field sets that operations share.
pub fn field_sets() -> impl Iterator<Item = &'static str> {
    ANSWERS.sets.keys().copied()
}

/// The set that any answer may be instead: the error envelope in its three forms.
pub const ERRORS: &str = "err";

struct Answers {
    /// Name and fields.
    shapes: HashMap<&'static str, &'static str>,
    /// The form of the whole answer, and the record unit.
    sets: BTreeMap<&'static str, (&'static str, Option<Unit<'static>>)>,
    operations: BTreeMap<&'static str, Entry>,
}

#[derive(Default)]
struct Entry {
    sets: Vec<&'static str>,
    tree: OnceLock<Option<Arc<FieldTree>>>,
}

static ANSWERS: LazyLock<Answers> = LazyLock::new(|| {
    let mut answers =
        Answers { shapes: HashMap::new(), sets: BTreeMap::new(), operations: BTreeMap::new() };
    for line in lines() {
        // A malformed line is left out, which a test excludes.
        let _ = answers.read(line);
    }
    answers
});

fn lines() -> impl Iterator<Item = &'static str> {
    include_str!("answers.tsv").lines().filter(|line| !line.starts_with('#'))
}

impl Answers {
    fn read(&mut self, line: &'static str) -> Option<()> {
        let mut fields = line.split('\t');
        match (fields.next()?, fields.next()?, fields.next()?, fields.next()) {
            ("shape", name, text, None) => {
                self.shapes.insert(name, text);
            }
            ("set", id, form, unit) => {
                let unit = match unit {
                    None => None,
                    Some(text) => Some(read_unit(text)?),
                };
                self.sets.insert(id, (form, unit));
            }
            ("op", name, _status, Some(set)) => {
                let entry = self.operations.entry(name).or_default();
                if set != "-" {
                    entry.sets.push(set);
                }
            }
            _ => return None,
        }
        fields.next().is_none().then_some(())
    }

    fn compile(&self, sets: &[&'static str]) -> Option<FieldTree> {
        let mut draft = Draft::new();
        for set in sets.iter().copied().chain([ERRORS]) {
            self.expand_set(&mut draft, set)?;
        }
        draft.compile().ok()
    }

    fn expand_set(&self, draft: &mut Draft<'static>, id: &str) -> Option<()> {
        let (form, unit) = self.sets.get(id)?;
        let form = if *form == "-" { "" } else { form };
        self.expand(draft, Draft::ROOT, form, &mut Vec::new())?;
        match unit {
            None => Some(()),
            Some(unit) => draft.set_unit(unit),
        }
    }

    /// Puts what `forms` says at the place `at`; `around` holds the shapes it lies in.
    fn expand(
        &self,
        draft: &mut Draft<'static>,
        at: usize,
        forms: &'static str,
        around: &mut Vec<(&'static str, usize)>,
    ) -> Option<()> {
        forms.split('|').try_for_each(|form| self.expand_form(draft, at, form, around))
    }

    fn expand_form(
        &self,
        draft: &mut Draft<'static>,
        mut at: usize,
        mut form: &'static str,
        around: &mut Vec<(&'static str, usize)>,
    ) -> Option<()> {
        loop {
            if let Some(rest) = form.strip_prefix("[]") {
                (at, form) = (draft.element(at)?, rest);
            } else if let Some(rest) = form.strip_prefix("{}") {
                (at, form) = (draft.any_key(at)?, rest);
            } else {
                break;
            }
        }
        let Some(shape) = form.strip_prefix(':') else {
            return set_value(draft, at, form);
        };
        if let Some((_, outer)) = around.iter().find(|(name, _)| *name == shape) {
            return draft.set_same(at, *outer);
        }
        around.push((shape, at));
        for field in self.shapes.get(shape)?.split(' ') {
            let end = field.find(['[', '{', ':', '*', '=']).unwrap_or(field.len());
            let (key, form) = field.split_at_checked(end)?;
            let below = draft.key(at, key)?;
            self.expand(draft, below, form, around)?;
        }
        around.pop();
        Some(())
    }
}

/// `*` and `=class/subject`, or neither.
fn set_value(draft: &mut Draft<'static>, at: usize, form: &'static str) -> Option<()> {
    let (is_open, form) = match form.strip_prefix('*') {
        Some(rest) => (true, rest),
        None => (false, form),
    };
    let class = match form.strip_prefix('=') {
        None if form.is_empty() => None,
        None => return None,
        Some(text) => {
            let (class, subject) = text.split_once('/').unwrap_or((text, ""));
            Some((Class::parse(class)?, Subject::parse(subject)?))
        }
    };
    draft.set_value(at, class, is_open);
    Some(())
}

fn read_unit(text: &'static str) -> Option<Unit<'static>> {
    let mut words = text.split(' ');
    let unit =
        Unit { kind: RecordKind::parse(words.next()?)?, path: words.next()?, id: words.next() };
    words.next().is_none().then_some(unit)
}
