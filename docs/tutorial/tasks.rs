use tenure::{Process, Typed, ValueError};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let store = std::env::args().nth(1).ok_or("usage: tasks STORE")?;
    let process = Process::connect(store).await?;
    let session = process.session("b5c7-0d1e")?;
    println!("begin: token {}", session.lock("clicks").await?.token());

    let count = async |session: tenure::Session| {
        for _ in 0..1000 {
            let mut clicks = session.lock("clicks").await?;
            clicks.update(|clicks: &mut u64| *clicks += 1)?;
        }
        Ok::<(), ValueError>(())
    };
    let tasks: Vec<_> = (0..4)
        .map(|_| tokio::spawn(count(session.clone())))
        .collect();
    for task in tasks {
        task.await??;
    }

    let clicks = session.lock("clicks").await?;
    let sum = clicks.get::<u64>()?.unwrap_or(0);
    println!("end: token {}, {sum} clicks", clicks.token());
    drop(clicks);
    process.shutdown().await?;
    Ok(())
}
