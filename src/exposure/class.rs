//! Classes of data, whose they are, and what counts as one record: closed lists, written as in
//! `answers.tsv`.
use std::fmt;

macro_rules! words {
    ($($(#[$doc:meta])* $name:ident { $($(#[$item_doc:meta])* $item:ident = $word:literal,)* })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum $name { $($(#[$item_doc])* $item,)* }

        impl $name {
            pub const ALL: &'static [Self] = &[$(Self::$item),*];
            pub const COUNT: usize = Self::ALL.len();

            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$item => $word,)* }
            }

            #[must_use]
            pub fn parse(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|item| item.as_str() == word)
            }

            /// Place in [`Self::ALL`]; it is part of the ledger's stored form and never changes.
            #[must_use]
            pub const fn index(self) -> usize {
                self as usize
            }
        }
    )*};
}

words! {
    /// What kind of data a field holds. The first fourteen are personal by themselves.
    Class {
        Name = "name",
        Email = "email",
        Phone = "phone",
        /// Street level, with district and county.
        Address = "address",
        /// City, postcode or state.
        AddressCoarse = "address_coarse",
        Geo = "geo",
        GiftMessage = "gift_message",
        Customization = "customization",
        FreeText = "free_text",
        /// Answers to regulators' questions; can be about health.
        RegulatedFreeText = "regulated_free_text",
        TaxId = "tax_id",
        Payment = "payment",
        /// A label, an invoice, a photo.
        Document = "document",
        /// A link that carries its own authority.
        PresignedUrl = "presigned_url",
        /// Names a purchase, and through it a person.
        OrderId = "order_id",
        TrackingId = "tracking_id",
        /// An opaque id of a person.
        PersonId = "person_id",
        /// Key material.
        Secret = "secret",
        /// A Restricted Data Token.
        RestrictedDataToken = "rdt",
        /// A one-time password for a delivery.
        OneTimePassword = "otp",
        /// An error's words, which may repeat input.
        ErrorText = "error_text",
    }

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

impl Class {
    /// Whether the class alone makes its record a record of personal data. Ids, secrets and error
    /// texts don't: ids say which record it is, and secrets are counted by class.
    #[must_use]
    pub const fn is_personal(self) -> bool {
        (self as u8) < Self::OrderId as u8
    }
}

impl Subject {
    /// Whether it is one of Amazon's customers, whom the data protection policy protects.
    #[must_use]
    pub const fn is_customer(self) -> bool {
        matches!(self, Self::Buyer | Self::Recipient | Self::Customer)
    }
}

/// A set of [`Class`].
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct ClassSet(u32);

impl ClassSet {
    pub const EMPTY: Self = Self(0);

    #[must_use]
    pub const fn with(self, class: Class) -> Self {
        Self(self.0 | 1 << class as u8)
    }

    #[must_use]
    pub const fn contains(self, class: Class) -> bool {
        self.0 & (1 << class as u8) != 0
    }

    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether it holds a class that [`Class::is_personal`].
    #[must_use]
    pub const fn is_personal(self) -> bool {
        self.0 & ((1 << Class::OrderId as u8) - 1) != 0
    }

    pub fn iter(self) -> impl Iterator<Item = Class> {
        Class::ALL.iter().copied().filter(move |class| self.contains(*class))
    }
}

impl fmt::Debug for ClassSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
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
