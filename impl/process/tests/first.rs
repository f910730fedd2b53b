//! Two processes and a store.

use tenure::Process;
use tenure::testing::Store;

#[tokio::test]
async fn two_processes_share_a_session() {
    let store = Store::start().expect("a store");
    let one = Process::connect(store.address()).await.expect("connected");
    let two = Process::connect(store.address()).await.expect("connected");
    let cart = one.session("s").expect("an id");
    let mut guard = cart.lock("cart").await.expect("locked");
    guard.set("apple").expect("set");
    drop(guard);
    let cart = two.session("s").expect("an id");
    let guard = cart.lock("cart").await.expect("locked");
    assert_eq!(guard.bytes(), Some(&b"apple"[..]));
    drop(guard);
    one.shutdown().await.expect("in time");
    two.shutdown().await.expect("in time");
    store.wait_until(|store| store.counts().goodbyes == 2);
}
