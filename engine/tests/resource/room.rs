//! Caps: who makes room, and what counts as an access.

use std::sync::Arc;
use std::time::Duration;

use flowstate_engine::prelude::*;
use flowstate_engine::record::{Fact, ResourceAt};
use flowstate_engine::{Collection, Eviction, ResourceProblem, collection};
use flowstate_log::disk::faulty::FaultyDisk;
use flowstate_log::disk::memory::MemoryDisk;
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::sync::Barrier;

use crate::support::{go, json, open, records, run, to};
use crate::work::{File, given, on, with};

fn files(max: usize, eviction: Eviction) -> Collection<File> {
    collection("files", "files/*").max_instances(max).eviction(eviction)
}

async fn keys(files: &flowstate_engine::CollectionRef<File>) -> Result<Vec<String>, BlockError> {
    let listed = files.list(None).await?;
    Ok(listed
        .iter()
        .filter_map(|file| file.topic().map(str::to_owned))
        .collect())
}

#[tokio::test]
async fn a_full_collection_refuses_more_unless_somebody_makes_room() {
    let engine = given(files(2, Eviction::None), |_, ctx, files| async move {
        let files = ctx.collection(&files)?;
        files.create("a").await?;
        files.create("b").await?;
        for made in [files.create("c").await, files.get_or_create("c").await] {
            let error = made.map(drop).expect_err("it is full");
            assert!(
                matches!(error.problem, ResourceProblem::Full { max } if max.get() == 2),
                "{error}"
            );
        }
        files.get_or_create("a").await?;
        files.delete("a").await?;
        files.create("c").await?;
        Ok(json(keys(&files).await?))
    })
    .await;
    assert_eq!(go(&engine, Value::Null).await, Ok(json!(["b", "c"])));
    engine.close().await;
}

#[tokio::test]
async fn the_oldest_makes_room_whatever_was_read() {
    let engine = given(files(2, Eviction::Oldest), |_, ctx, files| async move {
        let files = ctx.collection(&files)?;
        files.create("a").await?;
        files.create("b").await?;
        files.get("a").await?.state().inc("reads", 1).await?;
        files.create("c").await?;
        Ok(json(keys(&files).await?))
    })
    .await;
    let records = records(&engine, to("f", "ann", "s", Value::Null)).await;
    let accesses = records
        .iter()
        .filter(|(_, fact)| matches!(fact, Fact::ResourceAccessed(_)));
    assert_eq!(accesses.count(), 0, "nobody asks who was read");
    assert_eq!(go(&engine, Value::Null).await, Ok(json!(["b", "c"])), "and again");
    engine.close().await;
}

/// Each way to look at an instance, and whether it counts as an access.
#[tokio::test]
async fn whoever_was_not_asked_for_longest_makes_room_also_across_requests_and_restarts() {
    let block = |input: Value, ctx: Ctx, files: Collection<File>| async move {
        let files = ctx.collection(&files)?;
        match input.as_str().unwrap_or_default() {
            "make" => {
                for key in ["a", "b", "c"] {
                    files.create(key).await?.write_content(key).await?;
                }
            }
            "get" => drop(files.get("a").await?),
            "find" => drop(files.find("a").await?),
            "hit" => drop(files.get_or_create("a").await?),
            "read" => drop(first(&files).await?.read_content().await?),
            "write" => drop(first(&files).await?.write_content("again").await?),
            "inc" => {
                first(&files).await?.state().inc("reads", 1).await?;
            }
            "list" => drop(files.list(None).await?),
            "count" => drop(files.count().await?),
            "miss" => drop(files.find("none").await?),
            _ => drop(files.create("d").await?),
        }
        Ok(json(keys(&files).await?))
    };
    for (how, counts) in [
        ("get", true),
        ("find", true),
        ("hit", true),
        ("read", true),
        ("write", true),
        ("inc", true),
        ("list", false),
        ("count", false),
        ("miss", false),
    ] {
        let flow = || {
            let own = files(3, Eviction::Lru);
            let flow = with(&own.clone(), move |input, ctx| block(input, ctx, own.clone()));
            flow.instance("default").expect("a flow")
        };
        let disk = MemoryDisk::new();
        for step in ["make", how] {
            let engine = open([flow()], &on(disk.clone())).await;
            run(&engine, to("f", "ann", "s", json!(step))).await.expect("it runs");
            engine.close().await;
        }
        let engine = open([flow()], &on(disk)).await;
        let left = match counts {
            true => json!(["a", "c", "d"]),
            false => json!(["b", "c", "d"]),
        };
        assert_eq!(
            run(&engine, to("f", "ann", "s", json!("more"))).await,
            Ok(left),
            "{how}"
        );
        engine.close().await;
    }
}

