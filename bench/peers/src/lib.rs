//! Other stores doing the workloads of the log: records by stream and number, each commit synced before anyone is told.
//! One thread commits for all writers of an embedded store; a server has a connection for each.

mod redis;

pub use redis::Redis;

use std::error::Error;
use std::path::Path;

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use flowstate_bench::committer::{Sink, Write};
use rusqlite::Connection;

/// Memory that a store may cache in, as much for each.
const CACHE_BYTES: u64 = 256 << 20;

/// Reads records of a stream in order.
pub trait Reader {
    /// How many of at most `limit` records there are from number `from` (the first is 0) on; all of them are looked at.
    fn read(&self, stream: u64, from: u64, limit: usize) -> Result<usize, Box<dyn Error>>;
}

/// Records in fjall itself, keyed by stream and number.
#[derive(Clone)]
pub struct Fjall {
    database: Database,
    records: Keyspace,
}

fn key(stream: u64, number: u64) -> [u8; 24] {
    let mut key = [0; 24];
    key[8..16].copy_from_slice(&stream.to_be_bytes());
    key[16..].copy_from_slice(&number.to_be_bytes());
    key
}

impl Fjall {
    /// A new store in this folder.
    pub fn create(folder: &Path) -> fjall::Result<Self> {
        let database = Database::builder(folder).cache_size(CACHE_BYTES).open()?;
        let records = database.keyspace("records", KeyspaceCreateOptions::default)?;
        Ok(Self { database, records })
    }
}

impl Sink for Fjall {
    fn commit(&mut self, batch: &[Write]) -> Result<(), Box<dyn Error>> {
        let mut writes = self.database.batch().durability(Some(PersistMode::SyncData));
        for write in batch {
            for (number, token) in (write.number..).zip(&write.tokens) {
                writes.insert(&self.records, key(write.stream, number), &token[..]);
            }
        }
        Ok(writes.commit()?)
    }
}

impl Reader for Fjall {
    fn read(&self, stream: u64, from: u64, limit: usize) -> Result<usize, Box<dyn Error>> {
        let mut count = 0;
        for entry in self
            .records
            .range(key(stream, from)..=key(stream, u64::MAX))
            .take(limit)
        {
            count += usize::from(!entry.value()?.is_empty());
        }
        Ok(count)
    }
}

/// Records in SQLite: write-ahead log, synced at every commit, clustered by stream and number.
pub struct Sqlite {
    connection: Connection,
}

impl Sqlite {
    /// A store in this file, made if there is none.
    pub fn open(file: &Path) -> rusqlite::Result<Self> {
        let connection = Connection::open(file)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "cache_size", -((CACHE_BYTES >> 10) as i64))?;
        connection.execute_batch(
            "CREATE TABLE IF NOT EXISTS records (stream INTEGER, number INTEGER, payload BLOB, PRIMARY KEY (stream, number)) \
             WITHOUT ROWID",
        )?;
        Ok(Self { connection })
    }
}

impl Sink for Sqlite {
    fn commit(&mut self, batch: &[Write]) -> Result<(), Box<dyn Error>> {
        let transaction = self.connection.transaction()?;
        {
            let mut insert = transaction.prepare_cached("INSERT INTO records VALUES (?1, ?2, ?3)")?;
            for write in batch {
                for (number, token) in (write.number..).zip(&write.tokens) {
                    insert.execute((write.stream as i64, number as i64, &token[..]))?;
                }
            }
        }
        Ok(transaction.commit()?)
    }
}

impl Reader for Sqlite {
    fn read(&self, stream: u64, from: u64, limit: usize) -> Result<usize, Box<dyn Error>> {
        let mut select = self.connection.prepare_cached(
            "SELECT payload FROM records WHERE stream = ?1 AND number >= ?2 ORDER BY number LIMIT ?3",
        )?;
        let mut rows = select.query((stream as i64, from as i64, limit as i64))?;
        let mut count = 0;
        while let Some(row) = rows.next()? {
            count += usize::from(!row.get_ref(0)?.as_blob()?.is_empty());
        }
        Ok(count)
    }
}
