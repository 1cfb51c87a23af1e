//! What resources cost a block: bodies written and read, small and large, in memory and in a folder; a collection of 100,000 listed by a
//! prefix, counted, and opened again; a snapshot of 50 entries of client data; and the bytes on disk of a body that was written 1,000 times.

use std::sync::LazyLock;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use flowstate_engine::prelude::*;
use flowstate_engine::{Collection, Principal, Resource, SnapshotQuery, Submission, collection, offline, resource};
use flowstate_log::Options;
use flowstate_log::env::{Env, SystemEnv};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::runtime::Runtime;

/// Instances of the collection.
const INSTANCES: u64 = 100_000;
/// Instances that are made at once.
const AT_ONCE: usize = 512;
/// Entries of client data.
const ENTRIES: usize = 50;
/// How often one body is written.
const REWRITES: u64 = 1_000;
/// Bodies written before the request waits for them.
const WRITTEN_AT_ONCE: u64 = 32;

#[derive(Clone, Default, Serialize, Deserialize, JsonSchema)]
struct Note {
    words: u64,
    topics: Vec<String>,
}

static NOTES: LazyLock<Resource<Note>> = LazyLock::new(|| resource("notes"));
static FILES: LazyLock<Collection<Note>> = LazyLock::new(|| collection("files", "files/**"));

#[derive(Clone, Serialize, Deserialize, JsonSchema)]
struct Work {
    what: String,
    count: u64,
    bytes: usize,
}

/// Does something so often; gives the nanoseconds that it took.
async fn work(work: Work, ctx: Ctx) -> Result<u64, BlockError> {
    let (notes, files) = (ctx.resource(&NOTES)?, ctx.collection(&FILES)?);
    let body = "0123456789abcdef".repeat(work.bytes / 16);
    if work.what == "read" {
        notes.write_content(body.clone()).await?;
        ctx.durable().await?;
    }
    let clock = SystemEnv::new();
    match work.what.as_str() {
        "write" => {
            for count in 1..=work.count {
                // Each another one: the same content would be stored once.
                let number = format!("{}/{count}", ctx.request_id());
                let rest = body.get(number.len()..).unwrap_or_default();
                notes.write_content([&number, rest].concat()).await?;
                if count % WRITTEN_AT_ONCE == 0 {
                    ctx.durable().await?;
                }
            }
            ctx.durable().await?;
        }
        "read" => {
            for _ in 0..work.count {
                let read = notes.read_content().await?;
                assert_eq!(read.map(|read| read.len()), Some(body.len()));
            }
        }
        "create" => {
            let mut on_their_way = FuturesUnordered::new();
            for number in 0..work.count {
                if on_their_way.len() == AT_ONCE {
                    on_their_way.next().await.transpose()?;
                }
                on_their_way.push(files.create(format!("{:03}/{number:06}", number / 100)));
            }
            while let Some(made) = on_their_way.next().await {
                made?;
            }
        }
        "list" => {
            for number in 0..work.count {
                let prefix = format!("{:03}/", number % (INSTANCES / 100));
                assert_eq!(files.list(Some(&prefix)).await?.len(), 100);
            }
        }
        "count" => {
            for _ in 0..work.count {
                assert_eq!(files.count().await? as u64, INSTANCES);
            }
        }
        other => return Err(BlockError::new("unknown", other.to_owned())),
    }
    Ok(clock.monotonic().as_nanos() as u64)
}

fn bench_flow() -> Flow {
    let mut session = scope::<Note>().resource(&NOTES).resource(&FILES);
    for entry in 0..ENTRIES {
        session = session.client_data(format!("entry{entry}"), move |note: &Note| note.words + entry as u64);
    }
    let flow = flow("bench").action("work", action(|input: Work, ctx: Ctx| work(input, ctx)));
    flow.session(session).instance("default").expect("a flow")
}

async fn open(store: Options) -> Engine {
    Engine::builder()
        .flow(bench_flow())
        .open(store)
        .await
        .expect("an engine")
}

async fn run(engine: &Engine, session: &str, what: &str, count: u64, bytes: usize) -> Duration {
    let what = what.to_owned();
    let submission = Submission {
        flow: "bench".into(),
        action: "work".into(),
        input: serde_json::to_value(Work { what, count, bytes }).ok(),
        user: "u".into(),
        session: Some(session.into()),
        ..Submission::default()
    };
    let ended = engine.run_submission(submission).await.expect("a result");
    assert!(ended.error.is_none(), "{:?}", ended.error);
    Duration::from_nanos(ended.output.as_u64().expect("nanoseconds"))
}

