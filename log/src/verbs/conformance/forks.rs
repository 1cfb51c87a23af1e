//! What forks promise: what they share is read without a copy, and is theirs.

use super::support::*;
use crate::append::{Append, Expect, NewRecord, Sub, Target};
use crate::error::{AppendError, ReadError, RetentionError};
use crate::handle::Log;
use crate::record::{StreamId, SubStreamId, Subject};
use crate::verbs::Trim;

fn fork_of(parent: StreamId, position: u64, text: &str) -> Target {
    Target::Fork {
        name: name(text),
        parent,
        position,
    }
}

/// Makes a fork with one record of its own.
async fn fork(log: &Log, parent: StreamId, position: u64, text: &str, own: NewRecord) -> StreamId {
    let made = put(log, fork_of(parent, position, text), vec![Expect::Absent], vec![own]).await;
    let made = made.expect("a fork");
    assert_eq!((made.parts[0].first, made.parts[0].last), (position + 1, position + 1));
    made.parts[0].stream
}

pub(super) async fn a_fork_goes_on_from_what_it_shares(log: &Log) {
    let id = notes(log, "parent", &["1"]).await;
    let records = vec![about(Subject(4), "2"), note("3"), about(Subject(4), "4")];
    put(log, Target::Id(id), Vec::new(), records).await.expect("an append");
    let child = fork(log, id, 3, "child", note("own 4")).await;
    assert_eq!(texts(&all(log, child).await), ["1", "2", "3", "own 4"]);
    assert!(all(log, child).await.iter().all(|record| record.stream == child));
    assert_eq!(texts(&all(log, id).await), ["1", "2", "3", "4"]);
    assert_eq!(shown(log, child).await, ["1", "2", "3", "own 4"]);
    assert_eq!(shown_at(log, child, 2).await, ["1", "2"]);
    assert_eq!(indexed(log, "child").await.as_deref(), Some("own 4"));
    assert_eq!(
        texts(&log.read_back(child, 4, 3).await.expect("a read")),
        ["own 4", "3", "2"]
    );
    assert_eq!(
        texts(&log.read_positions(child, &[4, 1]).await.expect("a read")),
        ["own 4", "1"]
    );
    // It stands where the parent stood.
    let expect = vec![Expect::Version(Subject(4), 2), Expect::Position(4)];
    put(log, named("child"), expect, vec![note("own 5")])
        .await
        .expect("conditions hold");
    // Of a fork, below and above where it began.
    let low = fork(log, child, 1, "grandchild/low", note("low")).await;
    let high = fork(log, child, 4, "grandchild/high", note("high")).await;
    assert_eq!(texts(&all(log, low).await), ["1", "low"]);
    assert_eq!(texts(&all(log, high).await), ["1", "2", "3", "own 4", "high"]);
    assert_eq!(shown(log, high).await, ["1", "2", "3", "own 4", "high"]);
    // In one append with others.
    let parts = vec![
        part(fork_of(id, 2, "together"), vec![note("x")]),
        part(named("together"), vec![note("y")]),
    ];
    let together = append(log, Append::of(parts)).await.expect("an append");
    assert_eq!(texts(&all(log, together.parts[0].stream).await), ["1", "2", "x", "y"]);

    for (position, oldest) in [(0, 1), (5, 1), (u64::MAX, 1)] {
        let refused = put(log, fork_of(id, position, "nowhere"), Vec::new(), vec![note("x")]).await;
        let told = matches!(refused, Err(AppendError::ForkOutOfRange { tail: 4, oldest: from, .. }) if from == oldest);
        assert!(told, "{refused:?}");
    }
    let taken = put(log, fork_of(id, 1, "child"), Vec::new(), vec![note("x")]).await;
    assert!(matches!(taken, Err(AppendError::StreamExists(_))), "{taken:?}");
    let nobody = put(
        log,
        fork_of(StreamId([9; 16]), 1, "nowhere"),
        Vec::new(),
        vec![note("x")],
    )
    .await;
    assert!(matches!(nobody, Err(AppendError::UnknownStream(_))), "{nobody:?}");
    assert_eq!(log.stream(&name("nowhere")).await.expect("a look"), None);
    let trimmed = log.trim(id, Trim::Before(2)).await;
    assert!(
        matches!(trimmed, Err(RetentionError::Append(AppendError::Forked(_)))),
        "{trimmed:?}"
    );
    // A sub-stream is its stream's own.
    let sub = SubStreamId([31; 16]);
    let opened = of_sub(Sub::Open(sub, name("parent/sub")), "5");
    put(log, Target::Id(id), Vec::new(), vec![opened])
        .await
        .expect("an append");
    let late = fork(log, id, 5, "late", note("x")).await;
    let foreign = put(log, Target::Id(late), Vec::new(), vec![of_sub(Sub::Next(sub), "x")]).await;
    assert!(matches!(foreign, Err(AppendError::UnknownSubStream(_))), "{foreign:?}");
}

