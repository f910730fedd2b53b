//! Two shops and one cart: threads and a task of several processes put items into the cart of one session.
//!
//! ```text
//! tenure serve                                                      # a store (or run `shop embedded` first)
//! cargo run -p tenure --example shop -- 127.0.0.1:7420 north        # in one terminal
//! cargo run -p tenure --example shop -- 127.0.0.1:7420 south        # in another
//! ```
//!
//! Each line of output is a change of the cart, or of its holder: the session moves whenever both shops use it. Ctrl-C
//! gives the session back. `RUST_LOG` selects further log events.

use serde::{Deserialize, Serialize};
use std::io::IsTerminal;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tenure::{Error, Guard, Process, Session, Typed, ValueError, task};
use tracing::{info, warn};

const THREADS: usize = 3;

#[derive(Default, Serialize, Deserialize)]
struct Cart {
    /// The number of items that were ever put in.
    count: u64,
    /// The last few items.
    items: Vec<String>,
}

/// Puts an item into the cart, and makes the cart durable.
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

/// Returns whether the shop can continue after this error.
fn goes_on(error: &ValueError) -> bool {
    warn!("{error}");
    !matches!(
        error,
        ValueError::Lock(Error::ShuttingDown(_) | Error::Superseded(_))
    )
}

/// Serves requests on an OS thread without a runtime.
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

/// Serves requests as a task.
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
        // Blocks one of the runtime's threads until Ctrl-C. Neither the task nor the lease is affected.
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
