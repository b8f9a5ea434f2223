//! What is still being written is not read because another file has come to rest.
use std::sync::Arc;

use sekisho::cli::watch::Watched;
use sekisho::config::OnDisk;

use super::{generation, status};
use crate::support::{Plan, World};

#[tokio::test(flavor = "multi_thread")]
async fn acc_3_a_list_that_is_being_written_cuts_nobody_and_lets_nobody_in() {
    let plan = Plan::default()
        .fill("token", "denied = { file = \"denied.jti\" }")
        .replace("loopback = [\"127.0.0.0/8\", \"::1\"]", "loopback = { file = \"networks.txt\" }")
        .file("denied.jti", "stolen\n")
        .file("networks.txt", "::1\n127.0.0.0/8\n");
    let world = World::with(plan).await;
    let watched = Arc::new(Watched::default());
    world.gateway.follow(&world.dir.join("sekisho.toml"), &watched);
    assert!(world.reload_as_it_is().await);
    let (good, stolen) = (world.token("analyst"), token(&world));
    let open = world.nobody().connect(world.address()).await.unwrap();
    let opens =
        async |token| status(&world.nobody().connect(world.address()).await.unwrap(), token).await;
    assert_eq!((status(&open, &good).await, opens(&stolen).await), (200, 401));

    let write = |name: &str, text: &str| std::fs::write(world.dir.join(name), text).unwrap();
    let text = std::fs::read_to_string(world.dir.join("sekisho.toml")).unwrap();
    write("sekisho.toml", &format!("{text}\n"));
    for half in ["", "# of today\n"] {
        assert_eq!((generation(&world), watched.settled()), (2, false), "{half:?}");
        write("denied.jti", half);
        write("networks.txt", half);
    }
    assert!(watched.settled(), "the text rests");
    assert!(world.gateway.files_changed().await);
    assert_eq!(generation(&world), 3);
    assert_eq!((status(&open, &good).await, opens(&stolen).await), (200, 401));
    let told = world.gateway.engine.view_keys();
    assert!(told.iter().all(|aged| aged.on_disk == OnDisk::Same), "nothing is wrong with them");

    // They are read when they rest themselves, and by whoever asks for it.
    write("denied.jti", "another\n");
    write("networks.txt", "127.0.0.0/8\n");
    assert!(!watched.settled() && watched.settled());
    assert!(world.gateway.files_changed().await);
    assert_eq!((status(&open, &good).await, opens(&stolen).await), (200, 200));
    write("denied.jti", "stolen\n");
    assert!(!watched.settled());
    assert!(world.reload_as_it_is().await);
    assert_eq!(opens(&stolen).await, 401);
    world.finish().await;
}

fn token(world: &World) -> String {
    world.token_with("analyst", |claims| {
        claims.extra.insert("jti".to_owned(), "stolen".into());
    })
}
