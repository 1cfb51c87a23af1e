//! W2: many streams, bursts of 1 to 4 records in random order, 512 records for an acknowledgement.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use flowstate_log::Log;
use flowstate_log::append::Append;
use flowstate_log::env::{Env, SystemEnv};
use flowstate_log::record::StreamId;
use tokio::runtime::Runtime;

use crate::drive::{Ran, part_of, stream_name};
use crate::machine::allocated_bytes;
use crate::words::{Random, Tokens};

/// Records of one acknowledgement.
pub const GROUP: usize = 512;

/// The order of W2: which stream gets how many of its next records.
pub struct Bursts {
    random: Random,
    left: Vec<u64>,
    open: Vec<u64>,
}

impl Bursts {
    /// `each` records for each of `streams` streams.
    pub fn new(streams: u64, each: u64) -> Self {
        Self {
            random: Random::new(3),
            left: vec![each; streams as usize],
            open: (0..streams).collect(),
        }
    }
}

impl Iterator for Bursts {
    type Item = (u64, u64);

    fn next(&mut self) -> Option<(u64, u64)> {
        if self.open.is_empty() {
            return None;
        }
        let at = self.random.below(self.open.len() as u64) as usize;
        let stream = self.open[at];
        let left = &mut self.left[stream as usize];
        let burst = (1 + self.random.below(4)).min(*left);
        *left -= burst;
        if *left == 0 {
            self.open.swap_remove(at);
        }
        Some((stream, burst))
    }
}

/// The records of W2 in groups for one acknowledgement: streams with their next tokens.
pub fn groups(streams: u64, each: u64) -> impl Iterator<Item = Vec<(u64, Vec<Bytes>)>> {
    let mut tokens: Vec<Tokens> = (0..streams).map(Tokens::new).collect();
    let mut bursts = Bursts::new(streams, each);
    std::iter::from_fn(move || {
        let (mut group, mut records) = (Vec::new(), 0);
        while records < GROUP
            && let Some((stream, burst)) = bursts.next()
        {
            let burst: Vec<Bytes> = (&mut tokens[stream as usize]).take(burst as usize).collect();
            records += burst.len();
            group.push((stream, burst));
        }
        (!group.is_empty()).then_some(group)
    })
}

/// What was loaded.
pub struct Loaded {
    /// Time and waits, without the making of the tokens.
    pub ran: Ran,
    /// Bytes of all payloads.
    pub payload_bytes: u64,
}

/// Loads `each` records into each of `streams` streams, waiting for every acknowledgement.
pub fn load(runtime: &Runtime, log: &Log, streams: u64, each: u64) -> Loaded {
    let clock = SystemEnv::new();
    let (mut ran, mut payload_bytes) = (Ran::default(), 0);
    for group in groups(streams, each) {
        let tokens = group.iter().flat_map(|(_, tokens)| tokens);
        payload_bytes += tokens.clone().map(|token| token.len() as u64).sum::<u64>();
        ran.records += tokens.count() as u64;
        let parts = group
            .into_iter()
            .map(|(stream, tokens)| part_of(stream_name(stream), tokens));
        let append = Append::of(parts.collect());
        let sent = clock.monotonic();
        runtime.block_on(async { log.append(append).await.expect("queued").await.expect("durable") });
        ran.waits.push(clock.monotonic() - sent);
    }
    ran.elapsed = ran.waits.iter().sum();
    ran.waits.sort_unstable();
    Loaded { ran, payload_bytes }
}

/// The ids of the streams.
pub fn stream_ids(runtime: &Runtime, log: &Log, streams: u64) -> Vec<StreamId> {
    let id = |stream| {
        let found = runtime.block_on(log.stream(&stream_name(stream)));
        found.expect("the catalog").expect("a loaded stream")
    };
    (0..streams).map(id).collect()
}

/// Waits until the clustering has nothing more to do: the files of the folder stay as they are for two seconds. Gives the time until then.
pub fn settle(folder: &Path) -> Duration {
    let clock = SystemEnv::new();
    let (mut seen, mut since) = (0, clock.monotonic());
    while clock.monotonic() - since < Duration::from_secs(2) {
        std::thread::sleep(Duration::from_millis(20));
        let bytes = allocated_bytes(folder);
        if bytes != seen {
            (seen, since) = (bytes, clock.monotonic());
        }
    }
    since
}
