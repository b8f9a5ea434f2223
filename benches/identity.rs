//! What it costs to learn who is calling, with 10,000 identities registered.
//! `cargo bench --bench identity`
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a benchmark that can't set itself up has to stop"
)]
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use divan::{Bencher, black_box};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{EncodingKey, Header};
use rcgen::{CertificateParams, KeyPair, SanType};
use sekisho::base::{Moment, Name, Secret};
use sekisho::identity::{
    Algorithm, Basic, Binding, CertificateCredential, ClaimValue, IdentitySpec, IssuerSpec, KeySet,
    KeySets, NotBefore, PeerCertificate, Presented, Standing, StrongLogin, TokenCache,
    TokenCredential, Trust, TrustSpec, parse_token, presented, prove,
};

/// Counts allocations: what is remembered costs none.
#[global_allocator]
static ALLOCATOR: divan::AllocProfiler = divan::AllocProfiler::system();

const IDENTITIES: usize = 10_000;
const ISS: &str = "https://login.example.com/";
const NOW: u64 = 1_772_323_200;

fn main() {
    LazyLock::force(&WORLD);
    divan::main();
}

static WORLD: LazyLock<World> = LazyLock::new(World::new);

struct World {
    trust: Trust,
    keys: KeySets,
    token: Vec<u8>,
    header: Vec<u8>,
    bound: Vec<u8>,
    peer: PeerCertificate,
    /// Names nobody; the bound token is bound to it.
    laptop: PeerCertificate,
    now: Moment,
}

impl World {
    fn new() -> Self {
        let pem = KeyPair::generate().expect("key").serialize_pem();
        let signing = EncodingKey::from_ec_pem(pem.as_bytes()).expect("pem");
        let mut jwk =
            Jwk::from_encoding_key(&signing, jsonwebtoken::Algorithm::ES256).expect("jwk");
        jwk.common.key_id = Some("k1".into());
        let jwks = serde_json::json!({ "keys": [jwk] }).to_string();
        let keys = KeySet::parse(jwks.as_bytes()).expect("key set");

        let peer = certificate_of("service-5000");
        let laptop = certificate_of("laptop");

        let thumbprint = base64url(laptop.sha256());
        let sign = |padding: usize, cnf: Option<&str>| {
            let mut claims = serde_json::json!({
                "iss": ISS, "sub": "service-6000", "aud": "sekisho", "tenant": "acme",
                "iat": NOW - 60, "nbf": NOW - 60, "exp": NOW + 600,
                "scope": "x".repeat(padding),
            });
            if let Some(thumbprint) = cnf {
                claims["cnf"] = serde_json::json!({ "x5t#S256": thumbprint });
            }
            let header =
                Header { kid: Some("k1".into()), ..Header::new(jsonwebtoken::Algorithm::ES256) };
            jsonwebtoken::encode(&header, &claims, &signing).expect("token").into_bytes()
        };
        let token = sign(344, None);
        assert!((796..=804).contains(&token.len()), "{} bytes", token.len());
        let header = [b"Bearer ".as_slice(), &token].concat();
        Self {
            trust: trust(),
            keys: KeySets::new([(ISS.into(), Some(Arc::new(keys)))]),
            bound: sign(260, Some(&thumbprint)),
            token,
            header,
            peer,
            laptop,
            now: Moment::new(NOW * 1_000, 1),
        }
    }
}

/// A certificate with a URI and a DNS name, as meshes issue them.
fn certificate_of(of: &str) -> PeerCertificate {
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![
        SanType::URI(format!("spiffe://example.com/{of}").try_into().expect("uri")),
        SanType::DnsName(format!("{of}.example.com").try_into().expect("dns")),
    ];
    let key = KeyPair::generate().expect("key");
    let certificate = params.self_signed(&key).expect("certificate");
    PeerCertificate::parse(certificate.der()).expect("peer")
}

