//! Other stores doing the append workload with the same durability: one thread commits whatever waits, synced before anyone is told.

use std::error::Error;
use std::path::Path;
use std::thread::JoinHandle;

use bytes::Bytes;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

/// One record on its way: its stream, its number there, and who waits.
pub struct Write {
    /// The stream.
    pub stream: u64,
    /// The record's number in it.
    pub number: u64,
    /// The record.
    pub payload: Bytes,
    /// Told when the record is durable.
    pub done: oneshot::Sender<()>,
}

/// A store that makes a batch durable.
pub trait Peer: Send + 'static {
    /// Commits all records; durable on return.
    fn commit(&mut self, batch: &[Write]) -> Result<(), Box<dyn Error>>;
}

/// A committing thread and the way to it.
pub struct Committer {
    /// Where records go.
    pub queue: mpsc::Sender<Write>,
    thread: JoinHandle<()>,
}

impl Committer {
    /// Starts the thread.
    pub fn start(mut peer: impl Peer) -> Self {
        let (queue, mut waiting) = mpsc::channel(8_192);
        let thread = std::thread::spawn(move || {
            let mut batch = Vec::new();
            while waiting.blocking_recv_many(&mut batch, 4_096) > 0 {
                peer.commit(&batch).expect("a durable batch");
                for write in batch.drain(..) {
                    let _ = write.done.send(());
                }
            }
        });
        Self { queue, thread }
    }

    /// Ends it after what is queued.
    pub fn stop(self) {
        drop(self.queue);
        let _ = self.thread.join();
    }
}

/// Records in fjall itself, keyed by stream and number.
pub struct Fjall {
    database: Database,
    records: Keyspace,
}

impl Fjall {
    /// A new store in this folder.
    pub fn create(folder: &Path) -> fjall::Result<Self> {
        let database = Database::builder(folder).open()?;
        let records = database.keyspace("records", KeyspaceCreateOptions::default)?;
        Ok(Self { database, records })
    }
}

impl Peer for Fjall {
    fn commit(&mut self, batch: &[Write]) -> Result<(), Box<dyn Error>> {
        let mut writes = self.database.batch().durability(Some(PersistMode::SyncData));
        for write in batch {
            let key = [[0; 8], write.stream.to_be_bytes(), write.number.to_be_bytes()].concat();
            writes.insert(&self.records, key, &write.payload[..]);
        }
        Ok(writes.commit()?)
    }
}

/// Records in SQLite: write-ahead log, synced at every commit, clustered by stream and number.
pub struct Sqlite {
    connection: Connection,
}

impl Sqlite {
    /// A new store in this file.
    pub fn create(file: &Path) -> rusqlite::Result<Self> {
        let connection = Connection::open(file)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.execute_batch(
            "CREATE TABLE records (stream INTEGER, number INTEGER, payload BLOB, PRIMARY KEY (stream, number)) WITHOUT ROWID",
        )?;
        Ok(Self { connection })
    }
}

impl Peer for Sqlite {
    fn commit(&mut self, batch: &[Write]) -> Result<(), Box<dyn Error>> {
        let transaction = self.connection.transaction()?;
        {
            let mut insert = transaction.prepare_cached("INSERT INTO records VALUES (?1, ?2, ?3)")?;
            for write in batch {
                insert.execute((write.stream as i64, write.number as i64, &write.payload[..]))?;
            }
        }
        Ok(transaction.commit()?)
    }
}