/// The first one that a list gives.
async fn first(
    files: &flowstate_engine::CollectionRef<File>,
) -> Result<flowstate_engine::ResourceRef<File>, BlockError> {
    let mut listed = files.list(None).await?;
    Ok(listed.swap_remove(0))
}

#[tokio::test]
async fn a_request_records_that_it_asked_for_an_instance_at_most_once() {
    let engine = given(files(3, Eviction::Lru), |input, ctx, files| async move {
        let files = ctx.collection(&files)?;
        if input == json!("make") {
            files.create("a").await?;
            files.create("b").await?;
        }
        for _ in 0..3 {
            files.get("a").await?.read_content().await?;
            files.find("b").await?;
        }
        join_all((0..4).map(|_| files.get("a"))).await;
        Ok(Value::Null)
    })
    .await;
    let accessed = async |input: &str| -> Vec<ResourceAt> {
        let records = records(&engine, to("f", "ann", "s", json!(input))).await;
        assert!(
            matches!(records.last(), Some((_, Fact::RequestCompleted(_)))),
            "{:?}",
            records.last()
        );
        let accessed = records.into_iter().filter_map(|(_, fact)| match fact {
            Fact::ResourceAccessed(accessed) => Some(accessed.at),
            _ => None,
        });
        accessed.collect()
    };
    let first = accessed("make").await;
    assert_eq!(first.len(), 2, "{first:?}");
    let second = accessed("again").await;
    let keys: Vec<_> = second.iter().map(|at| at.path()).collect();
    assert_eq!(keys, ["files/a", "files/b"]);
    engine.close().await;
}

#[tokio::test]
async fn eviction_and_creation_are_one_append() {
    let engine = given(files(2, Eviction::Lru), |_, ctx, files| async move {
        let files = ctx.collection(&files)?;
        for key in ["a", "b", "c"] {
            files.create(key).await?;
        }
        Ok(Value::Null)
    })
    .await;
    let records = records(&engine, to("f", "ann", "s", Value::Null)).await;
    let of = |wanted: fn(&Fact) -> bool| {
        records
            .iter()
            .filter(move |(_, fact)| wanted(fact))
            .map(|(record, _)| record)
    };
    let deleted: Vec<_> = of(|fact| matches!(fact, Fact::ResourceDeleted(deleted) if deleted.evicted)).collect();
    let created: Vec<_> = of(|fact| matches!(fact, Fact::ResourceCreated(_))).collect();
    assert_eq!((deleted.len(), created.len()), (1, 3));
    assert_eq!(deleted[0].commit, created[2].commit);
    assert_eq!(deleted[0].position + 1, created[2].position);
    engine.close().await;
}

#[tokio::test]
async fn a_cap_holds_whoever_creates_at_once() {
    let engine = given(files(4, Eviction::Lru), |input, ctx, files| async move {
        let files = ctx.collection(&files)?;
        for n in 0..5 {
            files.create(format!("{input}-{n}")).await?;
            assert!(files.count().await? <= 4);
        }
        Ok(json(files.count().await?))
    })
    .await;
    let runs = (0..6).map(|n| run(&engine, to("f", "ann", "s", json!(n))));
    for ran in join_all(runs).await {
        assert_eq!(ran, Ok(json!(4)));
    }
    engine.close().await;
}

#[tokio::test]
async fn a_cap_that_was_lowered_makes_room_for_as_many_as_it_takes() {
    let disk = MemoryDisk::new();
    for (max, left) in [(5, 5), (2, 2)] {
        let own = files(max, Eviction::Oldest);
        let flow = with(&own.clone(), move |input, ctx| {
            let own = own.clone();
            async move {
                let files = ctx.collection(&own)?;
                for n in 0..input.as_u64().unwrap_or_default() {
                    files.create(format!("{}-{n}", ctx.request_id())).await?;
                }
                Ok(json(files.count().await?))
            }
        });
        let engine = open([flow.instance("default").expect("a flow")], &on(disk.clone())).await;
        let many = if max == 5 { 5 } else { 1 };
        assert_eq!(run(&engine, to("f", "ann", "s", json!(many))).await, Ok(json!(left)));
        engine.close().await;
    }
}

