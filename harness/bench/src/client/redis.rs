//! Redis by the recipes of its own pages.
//!
//! The lock with a random token, an expiry and a compare-and-delete script is the pattern of
//! <https://redis.io/docs/latest/commands/set/>. The queue uses the blocking pop of
//! <https://redis.io/docs/latest/commands/blpop/>. Both send the command of the lock and the command of the data in one
//! pipeline (<https://redis.io/docs/latest/develop/using-commands/pipelining/>).

use super::{Client, Recipe, Seen, Target, value};
use crate::host;
use anyhow::{Result, ensure};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client as Server, Script, pipe};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The expiry of a lock, longer than any run.
const EXPIRY_MS: u64 = 30_000;
/// The pause of a process that finds a lock taken.
const RETRY: Duration = Duration::from_millis(20);
/// The number of commands in a pipeline that creates sessions.
const BATCH: usize = 500;

/// The compare-and-delete script of <https://redis.io/docs/latest/commands/set/>.
const DELETE: &str = "\
if redis.call(\"get\",KEYS[1]) == ARGV[1] then return redis.call(\"del\",KEYS[1]) else return 0 end";

/// A multiplexed connection.
#[derive(Clone)]
pub(crate) struct Redis {
    connection: MultiplexedConnection,
    recipe: Recipe,
    delete: Arc<Script>,
}

/// The token of a held lock. The queue needs none.
pub(crate) type Lock = Option<String>;

fn data_key(session: u64) -> String {
    format!("s:{session:032x}")
}

fn lock_key(session: u64) -> String {
    format!("l:{session:032x}")
}

fn queue_key(session: u64) -> String {
    format!("q:{session:032x}")
}

/// Returns a token that no other holder has.
fn token() -> String {
    static TOKENS: AtomicU64 = AtomicU64::new(0);
    let number = TOKENS.fetch_add(1, Ordering::Relaxed);
    format!("{:x}-{:x}-{number:x}", std::process::id(), host::now_ns())
}

impl Redis {
    async fn lock(&self, session: u64) -> Result<(Lock, Vec<u8>)> {
        let mut connection = self.connection.clone();
        let (lock, data, token) = (lock_key(session), data_key(session), token());
        loop {
            let mut both = pipe();
            both.cmd("SET")
                .arg(&lock)
                .arg(&token)
                .arg("NX")
                .arg("PX")
                .arg(EXPIRY_MS);
            both.cmd("GET").arg(&data);
            let (locked, value): (Option<String>, Vec<u8>) =
                both.query_async(&mut connection).await?;
            if locked.is_some() {
                return Ok((Some(token), value));
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    async fn pop(&self, session: u64) -> Result<(Lock, Vec<u8>)> {
        // Redis executes the GET after the pop: a blocked client's further commands wait.
        let mut both = pipe();
        both.cmd("BLPOP").arg(queue_key(session)).arg(0);
        both.cmd("GET").arg(data_key(session));
        let mut connection = self.connection.clone();
        let (_, value): ((String, String), Vec<u8>) = both.query_async(&mut connection).await?;
        Ok((None, value))
    }
}

impl Client for Redis {
    type Held = Lock;

    async fn connect(target: &Target) -> Result<Self> {
        let server = Server::open(format!("redis://{}/", target.address))?;
        let config = AsyncConnectionConfig::new()
            .set_response_timeout(None)
            .set_connection_timeout(None);
        let mut connection = server
            .get_multiplexed_async_connection_with_config(&config)
            .await?;
        let delete = Script::new(DELETE);
        // A server that still loads its data refuses this.
        delete.prepare_invoke().load_async(&mut connection).await?;
        Ok(Self {
            connection,
            recipe: target.recipe,
            delete: Arc::new(delete),
        })
    }

    fn share(&self) -> Option<Self> {
        // A blocking pop blocks its whole connection.
        (self.recipe == Recipe::RedisLock).then(|| self.clone())
    }

    async fn create(&self, sessions: &[u64]) -> Result<()> {
        let mut connection = self.connection.clone();
        for some in sessions.chunks(BATCH) {
            let mut all = pipe();
            for &session in some {
                all.cmd("SET").arg(data_key(session)).arg(value(0)).ignore();
                if self.recipe == Recipe::RedisQueue {
                    all.cmd("DEL").arg(queue_key(session)).ignore();
                    all.cmd("RPUSH").arg(queue_key(session)).arg(1).ignore();
                }
            }
            let () = all.query_async(&mut connection).await?;
        }
        Ok(())
    }

    async fn acquire(&self, session: u64) -> Result<(Lock, Seen)> {
        let (lock, value) = match self.recipe {
            Recipe::RedisQueue => self.pop(session).await?,
            _ => self.lock(session).await?,
        };
        Ok((lock, Seen::of(Some(&value))?))
    }

    async fn release(&self, session: u64, lock: Lock, value: Vec<u8>) -> Result<()> {
        let mut connection = self.connection.clone();
        let mut both = pipe();
        let data = data_key(session);
        let Some(token) = lock else {
            both.atomic();
            both.cmd("SET").arg(data).arg(value).ignore();
            both.cmd("RPUSH").arg(queue_key(session)).arg(1).ignore();
            let () = both.query_async(&mut connection).await?;
            return Ok(());
        };
        both.cmd("SET").arg(data).arg(value).ignore();
        both.cmd("EVALSHA").arg(self.delete.get_hash()).arg(1);
        both.arg(lock_key(session)).arg(token);
        let (deleted,): (i64,) = both.query_async(&mut connection).await?;
        ensure!(deleted == 1, "the lock of session {session} has expired");
        Ok(())
    }

    async fn close(self) -> Result<()> {
        Ok(())
    }
}
