//! What it costs to decide by a hello whether a connection is passed on (TLS-3). Goal: below 5 µs.
//! `cargo bench --bench hello`
#![expect(clippy::unwrap_used, clippy::panic, reason = "a bench may stop")]
use std::sync::Arc;
use std::time::Duration;

use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use sekisho::base::Name;
use sekisho::config::{Nameless, PassProxy, PassSettings, PassTable, Way};
use sekisho::listen::hello::{HELLO_BYTES_MAX, HelloReader, HelloStep};

fn main() {
    divan::main();
}

/// What rustls says first, with keys that withstand quantum computers: some 1.4 KiB.
fn hello() -> Vec<u8> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let name = rustls_pki_types::ServerName::try_from("host-777.apps.example.com").unwrap();
    let mut client = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).unwrap();
    bytes
}

/// A thousand names, and a wildcard.
fn table() -> PassTable {
    let server_names = (0..1_000).map(|n| format!("host-{n}.apps.example.com"));
    let route = PassSettings {
        name: Name::parse("apps").unwrap(),
        server_names: server_names.chain(["*.spapi.example.com".to_owned()]).collect(),
        nameless: Nameless::Elsewhere,
        targets: Vec::new(),
        proxy: PassProxy::V2,
        connect_timeout: Duration::from_secs(3),
        check: Duration::from_secs(5),
        failures: 3,
        idle: Duration::from_secs(300),
        connections: 10_000,
    };
    PassTable::new(vec![route], std::iter::empty())
}

/// From the bytes of one read to the route.
#[divan::bench]
fn decision(bencher: Bencher<'_, '_>) {
    let (hello, table) = (hello(), table());
    bencher.counter(BytesCount::of_slice(&hello)).bench_local(|| {
        let step = HelloReader::new().feed(black_box(&hello));
        let Ok(HelloStep::Done { server_name }) = step else { panic!("{step:?}") };
        assert_eq!(table.way(server_name.as_deref(), false), Way::Pass(0));
    });
}

/// The same in packets of so many bytes.
#[divan::bench(args = [1, 100])]
fn decision_torn(bencher: Bencher<'_, '_>, size: usize) {
    let hello = hello();
    bencher.counter(BytesCount::of_slice(&hello)).bench_local(|| {
        let mut reader = HelloReader::new();
        for piece in black_box(&hello).chunks(size) {
            assert!(reader.feed(piece).is_ok());
        }
    });
}

/// The worst that a stranger can send: records of one byte, byte by byte, as long as it is taken.
#[divan::bench]
fn longest_in_single_bytes(bencher: Bencher<'_, '_>) {
    let message = [&[1, 0, 0xff, 0xff][..], &[0; 11_000]].concat();
    let bytes: Vec<u8> = message.iter().flat_map(|byte| [22, 3, 1, 0, 1, *byte]).collect();
    bencher.counter(BytesCount::new(HELLO_BYTES_MAX)).bench_local(|| {
        let mut reader = HelloReader::new();
        assert!(black_box(&bytes).chunks(1).any(|byte| reader.feed(byte).is_err()));
    });
}
