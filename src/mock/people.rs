//! Invented people. Every string of theirs is unique, so that a test can search for it in any output.

/// How many strings a person has.
const FIELDS: usize = 31;

/// One row: `$name` as it would be written, `$tag` and `$n` to make every other field unique.
macro_rules! person {
    ($name:literal, $tag:literal, $n:literal) => {
        [
            $name,
            concat!("buyer-", $tag, "@marketplace.example.com"),
            concat!("+81-00-5555-", $n),
            concat!("Planted Trading ", $tag, " KK"),
            concat!("7-", $n, " Nowhere Lane"),
            concat!("Room ", $tag, "-A"),
            concat!("c/o Front Desk ", $tag),
            concat!("Nishikasumi-", $tag),
            concat!("Tobira County ", $tag),
            concat!("Kado District ", $tag),
            concat!("Maboroshi-ken ", $tag),
            concat!("Sora-machi ", $tag),
            concat!("0X9-", $n),
            concat!("Nowhere Lane ", $tag),
            concat!("Lot-", $tag, "-9"),
            concat!("Complement ", $tag),
            concat!("Neighborhood ", $tag),
            concat!("35.77", $n),
            concat!("139.77", $n),
            concat!("PO-", $tag, "-FREE"),
            concat!("Planted Legal ", $tag, " GK"),
            concat!("T00000000", $n),
            concat!("Tax Office ", $tag),
            concat!("Happy birthday from ", $tag),
            concat!("https://custom.example.com/", $tag, ".zip"),
            concat!("Cancelled because ", $tag),
            concat!("Behind the blue gate ", $tag),
            concat!("Ring twice for ", $tag),
            concat!("ACQ-", $tag, "-7"),
            concat!("Mockcard-", $tag),
            concat!("AUTH-", $tag, "-3"),
        ]
    };
}

const ROWS: [[&str; FIELDS]; 5] = [
    person!("Hanako Kaku-Testperson", "q7ka", "0101"),
    person!("Taro Kaku-Exampleman", "q7kb", "0102"),
    person!("架空 花子", "q7kc", "0103"),
    person!("Zoë O'Placeholder-Lindqvist", "q7kd", "0104"),
    // The seller, whose own address Amazon sends with every order.
    person!("Mock Seller Warehouse Clerk", "q7ks", "0195"),
];

/// Every personal string that the mock can send. None is a real person's; numbers in `+81-00-5555`
/// are not assigned, mail goes to `example.com` (RFC 2606).
pub const PLANTED: &[&str] = ROWS.as_flattened();

#[derive(Clone, Copy, Debug)]
pub(super) struct Person {
    pub(super) name: &'static str,
    pub(super) email: &'static str,
    pub(super) phone: &'static str,
    pub(super) company: &'static str,
    pub(super) lines: [&'static str; 3],
    pub(super) city: &'static str,
    pub(super) county: &'static str,
    pub(super) district: &'static str,
    pub(super) state: &'static str,
    pub(super) municipality: &'static str,
    pub(super) postal_code: &'static str,
    pub(super) street: [&'static str; 2],
    pub(super) complement: &'static str,
    pub(super) neighborhood: &'static str,
    pub(super) position: [&'static str; 2],
    pub(super) purchase_order: &'static str,
    pub(super) legal_name: &'static str,
    pub(super) tax_id: &'static str,
    pub(super) tax_office: &'static str,
    pub(super) gift_message: &'static str,
    pub(super) customized_url: &'static str,
    pub(super) cancel_reason: &'static str,
    pub(super) drop_off: &'static str,
    pub(super) instruction: &'static str,
    pub(super) payment: [&'static str; 3],
}

impl Person {
    /// The buyer of the `n`th order.
    pub(super) fn buyer(n: u64) -> Self {
        let [one, two, three, four, _] = &ROWS;
        Self::from_row(match n % 4 {
            0 => one,
            1 => two,
            2 => three,
            _ => four,
        })
    }

    pub(super) fn seller() -> Self {
        let [_, _, _, _, seller] = &ROWS;
        Self::from_row(seller)
    }

    fn from_row(row: &[&'static str; FIELDS]) -> Self {
        let [
            name,
            email,
            phone,
            company,
            line1,
            line2,
            line3,
            city,
            county,
            district,
            state,
            municipality,
            postal_code,
            street_name,
            street_number,
            complement,
            neighborhood,
            latitude,
            longitude,
            purchase_order,
            legal_name,
            tax_id,
            tax_office,
            gift_message,
            customized_url,
            cancel_reason,
            drop_off,
            instruction,
            acquirer,
            card,
            authorization,
        ] = *row;
        Self {
            name,
            email,
            phone,
            company,
            lines: [line1, line2, line3],
            city,
            county,
            district,
            state,
            municipality,
            postal_code,
            street: [street_name, street_number],
            complement,
            neighborhood,
            position: [latitude, longitude],
            purchase_order,
            legal_name,
            tax_id,
            tax_office,
            gift_message,
            customized_url,
            cancel_reason,
            drop_off,
            instruction,
            payment: [acquirer, card, authorization],
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::{FIELDS, PLANTED};

    #[test]
    fn planted_strings_are_unique_and_none_hides_in_another_person() {
        assert_eq!(PLANTED.len(), 5 * FIELDS);
        assert_eq!(PLANTED.iter().collect::<HashSet<_>>().len(), PLANTED.len());
        // JSON must carry them byte for byte, or a search would miss them.
        for text in PLANTED {
            assert_eq!(serde_json::to_string(text).unwrap(), format!("\"{text}\""));
            assert!(text.len() >= 7, "{text} could occur by chance");
        }
    }
}
