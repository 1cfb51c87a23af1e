//! What giving records up promises: readers see it at once, and after every reopen.

use super::support::*;
use crate::append::{Append, Expect, Sub, Target};
use crate::cursor::StreamCursor;
use crate::error::{AppendError, ReadError, RetentionError, ViewError};
use crate::handle::Log;
use crate::record::{IdempotencyKey, Name, StreamId, SubStreamId, Subject};
use crate::verbs::{CommitFilter, Erase, StreamOrder, StreamQuery, Trim};

pub(super) async fn trimmed_records_are_gone_and_what_they_made_is_not(log: &Log) {
    let id = notes(log, "trimmed", &["1", "2", "3", "4"]).await;
    let (gone, kept) = (SubStreamId([21; 16]), SubStreamId([22; 16]));
    let records = vec![
        of_sub(Sub::Open(gone, name("trimmed/gone")), "5"),
        of_sub(Sub::Open(kept, name("trimmed/kept")), "6"),
        about(Subject(3), "7"),
        of_sub(Sub::Next(kept), "8"),
    ];
    put(log, Target::Id(id), Vec::new(), records).await.expect("an append");
    let shown_before = shown(log, id).await;
    let mut behind = log.follow(id, 2).await.expect("a cursor");
    assert_eq!(log.trim(id, Trim::Before(7)).await.expect("a trim"), 7);
    assert_eq!(
        (
            log.oldest(id).await.expect("a bound"),
            log.tail(id).await.expect("a bound")
        ),
        (7, 9)
    );
    assert_eq!(texts(&all(log, id).await)[..2], ["7", "8"]);
    for refused in [
        log.read(id, 1, 1).await,
        log.read(id, 6, 10).await,
        log.read_back(id, 6, 1).await,
        log.read_positions(id, &[8, 6]).await,
        behind.page().await,
    ] {
        assert!(
            matches!(refused, Err(ReadError::Trimmed { oldest: 7, .. })),
            "{refused:?}"
        );
    }
    assert_eq!(texts(&log.read_back(id, 8, 10).await.expect("a read")), ["8", "7"]);
    let info = log
        .sub_stream(&name("trimmed/kept"))
        .await
        .expect("a look")
        .expect("a sub-stream");
    assert_eq!((info.first, info.last, info.count), (8, 8, 2));
    assert_eq!(log.sub_stream_info(id, kept).await.expect("a look"), info);
    let mut follow = log.follow_sub(&info, 0).await.expect("a cursor");
    assert_eq!(texts(&follow.page().await.expect("a page")), ["8"]);
    assert_eq!(shown(log, id).await, shown_before);
    assert_eq!(indexed(log, "trimmed").await.as_deref(), Some("8"));
    let expect = vec![
        Expect::Version(Subject(3), 7),
        Expect::SubStreamAt(kept, 2),
        Expect::Position(9),
    ];
    put(log, Target::Id(id), expect, vec![note("10")])
        .await
        .expect("conditions hold");
    // Already given up, and never more than there is.
    assert_eq!(log.trim(id, Trim::Before(3)).await.expect("a trim"), 7);
    assert_eq!(log.trim(id, Trim::KeepLast(100)).await.expect("a trim"), 7);
    assert_eq!(log.trim(id, Trim::OlderThan(0)).await.expect("a trim"), 7);
    let since = log.read_back(id, 10, 1).await.expect("a read")[0].time_us;
    let left = log.trim(id, Trim::OlderThan(since)).await.expect("a trim");
    assert!(left <= 10, "{left}");
    let tail = log.tail(id).await.expect("a bound");
    assert_eq!(log.trim(id, Trim::Before(u64::MAX)).await.expect("a trim"), tail + 1);
    assert_eq!(all(log, id).await.len(), 1, "the record that says so");
    notes(log, "trimmed", &["last"]).await;
    let after = shown(log, id).await;
    assert_eq!(after.last().map(String::as_str), Some("last"));
    assert_eq!(after.len(), shown_before.len() + 2);
    let unknown = log.trim(StreamId([9; 16]), Trim::Before(2)).await;
    assert!(
        matches!(unknown, Err(RetentionError::Read(ReadError::UnknownStream(_)))),
        "{unknown:?}"
    );
}

