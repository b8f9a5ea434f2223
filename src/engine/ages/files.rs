//! Files that can't be used, and of which something else is made than a certificate or a list (TLS-5).
use super::{AgedKind, List, Owner};
use crate::config::{AuthoritiesOf, FileOf, OnDisk, Snapshot};

impl List {
    /// Authorities are there with their dates; of what else is made of files nothing ages.
    pub(super) fn unusable_files(&mut self, snapshot: &Snapshot) {
        for own in snapshot.files.iter().filter(|own| own.on_disk == OnDisk::Unusable) {
            match &own.of {
                FileOf::Authorities(of, _) => self.unusable_authorities(of),
                FileOf::Network(ix) => {
                    let whose = (Owner::Gateway, snapshot.names.network(*ix));
                    self.push(AgedKind::Network, whose, (None, None));
                    self.found(OnDisk::Unusable);
                }
                FileOf::Denied => {
                    self.push(AgedKind::DeniedTokens, (Owner::Gateway, None), (None, None));
                    self.found(OnDisk::Unusable);
                }
            }
        }
    }

    fn unusable_authorities(&mut self, of: &AuthoritiesOf) {
        let (owner, name) = match of {
            AuthoritiesOf::Listener(name) => (Owner::Listener, Some(name)),
            AuthoritiesOf::Upstream(name) => (Owner::Upstream, Some(name)),
            AuthoritiesOf::Issuer(name) => (Owner::Issuer, Some(name)),
            AuthoritiesOf::Alarm(name) => (Owner::Alarm, Some(name)),
            AuthoritiesOf::Api => (Owner::Api, None),
            AuthoritiesOf::Redis => (Owner::Redis, None),
        };
        let key = (AgedKind::Authority, owner, name);
        for aged in &mut self.all {
            if (aged.kind, aged.owner, aged.name.as_ref()) == key {
                aged.on_disk = OnDisk::Unusable;
            }
        }
    }
}
