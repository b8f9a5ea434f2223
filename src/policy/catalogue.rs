//! Amazon's Selling Partner API as data: 370 operations and the token exchange. Control: PRIV-1.
//! The facts and their source are in `catalogue.tsv`; a model of Amazon's that changes there needs
//! no change here.
use std::sync::LazyLock;

use super::operation::{Holds, Method, Operation, QueryNames, Upgrades};
use super::template::Template;
use crate::base::{Class, ClassSet, Name, closed_words};

/// Path parameters whose segments may hold any valid escape, `%2F` and double encoding included.
/// All others are ids that Amazon issues, or words it defines; those keep to the strict spelling,
/// which still takes escapes for bytes that need one.
const ENCODED: &[&str] = &[
    // Sellers choose SKUs freely, slashes included, and some inbound operations want `% + ,`
    // encoded twice.
    "sku",
    "sellerSku",
    "SellerSKU",
    // Up to 40 characters that the seller chooses.
    "sellerFulfillmentOrderId",
    // Sellers name the packages that they create.
    "packageId",
    // The path of another operation as one segment: `messaging%2Fv1%2Forders%2F…`.
    "resource",
];

/// One operation as Amazon publishes it.
#[derive(Clone, Debug)]
pub struct CatalogueOperation {
    /// `api/operation`, or `api/version/operation` where the API has it in several versions.
    pub name: Name,
    /// Always `api/version/operation`.
    pub long_name: Name,
    pub version: &'static str,
    pub method: Method,
    pub template: Template,
    /// Amazon's default usage plan, if it publishes one.
    pub rate: Option<Rate>,
    pub standing: Standing,
    /// Kinds of personal data in its answers.
    pub pii: ClassSet,
    pub secret: Option<ResponseSecret>,
}

/// A token bucket per selling partner and application.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// Requests per second; 0.0056 to 80.
    pub per_second: f64,
    /// Requests; at least 1.
    pub burst: u32,
    pub source: RateSource,
}

/// Where Amazon states a rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateSource {
    /// In the API's model.
    Model,
    /// Only in its SDK's table of fallbacks.
    Sdk,
}

/// How Amazon treats an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    flags: u8,
}

impl Standing {
    const FLAGS: &'static [u8; 4] = b"RQGD";

    fn parse(text: &str) -> Option<Self> {
        let mut flags = 0;
        for byte in text.bytes().filter(|byte| *byte != b'-') {
            flags |= 1 << Self::FLAGS.iter().position(|flag| *flag == byte)?;
        }
        Some(Self { flags })
    }

    /// Amazon asks for a Restricted Data Token.
    #[must_use]
    pub const fn is_restricted(self) -> bool {
        self.flags & 1 != 0
    }

    /// The request's query or body can carry personal data.
    #[must_use]
    pub const fn takes_pii(self) -> bool {
        self.flags & 2 != 0
    }

    /// Called for the application, not for a seller.
    #[must_use]
    pub const fn is_grantless(self) -> bool {
        self.flags & 4 != 0
    }

    #[must_use]
    pub const fn is_deprecated(self) -> bool {
        self.flags & 8 != 0
    }
}

/// Which of an SP-API upstream's two hosts answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    Api,
    /// Login with Amazon's.
    Token,
}

closed_words! {
    /// A bearer-like value in an answer; must never reach a log.
    ResponseSecret {
        RestrictedDataToken = "rdt",
        PresignedDownloadUrl = "presigned_download_url",
        PresignedUploadUrl = "presigned_upload_url",
        /// A one-time password for a delivery.
        OneTimePassword = "otp",
        LwaToken = "lwa_token",
    }
}

/// Kinds of personal data in an answer, as the table writes them.
fn personal(text: &str) -> Option<ClassSet> {
    let words = text.split(',').filter(|word| *word != "-");
    words
        .map(|word| Class::parse(word).filter(|class| class.is_personal()))
        .try_fold(ClassSet::EMPTY, |set, class| Some(set.with(class?)))
}

