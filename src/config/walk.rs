//! Checks the shape of one entry against the schema: unknown and missing keys, types, values, ranges.
//! Every mistake is reported where it stands; what is wrong is cut out, so that the rest can still be
//! read and judged.
//!
//! 1. What comes back deserialises into the section's struct.
//! 2. Each cut is remembered by its key, so that no later rule complains of its absence.
//! 3. An entry with a mistake is still an entry: where it can't do without a key, a stand-in is put
//!    there and counts as lost.
use std::collections::BTreeSet;
use std::ops::Range;

use serde_json::Value;
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::describe::{self, kind_of};
use super::error::Report;
use super::raw::value::{by_format, measure, quoted};
use super::source::{FileIx, Place};
use super::suggest::{forbidden_switch, nearest};
use crate::base::ControlId;

/// What to say of keys that are not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Absent {
    Report,
    /// The file has a syntax error: what is missing may stand behind it.
    Excuse,
}

/// The walk over one entry.
#[derive(Debug)]
pub(super) struct Walk<'r, 'w> {
    pub(super) schema: &'w Value,
    pub(super) file: FileIx,
    pub(super) absent: Absent,
    pub(super) report: &'r mut Report,
    /// Keys below which something was cut out.
    pub(super) lost: BTreeSet<String>,
}

/// Where a value stands: its key, its control, and a range in case it has none of its own.
#[derive(Clone, Debug)]
pub(super) struct Seat {
    pub(super) key: String,
    pub(super) control: Option<ControlId>,
    pub(super) span: Range<usize>,
    pub(super) level: Level,
}

/// How much hangs on a table that lacks something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    /// A whole entry, such as a listener: a stand-in takes the place of what is missing, so that its
    /// other keys can be judged.
    Entry,
    /// Something inside: it is cut out.
    Inner,
}

/// Whether a value may stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Keep,
    Cut,
}

impl Verdict {
    fn when(fits: bool) -> Self {
        if fits { Self::Keep } else { Self::Cut }
    }
}

