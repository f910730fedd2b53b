//! PostgreSQL by row locks: <https://www.postgresql.org/docs/current/explicit-locking.html#LOCKING-ROWS>.
//!
//! Statements are prepared. `BEGIN` and `SELECT .. FOR UPDATE` leave in one write, and so do `UPDATE` and `COMMIT`
//! (<https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-PIPELINING>). Half of each page stays
//! free, so that an update finds room beside the row and touches no index
//! (<https://www.postgresql.org/docs/current/storage-hot.html>).

use super::{Client, Recipe, Seen, Target, value};
use anyhow::{Context, Result, ensure};
use futures_util::future::join;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client as Connection, NoTls, Statement};

const TABLE: &str = "\
CREATE TABLE IF NOT EXISTS sessions (id bytea PRIMARY KEY, data bytea NOT NULL) WITH (fillfactor = 50);
ALTER TABLE sessions ALTER data SET STORAGE EXTERNAL";

/// A connection, which carries one transaction at a time.
pub(crate) struct Postgres {
    connection: Connection,
    select: Statement,
    update: Statement,
}

fn id(session: u64) -> Vec<u8> {
    format!("{session:016x}").into_bytes()
}

impl Client for Postgres {
    type Held = ();

    async fn connect(target: &Target) -> Result<Self> {
        let (host, port) = target.address.rsplit_once(':').context("no port")?;
        let config = format!("host={host} port={port} user=bench dbname=postgres");
        let (connection, driver) = tokio_postgres::connect(&config, NoTls).await?;
        tokio::spawn(driver);
        let sync = if target.recipe == Recipe::PostgresSync {
            "on"
        } else {
            "off"
        };
        connection
            .batch_execute(&format!("SET synchronous_commit TO {sync}"))
            .await?;
        let exists = connection
            .query_one("SELECT to_regclass('sessions') IS NOT NULL", &[])
            .await?;
        if !exists.get::<_, bool>(0) {
            connection.batch_execute(TABLE).await?;
        }
        let select = "SELECT data FROM sessions WHERE id = $1 FOR UPDATE";
        let update = "UPDATE sessions SET data = $2 WHERE id = $1";
        Ok(Self {
            select: connection.prepare(select).await?,
            update: connection.prepare(update).await?,
            connection,
        })
    }

    fn share(&self) -> Option<Self> {
        None
    }

    async fn create(&self, sessions: &[u64]) -> Result<()> {
        let insert = "INSERT INTO sessions SELECT * FROM unnest($1::bytea[], $2::bytea[]) \
                      ON CONFLICT (id) DO UPDATE SET data = excluded.data";
        let insert = self.connection.prepare(insert).await?;
        for some in sessions.chunks(500) {
            let ids: Vec<_> = some.iter().map(|&session| id(session)).collect();
            let values: Vec<_> = some.iter().map(|_| value(0)).collect();
            self.connection.execute(&insert, &[&ids, &values]).await?;
        }
        self.connection
            .batch_execute("VACUUM ANALYZE sessions")
            .await?;
        Ok(())
    }

    async fn acquire(&self, session: u64) -> Result<((), Seen)> {
        let id = id(session);
        let parameters: [&(dyn ToSql + Sync); 1] = [&id];
        let begin = self.connection.batch_execute("BEGIN");
        let select = self.connection.query_one(&self.select, &parameters);
        let (begun, row) = join(begin, select).await;
        begun?;
        Ok(((), Seen::of(Some(row?.get(0)))?))
    }

    async fn release(&self, session: u64, (): (), value: Vec<u8>) -> Result<()> {
        let id = id(session);
        let parameters: [&(dyn ToSql + Sync); 2] = [&id, &value];
        let update = self.connection.execute(&self.update, &parameters);
        let (updated, ended) = join(update, self.connection.batch_execute("COMMIT")).await;
        ensure!(updated? == 1, "session {session} does not exist");
        Ok(ended?)
    }

    async fn close(self) -> Result<()> {
        Ok(())
    }
}
