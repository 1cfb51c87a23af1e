//! What reads promise: ranges, cursors, lists, and the order of everything.

use std::time::Duration;

use super::support::*;
use crate::append::{Append, NewRecord, Sub, Target};
use crate::cursor::{CommitCursor, StreamCursor};
use crate::error::ReadError;
use crate::handle::Log;
use crate::record::{Kind, Name, StreamId, SubStreamId, Subject};
use crate::verbs::{CommitFilter, ListedStream, StreamOrder, StreamQuery};

/// Longer than anything here takes; only what is broken waits for it.
const WITHIN: Duration = Duration::from_secs(30);

pub(super) async fn records_read_back_as_appended(log: &Log) {
    let large = "large ".repeat((20 << 10) / 6);
    let record = NewRecord {
        kind: OTHER,
        subject: Subject(7),
        causation: [8; 16],
        origin: 9,
        ..note(&large)
    };
    let appended = put(log, named("fields"), Vec::new(), vec![note(""), record]).await;
    let appended = appended.expect("an append");
    let id = appended.parts[0].stream;
    let records = all(log, id).await;
    assert_eq!(texts(&records), ["", &large]);
    let (first, second) = (&records[0], &records[1]);
    assert_eq!(
        (first.stream, first.position, first.sub, first.kind),
        (id, 1, None, NOTE)
    );
    assert_eq!(first.extras.stream, Some(name("fields")));
    assert_eq!((second.position, second.subject, second.kind), (2, Subject(7), OTHER));
    assert_eq!((second.causation, second.origin, second.erased), ([8; 16], 9, false));
    assert_eq!((second.commit, second.index), (appended.commit, first.index + 1));
    assert!(first.time_us > 0 && second.time_us >= first.time_us);
    assert_eq!(texts(&log.read_back(id, 2, 1).await.expect("a read")), [large.as_str()]);
    assert_eq!(
        texts(&log.read_positions(id, &[2]).await.expect("a read")),
        [large.as_str()]
    );
}

pub(super) async fn ranges_end_where_the_stream_does(log: &Log) {
    let ten: Vec<String> = (1..=10).map(|number| number.to_string()).collect();
    let id = notes(log, "ranges", &ten.iter().map(String::as_str).collect::<Vec<_>>()).await;
    for (from, limit, expected) in [
        (1, 3, &ten[..3]),
        (4, 1, &ten[3..4]),
        (10, 5, &ten[9..]),
        (3, 0, &[]),
        (11, 1, &[]),
    ] {
        let read = log.read(id, from, limit).await.expect("a read");
        assert!(ten[from as usize - 1..].starts_with(&texts(&read)), "{from} {limit}");
        assert!(
            read.len() <= limit && (read.is_empty() == expected.is_empty()),
            "{from} {limit}"
        );
    }
    assert!(log.read(id, u64::MAX, usize::MAX).await.expect("a read").is_empty());
    assert_eq!(
        (
            log.oldest(id).await.expect("a bound"),
            log.tail(id).await.expect("a bound")
        ),
        (1, 10)
    );
    for (to, limit, expected) in [(10, 2, "10 9"), (3, 10, "3 2 1"), (99, 1, "10"), (5, 0, ""), (0, 5, "")] {
        let read = log.read_back(id, to, limit).await.expect("a read");
        assert_eq!(texts(&read).join(" "), expected, "{to} {limit}");
    }
    let read = log.read_positions(id, &[9, 1, 9, 2]).await.expect("a read");
    assert_eq!(texts(&read), ["9", "1", "9", "2"]);
    assert!(log.read_positions(id, &[]).await.expect("a read").is_empty());
    for position in [0, 11, u64::MAX] {
        let beyond = log.read_positions(id, &[1, position]).await;
        assert!(
            matches!(beyond, Err(ReadError::BeyondTail { tail: 10, .. })),
            "{beyond:?}"
        );
    }
    let nobody = StreamId([9; 16]);
    assert!(matches!(log.read(nobody, 1, 1).await, Err(ReadError::UnknownStream(_))));
    assert!(matches!(log.tail(nobody).await, Err(ReadError::UnknownStream(_))));
    assert!(matches!(log.follow(nobody, 1).await, Err(ReadError::UnknownStream(_))));
    assert!(matches!(
        log.stream_name(nobody).await,
        Err(ReadError::UnknownStream(_))
    ));
}

