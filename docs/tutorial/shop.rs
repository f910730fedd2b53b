use std::io::stdin;
use tenure::{Process, Typed};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(store), Some(name)) = (arguments.next(), arguments.next()) else {
        return Err("usage: shop STORE NAME".into());
    };
    let process = Process::builder(store).name(&name).connect().await?;
    let session = process.session("e91a-44c2")?;
    println!("{name} is connected");

    let mut enter = stdin().lines();
    while enter.next().is_some() {
        println!("{name} asks for the cart");
        let mut cart = session.lock("cart").await?;
        let apples = cart.get::<u64>()?.unwrap_or(0) + 1;
        cart.put(&apples)?;
        println!("{name} puts in apple {apples}, under token {}", cart.token());

        enter.next();
        match cart.commit().await {
            Ok(_) => println!("{name} has made apple {apples} durable"),
            Err(error) => println!("{name} cannot commit: {error}"),
        }
    }
    process.shutdown().await?;
    println!("{name} has given everything back");
    Ok(())
}