impl CatalogueOperation {
    /// Its API's name, such as `orders`.
    #[must_use]
    pub fn api(&self) -> &str {
        self.name.as_str().split_once('/').map_or("", |(api, _)| api)
    }

    #[must_use]
    pub fn endpoint(&self) -> Endpoint {
        if self.api() == "lwa" { Endpoint::Token } else { Endpoint::Api }
    }

    /// As the policy takes it.
    #[must_use]
    pub fn operation(&self) -> Operation {
        Operation {
            name: self.name.clone(),
            alias: Some(self.long_name.clone()),
            method: self.method,
            template: self.template.clone(),
            query: match self.endpoint() {
                Endpoint::Api => QueryNames::Any,
                // Its parameters are secrets and belong into the body (RFC 6749 §2.3.1).
                Endpoint::Token => QueryNames::Listed([].into()),
            },
            upgrades: Upgrades::Refused,
            holds: Holds::Nothing,
        }
    }

    /// One line of the file; nothing if it is malformed, which a test excludes.
    fn parse(line: &'static str) -> Option<Self> {
        let mut fields = line.split('\t');
        let mut next = || fields.next();
        let (name, version) = (next()?, next()?);
        let method = Method::parse(next()?.as_bytes())?;
        let path = next()?;
        let (per_second, burst, source) = (next()?, next()?, next()?);
        let (standing, pii, secret) = (next()?, next()?, next()?);
        if fields.next().is_some() {
            return None;
        }
        let (api, _) = name.split_once('/')?;
        let (_, operation) = name.rsplit_once('/')?;
        let encoded: Vec<_> =
            ENCODED.iter().copied().filter(|name| path.contains(&format!("{{{name}}}"))).collect();
        let rate = match source {
            "-" => None,
            "model" => Some(RateSource::Model),
            "sdk" => Some(RateSource::Sdk),
            _ => return None,
        };
        Some(Self {
            name: Name::parse(name).ok()?,
            long_name: Name::parse(&format!("{api}/{version}/{operation}")).ok()?,
            version,
            method,
            template: Template::parse(path, &encoded).ok()?,
            rate: match rate {
                None => None,
                Some(source) => Some(Rate {
                    per_second: per_second.parse().ok()?,
                    burst: burst.parse().ok()?,
                    source,
                }),
            },
            standing: Standing::parse(standing)?,
            pii: personal(pii)?,
            secret: match secret {
                "-" => None,
                word => Some(ResponseSecret::parse(word)?),
            },
        })
    }
}

static CATALOGUE: LazyLock<Vec<CatalogueOperation>> =
    LazyLock::new(|| lines().filter_map(CatalogueOperation::parse).collect());

fn lines() -> impl Iterator<Item = &'static str> {
    include_str!("catalogue.tsv").lines().filter(|line| !line.starts_with('#'))
}

/// All 370 operations and `lwa/token`, in the order of the file. Parsed at the first call.
#[must_use]
pub fn catalogue() -> &'static [CatalogueOperation] {
    &CATALOGUE
}

