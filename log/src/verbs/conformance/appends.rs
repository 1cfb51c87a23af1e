//! What an append promises.

use super::support::*;
use crate::append::{Append, Expect, NewRecord, Part, Sub, Target};
use crate::error::{AppendError, ReadError};
use crate::handle::Log;
use crate::record::{IdempotencyKey, Kind, Name, StreamId, SubStreamId, Subject};

pub(super) async fn conditions_are_decided_on_what_is_sequenced_before(log: &Log) {
    let one = Subject(1);
    let to = || named("conditions");
    let absent = put(log, to(), vec![Expect::Exists], vec![note("x")]).await;
    assert!(matches!(absent, Err(AppendError::StreamAbsent(_))), "{absent:?}");
    let first = put(
        log,
        to(),
        vec![Expect::Absent, Expect::Position(0), Expect::Version(one, 0)],
        vec![note("a"), about(one, "b")],
    );
    let first = first.await.expect("an append to a new stream");
    let id = first.parts[0].stream;
    assert_eq!(
        (first.parts[0].first, first.parts[0].last, first.repeated),
        (1, 2, false)
    );
    let exists = put(log, to(), vec![Expect::Absent], vec![note("x")]).await;
    assert!(matches!(exists, Err(AppendError::StreamExists(_))), "{exists:?}");
    let holding = vec![Expect::Exists, Expect::Position(2), Expect::Version(one, 2)];
    put(log, Target::Id(id), holding, vec![note("c")])
        .await
        .expect("conditions hold");
    let moved = put(log, to(), vec![Expect::Position(2)], vec![note("x")]).await;
    assert!(
        matches!(moved, Err(AppendError::PositionMismatch { expected: 2, actual: 3 })),
        "{moved:?}"
    );
    let version = put(log, to(), vec![Expect::Version(one, 3)], vec![note("x")]).await;
    let wrong =
        matches!(version, Err(AppendError::VersionMismatch { expected: 3, actual: 2, subject }) if subject == one);
    assert!(wrong, "{version:?}");
    let sub = put(
        log,
        to(),
        vec![Expect::SubStreamAt(SubStreamId([1; 16]), 1)],
        vec![note("x")],
    )
    .await;
    assert!(
        matches!(
            sub,
            Err(AppendError::SubStreamMismatch {
                expected: 1,
                actual: 0,
                ..
            })
        ),
        "{sub:?}"
    );
    let nobody = put(log, Target::Id(StreamId([9; 16])), Vec::new(), vec![note("x")]).await;
    assert!(matches!(nobody, Err(AppendError::UnknownStream(_))), "{nobody:?}");

    // What is queued and not yet durable counts; the own parts do not.
    let conditional = |position| {
        let part = Part {
            stream: to(),
            expect: vec![Expect::Position(position)],
            records: vec![note("p")],
        };
        log.append(Append::of(vec![part.clone(), part]))
    };
    let queued = [conditional(3).await, conditional(5).await, conditional(5).await];
    let mut outcomes = Vec::new();
    for queued in queued {
        outcomes.push(queued.expect("queued").await);
    }
    assert!(outcomes[0].is_ok() && outcomes[1].is_ok(), "{outcomes:?}");
    assert!(
        matches!(
            outcomes[2],
            Err(AppendError::PositionMismatch { expected: 5, actual: 7 })
        ),
        "{outcomes:?}"
    );
    assert_eq!(texts(&all(log, id).await), ["a", "b", "c", "p", "p", "p", "p"]);
}

pub(super) async fn a_refused_append_leaves_nothing(log: &Log) {
    let kept = notes(log, "refused/kept", &["a"]).await;
    let sub = SubStreamId([2; 16]);
    let opens = part(
        named("refused/new"),
        vec![of_sub(Sub::Open(sub, name("refused/sub")), "x")],
    );
    let refused = Part {
        expect: vec![Expect::Position(9)],
        ..part(named("refused/kept"), vec![note("x")])
    };
    let outcome = append(log, Append::of(vec![opens.clone(), refused])).await;
    assert!(
        matches!(outcome, Err(AppendError::PositionMismatch { .. })),
        "{outcome:?}"
    );
    assert_eq!(log.stream(&name("refused/new")).await.expect("a look"), None);
    assert_eq!(log.sub_stream(&name("refused/sub")).await.expect("a look"), None);
    assert_eq!(log.tail(kept).await.expect("a tail"), 1);
    let mut gone = log
        .append(Append::of(vec![Part {
            expect: vec![Expect::Absent],
            ..part(named("refused/kept"), vec![note("x")])
        }]))
        .await
        .expect("queued");
    assert_eq!(gone.sequenced().await, None, "what is refused is not sequenced");
    append(log, Append::of(vec![opens])).await.expect("names are free");
}

