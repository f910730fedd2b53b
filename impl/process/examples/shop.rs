//! Two shops, one cart: threads and a task of several processes put things into the cart of one session.
//!
//! ```text
//! tenure serve                                                      # a store; or `shop embedded` for one in the first shop
//! cargo run -p tenure --example shop -- 127.0.0.1:7420 north        # in one terminal
//! cargo run -p tenure --example shop -- 127.0.0.1:7420 south        # in another
//! ```
//!
//! Each line is a change of the cart, or of who has it: watch the session move as both want it. Ctrl-C gives it back.
//! `RUST_LOG` says what else to log.

use serde::{Deserialize, Serialize};
use std::io::IsTerminal;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tenure::{Error, Guard, Process, Session, Typed, ValueError, task};
use tracing::{info, warn};

const THREADS: usize = 3;

#[derive(Default, Serialize, Deserialize)]
struct Cart {
    /// How many things were put in, ever.
    count: u64,
    /// The last few.
    items: Vec<String>,
}

/// Puts a thing into the cart, and makes that durable.
fn put(cart: &mut Guard<'_>, who: &str) -> Result<u64, ValueError> {
    let count = cart.update(|cart: &mut Cart| {
        cart.count += 1;
        cart.items.push(format!("{who}'s apple"));
        let old = cart.items.len().saturating_sub(5);
        cart.items.drain(..old);
        cart.count
    })?;
    let recalled = if cart.recalled() {
        ", and is to give it back"
    } else {
        ""
    };
    info!(
        "{who} put apple {count} into the cart, under token {}{recalled}",
        cart.token()
    );
    Ok(count)
}

/// Whether it makes sense to go on after this.
fn goes_on(error: &ValueError) -> bool {
    warn!("{error}");
    !matches!(
        error,
        ValueError::Lock(Error::ShuttingDown(_) | Error::Superseded(_))
    )
}

/// An OS thread that serves requests and knows no runtime.
fn serve(session: &Session, who: &str, stops: &AtomicBool) {
    let request = || -> Result<(), ValueError> {
        let mut cart = session.lock("cart").blocking()?;
        put(&mut cart, who)?;
        cart.commit().blocking()?;
        Ok(())
    };
    while !stops.load(Ordering::Relaxed) {
        if request().is_err_and(|error| !goes_on(&error)) {
            return;
        }
        std::thread::sleep(Duration::from_millis(700));
    }
}

/// A task that does the same.
async fn serve_async(session: Session, who: String) {
    let request = async || -> Result<(), ValueError> {
        let mut cart = session.lock("cart").await?;
        put(&mut cart, &who)?;
        cart.commit().await?;
        Ok(())
    };
    loop {
        if task(request()).await.is_err_and(|error| !goes_on(&error)) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(900)).await;
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let filter = std::env::var("RUST_LOG").unwrap_or_else(|_| "shop=info,tenure=debug".to_owned());
    let is_plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    tracing_subscriber::fmt()
        .with_ansi(std::io::stdout().is_terminal() && !is_plain)
        .with_env_filter(filter)
        .init();
    let mut arguments = std::env::args().skip(1);
    let (Some(mut address), Some(name)) = (arguments.next(), arguments.next()) else {
        return Err("usage: shop ADDRESS NAME, for example: shop 127.0.0.1:7420 north".into());
    };
    let mut embedded = None;
    if address == "embedded" {
        let store = tenure::testing::Store::start()?;
        address = store.address();
        info!("a store listens at {address}: start another shop there");
        embedded = Some(store);
    }

    let process = Process::builder(address).name(&name).connect().await?;
    let session = process.session("the-client-s-cookie")?;
    let stops = AtomicBool::new(false);
    let task = tokio::spawn(serve_async(session.clone(), format!("{name}/task")));
    std::thread::scope(|scope| {
        for number in 1..=THREADS {
            let (session, stops) = (&session, &stops);
            let who = format!("{name}/thread-{number}");
            scope.spawn(move || serve(session, &who, stops));
        }
        // Blocks one of the runtime's threads until Ctrl-C: that costs neither the task nor the lease.
        let until = tokio::runtime::Handle::current();
        let stopped = tokio::task::block_in_place(|| until.block_on(tokio::signal::ctrl_c()));
        info!("stopping");
        stops.store(true, Ordering::Relaxed);
        stopped
    })?;
    task.abort();
    process.shutdown().await?;
    info!("everything is given back");
    drop(embedded);
    Ok(())
}