/// The operations whose names or template hold all words of `text`, letter case aside.
#[must_use]
pub fn search(text: &str) -> Vec<&'static CatalogueOperation> {
    let words: Vec<_> = text.split_whitespace().map(str::to_ascii_lowercase).collect();
    let holds = |operation: &&CatalogueOperation| {
        let texts =
            [operation.name.as_str(), operation.long_name.as_str(), operation.template.as_str()]
                .map(str::to_ascii_lowercase);
        words.iter().all(|word| texts.iter().any(|text| text.contains(word)))
    };
    catalogue().iter().filter(holds).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use super::*;

    fn find(name: &str) -> &'static CatalogueOperation {
        catalogue().iter().find(|operation| operation.name.as_str() == name).unwrap()
    }

    #[test]
    fn priv_1_the_catalogue_is_whole() {
        assert_eq!(catalogue().len(), 371);
        assert_eq!(lines().count(), 371, "a line of the file is malformed");
        let count = |method| catalogue().iter().filter(|o| o.method == method).count();
        let by_method =
            [Method::Get, Method::Post, Method::Put, Method::Delete, Method::Patch].map(count);
        assert_eq!(by_method, [186, 130, 37, 13, 5]);
        let versions: HashSet<_> =
            catalogue().iter().map(|o| o.long_name.as_str().rsplit_once('/').unwrap().0).collect();
        assert_eq!(versions.len(), 66 + 1);
        let with =
            |test: fn(&CatalogueOperation) -> bool| catalogue().iter().filter(|o| test(o)).count();
        assert_eq!(with(|o| o.standing.is_restricted()), 31);
        assert_eq!(with(|o| o.standing.takes_pii()), 52);
        assert_eq!(with(|o| o.standing.is_grantless()), 7 + 1);
        assert_eq!(with(|o| o.standing.is_deprecated()), 6);
        assert_eq!(with(|o| !o.pii.is_empty()), 86);
        assert_eq!(with(|o| o.secret.is_some()), 18 + 1);
        assert_eq!(with(|o| o.rate.is_none()), 70 - 64 + 1);
        assert!(
            catalogue().iter().filter_map(|o| o.rate).all(|r| r.per_second > 0.0 && r.burst > 0)
        );
    }

    #[test]
    fn a_name_is_short_where_it_can_be() {
        let mut short: HashMap<String, usize> = HashMap::new();
        let last = |o: &CatalogueOperation| {
            let text = o.long_name.as_str();
            text.rsplit_once('/').unwrap().1.trim_end_matches(".put").to_owned()
        };
        for operation in catalogue() {
            *short.entry(format!("{}/{}", operation.api(), last(operation))).or_default() += 1;
        }
        assert_eq!(short.values().filter(|count| **count > 1).count(), 23);
        for operation in catalogue() {
            let name = format!("{}/{}", operation.api(), last(operation));
            let expected = if short[&name] == 1 { name } else { operation.long_name.to_string() };
            assert_eq!(operation.name.as_str(), expected);
        }
        let names: HashSet<_> = catalogue().iter().map(|o| &o.name).collect();
        let long: HashSet<_> = catalogue().iter().map(|o| &o.long_name).collect();
        assert_eq!((names.len(), long.len()), (371, 371));
    }

    #[test]
    fn facts_of_single_operations_are_read() {
        let orders = find("orders/getOrders");
        assert_eq!(orders.long_name.as_str(), "orders/v0/getOrders");
        assert_eq!(orders.template.as_str(), "/orders/v0/orders");
        assert!(orders.standing.is_restricted() && orders.standing.takes_pii());
        assert!(orders.pii.contains(Class::Email));
        let rate = Rate { per_second: 0.0167, burst: 20, source: RateSource::Model };
        assert_eq!(orders.rate, Some(rate));
        assert_eq!(find("shipping/v2/linkCarrierAccount").method, Method::Post);
        assert_eq!(find("shipping/v2/linkCarrierAccount.put").method, Method::Put);
        let token = find("lwa/token");
        assert_eq!((token.endpoint(), token.method), (Endpoint::Token, Method::Post));
        assert_eq!(token.operation().query, QueryNames::Listed([].into()));
        let mint = find("tokens/createRestrictedDataToken");
        assert_eq!(mint.secret, Some(ResponseSecret::RestrictedDataToken));
        assert_eq!(mint.endpoint(), Endpoint::Api);
    }

    #[test]
    fn search_takes_words_in_any_order_and_case() {
        let names = |text| -> Vec<_> { search(text).iter().map(|o| o.name.as_str()).collect() };
        assert_eq!(names("orders GETORDERADDRESS"), ["orders/getOrderAddress"]);
        assert_eq!(names("orders/v0/getOrder").len(), 7);
        assert!(names("no such operation").is_empty());
        assert_eq!(names("").len(), 371);
    }
}