pub(super) async fn a_fork_outlives_its_parent(log: &Log) {
    let id = notes(log, "outlived", &["1", "2", "3"]).await;
    let one = fork(log, id, 2, "outliving/one", note("own")).await;
    let two = fork(log, one, 1, "outliving/two", note("own")).await;
    log.delete(id).await.expect("a deletion");
    assert!(matches!(log.read(id, 1, 1).await, Err(ReadError::Deleted(_))));
    assert_eq!(texts(&all(log, one).await), ["1", "2", "own"]);
    assert_eq!(shown_at(log, one, 2).await, ["1", "2"]);
    let deleted = put(log, fork_of(id, 1, "outliving/three"), Vec::new(), vec![note("x")]).await;
    assert!(
        matches!(
            deleted,
            Err(AppendError::ForkOutOfRange { .. } | AppendError::UnknownStream(_))
        ),
        "{deleted:?}"
    );
    log.delete(one).await.expect("a deletion");
    assert_eq!(texts(&all(log, two).await), ["1", "own"]);
    assert_eq!(shown(log, two).await, ["1", "own"]);
    // The last fork of another one lets it be trimmed again.
    let free = notes(log, "freed", &["1", "2"]).await;
    let last = fork(log, free, 1, "freed/fork", note("x")).await;
    log.delete(last).await.expect("a deletion");
    assert_eq!(log.trim(free, Trim::Before(2)).await.expect("a trim"), 2);
}

fn out_of_range<T: std::fmt::Debug>(refused: Result<T, AppendError>, from: u64) {
    let told = matches!(refused, Err(AppendError::ForkOutOfRange { oldest, .. }) if oldest == from);
    assert!(told, "{refused:?}");
}

pub(super) async fn a_fork_begins_where_the_past_is_known(log: &Log) {
    let id = notes(log, "known", &["1", "2", "3", "4", "5"]).await;
    let child = fork(log, id, 4, "known/child", note("own 5")).await;
    // What the child gave up it does not pass on, though its parent has it.
    assert_eq!(log.trim(child, Trim::Before(3)).await.expect("a trim"), 3);
    let refused = put(log, fork_of(child, 2, "known/nowhere"), Vec::new(), vec![note("x")]).await;
    out_of_range(refused, 3);
    let shared = fork(log, child, 4, "known/shared", note("x")).await;
    assert_eq!(shown(log, shared).await, ["1", "2", "3", "4", "x"]);
    for fork in [shared, child] {
        log.delete(fork).await.expect("a deletion");
    }
    // The record that gives up the first two says what they had made as of the last.
    assert_eq!(log.trim(id, Trim::Before(3)).await.expect("a trim"), 3);
    for position in [3, 4] {
        let refused = put(log, fork_of(id, position, "known/nowhere"), Vec::new(), vec![note("x")]).await;
        out_of_range(refused, 5);
    }
    let last = fork(log, id, 5, "known/last", note("own 6")).await;
    assert_eq!(shown(log, last).await, ["1", "2", "3", "4", "5", "own 6"]);
}

pub(super) async fn a_fork_of_a_trimmed_stream_knows_its_past(log: &Log) {
    let id = notes(log, "cut", &["1", "2", "3"]).await;
    assert_eq!(log.trim(id, Trim::Before(3)).await.expect("a trim"), 3);
    notes(log, "cut", &["5", "6"]).await;
    let refused = put(log, fork_of(id, 1, "cut/nowhere"), Vec::new(), vec![note("x")]).await;
    let told = matches!(refused, Err(AppendError::ForkOutOfRange { oldest: 3.., .. }));
    assert!(told, "{refused:?}");
    let child = fork(log, id, 5, "cut/child", note("own 6")).await;
    assert_eq!(shown(log, child).await, ["1", "2", "3", "5", "own 6"]);
    assert_eq!(texts(&log.read(child, 5, 2).await.expect("a read"))[..1], ["5"]);
    assert!(matches!(
        log.read(child, 2, 1).await,
        Err(ReadError::Trimmed { oldest: 3, .. })
    ));
    put(log, Target::Id(child), Vec::new(), vec![note("own 7")])
        .await
        .expect("an append");
    assert_eq!(shown_at(log, child, 6).await, ["1", "2", "3", "5", "own 6"]);
    let below = fork(log, child, 6, "cut/grandchild", note("x")).await;
    assert_eq!(shown(log, below).await, ["1", "2", "3", "5", "own 6", "x"]);
    // A fork may give up what it shares, and its parent keeps it.
    let whole = notes(log, "whole", &["1", "2", "3"]).await;
    let cut = fork(log, whole, 2, "whole/cut", note("own 3")).await;
    assert_eq!(log.trim(cut, Trim::Before(3)).await.expect("a trim"), 3);
    assert!(matches!(
        log.read(cut, 1, 1).await,
        Err(ReadError::Trimmed { oldest: 3, .. })
    ));
    assert_eq!(texts(&all(log, cut).await)[..1], ["own 3"]);
    assert_eq!(shown(log, cut).await, ["1", "2", "own 3"]);
    assert_eq!(texts(&all(log, whole).await), ["1", "2", "3"]);
}