pub(super) async fn followers_are_woken_and_resume(log: &Log) {
    let id = notes(log, "followed", &["1", "2", "3"]).await;
    let mut middle = log.follow(id, 2).await.expect("a cursor");
    let mut seen = Vec::new();
    while seen.len() < 2 {
        seen.extend(texts(&middle.page().await.expect("a page")));
    }
    assert_eq!(seen, ["2", "3"]);
    let waiting = tokio::spawn(async move { texts(&middle.page().await.expect("a page")) });
    let mut also = log.follow(id, 4).await.expect("a cursor at the tail");
    notes(log, "followed", &["4"]).await;
    let woken = tokio::time::timeout(WITHIN, waiting).await.expect("it is woken");
    assert_eq!(woken.expect("a reader"), ["4"]);
    assert_eq!(texts(&also.page().await.expect("a page")), ["4"]);

    let text = StreamCursor {
        stream: id,
        position: 3,
    }
    .to_string();
    let cursor: StreamCursor = text.parse().expect("its own text");
    let mut resumed = log.follow_from(&cursor).await.expect("a cursor");
    assert_eq!(texts(&resumed.page().await.expect("a page")), ["4"]);
    let ahead = StreamCursor {
        stream: id,
        position: 5,
    };
    assert!(matches!(
        log.follow_from(&ahead).await.map(|_| ()),
        Err(ReadError::BeyondTail {
            position: 5,
            tail: 4,
            ..
        })
    ));
}

pub(super) async fn a_resume_of_a_sub_stream_reads_little_more_than_it_needs(log: &Log) {
    // Two of them take turns.
    let subs = [SubStreamId([11; 16]), SubStreamId([12; 16])];
    let each = 600u64;
    for number in 1..=each {
        let record = |which: usize| {
            let sub = match number {
                1 => Sub::Open(subs[which], name(&format!("busy/{which}"))),
                _ => Sub::Next(subs[which]),
            };
            of_sub(sub, &format!("{which}:{number}"))
        };
        let append = Append::of(vec![part(named("busy"), vec![record(0), record(1)])]);
        let queued = log.append(append).await.expect("queued");
        if number == each {
            queued.await.expect("an append");
        }
    }
    let info = log
        .sub_stream(&name("busy/1"))
        .await
        .expect("a look")
        .expect("a sub-stream");
    assert_eq!((info.first, info.last, info.count), (2, 2 * each, each));
    for after in [0, 255, 256, 500, each - 1] {
        let mut follow = log.follow_sub(&info, after).await.expect("a cursor");
        let mut expected = after + 1;
        while expected <= each {
            for record in follow.page().await.expect("a page") {
                assert_eq!(texts(&[record]), [format!("1:{expected}")]);
                expected += 1;
            }
        }
        // At most a stride of both before the first one that was asked for.
        let most = 2 * (each - after) + 2 * crate::limits::SUB_STREAM_STRIDE;
        assert!(
            follow.visited() <= most,
            "{} records for those after {after}",
            follow.visited()
        );
    }
    let mut follow = log.follow_sub(&info, each).await.expect("a cursor at the end");
    let waiting = tokio::spawn(async move { texts(&follow.page().await.expect("a page")) });
    let records = vec![
        of_sub(Sub::Next(subs[0]), "not this"),
        of_sub(Sub::Next(subs[1]), "this"),
    ];
    put(log, Target::Id(info.stream), Vec::new(), records)
        .await
        .expect("an append");
    let woken = tokio::time::timeout(WITHIN, waiting).await.expect("it is woken");
    assert_eq!(woken.expect("a reader"), ["this"]);
}

pub(super) async fn a_sub_stream_can_be_waited_for(log: &Log) {
    let missing = log
        .sub_stream_within(&name("later"), Duration::ZERO)
        .await
        .expect("a look");
    assert_eq!(missing, None);
    let waiting = tokio::spawn({
        let log = log.clone();
        async move { log.sub_stream_within(&name("later"), WITHIN).await.expect("a look") }
    });
    let sub = SubStreamId([13; 16]);
    let record = of_sub(Sub::Open(sub, name("later")), "1");
    let opened = put(log, named("later/stream"), Vec::new(), vec![record])
        .await
        .expect("an append");
    let found = waiting.await.expect("who waits").expect("it was opened");
    assert_eq!((found.stream, found.id, found.count), (opened.parts[0].stream, sub, 1));
}

