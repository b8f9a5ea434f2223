//! The control catalogue's ids. They are part of the product: errors, alarms, records, metrics and
//! reports name the control that they serve.
use std::fmt;

macro_rules! controls {
    ($($id:ident = $text:literal, $title:literal;)*) => {
        /// One control of the catalogue.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum ControlId { $(#[doc = $title] $id,)* }

        impl ControlId {
            pub const ALL: &'static [Self] = &[$(Self::$id,)*];

            /// The id as written in the policy, such as `NET-1`.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$id => $text,)* }
            }

            /// What the control asks for, in a few words.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $(Self::$id => $title,)* }
            }
        }
    };
}

controls! {
    Net1 = "NET-1", "Addresses that are not allowed are refused before TLS starts";
    Net2 = "NET-2", "A permitted address is necessary, never sufficient";
    Net3 = "NET-3", "The real client address behind trusted balancers only";
    Acc1 = "ACC-1", "One identity per person or service";
    Acc2 = "ACC-2", "Anomalous use is detected and the account locked";
    Acc3 = "ACC-3", "Access is reviewed; leavers are revoked at once";
    Acc4 = "ACC-4", "Multi-factor authentication for people and important operations";
    Acc5 = "ACC-5", "Emergency lock on request";
    Tls1 = "TLS-1", "TLS on every listener and to every upstream";
    Tls2 = "TLS-2", "Upstream certificates are always verified";
    Tls3 = "TLS-3", "TLS ends only on trusted hosts";
    Tls4 = "TLS-4", "Message-level encryption past an untrusted hop";
    Tls5 = "TLS-5", "Keys are rotated";
    Priv1 = "PRIV-1", "Only operations that a role grants";
    Priv2 = "PRIV-2", "Need-to-know inside a response";
    Priv3 = "PRIV-3", "Operating the gateway under least privilege";
    Priv4 = "PRIV-4", "Amazon credentials stay in the gateway";
    Priv5 = "PRIV-5", "Test and production are isolated";
    Log1 = "LOG-1", "Every security event is logged";
    Log2 = "LOG-2", "No personal data in any log, metric or error";
    Log3 = "LOG-3", "The log is tamper-evident";
    Log4 = "LOG-4", "Logs are kept as long as the policy asks";
    Log5 = "LOG-5", "An access history can be extracted";
    Log6 = "LOG-6", "Integrity of business-critical steps";
    Mon1 = "MON-1", "Multiple unauthorised calls";
    Mon2 = "MON-2", "Unexpected request rate";
    Mon3 = "MON-3", "Unexpected data retrieval volume";
    Mon4 = "MON-4", "Access to canary records";
    Mon5 = "MON-5", "Intrusion attempts and malformed protocol";
    Mon6 = "MON-6", "Repeated login failures from unknown addresses";
    Mon7 = "MON-7", "Alarms reach people";
    Mon8 = "MON-8", "Every detector explains itself";
    Inc1 = "INC-1", "An alarm opens an incident with a clock";
    Inc2 = "INC-2", "Evidence bundle";
    Inc3 = "INC-3", "Draft notification";
    Ret1 = "RET-1", "Personal data is withheld past its permitted age";
    Ret2 = "RET-2", "Deletion requests";
    Rec1 = "REC-1", "Daily encrypted backup";
    Rec2 = "REC-2", "Restore is tested";
    Rec3 = "REC-3", "Ledger of backups, deletions, drills";
    Aud1 = "AUD-1", "Control report";
    Aud2 = "AUD-2", "Record of processing";
    Aud3 = "AUD-3", "Signed attestation";
}

impl fmt::Display for ControlId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
