use tenure::{Process, Typed};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let store = std::env::args().nth(1).ok_or("usage: first STORE")?;
    let process = Process::connect(store).await?;
    let session = process.session("b5c7-0d1e")?; // The id in the client's cookie.

    let mut visits = session.lock("visits").await?; // No other thread has it now, in any process.
    let count = visits.get::<u64>()?.unwrap_or(0) + 1;
    visits.put(&count)?; // The next thread sees this value when the guard is dropped.
    visits.commit().await?; // From here on the value survives this process.
    println!("visit {count}, under token {}", visits.token());

    drop(visits);
    process.shutdown().await?; // Gives the session back at once.
    Ok(())
}