impl<'w> Walk<'_, 'w> {
    /// Checks a value and everything below it.
    pub(super) fn value(
        &mut self,
        node: &mut Spanned<DeValue<'_>>,
        schema: &'w Value,
        seat: &Seat,
    ) -> Verdict {
        let mut seat = seat.clone();
        if !node.span().is_empty() {
            seat.span = node.span();
        }
        let own = describe::control(schema);
        let range = schema.get("x-range");
        let schema = describe::resolved(self.schema, schema);
        seat.control = own.or_else(|| describe::control(schema)).or(seat.control);
        let branches = describe::branches(self.schema, schema);
        if !branches.is_empty() {
            return self.alternatives(node, &branches, schema, &seat);
        }
        match (node.get_mut(), schema.get("type").and_then(Value::as_str)) {
            (DeValue::Table(table), Some("object")) => self.table(table, schema, &seat),
            (DeValue::Array(items), Some("array")) => self.list(items, schema, &seat),
            (DeValue::String(text), Some("string")) if describe::format(schema) != Some("date") => {
                let text = text.clone().into_owned();
                self.text(&text, schema, range.or(schema.get("x-range")), &seat)
            }
            (DeValue::Datetime(datetime), Some("string"))
                if describe::format(schema) == Some("date") && super::raw::is_date(*datetime) =>
            {
                Verdict::Keep
            }
            (DeValue::Integer(number), Some("integer")) => {
                let value = i64::from_str_radix(number.as_str(), number.radix()).ok();
                let limit = |end: &str| schema.get(end).and_then(Value::as_i64);
                let fits = value.is_some_and(|value| {
                    limit("minimum").is_none_or(|low| low <= value)
                        && limit("maximum").is_none_or(|high| value <= high)
                });
                if !fits {
                    let found = format!("`{}` is {number}, which is out of range", seat.key);
                    self.fault(&seat, found, describe::instead(self.schema, schema));
                }
                Verdict::when(fits)
            }
            (DeValue::Integer(_) | DeValue::Float(_), Some("number")) => {
                self.decimal(&node.get_ref().clone(), schema, &seat)
            }
            (DeValue::Boolean(_), Some("boolean")) => Verdict::Keep,
            (other, _) => {
                let other = other.clone();
                self.wrong_type(&other, schema, &seat)
            }
        }
    }

    fn decimal(&mut self, node: &DeValue<'_>, schema: &'w Value, seat: &Seat) -> Verdict {
        let text = match node {
            DeValue::Float(number) => number.as_str(),
            DeValue::Integer(number) => number.as_str(),
            _ => "",
        };
        let value = text.replace('_', "").parse::<f64>().ok().filter(|value| value.is_finite());
        let limit = |end: &str| schema.get(end).and_then(Value::as_f64);
        let fits = value.is_some_and(|value| {
            limit("minimum").is_none_or(|low| low <= value)
                && limit("maximum").is_none_or(|high| value <= high)
        });
        if !fits {
            let found = format!("`{}` is {text}, which is out of range", seat.key);
            self.fault(seat, found, describe::instead(self.schema, schema));
        }
        Verdict::when(fits)
    }

    fn list(&mut self, items: &mut DeArray<'_>, schema: &'w Value, seat: &Seat) -> Verdict {
        let before = items.len();
        let within = bounded(before, schema, "minItems", "maxItems");
        let of = schema.get("items").unwrap_or(&Value::Null);
        let inner = Seat { level: Level::Inner, ..seat.clone() };
        let kept: DeArray<'_> = std::mem::replace(items, DeArray::new())
            .into_iter()
            .filter_map(|mut item| {
                (self.value(&mut item, of, &inner) == Verdict::Keep).then_some(item)
            })
            .collect();
        *items = kept;
        let cut = items.len() < before;
        if cut {
            self.lost.insert(seat.key.clone());
        }
        if !within {
            let found = format!("`{}` has {before} entries", seat.key);
            self.fault(seat, found, describe::count(schema));
        }
        Verdict::when(within && (!cut || bounded(items.len(), schema, "minItems", "")))
    }

    fn alternatives(
        &mut self,
        node: &mut Spanned<DeValue<'_>>,
        branches: &[&'w Value],
        schema: &'w Value,
        seat: &Seat,
    ) -> Verdict {
        let of_type = |name: &str| -> Vec<&'w Value> {
            let typed = |b: &&&Value| b.get("type").and_then(Value::as_str) == Some(name);
            branches.iter().filter(typed).copied().collect()
        };
        match node.get_ref() {
            DeValue::String(text) => {
                let strings = of_type("string");
                let words: Vec<&str> = strings.iter().flat_map(|b| describe::words(b)).collect();
                if let Some(free) = strings.iter().find(|b| describe::words(b).is_empty()) {
                    return self.value(node, free, seat);
                }
                if words.is_empty() {
                    return self.wrong_type(&node.get_ref().clone(), schema, seat);
                }
                self.word(text, &words, seat)
            }
            DeValue::Table(table) => {
                let objects = of_type("object");
                let named: Vec<&Value> = objects
                    .iter()
                    .copied()
                    .filter(|b| describe::required(b).any(|key| table.contains_key(key)))
                    .collect();
                match (objects.as_slice(), named.as_slice()) {
                    ([only], _) | (_, [only]) => self.value(node, only, seat),
                    ([], _) => self.wrong_type(&node.get_ref().clone(), schema, seat),
                    (_, some) => {
                        let how = if some.is_empty() { "none" } else { "several" };
                        let found = format!("`{}` holds {how} of its alternatives", seat.key);
                        self.fault(seat, found, describe::instead(self.schema, schema));
                        Verdict::Cut
                    }
                }
            }
            other => match of_type(describe::type_of(other)).first() {
                Some(branch) => self.value(node, branch, seat),
                None => self.wrong_type(&node.get_ref().clone(), schema, seat),
            },
        }
    }

    fn word(&mut self, text: &str, words: &[&str], seat: &Seat) -> Verdict {
        if words.contains(&text) {
            return Verdict::Keep;
        }
        let instead = match nearest(text, words.iter().copied()) {
            Some(meant) => format!("write \"{meant}\""),
            None => describe::one_of(words),
        };
        self.fault(seat, format!("`{}` can't be {}", seat.key, quoted(text)), instead);
        Verdict::Cut
    }

    fn text(&mut self, text: &str, schema: &Value, range: Option<&Value>, seat: &Seat) -> Verdict {
        let words = describe::words(schema);
        if !words.is_empty() {
            return self.word(text, &words, seat);
        }
        if let Some(format) = describe::format(schema) {
            if let Some(known) = by_format(format)
                && let Err(misfit) = (known.check)(text)
            {
                let seat = Seat { control: misfit.control.or(seat.control), ..seat.clone() };
                self.fault(&seat, misfit.found, misfit.instead);
                return Verdict::Cut;
            }
            let ends: Vec<&str> = range
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect();
            if let (Some(value), [low, high]) = (measure(format, text), ends.as_slice()) {
                let fits = measure(format, low).is_none_or(|low| low <= value)
                    && measure(format, high).is_none_or(|high| value <= high);
                if !fits {
                    let found = format!("`{}` is {text}, which is out of range", seat.key);
                    self.fault(seat, found, format!("write a value from \"{low}\" to \"{high}\""));
                    return Verdict::Cut;
                }
            }
        }
        let within = bounded(text.chars().count(), schema, "minLength", "maxLength");
        if !within {
            let found = if text.is_empty() { "empty" } else { "too long or too short" };
            self.fault(seat, format!("`{}` is {found}", seat.key), describe::length(schema));
        }
        Verdict::when(within)
    }

    fn table(&mut self, table: &mut DeTable<'_>, schema: &'w Value, seat: &Seat) -> Verdict {
        let known = schema.get("properties").and_then(Value::as_object);
        let open = schema.get("additionalProperties").filter(|more| more.is_object());
        let known_keys: Vec<&str> =
            known.into_iter().flatten().map(|(key, _)| key.as_str()).collect();
        let mut misspelt = BTreeSet::new();
        let (mut cuts, mut present) = (Vec::new(), BTreeSet::new());
        for (key, value) in table.iter_mut() {
            let (name, span) = (key.get_ref().to_string(), key.span());
            present.insert(name.clone());
            let of = known.and_then(|known| known.get(&name)).or(open);
            let Some(of) = of else {
                let free = known_keys.iter().copied().filter(|k| *k != name);
                misspelt.extend(self.unknown_key(&name, span, free, seat));
                cuts.push(name);
                continue;
            };
            let place =
                Seat { key: name.clone(), control: seat.control, span, level: Level::Inner };
            if self.value(value, of, &place) == Verdict::Cut {
                self.lost.insert(name.clone());
                cuts.push(name);
            }
        }
        for cut in &cuts {
            table.remove(cut.as_str());
        }
        let mut whole = true;
        for key in describe::required(schema) {
            if table.contains_key(key) {
                continue;
            }
            whole = false;
            let told = present.contains(key) || misspelt.contains(key);
            if !told && self.absent == Absent::Report {
                let of = known.and_then(|known| known.get(key)).unwrap_or(&Value::Null);
                let seat = Seat { control: describe::control(of).or(seat.control), ..seat.clone() };
                let what = describe::instead(self.schema, of);
                let what = what.strip_prefix("write ").unwrap_or(&what);
                self.fault(
                    &seat,
                    format!("`{key}` is missing"),
                    format!("add `{key} = …`: {what}"),
                );
            }
        }
        // A misspelt optional key is as good as lost: no rule may miss it.
        self.lost.extend(misspelt);
        if seat.level == Level::Inner {
            return Verdict::when(whole);
        }
        for key in describe::required(schema) {
            if !table.contains_key(key) {
                let of = known.and_then(|known| known.get(key)).unwrap_or(&Value::Null);
                let value = Spanned::new(0..0, describe::stand_in(self.schema, of));
                table.insert(Spanned::new(0..0, key.to_owned().into()), value);
                self.lost.insert(key.to_owned());
            }
        }
        Verdict::Keep
    }

    /// Reports a key that doesn't exist; returns the key that was meant.
    pub(super) fn unknown_key<'k>(
        &mut self,
        name: &str,
        span: Range<usize>,
        known: impl IntoIterator<Item = &'k str> + Clone,
        seat: &Seat,
    ) -> Option<String> {
        let place = Place { file: self.file, span };
        let found = format!("there is no key {} in {}", quoted(name), describe::seat(&seat.key));
        if let Some((control, instead)) = forbidden_switch(name) {
            self.report.error(&place, control, found, instead);
            return None;
        }
        let meant = nearest(name, known.clone());
        let instead = if let Some(meant) = meant {
            format!("write `{meant}`")
        } else {
            let keys: Vec<&str> = known.into_iter().collect();
            format!("remove it; the keys here are {}", keys.join(", "))
        };
        self.report.error(&place, seat.control, found, instead);
        meant.map(str::to_owned)
    }

    fn wrong_type(&mut self, node: &DeValue<'_>, schema: &Value, seat: &Seat) -> Verdict {
        let found = format!("`{}` is {}", seat.key, kind_of(node));
        self.fault(seat, found, describe::instead_of(self.schema, schema, node, &seat.key));
        Verdict::Cut
    }

    fn fault(&mut self, seat: &Seat, found: String, instead: String) {
        let place = Place { file: self.file, span: seat.span.clone() };
        self.report.error(&place, seat.control, found, instead);
    }
}

/// Whether a count lies between two limits of the schema, where it has them.
fn bounded(count: usize, schema: &Value, low: &str, high: &str) -> bool {
    let limit = |end: &str| {
        schema.get(end).and_then(Value::as_u64).and_then(|limit| usize::try_from(limit).ok())
    };
    limit(low).is_none_or(|low| low <= count) && limit(high).is_none_or(|high| count <= high)
}
