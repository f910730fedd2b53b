//! Alternatives to the embedded engine, behind the same trait `Engine`: two key-value libraries, and the floor (an
//! append and one `fdatasync`).
//!
//! The mapping is the natural one: a head is one value, each attribute another, so that a delta writes what has
//! changed.

use bytes::Bytes;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use redb::{ReadableDatabase, TableDefinition};
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use tenure_engine::{Engine, EngineError};
use tenure_protocol::attributes::{Attribute, Head};
use tenure_protocol::{Record, SessionId, Update};

#[derive(Clone, Copy)]
pub(crate) enum Table {
    Heads,
    Attributes,
}

pub(crate) type Pair = (Vec<u8>, Vec<u8>);
/// A key, and its value from now on.
pub(crate) type Write1 = (Table, Vec<u8>, Option<Vec<u8>>);

/// What both libraries are.
pub(crate) trait KeyValue: Send {
    /// At most `count` pairs, from `from` on.
    fn scan(&self, table: Table, from: &[u8], count: usize) -> Result<Vec<Pair>, EngineError>;
    /// All of it or nothing, durable.
    fn write(&mut self, writes: Vec<Write1>) -> Result<(), EngineError>;
}

pub(crate) fn other(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> EngineError {
    EngineError::Io {
        doing: "use",
        file: PathBuf::from("the library"),
        source: io::Error::other(error),
    }
}

/// Any of them as an engine.
pub(crate) struct Over<K>(pub K);

fn key(session: &SessionId) -> Vec<u8> {
    let mut key = session.frozen_hash().to_be_bytes().to_vec();
    key.push(u8::try_from(session.as_bytes().len()).expect("at most 128"));
    key.extend(session.as_bytes());
    key
}

fn bytes_of<T: serde::Serialize + ?Sized>(value: &T) -> Vec<u8> {
    postcard::to_allocvec(value).expect("memory")
}

fn value_of<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, EngineError> {
    postcard::from_bytes(bytes).map_err(|error| other(error.to_string()))
}

impl<K: KeyValue> Over<K> {
    fn attributes(&self, session: &SessionId) -> Result<Vec<Pair>, EngineError> {
        let key = key(session);
        let mut pairs = self.0.scan(Table::Attributes, &key, 100)?;
        pairs.retain(|(other, _)| other.starts_with(&key));
        Ok(pairs)
    }

    fn put(
        &self,
        session: &SessionId,
        head: &Head,
        attributes: impl Iterator<Item = Attribute>,
    ) -> Vec<Write1> {
        let mut writes = vec![(Table::Heads, key(session), Some(bytes_of(head)))];
        for attribute in attributes {
            let mut key = key(session);
            key.extend(attribute.name.as_bytes());
            writes.push((Table::Attributes, key, Some(bytes_of(&attribute))));
        }
        writes
    }

    fn remove(&self, session: &SessionId) -> Result<Vec<Write1>, EngineError> {
        let mut writes = vec![(Table::Heads, key(session), None)];
        for (key, _) in self.attributes(session)? {
            writes.push((Table::Attributes, key, None));
        }
        Ok(writes)
    }
}

impl<K: KeyValue> Engine for Over<K> {
    fn claim(&mut self) -> Result<u64, EngineError> {
        Ok(1)
    }

    fn load(&mut self, session: &SessionId) -> Result<Option<Record>, EngineError> {
        let key = key(session);
        let heads = self.0.scan(Table::Heads, &key, 1)?;
        let Some((_, head)) = heads.into_iter().find(|(other, _)| *other == key) else {
            return Ok(None);
        };
        let attributes: Result<Vec<Attribute>, _> = self
            .attributes(session)?
            .iter()
            .map(|(_, value)| value_of(value))
            .collect();
        let mut attributes = attributes?;
        attributes.sort_by(|one, other| one.name.cmp(&other.name));
        Record::from_parts(value_of(&head)?, attributes)
            .map(Some)
            .map_err(other)
    }

    fn page(
        &mut self,
        after: Option<&SessionId>,
        sessions_max: usize,
    ) -> Result<Vec<(SessionId, Record)>, EngineError> {
        let mut page = Vec::new();
        for (session, _) in self.heads(after, sessions_max)? {
            if let Some(record) = self.load(&session)? {
                page.push((session, record));
            }
        }
        Ok(page)
    }

    fn heads(
        &mut self,
        after: Option<&SessionId>,
        sessions_max: usize,
    ) -> Result<Vec<(SessionId, Head)>, EngineError> {
        let from = after.map_or_else(Vec::new, |after| {
            let mut key = key(after);
            key.push(0);
            key
        });
        let pairs = self.0.scan(Table::Heads, &from, sessions_max)?;
        let heads = pairs.into_iter().map(|(key, head)| {
            let session = SessionId::new(Bytes::copy_from_slice(&key[9..])).map_err(other)?;
            Ok((session, value_of(&head)?))
        });
        heads.collect()
    }

    fn commit(&mut self, batch: &[Update]) -> Result<(), EngineError> {
        let mut writes = Vec::new();
        for update in batch {
            match update {
                Update::Put {
                    session,
                    head,
                    delta,
                    ..
                } => {
                    let changed = delta.changes().iter().map(|change| Attribute {
                        name: change.name.clone(),
                        value: change.value.clone(),
                        modified: head.version,
                    });
                    writes.extend(self.put(session, head, changed));
                }
                Update::Remove { session } => writes.extend(self.remove(session)?),
                Update::Rename { from, to, head } => {
                    if let Some(record) = self.load(from)? {
                        writes.extend(self.remove(from)?);
                        writes.extend(self.put(to, head, record.attributes().iter().cloned()));
                    }
                }
            }
        }
        self.0.write(writes)
    }
}

/// fjall.
pub(crate) struct Fjall {
    database: Database,
    heads: Keyspace,
    attributes: Keyspace,
}

impl Fjall {
    pub(crate) fn open(folder: &Path) -> Result<Self, EngineError> {
        let database = Database::builder(folder).open().map_err(other)?;
        let keyspace = |name| {
            database
                .keyspace(name, KeyspaceCreateOptions::default)
                .map_err(other)
        };
        Ok(Self {
            heads: keyspace("heads")?,
            attributes: keyspace("attributes")?,
            database,
        })
    }

    fn keyspace(&self, table: Table) -> &Keyspace {
        match table {
            Table::Heads => &self.heads,
            Table::Attributes => &self.attributes,
        }
    }
}

impl KeyValue for Fjall {
    fn scan(&self, table: Table, from: &[u8], count: usize) -> Result<Vec<Pair>, EngineError> {
        let pairs = self.keyspace(table).range(from..).take(count);
        pairs
            .map(|pair| {
                let (key, value) = pair.into_inner().map_err(other)?;
                Ok((key.to_vec(), value.to_vec()))
            })
            .collect()
    }

    fn write(&mut self, writes: Vec<Write1>) -> Result<(), EngineError> {
        let mut batch = self
            .database
            .batch()
            .durability(Some(PersistMode::SyncData));
        for (table, key, value) in writes {
            let keyspace = match table {
                Table::Heads => &self.heads,
                Table::Attributes => &self.attributes,
            };
            match value {
                Some(value) => batch.insert(keyspace, key, value),
                None => batch.remove(keyspace, key),
            }
        }
        batch.commit().map_err(other)
    }
}

/// redb.
pub(crate) struct Redb(redb::Database);

fn definition(table: Table) -> TableDefinition<'static, &'static [u8], &'static [u8]> {
    TableDefinition::new(match table {
        Table::Heads => "heads",
        Table::Attributes => "attributes",
    })
}