/// Even ones by certificate, odd ones by token; service-6000 by token for the bench.
fn trust() -> Trust {
    let name = |text: &str| Name::parse(text).expect("name");
    let identities = (0..IDENTITIES).map(|n| {
        let own = format!("service-{n}");
        let by_certificate = n % 2 == 0 && n != 6_000;
        IdentitySpec {
            name: name(&own),
            environment: name("production"),
            certificates: by_certificate
                .then(|| CertificateCredential::SanUri(format!("spiffe://example.com/{own}")))
                .into_iter()
                .collect(),
            token: (!by_certificate).then(|| TokenCredential {
                issuer: name("corp"),
                subject: own,
                binding: Binding::Bearer,
            }),
            standing: Standing::Active,
            expires: None,
        }
    });
    let issuer = IssuerSpec {
        name: name("corp"),
        iss: ISS.to_owned(),
        audiences: vec!["sekisho".to_owned()],
        algorithms: vec![Algorithm::Es256],
        clock_skew: Duration::from_secs(30),
        not_before: NotBefore::Required,
        environment: name("production"),
        environment_claim: None,
        required_claims: vec![("tenant".to_owned(), ClaimValue::Text("acme".to_owned()))],
        subject_claim: "sub".to_owned(),
    };
    Trust::build(TrustSpec {
        environment: name("production"),
        generation: 1,
        token_bytes_max: 8 * 1024,
        strong: StrongLogin::default(),
        issuers: vec![issuer],
        identities: identities.collect(),
    })
    .expect("trust")
}

fn cache() -> TokenCache {
    TokenCache::new(&Secret::new([7; 32]), TokenCache::ENTRIES_DEFAULT)
}

fn base64url(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut out = String::new();
    for group in bytes.chunks(3) {
        let mut padded = [0; 4];
        padded[1..=group.len()].copy_from_slice(group);
        let bits = u32::from_be_bytes(padded);
        for place in 0..=group.len() {
            out.push(char::from(ALPHABET[(bits >> (18 - 6 * place)) as usize & 63]));
        }
    }
    out
}

#[divan::bench]
fn token_800_bytes_remembered(bencher: Bencher<'_, '_>) {
    let (world, cache) = (&*WORLD, cache());
    let run = || {
        let token = presented([black_box(&*world.header)], Some("Bearer"), Basic::Refused);
        prove(None, token, &world.trust, &world.keys, &cache, world.now)
    };
    assert!(run().is_ok());
    bencher.bench_local(run);
}

#[divan::bench]
fn bound_token_remembered(bencher: Bencher<'_, '_>) {
    let (world, cache) = (&*WORLD, cache());
    let run = || {
        let token = Presented::Bearer(black_box(&world.bound));
        prove(Some(&world.laptop), token, &world.trust, &world.keys, &cache, world.now)
    };
    assert!(run().is_ok());
    bencher.bench_local(run);
}

#[divan::bench]
fn token_800_bytes_first_time(bencher: Bencher<'_, '_>) {
    let world = &*WORLD;
    // One entry per shard and a fresh cache for each batch: nothing is ever remembered.
    bencher.with_inputs(|| TokenCache::new(&Secret::new([7; 32]), 64)).bench_refs(|cache| {
        let token = Presented::Bearer(black_box(&world.token));
        assert!(prove(None, token, &world.trust, &world.keys, cache, world.now).is_ok());
    });
}

#[divan::bench]
fn token_800_bytes_parsed_only(bencher: Bencher<'_, '_>) {
    let world = &*WORLD;
    bencher.bench_local(|| assert!(parse_token(black_box(&world.token), 8_192).is_ok()));
}

#[divan::bench]
fn certificate(bencher: Bencher<'_, '_>) {
    let (world, cache) = (&*WORLD, cache());
    let run = || {
        let peer = Some(black_box(&world.peer));
        prove(peer, Presented::None, &world.trust, &world.keys, &cache, world.now)
    };
    assert!(run().is_ok());
    bencher.bench_local(run);
}
