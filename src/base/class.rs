//! Classes of data: the closed list that the catalogue of operations, the fields of answers and what
//! is counted of them share.
use std::fmt;

/// Declares enums whose variants have a word in files that the program reads.
macro_rules! closed_words {
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

            /// Place in [`Self::ALL`]; where it is part of a stored form it never changes.
            #[must_use]
            pub const fn index(self) -> usize {
                self as usize
            }
        }
    )*};
}

pub(crate) use closed_words;

closed_words! {
    /// What kind of data a field holds. The first fourteen are personal by themselves. Its places are
    /// part of the ledger's stored form and never change.
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
}

impl Class {
    /// Whether the class alone makes its record a record of personal data. Ids, secrets and error
    /// texts don't: ids say which record it is, and secrets are counted by class.
    #[must_use]
    pub const fn is_personal(self) -> bool {
        (self as u8) < Self::OrderId as u8
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