/// An instance may have made room since it was found.
fn is_there_or_was<T>(used: Result<T, impl Into<BlockError>>) {
    if let Err(error) = used {
        let error = error.into();
        assert_eq!(error.code(), "resource_not_found", "{error}");
    }
}

/// Readers and writers of all instances while others are made: nobody is refused, and the cap holds.
#[tokio::test]
async fn who_reads_and_writes_does_not_keep_others_from_making_room() {
    let engine = given(files(8, Eviction::Lru), |input, ctx, files| async move {
        let files = ctx.collection(&files)?;
        for n in 0..20 {
            if input.as_u64() < Some(4) {
                let file = files.create(format!("{input}-{n}")).await?;
                is_there_or_was(file.write_content("made").await);
                continue;
            }
            for file in files.list(None).await? {
                is_there_or_was(file.read_content().await);
                is_there_or_was(file.state().inc("reads", 1).await);
                is_there_or_was(file.write_content("read").await);
            }
        }
        Ok(json(files.count().await?))
    })
    .await;
    let runs = (0..12).map(|n| run(&engine, to("f", "ann", "s", json!(n))));
    for ran in join_all(runs).await {
        assert!(ran.as_ref().is_ok_and(|count| count.as_u64() <= Some(8)), "{ran:?}");
    }
    engine.close().await;
}

#[tokio::test]
async fn a_hundred_who_make_at_once_in_one_request_all_do() {
    let engine = given(files(50, Eviction::Oldest), |_, ctx, files| async move {
        let files = ctx.collection(&files)?;
        let made = join_all((0..150).map(|n| files.create(format!("{n}")))).await;
        let failed: Vec<_> = made.into_iter().filter_map(Result::err).collect();
        assert!(failed.is_empty(), "{failed:?}");
        Ok(json(files.count().await?))
    })
    .await;
    assert_eq!(go(&engine, Value::Null).await, Ok(json!(50)));
    engine.close().await;
}

#[tokio::test]
async fn a_collection_with_another_pattern_is_another_one() {
    let disk = MemoryDisk::new();
    for (pattern, count) in [("files/*", 1), ("docs/*", 1), ("files/*", 2)] {
        let own = collection::<File>("files", pattern).max_instances(2);
        let flow = with(&own.clone(), move |_, ctx| {
            let own = own.clone();
            async move {
                let files = ctx.collection(&own)?;
                files.create(ctx.request_id()).await?;
                Ok(json(files.count().await?))
            }
        });
        let engine = open([flow.instance("default").expect("a flow")], &on(disk.clone())).await;
        assert_eq!(
            run(&engine, to("f", "ann", "s", Value::Null)).await,
            Ok(json!(count)),
            "{pattern}"
        );
        engine.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_stops_while_it_makes_an_instance_takes_nobody_else_with_it() {
    let disk = FaultyDisk::new(Arc::new(MemoryDisk::new()));
    let (held, both) = (disk.clone(), Arc::new(Barrier::new(3)));
    let (files, goes_on) = (files(4, Eviction::Oldest), both.clone());
    let used = files.clone();
    let flow = with(&files, move |input, ctx| {
        let (files, disk, both) = (used.clone(), held.clone(), goes_on.clone());
        async move {
            let files = ctx.collection(&files)?;
            ctx.durable().await?;
            both.wait().await;
            if input == json!("stops") {
                disk.hold_syncs("slot");
                let is_queued = tokio::task::spawn_blocking(move || disk.wait_for_held(1));
                tokio::select! {
                    _ = files.create("stopped") => panic!("nothing is durable"),
                    _ = is_queued => {}
                }
                both.wait().await;
            } else {
                both.wait().await;
                files.create("made").await?;
            }
            Ok(json(files.count().await?))
        }
    });
    let engine = open([flow.instance("default").expect("a flow")], &on(disk.clone())).await;
    let holds = async {
        both.wait().await;
        both.wait().await;
        // So that it has decided, if it does not wait.
        tokio::time::sleep(Duration::from_millis(100)).await;
        disk.release();
    };
    let (stopped, other, ()) = tokio::join!(
        run(&engine, to("f", "ann", "s", json!("stops"))),
        run(&engine, to("f", "ann", "s", json!("goes on"))),
        holds
    );
    stopped.expect("it has not failed");
    assert_eq!(other, Ok(json!(2)), "what was queued is made");
    engine.close().await;
}
