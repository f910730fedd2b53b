//! A process with one mutant, behind the suite's adapter protocol. The page *Adapters* of the book describes that
//! protocol.
//!
//! The driver around the machine is minimal: it detaches no session, and one OS thread does everything.

mod commands;
mod connection;
mod desk;

use crate::mutant::Mutant;
use commands::{Command, refuse};
use connection::Connection;
use desk::Desk;
use std::io::{self, BufRead};
use std::time::{Duration, Instant};
use tenure_protocol::process::Input;
use tenure_wire::FromStore;
use tokio::sync::mpsc;

/// The first pause between connection attempts, which grows after each failure.
const BETWEEN: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_millis(400);

/// Executes and answers the commands on standard input until its end.
///
/// # Errors
/// An error if a line is not a command.
pub fn run(mutant: Mutant) -> io::Result<()> {
    let (lines, commands) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        let all = io::stdin().lock().lines();
        all.map_while(Result::ok)
            .all(|line| lines.send(line).is_ok())
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(answer_all(mutant, commands))
}

async fn answer_all(mutant: Mutant, mut lines: mpsc::UnboundedReceiver<String>) -> io::Result<()> {
    let mut desk = Desk::new(mutant);
    let mut connection = Connection::None;
    let (mut pause, mut opened) = (BETWEEN, Instant::now());
    let mut closed = Instant::now();
    loop {
        desk.settle(&mut connection).await;
        let left = desk.until_next();
        tokio::select! {
            line = lines.recv() => {
                let Some(line) = line else { return Ok(()) };
                let command = Command::parse(&line)?;
                if command.id.is_none() {
                    refuse(0, "unsupported", "a command without a number");
                } else {
                    desk.take(command);
                }
            }
            heard = connection.hear(), if connection.is_open() => match heard {
                Some(FromStore::Message(message)) => {
                    let link = desk.link();
                    desk.step(Input::Message { link, message });
                }
                Some(FromStore::Fault(_)) | None => {
                    connection = Connection::None;
                    pause = if opened.elapsed() < LONGEST { LONGEST.min(2 * pause) } else { BETWEEN };
                    closed = Instant::now();
                    desk.step(Input::Disconnected);
                }
            },
            () = tokio::time::sleep_until((closed + pause).into()),
                if desk.wants_connection() && !connection.is_open() =>
            {
                closed = Instant::now();
                if let Ok(open) = Connection::open(desk.address(), desk.limits()).await {
                    connection = open;
                    opened = Instant::now();
                    desk.step(Input::Connected);
                    connection.is_for(desk.link());
                }
            }
            () = tokio::time::sleep(left) => desk.tick(),
        }
    }
}
