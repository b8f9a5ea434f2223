//! The main job, once through.
use crate::support::{ORDERS, World, bearing, error_of, get};

#[tokio::test(flavor = "multi_thread")]
async fn priv_1_a_granted_operation_passes_and_another_is_refused() {
    let world = World::start().await;
    let printer = world.printer();
    let reply = world.call(&printer, get(ORDERS)).await;
    assert_eq!(reply.status, 200, "{}", String::from_utf8_lossy(&reply.body));
    let line = world.line_of(&reply);
    assert_eq!(line["sekisho.operation"], "orders/getOrders");
    assert_eq!(line["user.name"], "label-printer");
    assert_eq!(line["event.outcome"], "allowed");

    let analyst = world.token("analyst");
    let nobody = world.nobody();
    let reply =
        world.call(&nobody, bearing(get("/orders/v0/orders/902-1/address"), &analyst)).await;
    assert_eq!(reply.status, 403);
    assert_eq!(error_of(&reply).0, "Sekisho.OperationNotGranted");
    world.finish().await;
}
