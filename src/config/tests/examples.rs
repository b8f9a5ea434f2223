//! Every file in `conf/` is right.
use std::path::{Path, PathBuf};

use super::support::{TODAY, World, pki};
use crate::config::{ConfigError, load_from};

const JWKS: &str = r#"{"keys":[{"kty":"EC","crv":"P-256","kid":"1","use":"sig","alg":"ES256",
    "x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}"#;

fn files(directory: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files(&path, into) } else { into.push(path) }
    }
}

/// The files of `conf/` as they are; whatever they refer to beyond that is made up.
fn example(name: &str) -> Vec<ConfigError> {
    let root = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/conf"));
    let mut world = World::default();
    let mut paths = Vec::new();
    files(&root, &mut paths);
    for path in paths {
        let content = std::fs::read(&path).unwrap();
        world.files.insert(path, content);
    }
    for directory in ["tls", "../certs-dev", "platform/tls"] {
        for stem in ["server", "gateway", "spapi", "to-warehouse"] {
            let at = root.join(directory).join(stem);
            world.files.insert(at.with_extension("pem"), pki().certificate.clone().into());
            world.files.insert(at.with_extension("key"), pki().key.clone().into());
        }
        for stem in ["ca", "clients-ca", "warehouse-ca", "internal-ca"] {
            let at = root.join(directory).join(stem).with_extension("pem");
            world.files.insert(at, pki().ca.clone().into());
        }
    }
    for jwks in ["../certs-dev/tokens/signing.jwks", "platform/keys/corp.jwks"] {
        world.files.insert(root.join(jwks), JWKS.into());
    }
    let secret = root.join("platform/secrets/alarm-webhook");
    world.files.insert(secret, "0123456789abcdef0123456789abcdef\n".into());
    let loaded = load_from(&world, &root.join(name), 1, TODAY);
    loaded.unwrap_or_else(|errors| panic!("{errors}")).warnings
}

#[test]
fn the_examples_are_right() {
    assert_eq!(example("edge.toml"), []);
    assert_eq!(example("shop.toml"), []);
    assert_eq!(example("platform/sekisho.toml"), []);
    let developer = example("developer.toml");
    let [warning] = developer.as_slice() else { panic!("{developer:?}") };
    assert!(warning.found.contains("no day is set for the access review"), "{warning:?}");
}
