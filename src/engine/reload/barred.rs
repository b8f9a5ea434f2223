//! Configurations that were put back, and so are not taken up again by themselves.
//!
//! 1. Texts that were put back are refused until one of them changes, whatever they refer to does.
//! 2. What the texts in force refer to goes on counting meanwhile: certificates, revocations, permits.
//! 3. Where the texts were the ones before, what they refer to is refused until that changes.
use super::files::Origin;
use super::trial::Judged;

/// More than anybody tries in a row.
const BARRED_MAX: usize = 8;

/// See the module. The last one is the latest.
#[derive(Debug, Default)]
pub(super) struct Barred(Vec<PutBack>);

#[derive(Debug)]
struct PutBack {
    origin: Origin,
    blamed: Blamed,
    judged: Judged,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Blamed {
    Texts,
    /// What they refer to.
    Material,
}

impl PutBack {
    fn bars(&self, origin: &Origin) -> bool {
        match self.blamed {
            Blamed::Texts => self.origin.texts == origin.texts,
            Blamed::Material => self.origin.print == origin.print,
        }
    }
}

impl Barred {
    /// `origin` was put back, and `proven` is in its place.
    pub(super) fn add(&mut self, origin: Origin, proven: Option<&Origin>, judged: Judged) {
        self.forgive(&origin);
        let same = proven.is_some_and(|proven| proven.texts == origin.texts);
        let blamed = if same { Blamed::Material } else { Blamed::Texts };
        self.0.push(PutBack { origin, blamed, judged });
        if self.0.len() > BARRED_MAX {
            self.0.remove(0);
        }
    }

    /// Why it is refused.
    pub(super) fn why(&self, origin: &Origin) -> Option<Judged> {
        let barred = self.0.iter().rev().find(|one| one.bars(origin))?;
        Some(barred.judged.clone())
    }

    /// It is in force after all.
    pub(super) fn forgive(&mut self, origin: &Origin) {
        self.0.retain(|one| !one.bars(origin));
    }

    pub(super) fn last(&self) -> Option<Judged> {
        self.0.last().map(|one| one.judged.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;
    use std::time::Duration;

    use super::super::files::Print;
    use super::*;
    use crate::base::Moment;
    use crate::config::Texts;
    use crate::trial::{Figures, Kind, Spot, Verdict, judge};

    fn origin(text: &str, print: u8) -> Origin {
        let mut texts = Texts::default();
        texts.note(Path::new("sekisho.toml"), text.as_bytes());
        Origin { print: Print([print; 16]), texts: Arc::new(texts) }
    }

    fn judged(generation: u64) -> Judged {
        let figures = |failed| Figures { sent: 100, failed, over: Duration::from_secs(60) };
        let Verdict::Worse(blame) = judge(figures(0), figures(100), Kind::Inner) else {
            panic!("worse")
        };
        Judged { generation, spot: Spot::Gateway, blame, at: Moment::new(0, 1) }
    }

    fn why(barred: &Barred, text: &str, print: u8) -> Option<u64> {
        barred.why(&origin(text, print)).map(|judged| judged.generation)
    }

    #[test]
    fn log_1_texts_are_barred_whatever_they_refer_to() {
        let mut barred = Barred::default();
        barred.add(origin("bad", 2), Some(&origin("good", 1)), judged(2));
        assert_eq!([why(&barred, "bad", 2), why(&barred, "bad", 7)], [Some(2); 2]);
        assert_eq!([why(&barred, "good", 1), why(&barred, "other", 2)], [None; 2]);
        // What the good ones refer to is to blame: that, and not they.
        barred.add(origin("good", 3), Some(&origin("good", 1)), judged(3));
        assert_eq!([why(&barred, "good", 3), why(&barred, "good", 4)], [Some(3), None]);
        assert_eq!(why(&barred, "bad", 9), Some(2), "still");
        assert_eq!(barred.last().map(|judged| judged.generation), Some(3));
        // Somebody insisted.
        barred.forgive(&origin("bad", 9));
        assert_eq!([why(&barred, "bad", 2), why(&barred, "good", 3)], [None, Some(3)]);
    }

    #[test]
    fn no_more_is_kept_than_somebody_tries() {
        let mut barred = Barred::default();
        for nth in 0..100 {
            barred.add(origin(&nth.to_string(), 1), None, judged(nth));
        }
        assert_eq!(barred.0.len(), BARRED_MAX);
        assert_eq!([why(&barred, "99", 1), why(&barred, "0", 1)], [Some(99), None]);
    }
}
