//! Several gateways call Amazon in one seller's name, and Amazon counts them as one.
//!
//! A slow quota is dealt out call by call from a bucket that they share: any of them may have all of
//! it. A fast one is divided: each has its part of rate and burst and asks nobody. Which of the two
//! follows from the published plan alone, so that all of them hold the same to be true. A part begins
//! empty, because the others may just have used up the whole.
use super::debt::Tempo;
use super::rate::{Plan, Rate};

/// From this time between two calls on a quota is dealt out. A faster one would have its gateways ask
/// more often than what it brings is worth, and calls under way would hold more of it than there is.
const DEALT_NS: u64 = 1_000_000_000;

/// Who else takes from the same quotas.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Among {
    #[default]
    Alone,
    /// Others may, and nobody has heard yet how many: nothing is sent.
    Unheard,
    /// So many gateways, and this one's place among them, from zero.
    Several { place: u16, count: u16, dealer: Dealer },
}

/// Whether somebody deals out what is not divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dealer {
    There,
    /// Then everything is divided.
    Gone,
}

/// What of one quota is this gateway's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Portion {
    Whole,
    /// Whatever the dealer gives.
    Dealt,
    Part {
        place: u32,
        count: u32,
        /// Whether it would be dealt out if somebody did.
        owed: bool,
    },
    Nothing,
}

/// How a call of a quota comes to be allowed, beside this gateway's own count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dealt {
    /// By that count alone.
    Not,
    /// By a unit of the bucket that gateways share.
    Unit(Tempo),
    /// As if it were divided, because nobody deals now; it is told afterwards.
    Owed(Tempo),
}

impl Among {
    pub(super) fn portion(self, plan: Plan) -> Portion {
        let (place, count, dealer) = match self {
            Self::Alone => return Portion::Whole,
            Self::Unheard => return Portion::Nothing,
            Self::Several { place, count, dealer } => (u32::from(place), u32::from(count), dealer),
        };
        let owed = plan.rate().interval_ns() >= DEALT_NS || plan.burst() < count;
        match dealer {
            Dealer::There if owed => Portion::Dealt,
            _ if part(plan.burst(), place, count) == 0 => Portion::Nothing,
            _ => Portion::Part { place, count, owed },
        }
    }
}

impl Portion {
    /// The rate and burst that fall to it. Those of all places add up to no more than the whole.
    pub(super) fn of(self, plan: Plan, (rate, burst): (Rate, u32)) -> (Rate, u32) {
        match self {
            Self::Whole | Self::Dealt | Self::Nothing => (rate, burst),
            Self::Part { place, count, .. } => {
                let own = part(burst, place, count);
                // Nobody else can use the rate of those who hold no call of the burst.
                let holders = u64::from(count.min(plan.burst()).max(1));
                (Rate::from_nano_hz(rate.nano_hz() / holders), own.max(1))
            }
        }
    }
}

fn part(burst: u32, place: u32, count: u32) -> u32 {
    let each = burst.checked_div(count).unwrap_or(0);
    let left = burst.checked_rem(count).unwrap_or(0);
    each.saturating_add(u32::from(place < left))
}