pub(super) async fn malformed_appends_are_refused(log: &Log) {
    let invalid = |append: Append| async move {
        let outcome = log.append(append).await;
        assert!(matches!(outcome, Err(AppendError::Invalid(_))), "{outcome:?}");
    };
    invalid(Append::of(Vec::new())).await;
    invalid(Append::of(vec![part(named("malformed"), Vec::new())])).await;
    invalid(Append::of(vec![part(named("\0malformed"), vec![note("x")])])).await;
    let own = NewRecord {
        kind: Kind::STREAM_DELETED,
        ..note("x")
    };
    invalid(Append::of(vec![part(named("malformed"), vec![own])])).await;
    let many = vec![note(""); 100_000];
    invalid(Append::of(vec![part(named("malformed"), many)])).await;
    assert_eq!(log.stream(&name("malformed")).await.expect("a look"), None);
}

pub(super) async fn an_append_to_several_streams_is_one(log: &Log) {
    let parts = vec![
        part(named("several/a"), vec![note("a1"), note("a2")]),
        part(named("several/b"), vec![note("b1")]),
        part(named("several/a"), vec![note("a3")]),
    ];
    let appended = append(log, Append::of(parts)).await.expect("an append");
    let places: Vec<_> = appended.parts.iter().map(|part| (part.first, part.last)).collect();
    assert_eq!(places, [(1, 2), (1, 1), (3, 3)]);
    assert_eq!(appended.parts[0].stream, appended.parts[2].stream);
    let (a, b) = (appended.parts[0].stream, appended.parts[1].stream);
    let records = [all(log, a).await, all(log, b).await].concat();
    assert!(records.iter().all(|record| record.commit == appended.commit));
    let mut indexes: Vec<u32> = records.iter().map(|record| record.index).collect();
    indexes.sort_unstable();
    assert!(indexes.windows(2).all(|pair| pair[1] == pair[0] + 1), "{indexes:?}");

    // A reader never sees the one without the other.
    let writer = tokio::spawn({
        let log = log.clone();
        async move {
            for _ in 0..50 {
                let parts = vec![
                    part(Target::Id(b), vec![note("pair")]),
                    part(Target::Id(a), vec![note("pair")]),
                ];
                append(&log, Append::of(parts)).await.expect("an append");
            }
        }
    });
    while !writer.is_finished() {
        let tail_b = log.tail(b).await.expect("a tail");
        let tail_a = log.tail(a).await.expect("a tail");
        assert!(tail_a >= tail_b + 2, "{tail_a} {tail_b}");
    }
    writer.await.expect("the writer");
    let alice = Name::new("alice", "several/a").expect("a valid name");
    assert_eq!(
        log.stream(&alice).await.expect("a look"),
        None,
        "names are a principal's own"
    );
    assert_eq!(log.stream(&name("several/a")).await.expect("a look"), Some(a));
    assert_eq!(log.stream_name(a).await.expect("a name"), name("several/a"));
}

fn keyed(key: &str, stream: Target, expect: Vec<Expect>, text: &str) -> Append {
    Append {
        key: IdempotencyKey::new(key.as_bytes()),
        parts: vec![
            Part {
                expect,
                ..part(stream, vec![note(text)])
            },
            part(named("repeatable/second"), vec![note(text)]),
        ],
    }
}

