//! Every file in `conf/` is right.
use std::path::{Path, PathBuf};

use super::support::{TODAY, World, claims, host_key, issuer, pki, sealed, world as world_of};
use crate::base::Name;
use crate::config::{ConfigError, load_from};
use crate::permit::Claims;

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
            world.files.insert(at.with_extension("key.sealed"), sealed(&pki().key).into());
        }
        for stem in ["ca", "clients-ca", "warehouse-ca", "internal-ca"] {
            let at = root.join(directory).join(stem).with_extension("pem");
            world.files.insert(at, pki().ca.clone().into());
        }
    }
    for jwks in ["../certs-dev/tokens/signing.jwks", "platform/keys/corp.jwks"] {
        world.files.insert(root.join(jwks), JWKS.into());
    }
    let environment = if name == "developer.toml" { "development" } else { "production" };
    let claims = Claims { environment: Name::parse(environment).unwrap(), ..claims() };
    let machine = world_of("").files[Path::new("/etc/machine-id")].clone();
    for directory in ["permit", "platform/permit", "../certs-dev/permit"] {
        let at = root.join(directory);
        world.files.insert(at.join("host.permit"), issuer().sign(&claims).into());
        for key in ["platform.pub", "issuer.pub"] {
            world.files.insert(at.join(key), issuer().public().to_string().into());
        }
        world.files.insert(at.join("machine-id"), machine.clone());
        world.files.insert(at.join("host.key"), host_key().to_pem().as_bytes().to_vec());
        world.files.insert(at.join("server.key.sealed"), sealed(&pki().key).into());
    }
    world.files.insert("/etc/machine-id".into(), machine);
    let own = PathBuf::from("/var/lib/sekisho/host.key");
    world.files.insert(own, host_key().to_pem().as_bytes().to_vec());
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
