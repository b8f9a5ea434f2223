//! `[state]`: the file in the state directory needs no word; a server that gateways share needs a
//! number, an authority and two secrets (ACC-2, TLS-1, TLS-2, PRIV-4, PRIV-5).
use rustls_pki_types::ServerName;

use super::Ctx;
use crate::base::{ControlId, Secret};
use crate::config::raw::value::quoted;
use crate::config::raw::{RawRedis, RawState};
use crate::config::read::Entry;
use crate::config::settings::{AuthoritiesOf, RedisSettings, SecretOf, StateSettings};

/// The longest password.
const PASSWORD_MAX: usize = 1_024;

impl Ctx<'_> {
    pub(super) fn state(&mut self) -> Option<StateSettings> {
        let Some(entry) = &self.document.state else {
            return Some(StateSettings { gateway: 1, redis: None });
        };
        let gateway = entry.raw.gateway.as_ref().map(|gateway| gateway.value);
        let Some(redis) = &entry.raw.redis else {
            return (!entry.lost("redis"))
                .then(|| StateSettings { gateway: gateway.unwrap_or(1), redis: None });
        };
        if gateway.is_none() && !entry.lost("gateway") {
            let found = "`gateway` is missing beside `redis`";
            let instead = "add gateway = 1, and another number on each gateway that shares it";
            self.report.error(&entry.at(&redis.span), ControlId::Acc2, found, instead);
        }
        let redis = self.redis(entry, &redis.value);
        Some(StateSettings { gateway: gateway?, redis: Some(redis?) })
    }

    fn redis(&mut self, entry: &Entry<RawState>, raw: &RawRedis) -> Option<RedisSettings> {
        let ca_at = entry.at(&raw.ca.span);
        let whose = AuthoritiesOf::Redis;
        let authorities = self.authorities(&raw.ca.value, &ca_at, ControlId::Tls2, whose);
        let client_certificate = match &raw.client_certificate {
            None => Some(None),
            Some(certified) => {
                let before = self.before.and_then(|before| before.state.redis.as_ref());
                let known = before.and_then(|redis| redis.client_certificate.as_ref());
                self.client_certificate(entry, &certified.value, known).map(Some)
            }
        };
        let server_name = match &raw.server_name {
            None => raw.address.host.clone(),
            Some(name) => name.value.0.clone(),
        };
        if ServerName::try_from(server_name.clone()).is_err() {
            let span = raw.server_name.as_ref().map_or(0..0, |name| name.span.clone());
            let found = format!("{} is no single name", quoted(&server_name));
            self.report.error(
                &entry.at(&span),
                ControlId::Tls2,
                found,
                "write the name that the server's certificate holds",
            );
        }
        let password = self.password(entry, raw);
        let secret = self.shared_secret(entry, raw);
        Some(RedisSettings {
            host: raw.address.host.clone(),
            port: raw.address.port,
            server_name,
            authorities: authorities?,
            client_certificate: client_certificate?,
            user: raw.user.0.as_str().to_owned(),
            password: password?,
            secret: secret?,
            time_out: raw.time_out.0,
            poll: raw.poll.0,
        })
    }

    fn password(&mut self, entry: &Entry<RawState>, raw: &RawRedis) -> Option<Secret<String>> {
        let place = entry.at(&raw.password.span);
        let bytes = self.secret(&raw.password.value, &place)?;
        self.ages(SecretOf::RedisPassword, &raw.password.value, &place);
        let text = std::str::from_utf8(&bytes).ok().map(|text| text.trim_end_matches(['\r', '\n']));
        let usable = |text: &&str| {
            !text.is_empty() && text.len() <= PASSWORD_MAX && !text.chars().any(char::is_control)
        };
        let Some(text) = text.filter(usable) else {
            let found = "no password can be read there";
            let instead = "give one line of text, at most 1,024 bytes";
            self.report.error(&place, ControlId::Priv4, found, instead);
            return None;
        };
        Some(Secret::new(text.to_owned()))
    }

    fn shared_secret(
        &mut self,
        entry: &Entry<RawState>,
        raw: &RawRedis,
    ) -> Option<Secret<[u8; 32]>> {
        let place = entry.at(&raw.secret.span);
        let bytes = self.secret(&raw.secret.value, &place)?;
        self.ages(SecretOf::RedisSecret, &raw.secret.value, &place);
        let Some(key) = key_of(&bytes) else {
            let found = "the shared secret is not 32 bytes or 64 hexadecimal digits";
            let instead = "make one: openssl rand -hex 32; it is the same on every gateway";
            self.report.error(&place, ControlId::Priv5, found, instead);
            return None;
        };
        Some(Secret::new(key))
    }
}

/// 32 bytes as they are, or in hexadecimal with a line's end behind them.
fn key_of(bytes: &[u8]) -> Option<[u8; 32]> {
    if let Ok(key) = bytes.try_into() {
        return Some(key);
    }
    let text = std::str::from_utf8(bytes).ok()?.trim_end_matches(['\r', '\n']);
    let mut key = [0; 32];
    if text.len() != 64 {
        return None;
    }
    for (to, pair) in key.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let mut digits = pair.iter().map(|digit| char::from(*digit).to_digit(16));
        let (high, low) = (digits.next()??, digits.next()??);
        *to = u8::try_from(high << 4 | low).ok()?;
    }
    Some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shared_secret_has_32_bytes_in_one_of_two_forms() {
        assert_eq!(key_of(&[7; 32]), Some([7; 32]));
        let hex = "0aFf".repeat(16);
        let key = key_of(format!("{hex}\n").as_bytes()).unwrap();
        assert_eq!(key[..4], [0x0a, 0xff, 0x0a, 0xff]);
        for bad in [&[7; 31][..], &[7; 33], b"", &hex.as_bytes()[..62], "0g".repeat(32).as_bytes()]
        {
            assert_eq!(key_of(bad), None);
        }
    }
}