pub(super) async fn a_key_makes_an_append_repeatable(log: &Log) {
    let to = || named("repeatable");
    let absent = || vec![Expect::Absent];
    let first = log.append(keyed("k", to(), absent(), "a")).await.expect("queued");
    let in_flight = log.append(keyed("k", to(), absent(), "a")).await.expect("queued");
    let other = log.append(keyed("k", to(), Vec::new(), "b")).await.expect("queued");
    let first = first.await.expect("the first");
    let again = in_flight.await.expect("the same again");
    assert!(!first.repeated && again.repeated);
    assert_eq!((first.commit, &first.parts), (again.commit, &again.parts));
    assert!(matches!(other.await, Err(AppendError::KeyReused(_))));
    let id = first.parts[0].stream;
    let later = append(log, keyed("k", to(), absent(), "a"))
        .await
        .expect("the same later");
    assert!(later.repeated && later.parts == first.parts && later.commit == first.commit);
    let reused = append(log, keyed("k", Target::Id(id), Vec::new(), "c")).await;
    assert!(matches!(reused, Err(AppendError::KeyReused(_))), "{reused:?}");
    // Keys are a stream's own, and one that was refused is not used up.
    let failed = append(log, keyed("l", to(), absent(), "a")).await;
    assert!(matches!(failed, Err(AppendError::StreamExists(_))), "{failed:?}");
    append(log, keyed("l", to(), Vec::new(), "d"))
        .await
        .expect("a free key");
    append(log, keyed("k", named("repeatable/other"), Vec::new(), "e"))
        .await
        .expect("another stream's key");
    assert_eq!(texts(&all(log, id).await), ["a", "d"]);
    let second = log.stream(&name("repeatable/second")).await.expect("a look");
    assert_eq!(texts(&all(log, second.expect("a stream")).await), ["a", "d", "e"]);
}

pub(super) async fn what_was_answered_is_known_after_a_reopen(log: &Log) {
    let again = append(log, keyed("k", named("repeatable"), vec![Expect::Absent], "a")).await;
    let again = again.expect("the same again");
    assert!(again.repeated);
    assert_eq!((again.parts[0].first, again.parts[1].first), (1, 1));
    let reused = append(log, keyed("k", named("repeatable"), Vec::new(), "f")).await;
    assert!(matches!(reused, Err(AppendError::KeyReused(_))), "{reused:?}");
    // So are names, versions and the numbers of sub-streams.
    let taken = of_sub(Sub::Open(SubStreamId([7; 16]), name("sub/one")), "x");
    let taken = put(log, named("sub"), Vec::new(), vec![taken]).await;
    assert!(matches!(taken, Err(AppendError::SubStreamTaken(_))), "{taken:?}");
    let expect = vec![Expect::Version(Subject(1), 2), Expect::Position(7)];
    put(log, named("conditions"), expect, vec![about(Subject(1), "after")])
        .await
        .expect("versions are kept");
}

pub(super) async fn appends_keep_their_order_and_are_answered_when_visible(log: &Log) {
    let mut queued = Vec::new();
    for number in 0..200 {
        let append = Append::of(vec![part(named("ordered"), vec![note(&number.to_string())])]);
        queued.push(log.append(append).await.expect("queued"));
    }
    let mut last = 0;
    for (number, mut appending) in queued.into_iter().enumerate() {
        let sequenced = appending.sequenced().await.expect("it is not refused");
        let appended = appending.await.expect("it is durable");
        assert_eq!(sequenced, appended);
        assert_eq!(appended.parts[0].first, number as u64 + 1);
        assert!(appended.commit >= last);
        last = appended.commit;
        let stream = appended.parts[0].stream;
        assert!(log.tail(stream).await.expect("a tail") >= appended.parts[0].last);
        assert!(log.last_commit() >= appended.commit);
        assert!(log.last_synced_commit() <= log.last_commit());
    }
    let id = log.stream(&name("ordered")).await.expect("a look").expect("a stream");
    let expected: Vec<String> = (0..200).map(|number: u32| number.to_string()).collect();
    assert_eq!(texts(&all(log, id).await), expected);
    // Dropping it changes nothing about the append.
    drop(
        log.append(Append::of(vec![part(Target::Id(id), vec![note("dropped")])]))
            .await
            .expect("queued"),
    );
    let after = put(log, Target::Id(id), Vec::new(), vec![note("after")])
        .await
        .expect("an append");
    assert_eq!(after.parts[0].first, 202);
}