/// A store for one sample: bodies stay, so that a store for all of them would grow without end.
fn sample(runtime: &Runtime, store: &str, what: &str, count: u64, bytes: usize) -> Duration {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary folder");
    let options = match store {
        "memory" => Options::in_memory(),
        _ => Options::in_folder(&folder.path().join("data")).expect("a folder"),
    };
    runtime.block_on(async {
        let engine = open(options).await;
        let took = run(&engine, "bodies", what, count, bytes).await;
        engine.close().await;
        took
    })
}

fn bodies(c: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let mut group = c.benchmark_group("body");
    group.sample_size(10);
    for store in ["memory", "lsm"] {
        for (size, bytes) in [("1 KB", 1 << 10), ("1 MB", 1 << 20)] {
            for what in ["write", "read"] {
                group.throughput(Throughput::Elements(1));
                group.bench_function(BenchmarkId::new(format!("{what} {size}"), store), |b| {
                    b.iter_custom(|count| sample(&runtime, store, what, count, bytes));
                });
            }
        }
    }
    group.finish();
}

fn instances(c: &mut Criterion) {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary folder");
    let runtime = Runtime::new().expect("a runtime");
    let options = || Options::in_folder(&folder.path().join("data")).expect("a folder");
    let engine = runtime.block_on(open(options()));
    let took = runtime.block_on(run(&engine, "many", "create", INSTANCES, 0));
    println!("collection/create: {} instances in {took:?}", INSTANCES);
    runtime.block_on(engine.close());
    let clock = SystemEnv::new();
    let engine = runtime.block_on(open(options()));
    runtime.block_on(run(&engine, "many", "count", 1, 0));
    println!("collection/open and count: {:?}", clock.monotonic());
    let mut group = c.benchmark_group("collection");
    group.sample_size(10);
    for what in ["list", "count"] {
        group.bench_function(format!("{what} of {INSTANCES}"), |b| {
            b.iter_custom(|count| runtime.block_on(run(&engine, "many", what, count, 0)));
        });
    }
    group.finish();
    runtime.block_on(engine.close());
}

fn client_data(c: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let engine = runtime.block_on(open(Options::in_memory()));
    runtime.block_on(run(&engine, "shown", "write", 1, 16));
    let snapshot = async || {
        let principal = Principal::default();
        let shown = engine.snapshot(&principal, "shown", &SnapshotQuery::default()).await;
        let shown = shown.expect("readable").expect("a session");
        assert_eq!(shown.client_data["session"].len(), ENTRIES);
    };
    c.bench_function(&format!("client_data/{ENTRIES} entries"), |b| {
        b.iter(|| runtime.block_on(snapshot()));
    });
    runtime.block_on(engine.close());
}

/// Bytes of all files below a folder, as they take room on the disk.
fn room(folder: &std::path::Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let entries = std::fs::read_dir(folder)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path());
    let room = |path: std::path::PathBuf| match path.is_dir() {
        true => room(&path),
        false => std::fs::metadata(&path).expect("a file").blocks() * 512,
    };
    entries.map(room).sum()
}

/// Bytes of all records of a session, their frames included.
async fn recorded(engine: &Engine, session: &str) -> u64 {
    const FRAME: u64 = 110;
    let name = offline::session_stream(&Principal::default(), session).expect("a name");
    let stream = engine.log().stream(&name).await.expect("readable").expect("a session");
    let (mut from, mut bytes) = (1, 0);
    while from <= engine.log().tail(stream).await.expect("a tail") {
        let records = engine.log().read(stream, from, 1_000).await.expect("records");
        from += records.len() as u64;
        bytes += records
            .iter()
            .map(|record| FRAME + record.payload.len() as u64)
            .sum::<u64>();
    }
    bytes
}

/// Bytes of the files in a folder whose names begin so.
fn files(folder: &std::path::Path, prefix: &str) -> u64 {
    let entries = std::fs::read_dir(folder)
        .expect("a folder")
        .map(|entry| entry.expect("an entry"));
    let named = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix));
    named.map(|entry| entry.metadata().expect("a file").len()).sum()
}

fn rewrites(_: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    for bytes in [1 << 10, 64 << 10, 1 << 20] {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary folder");
        let data = folder.path().join("data");
        let engine = runtime.block_on(open(Options::in_folder(&data).expect("a folder")));
        runtime.block_on(run(&engine, "one", "write", REWRITES, bytes));
        let records = runtime.block_on(recorded(&engine, "one"));
        runtime.block_on(engine.close());
        let logical = REWRITES * bytes as u64;
        let (blobs, views) = (files(&data.join("log"), "blob-"), room(&data.join("views")));
        // Segments are as large as they are, whatever is in them: what counts is what was written to them.
        println!(
            "rewrites/{bytes} bytes, {REWRITES} times: {:.3} on disk per byte ({records} in records, {blobs} of that in blobs, {views} in views)",
            (records + views) as f64 / logical as f64
        );
    }
}

criterion_group!(benches, rewrites, client_data, instances, bodies);
criterion_main!(benches);