impl Redb {
    pub(crate) fn open(folder: &Path) -> Result<Self, EngineError> {
        std::fs::create_dir_all(folder).map_err(other)?;
        let database = redb::Database::create(folder.join("redb")).map_err(other)?;
        let write = database.begin_write().map_err(other)?;
        for table in [Table::Heads, Table::Attributes] {
            write.open_table(definition(table)).map_err(other)?;
        }
        write.commit().map_err(other)?;
        Ok(Self(database))
    }
}

impl KeyValue for Redb {
    fn scan(&self, table: Table, from: &[u8], count: usize) -> Result<Vec<Pair>, EngineError> {
        let read = self.0.begin_read().map_err(other)?;
        let table = read.open_table(definition(table)).map_err(other)?;
        let pairs = table.range(from..).map_err(other)?.take(count);
        pairs
            .map(|pair| {
                let (key, value) = pair.map_err(other)?;
                Ok((key.value().to_vec(), value.value().to_vec()))
            })
            .collect()
    }

    fn write(&mut self, writes: Vec<Write1>) -> Result<(), EngineError> {
        let write = self.0.begin_write().map_err(other)?;
        {
            let mut heads = write.open_table(definition(Table::Heads)).map_err(other)?;
            let mut attributes = write
                .open_table(definition(Table::Attributes))
                .map_err(other)?;
            for (table, key, value) in writes {
                let table = match table {
                    Table::Heads => &mut heads,
                    Table::Attributes => &mut attributes,
                };
                match value {
                    Some(value) => table.insert(&*key, &*value).map_err(other)?,
                    None => table.remove(&*key).map_err(other)?,
                };
            }
        }
        write.commit().map_err(other)
    }
}

/// The floor: the bytes of a batch at the end of a file, and one `fdatasync`. Nothing can be read back.
pub(crate) struct Floor(File);

impl Floor {
    pub(crate) fn open(folder: &Path) -> Result<Self, EngineError> {
        std::fs::create_dir_all(folder).map_err(other)?;
        File::create(folder.join("floor")).map(Self).map_err(other)
    }
}

impl Engine for Floor {
    fn claim(&mut self) -> Result<u64, EngineError> {
        Ok(1)
    }

    fn load(&mut self, _: &SessionId) -> Result<Option<Record>, EngineError> {
        Ok(None)
    }

    fn page(
        &mut self,
        _: Option<&SessionId>,
        _: usize,
    ) -> Result<Vec<(SessionId, Record)>, EngineError> {
        Ok(Vec::new())
    }

    fn commit(&mut self, batch: &[Update]) -> Result<(), EngineError> {
        self.0
            .write_all(&bytes_of(batch))
            .and_then(|()| self.0.sync_data())
            .map_err(other)
    }
}