pub(super) async fn one_of_those_who_race_wins(log: &Log) {
    for round in 0..20 {
        let mut racers = Vec::new();
        for racer in 0..8 {
            let log = log.clone();
            racers.push(tokio::spawn(async move {
                let expect = vec![Expect::Position(round)];
                put(&log, named("raced"), expect, vec![note(&racer.to_string())])
                    .await
                    .is_ok()
            }));
        }
        let mut won = 0;
        for racer in racers {
            won += u32::from(racer.await.expect("a racer"));
        }
        assert_eq!(won, 1, "round {round}");
    }
}

pub(super) async fn sub_streams_are_numbered_and_named(log: &Log) {
    let (one, two) = (SubStreamId([3; 16]), SubStreamId([4; 16]));
    let next = |sub, text| of_sub(Sub::Next(sub), text);
    let records = vec![
        note("between"),
        of_sub(Sub::Open(one, name("sub/one")), "1"),
        next(one, "2"),
        of_sub(Sub::Open(two, name("sub/two")), "1"),
        next(one, "3"),
    ];
    let opened = put(log, named("sub"), vec![Expect::SubStreamAt(one, 0)], records).await;
    let id = opened.expect("an append").parts[0].stream;
    let records = all(log, id).await;
    let numbers: Vec<_> = records.iter().map(|record| record.sub).collect();
    assert_eq!(
        numbers,
        [None, Some((one, 1)), Some((one, 2)), Some((two, 1)), Some((one, 3))]
    );
    assert_eq!(records[1].extras.sub_stream, Some(name("sub/one")));
    let info = log
        .sub_stream(&name("sub/one"))
        .await
        .expect("a look")
        .expect("a sub-stream");
    assert_eq!(
        (info.stream, info.id, info.first, info.last, info.count),
        (id, one, 2, 5, 3)
    );
    assert_eq!(log.sub_stream_info(id, one).await.expect("a sub-stream"), info);
    let unknown = log.sub_stream_info(id, SubStreamId([5; 16])).await;
    assert!(matches!(unknown, Err(ReadError::UnknownSubStream(_))), "{unknown:?}");

    for taken in [
        of_sub(Sub::Open(SubStreamId([5; 16]), name("sub/one")), "x"),
        of_sub(Sub::Open(one, name("sub/three")), "x"),
    ] {
        let outcome = put(log, named("sub"), Vec::new(), vec![taken]).await;
        assert!(matches!(outcome, Err(AppendError::SubStreamTaken(_))), "{outcome:?}");
    }
    let elsewhere = of_sub(Sub::Open(SubStreamId([5; 16]), name("sub/two")), "x");
    let elsewhere = put(log, named("sub/elsewhere"), Vec::new(), vec![elsewhere]).await;
    assert!(
        matches!(elsewhere, Err(AppendError::SubStreamTaken(_))),
        "{elsewhere:?}"
    );
    let of_another = put(log, named("sub/elsewhere"), Vec::new(), vec![next(one, "x")]).await;
    assert!(
        matches!(of_another, Err(AppendError::UnknownSubStream(_))),
        "{of_another:?}"
    );
    let twice = vec![
        of_sub(Sub::Open(SubStreamId([5; 16]), name("sub/three")), "x"),
        of_sub(Sub::Open(SubStreamId([6; 16]), name("sub/three")), "x"),
    ];
    let twice = put(log, named("sub"), Vec::new(), twice).await;
    assert!(matches!(twice, Err(AppendError::SubStreamTaken(_))), "{twice:?}");
    let expect = vec![Expect::SubStreamAt(one, 3), Expect::SubStreamAt(two, 1)];
    put(log, named("sub"), expect, vec![next(two, "2")])
        .await
        .expect("conditions hold");
}

pub(super) async fn a_closed_log_refuses_appends_and_is_read(log: &Log) {
    let refused = put(log, named("ordered"), Vec::new(), vec![note("x")]).await;
    assert!(matches!(refused, Err(AppendError::Closed)), "{refused:?}");
    let id = log.stream(&name("ordered")).await.expect("a look").expect("a stream");
    assert_eq!(log.read(id, 1, 1).await.expect("a read").len(), 1);
    log.close().await;
}
