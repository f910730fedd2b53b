//! Threads and tasks share one session: `cargo run -p tenure-locks --example shared`. The store is in the same OS process.

#[path = "../tests/support/mod.rs"]
mod support;

use support::{Driver, Rig, session};
use tenure_locks::{Error, Session, task};

fn count(bytes: &mut Vec<u8>) {
    let visits: u64 = std::str::from_utf8(bytes).map_or(0, |text| text.parse().unwrap_or(0));
    *bytes = (visits + 1).to_string().into_bytes();
}

fn by_thread(shop: &Session) -> Result<(), Error> {
    let mut visits = shop.lock("visits").blocking()?; // Blocks this OS thread, for a minute at most.
    visits.edit(count)?; // What others see when the guard is dropped.
    Ok(())
}

async fn by_task(shop: &Session) -> Result<(), Error> {
    let mut both = shop.lock_many(["visits", "cart"]).await?; // Both or none, in the same queue.
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
    visits.commit().blocking()?; // In the store when it returns.
    println!(
        "{} visits",
        String::from_utf8_lossy(visits.bytes().unwrap_or_default())
    );
    Ok(())
}
