//! Whose data a field is, and what counts as one record: closed lists, written as in `answers.tsv`.
use crate::base::{Class, closed_words};

closed_words! {
    /// Whom a field is about.
    Subject {
        Nobody = "",
        Buyer = "buyer",
        Recipient = "recipient",
        /// Buyer, recipient or both: a document about an order.
        Customer = "customer",
        /// The seller as a person: sole traders, contacts, account holders.
        Seller = "seller",
        Vendor = "vendor",
        Technician = "technician",
        Business = "business",
    }

    /// What one record is: the thing that a reader of the answer would count.
    RecordKind {
        /// The whole answer, where no better unit is known.
        Answer = "answer",
        Order = "order",
        Shipment = "shipment",
        Parcel = "parcel",
        Job = "job",
        Document = "document",
        Account = "account",
        Payment = "payment",
        Party = "party",
        Location = "location",
    }
}

impl Subject {
    /// Whether it is one of Amazon's customers, whom the data protection policy protects.
    #[must_use]
    pub const fn is_customer(self) -> bool {
        matches!(self, Self::Buyer | Self::Recipient | Self::Customer)
    }
}

/// One counter for each [`Class`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PerClass([u64; Class::COUNT]);

impl PerClass {
    #[must_use]
    pub fn of(&self, class: Class) -> u64 {
        self.0.get(class.index()).copied().unwrap_or_default()
    }

    pub fn add(&mut self, class: Class, count: u64) {
        if let Some(own) = self.0.get_mut(class.index()) {
            *own = own.saturating_add(count);
        }
    }

    pub fn merge(&mut self, other: &Self) {
        for (class, count) in other.iter() {
            self.add(class, count);
        }
    }

    /// The classes that were counted at all.
    pub fn iter(&self) -> impl Iterator<Item = (Class, u64)> {
        Class::ALL.iter().copied().zip(self.0).filter(|(_, count)| *count > 0)
    }
}
