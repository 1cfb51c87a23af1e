//! Every bound of the log, in one place. Sizes in bytes, times in milliseconds.

/// Bounds that a caller may change before opening a log. What is stored does not depend on them,
/// except `segment_bytes`, which each segment slot keeps as it was made.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Size of one segment slot. A commit never spans two slots.
    pub segment_bytes: u64,
    /// Largest commit, header included: what one write and one sync carry.
    pub commit_bytes_max: usize,
    /// Largest payload of one record.
    pub payload_bytes_max: usize,
    /// Largest payload that is stored in the record itself; larger ones are files of their own.
    pub inline_bytes_max: usize,
    /// Most records in one append.
    pub append_records_max: usize,
    /// Most appends that one commit takes.
    pub commit_appends_max: usize,
    /// Appends that may wait for the writer; further callers wait before they are queued.
    pub queue_appends_max: usize,
    /// Bytes of appends that may wait for the writer or for their sync; further callers wait.
    pub queue_bytes_max: usize,
    /// Bytes of the newest commits kept in memory for readers near the tail.
    pub tail_bytes_max: usize,
    /// Most records that one read returns.
    pub read_records_max: usize,
    /// Most payload bytes that one read returns (the first record is always returned).
    pub read_bytes_max: usize,
    /// Bytes of commits that the view store may be behind; at the bound appends wait.
    pub view_lag_bytes_max: u64,
    /// Longest time between two checkpoints of the views while something changes.
    pub checkpoint_interval_ms: u64,
    /// Longest time between a commit and a watermark that covers it.
    pub watermark_interval_ms: u64,
    /// Full segments that are worth a run.
    pub cluster_segments_min: usize,
    /// Full segments at which appends wait for the clustering.
    pub cluster_segments_max: usize,
    /// Bytes a second that the clustering reads and writes at most; 0 for as many as it can.
    pub cluster_bytes_per_second_max: u64,
    /// So many runs of about one size are made into one.
    pub run_fan_out: usize,
    /// Runs of this size are not made larger.
    pub run_bytes_max: u64,
    /// Blocks of runs kept in memory.
    pub cache_bytes_max: u64,
    /// Streams kept in memory though nobody uses them and all their records are in runs.
    pub idle_streams_max: usize,
    /// Callers that may wait at once for names that do not exist yet.
    pub name_waiters_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            segment_bytes: 32 << 20,
            commit_bytes_max: 4 << 20,
            payload_bytes_max: 64 << 20,
            inline_bytes_max: 256 << 10,
            append_records_max: 4_096,
            commit_appends_max: 4_096,
            queue_appends_max: 8_192,
            queue_bytes_max: 32 << 20,
            tail_bytes_max: 16 << 20,
            read_records_max: 1_000,
            read_bytes_max: 1 << 20,
            view_lag_bytes_max: 64 << 20,
            checkpoint_interval_ms: 200,
            watermark_interval_ms: 250,
            cluster_segments_min: 2,
            cluster_segments_max: 16,
            cluster_bytes_per_second_max: 0,
            run_fan_out: 8,
            run_bytes_max: 1 << 30,
            cache_bytes_max: 64 << 20,
            idle_streams_max: 10_000,
            name_waiters_max: 4_096,
        }
    }
}

/// Longest principal of a name.
pub const PRINCIPAL_BYTES_MAX: usize = 256;
/// Longest name of a stream or sub-stream.
pub const NAME_BYTES_MAX: usize = 512;
/// Longest key of a view's row or index row (a view store may not refuse it).
pub const KEY_BYTES_MAX: usize = 1_024;
/// Every so many records of a sub-stream its position is remembered, which bounds the resume of a long one.
pub const SUB_STREAM_STRIDE: u64 = 256;