fn keyed(text: &str) -> Append {
    Append {
        key: IdempotencyKey::new(b"deleted"),
        parts: vec![part(named("deleted"), vec![note(text)])],
    }
}

pub(super) async fn a_deleted_stream_repeats_no_answer(log: &Log) {
    let id = notes(log, "forgetful", &["1"]).await;
    let repeated = || Append {
        key: IdempotencyKey::new(b"forgetful"),
        parts: vec![part(Target::Id(id), vec![note("2")])],
    };
    append(log, repeated()).await.expect("an append");
    assert!(append(log, repeated()).await.expect("the same again").repeated);
    log.delete(id).await.expect("a deletion");
    let told = append(log, repeated()).await;
    assert!(matches!(told, Err(AppendError::UnknownStream(_))), "{told:?}");
}

pub(super) async fn a_deleted_stream_is_gone_and_its_name_free(log: &Log) {
    let first = append(log, keyed("1")).await.expect("an append");
    let id = first.parts[0].stream;
    let sub = SubStreamId([23; 16]);
    let record = of_sub(Sub::Open(sub, name("deleted/sub")), "2");
    put(log, Target::Id(id), Vec::new(), vec![record])
        .await
        .expect("an append");
    let mut follow = log.follow(id, 3).await.expect("a cursor");
    let waiting = tokio::spawn(async move { follow.page().await });
    let cursor = StreamCursor {
        stream: id,
        position: 1,
    };
    log.delete(id).await.expect("a deletion");
    let told = waiting.await.expect("who waits");
    // Who looks before the deletion is visible may still see the record that says so.
    assert!(matches!(told, Err(ReadError::Deleted(_))), "{told:?}");

    assert_eq!(log.stream(&name("deleted")).await.expect("a look"), None);
    assert_eq!(log.sub_stream(&name("deleted/sub")).await.expect("a look"), None);
    assert_eq!(indexed(log, "deleted").await, None);
    gone(log, id).await;
    let append_to = put(log, Target::Id(id), Vec::new(), vec![note("x")]).await;
    assert!(matches!(append_to, Err(AppendError::UnknownStream(_))), "{append_to:?}");
    let refused = log.follow_from(&cursor).await.map(|_| ());
    assert!(matches!(refused, Err(ReadError::Deleted(_))), "{refused:?}");

    // Another incarnation: nothing of the first one is its own.
    let again = append(log, keyed("other")).await.expect("the key went with the stream");
    assert!(!again.repeated && again.parts[0].stream != id && again.parts[0].first == 1);
    let id = again.parts[0].stream;
    assert_eq!(texts(&all(log, id).await), ["other"]);
    assert_eq!(shown(log, id).await, ["other"]);
    let record = of_sub(Sub::Open(sub, name("deleted/sub")), "2");
    put(log, Target::Id(id), Vec::new(), vec![record])
        .await
        .expect("the name is free");
    let refused = log.follow_from(&cursor).await.map(|_| ());
    assert!(matches!(refused, Err(ReadError::Deleted(_))), "{refused:?}");
    notes(log, "deleted/for good", &["x"]).await;
    let for_good = log
        .stream(&name("deleted/for good"))
        .await
        .expect("a look")
        .expect("a stream");
    log.delete(for_good).await.expect("a deletion");
    let twice = log.delete(for_good).await;
    assert!(
        matches!(twice, Err(RetentionError::Read(ReadError::Deleted(_)))),
        "{twice:?}"
    );
}

/// A stream that was deleted.
async fn gone(log: &Log, id: StreamId) {
    let refused = [
        log.read(id, 1, 1).await.map(|_| ()),
        log.read_back(id, 1, 1).await.map(|_| ()),
        log.read_positions(id, &[1]).await.map(|_| ()),
        log.tail(id).await.map(|_| ()),
        log.stream_name(id).await.map(|_| ()),
        log.follow(id, 1).await.map(|_| ()),
    ];
    for refused in refused {
        assert!(matches!(refused, Err(ReadError::Deleted(_))), "{refused:?}");
    }
    let view = log.view(id, TEXTS, |_: &TextsFold| ()).await;
    assert!(matches!(view, Err(ViewError::UnknownStream(_))), "{view:?}");
    for order in [StreamOrder::Name, StreamOrder::LastActivity] {
        let query = StreamQuery {
            order,
            limit: usize::MAX,
            ..StreamQuery::default()
        };
        let listed = log.list(query).await.expect("a list");
        assert!(listed.iter().all(|listed| listed.stream != id));
    }
}