pub(super) async fn lists_are_paged_by_name_and_by_activity(log: &Log) {
    for (principal, text) in [
        ("lister", "l/b"),
        ("lister", "l/a"),
        ("lister", "m"),
        ("other", "l/a"),
        ("lister", "l/c"),
    ] {
        let to = Target::Name(Name::new(principal, text).expect("a valid name"));
        put(log, to, Vec::new(), vec![note(text)]).await.expect("an append");
    }
    let paged = |order, prefix: &str| {
        let mut query = StreamQuery {
            principal: Some("lister".to_owned()),
            prefix: prefix.to_owned(),
            order,
            after: None,
            limit: 1,
        };
        async move {
            let mut found: Vec<ListedStream> = Vec::new();
            while let Some(next) = log.list(query.clone()).await.expect("a page").pop() {
                query.after = Some(next.clone());
                found.push(next);
            }
            query.limit = usize::MAX;
            query.after = None;
            assert_eq!(log.list(query).await.expect("a page"), found, "pages make the whole");
            found
        }
    };
    let names = |found: Vec<ListedStream>| -> Vec<String> {
        found.into_iter().map(|listed| listed.name.name().to_owned()).collect()
    };
    assert_eq!(names(paged(StreamOrder::Name, "").await), ["l/a", "l/b", "l/c", "m"]);
    assert_eq!(names(paged(StreamOrder::Name, "l/").await), ["l/a", "l/b", "l/c"]);
    assert!(paged(StreamOrder::Name, "l/b/").await.is_empty());
    assert_eq!(
        names(paged(StreamOrder::LastActivity, "l/").await),
        ["l/c", "l/a", "l/b"]
    );
    let to = Target::Name(Name::new("lister", "l/b").expect("a valid name"));
    let moved = put(log, to, Vec::new(), vec![note("more")]).await.expect("an append");
    let by_activity = paged(StreamOrder::LastActivity, "").await;
    assert_eq!((by_activity[0].stream, by_activity[0].tail), (moved.parts[0].stream, 2));
    let last = &log.read_back(moved.parts[0].stream, 2, 1).await.expect("a read")[0];
    assert_eq!(by_activity[0].last_activity_us, last.time_us);
    assert_eq!(names(by_activity), ["l/b", "l/c", "m", "l/a"]);

    a_place_beyond_a_list_is_its_end(log).await;
    let everyone = StreamQuery {
        order: StreamOrder::LastActivity,
        limit: usize::MAX,
        ..StreamQuery::default()
    };
    let everyone = log.list(everyone).await.expect("a page");
    assert!(everyone.iter().any(|listed| listed.name.principal() == "other"));
    assert!(everyone.iter().all(|listed| !listed.name.name().starts_with('\0')));
}

/// Someone else's place in a list, or one after all that is wanted, is an end and no failure.
pub(super) async fn a_place_beyond_a_list_is_its_end(log: &Log) {
    let query = |prefix: &str| StreamQuery {
        principal: Some("lister".to_owned()),
        prefix: prefix.to_owned(),
        limit: 5,
        ..StreamQuery::default()
    };
    let beyond = StreamQuery {
        after: log.list(query("m")).await.expect("a page").pop(),
        ..query("l/")
    };
    assert!(beyond.after.is_some());
    assert_eq!(log.list(beyond).await.expect("a page"), []);
}

pub(super) async fn the_order_of_everything_is_paged_and_filtered(log: &Log) {
    let a = notes(log, "order/a", &["1"]).await;
    let start = CommitCursor {
        commit: log.last_commit(),
        records: u32::MAX,
        ..log.commits_start()
    };
    let tip = log.commits(start, &CommitFilter::default(), 10).await.expect("a page");
    assert!(tip.at_tip && tip.records.is_empty());
    let waiting = tokio::spawn({
        let log = log.clone();
        async move { log.wait_commit(tip.next.commit).await }
    });
    let other = NewRecord {
        kind: OTHER,
        ..note("3")
    };
    let parts = vec![
        part(named("order/b"), vec![note("2"), other]),
        part(Target::Id(a), vec![note("4")]),
    ];
    append(log, Append::of(parts)).await.expect("an append");
    tokio::time::timeout(WITHIN, waiting)
        .await
        .expect("it is woken")
        .expect("who waits");
    notes(log, "order/a", &["5", "6"]).await;

    let follow = |filter: CommitFilter, limit: usize| async move {
        let (mut found, mut cursor) = (Vec::new(), start);
        loop {
            let page = log.commits(cursor, &filter, limit).await.expect("a page");
            assert!(page.records.len() <= limit);
            found.extend(page.records);
            cursor = page.next.to_string().parse().expect("its own text");
            if page.at_tip {
                return found;
            }
        }
    };
    for limit in [1, 2, 3, usize::MAX] {
        let found = follow(CommitFilter::default(), limit).await;
        assert_eq!(texts(&found), ["2", "3", "4", "5", "6"], "pages of {limit}");
        let places: Vec<_> = found.iter().map(|record| (record.commit, record.index)).collect();
        assert!(places.is_sorted());
        let of_a = CommitFilter {
            stream: Some(a),
            ..CommitFilter::default()
        };
        assert_eq!(texts(&follow(of_a, limit).await), ["4", "5", "6"]);
        let kinds = CommitFilter {
            kinds: vec![OTHER, Kind(999)],
            stream: None,
        };
        assert_eq!(texts(&follow(kinds, limit).await), ["3"]);
    }
    let all = log
        .commits(log.commits_start(), &CommitFilter::default(), 1)
        .await
        .expect("a page");
    assert_eq!(all.records[0].commit, 1);
    for wrong in [
        CommitCursor {
            commit: log.last_commit() + 1,
            ..start
        },
        CommitCursor {
            store: [0; 16],
            ..start
        },
    ] {
        let refused = log.commits(wrong, &CommitFilter::default(), 1).await;
        assert!(matches!(refused, Err(ReadError::Cursor(_))), "{refused:?}");
    }
}
