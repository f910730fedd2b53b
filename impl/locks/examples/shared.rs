//! Threads and tasks share one session: `cargo run -p tenure-locks --example shared`. The store is in the same OS
//! process.

#[path = "../tests/support/mod.rs"]
mod support;

use support::{Driver, Rig, session};
use tenure_locks::{Error, Session, task};

fn count(bytes: &mut Vec<u8>) {
    let visits: u64 = std::str::from_utf8(bytes).map_or(0, |text| text.parse().unwrap_or(0));
    *bytes = (visits + 1).to_string().into_bytes();
}

fn by_thread(shop: &Session) -> Result<(), Error> {
    let mut visits = shop.lock("visits").blocking()?; // Blocks this OS thread, but at most for a minute.
    visits.edit(count)?; // The next holder sees this change after the guard is dropped.
    Ok(())
}

async fn by_task(shop: &Session) -> Result<(), Error> {
    let mut both = shop.lock_many(["visits", "cart"]).await?; // Locks both attributes or none, in the same queue.
    both.edit("visits", count)?;
    both.edit("cart", |bytes| bytes.push(b'*'))
}

fn main() -> Result<(), Error> {
    let driver = Driver::start(Rig::new()); // Carries messages between the manager and the store.
    let shop = driver.locks.session(&session());
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| by_thread(&shop))).collect();
        let tasks: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| support::block_on(task(by_task(&shop)))))
            .collect();
        threads
            .into_iter()
            .chain(tasks)
            .try_for_each(|work| work.join().expect("no panic"))
    })?;
    let mut visits = shop.lock("visits").blocking()?;
    visits.commit().blocking()?; // When this returns, the write is durable in the store.
    println!(
        "{} visits",
        String::from_utf8_lossy(visits.bytes().unwrap_or_default())
    );
    Ok(())
}
