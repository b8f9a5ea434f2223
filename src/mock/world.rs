//! The invented shop: orders and stock, the same for the same seed. Field names are Amazon's.
use serde_json::{Value, json};

use super::people::Person;

pub(super) const MARKETPLACE: &str = "A1VC38T7YXB528";

/// The second half of splitmix64: spreads a counter over 64 bits.
pub(super) const fn mix(n: u64) -> u64 {
    let n = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}

#[derive(Clone, Copy, Debug)]
pub(super) struct World {
    seed: u64,
    orders: u32,
}

impl World {
    pub(super) const fn new(seed: u64, orders: u32) -> Self {
        Self { seed, orders }
    }

    pub(super) fn orders(self) -> impl Iterator<Item = Order> {
        (0..self.orders).map(move |n| self.order(n))
    }

    pub(super) fn find(self, id: &str) -> Option<Order> {
        let n = id.rsplit('-').next()?.parse().ok()?;
        (n < self.orders).then(|| self.order(n)).filter(|order| order.id() == id)
    }

    fn order(self, n: u32) -> Order {
        let dice = mix(self.seed ^ mix(u64::from(n)));
        Order { n: u64::from(n), dice, buyer: Person::buyer(dice), seller: Person::seller() }
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Order {
    n: u64,
    dice: u64,
    buyer: Person,
    seller: Person,
}

impl Order {
    /// In Amazon's form, 3-7-7 digits.
    pub(super) fn id(&self) -> String {
        format!("902-{:07}-{:07}", self.dice % 10_000_000, self.n)
    }

    pub(super) const fn buyer(&self) -> &Person {
        &self.buyer
    }

    pub(super) fn created(&self) -> String {
        let (month, day) = (1 + (self.n / 672) % 12, 1 + (self.n / 24) % 28);
        format!("2026-{month:02}-{day:02}T{:02}:00:00Z", self.n % 24)
    }

    fn money(&self) -> Value {
        json!({ "CurrencyCode": "JPY", "Amount": format!("{}", 500 + self.dice % 20_000) })
    }

    fn amount(&self) -> Value {
        json!({ "currencyCode": "JPY", "amount": format!("{}", 500 + self.dice % 20_000) })
    }

    pub(super) fn v0(&self) -> Value {
        let [acquirer, card, authorization] = self.buyer.payment;
        json!({
            "AmazonOrderId": self.id(),
            "SellerOrderId": self.id(),
            "PurchaseDate": self.created(),
            "LastUpdateDate": self.created(),
            "OrderStatus": "Unshipped",
            "FulfillmentChannel": "MFN",
            "SalesChannel": "Amazon.co.jp",
            "ShipServiceLevel": "Std JP Dom",
            "OrderTotal": self.money(),
            "NumberOfItemsShipped": 0,
            "NumberOfItemsUnshipped": 1 + self.dice % 3,
            "PaymentExecutionDetail": [{
                "Payment": self.money(), "PaymentMethod": "CreditCard", "AcquirerId": acquirer,
                "CardBrand": card, "AuthorizationCode": authorization,
            }],
            "PaymentMethod": "Other",
            "PaymentMethodDetails": ["CreditCard"],
            "MarketplaceId": MARKETPLACE,
            "ShipmentServiceLevelCategory": "Standard",
            "OrderType": "StandardOrder",
            "EarliestShipDate": self.created(),
            "LatestShipDate": self.created(),
            "IsBusinessOrder": self.dice.is_multiple_of(5),
            "IsPrime": false,
            "IsPremiumOrder": false,
            "IsReplacementOrder": false,
            "IsSoldByAB": false,
            "IsISPU": false,
            "DefaultShipFromLocationAddress": address_v0(&self.seller),
            "BuyerTaxInformation": {
                "BuyerLegalCompanyName": self.buyer.legal_name,
                "BuyerBusinessAddress": self.buyer.lines.first(),
                "BuyerTaxRegistrationId": self.buyer.tax_id,
                "BuyerTaxOffice": self.buyer.tax_office,
            },
            "ShippingAddress": address_v0(&self.buyer),
            "BuyerInfo": self.buyer_info(),
            "HasRegulatedItems": false,
        })
    }

    pub(super) fn buyer_info(&self) -> Value {
        json!({
            "BuyerEmail": self.buyer.email,
            "BuyerName": self.buyer.name,
            "BuyerCounty": self.buyer.county,
            "BuyerTaxInfo": {
                "CompanyLegalName": self.buyer.legal_name,
                "TaxingRegion": "JP",
                "TaxClassifications": [{ "Name": "VATNumber", "Value": self.buyer.tax_id }],
            },
            "PurchaseOrderNumber": self.buyer.purchase_order,
        })
    }

    pub(super) fn address(&self) -> Value {
        json!({
            "AmazonOrderId": self.id(),
            "BuyerCompanyName": self.buyer.company,
            "ShippingAddress": address_v0(&self.buyer),
            "DeliveryPreferences": {
                "DropOffLocation": self.buyer.drop_off,
                "AddressInstructions": self.buyer.instruction,
            },
        })
    }

    pub(super) fn item_id(&self) -> String {
        format!("{:014}", self.dice % 100_000_000_000_000)
    }

    fn item_buyer(&self) -> Value {
        json!({
            "BuyerCustomizedInfo": { "CustomizedURL": self.buyer.customized_url },
            "GiftWrapPrice": { "CurrencyCode": "JPY", "Amount": "300" },
            "GiftMessageText": self.buyer.gift_message,
            "GiftWrapLevel": "Classic",
        })
    }

    pub(super) fn item(&self) -> Value {
        json!({
            "ASIN": format!("B0MOCK{:04}", self.dice % 10_000),
            "SellerSKU": format!("SKU-{:04}", self.dice % 10_000),
            "OrderItemId": self.item_id(),
            "Title": "Paper lantern, small",
            "QuantityOrdered": 1 + self.dice % 3,
            "QuantityShipped": 0,
            "ItemPrice": self.money(),
            "IsGift": "true",
            "ConditionId": "New",
            "SerialNumberRequired": false,
            "IsTransparency": false,
            "BuyerInfo": self.item_buyer(),
            "BuyerRequestedCancel": {
                "IsBuyerRequestedCancel": "true",
                "BuyerCancelReason": self.buyer.cancel_reason,
            },
        })
    }

    pub(super) fn item_buyer_info(&self) -> Value {
        let mut item = self.item_buyer();
        if let Some(fields) = item.as_object_mut() {
            fields.insert("OrderItemId".to_owned(), json!(self.item_id()));
        }
        item
    }

    /// The 2026-01-01 form.
    pub(super) fn v2026(&self) -> Value {
        let buyer = &self.buyer;
        let [acquirer, card, authorization] = buyer.payment;
        json!({
            "orderId": self.id(),
            "createdTime": self.created(),
            "lastUpdatedTime": self.created(),
            "programs": [],
            "salesChannel": {
                "channelName": "AMAZON", "marketplaceId": MARKETPLACE,
                "marketplaceName": "Amazon.co.jp",
            },
            "buyer": {
                "buyerName": buyer.name, "buyerEmail": buyer.email,
                "buyerCompanyName": buyer.company,
                "buyerPurchaseOrderNumber": buyer.purchase_order,
            },
            "recipient": {
                "deliveryAddress": address_2026(buyer),
                "deliveryPreference": {
                    "dropOffLocation": buyer.drop_off, "addressInstruction": buyer.instruction,
                },
            },
            "proceeds": { "grandTotal": self.amount() },
            "payment": { "paymentExecutions": [{
                "paymentMethod": "CREDIT_CARD", "paymentAmount": self.amount(),
                "acquirerId": acquirer, "cardBrand": card, "authorizationCode": authorization,
            }] },
            "tax": { "taxRegistrations": [{
                "entityType": "BUYER", "legalName": buyer.legal_name,
                "taxRegistrationType": "VAT", "taxRegistrationNumber": buyer.tax_id,
                "taxRegistrationAddress": address_2026(buyer),
            }] },
            "fulfillment": { "fulfillmentStatus": "UNSHIPPED", "fulfilledBy": "MERCHANT" },
            "orderItems": [self.item_2026()],
            "packages": [{
                "packageReferenceId": "1", "createdTime": self.created(),
                "packageStatus": { "status": "PENDING" },
                "shipFromAddress": ship_from_2026(&self.seller),
                "packageItems": [{ "orderItemId": self.item_id(), "quantity": 1 }],
            }],
        })
    }

    fn item_2026(&self) -> Value {
        json!({
            "orderItemId": self.item_id(),
            "quantityOrdered": 1,
            "product": {
                "asin": format!("B0MOCK{:04}", self.dice % 10_000),
                "title": "Paper lantern, small",
                "sellerSku": format!("SKU-{:04}", self.dice % 10_000),
                "price": { "unitPrice": self.amount() },
                "customization": { "customizedUrl": self.buyer.customized_url },
            },
            "cancellation": { "cancellationRequest": {
                "requester": "BUYER", "cancelReason": self.buyer.cancel_reason,
            } },
            "fulfillment": {
                "quantityFulfilled": 0, "quantityUnfulfilled": 1,
                "packing": { "giftOption": {
                    "giftMessage": self.buyer.gift_message, "giftWrapLevel": "CLASSIC",
                } },
            },
        })
    }
}

fn address_v0(person: &Person) -> Value {
    let [line1, line2, line3] = person.lines;
    let [street, number] = person.street;
    let [latitude, longitude] = person.position.map(|text| text.parse::<f64>().unwrap_or_default());
    json!({
        "Name": person.name,
        "CompanyName": person.company,
        "AddressLine1": line1,
        "AddressLine2": line2,
        "AddressLine3": line3,
        "City": person.city,
        "County": person.county,
        "District": person.district,
        "StateOrRegion": person.state,
        "Municipality": person.municipality,
        "PostalCode": person.postal_code,
        "CountryCode": "JP",
        "Phone": person.phone,
        "ExtendedFields": {
            "StreetName": street, "StreetNumber": number, "Complement": person.complement,
            "Neighborhood": person.neighborhood,
            "GeoCoordinates": { "Latitude": latitude, "Longitude": longitude },
        },
        "AddressType": "Residential",
    })
}

fn address_2026(person: &Person) -> Value {
    let [line1, line2, line3] = person.lines;
    let [street, number] = person.street;
    json!({
        "name": person.name,
        "companyName": person.company,
        "addressLine1": line1,
        "addressLine2": line2,
        "addressLine3": line3,
        "city": person.city,
        "districtOrCounty": person.district,
        "stateOrRegion": person.state,
        "municipality": person.municipality,
        "postalCode": person.postal_code,
        "countryCode": "JP",
        "phone": person.phone,
        "extendedFields": {
            "streetName": street, "streetNumber": number, "complement": person.complement,
            "neighborhood": person.neighborhood,
        },
        "addressType": "RESIDENTIAL",
    })
}

/// The model gives a sender no telephone, no company and no extended fields.
fn ship_from_2026(person: &Person) -> Value {
    let mut address = address_2026(person);
    if let Some(fields) = address.as_object_mut() {
        for absent in ["companyName", "phone", "extendedFields", "addressType"] {
            fields.remove(absent);
        }
    }
    address
}