pub(super) async fn erased_payloads_are_gone_everywhere(log: &Log) {
    let to = |text: &str| Target::Name(Name::new("erased", text).expect("a valid name"));
    let secret = vec![note("secret 1"), note("secret 2")];
    let first = put(log, to("a"), Vec::new(), secret.clone()).await.expect("an append");
    let second = put(log, to("hidden"), Vec::new(), secret).await.expect("an append");
    let (id, hidden) = (first.parts[0].stream, second.parts[0].stream);
    log.delete(hidden).await.expect("a deletion");
    let fork = Target::Fork {
        name: name("erased/fork"),
        parent: id,
        position: 1,
    };
    let fork = put(log, fork, Vec::new(), vec![note("own")]).await.expect("a fork");
    let fork_of_it = Target::Fork {
        name: name("erased/fork of it"),
        parent: fork.parts[0].stream,
        position: 1,
    };
    let fork_of_it = put(log, fork_of_it, Vec::new(), vec![note("its own")]).await;
    let forks = [fork.parts[0].stream, fork_of_it.expect("a fork").parts[0].stream];
    assert_eq!(shown(log, forks[0]).await, ["secret 1", "own"]);
    let kept = notes(log, "erased/kept", &["kept"]).await;
    let by_id = notes(log, "erased/by id", &["secret 3"]).await;

    assert_eq!(
        log.erase(Erase::Principal("erased".to_owned()))
            .await
            .expect("an erasure"),
        2
    );
    assert_eq!(
        log.erase(Erase::Principal("erased".to_owned()))
            .await
            .expect("an erasure"),
        0
    );
    assert_eq!(log.erase(Erase::Streams(vec![by_id])).await.expect("an erasure"), 1);
    for wrong in [Erase::Principal(String::new()), Erase::Streams(vec![StreamId([9; 16])])] {
        assert!(log.erase(wrong).await.is_err());
    }
    for id in [id, hidden, by_id] {
        gone(log, id).await;
    }
    assert_eq!(indexed(log, "erased/by id").await, None);
    assert_eq!(texts(&all(log, kept).await), ["kept"]);
    let records = all(log, fork.parts[0].stream).await;
    assert_eq!(texts(&records), ["", "own"]);
    assert!(records[0].erased && !records[1].erased && records[0].kind == NOTE);
    assert_eq!(
        shown(log, forks[0]).await,
        ["", "own"],
        "what its view made of it is gone"
    );
    assert_eq!(shown(log, forks[1]).await, ["", "its own"]);
    assert_eq!(indexed(log, "erased/fork").await.as_deref(), Some("own"));
    no_secret(log).await;
}

async fn no_secret(log: &Log) {
    let mut cursor = log.commits_start();
    loop {
        let page = log
            .commits(cursor, &CommitFilter::default(), usize::MAX)
            .await
            .expect("a page");
        assert!(texts(&page.records).iter().all(|text| !text.contains("secret")));
        cursor = page.next;
        if page.at_tip {
            return;
        }
    }
}

pub(super) async fn what_was_given_up_stays_given_up(log: &Log) {
    no_secret(log).await;
    let forks = log
        .stream(&name("erased/fork"))
        .await
        .expect("a look")
        .expect("a stream");
    assert_eq!(texts(&all(log, forks).await), ["", "own"]);
    assert_eq!(shown(log, forks).await, ["", "own"]);
    assert_eq!(log.stream(&name("deleted/for good")).await.expect("a look"), None);
    let trimmed = log.stream(&name("trimmed")).await.expect("a look").expect("a stream");
    assert!(matches!(log.read(trimmed, 1, 1).await, Err(ReadError::Trimmed { .. })));
    let again = append(log, keyed("other")).await.expect("the same again");
    assert!(again.repeated);
}
