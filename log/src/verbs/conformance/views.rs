//! What views promise.

use super::support::*;
use crate::append::NewRecord;
use crate::error::ViewError;
use crate::handle::Log;
use crate::record::StreamId;
use crate::view::ViewId;

pub(super) async fn folds_and_index_rows_reflect_what_was_acknowledged(log: &Log) {
    let mut expected = Vec::new();
    let mut id = None;
    for number in 0..20 {
        let text = number.to_string();
        let stream = notes(log, "viewed", &[&text]).await;
        expected.push(text.clone());
        assert_eq!(shown(log, stream).await, expected);
        assert_eq!(indexed(log, "viewed").await, Some(text));
        id = Some(stream);
    }
    let id = id.expect("a stream");
    for position in [0, 1, 7, 20] {
        assert_eq!(shown_at(log, id, position).await, expected[..position as usize]);
    }
    let beyond = log.view_at(id, TEXTS, 21, |_: &TextsFold| ()).await;
    assert!(
        matches!(beyond, Err(ViewError::BeyondTail { position: 21, tail: 20 })),
        "{beyond:?}"
    );
    let nobody = log.view(StreamId([9; 16]), TEXTS, |_: &TextsFold| ()).await;
    assert!(matches!(nobody, Err(ViewError::UnknownStream(_))), "{nobody:?}");
    let none = log.view(id, ViewId(99), |_: &TextsFold| ()).await;
    assert!(matches!(none, Err(ViewError::Store(_))), "{none:?}");

    for stream in ["rows/a", "rows/b", "rows/c"] {
        notes(log, stream, &["x", "y"]).await;
    }
    let rows = log.index(TEXTS, b"rows/", None, 10).await.expect("rows");
    assert_eq!(rows.len(), 3, "{rows:?}");
    let mut paged = Vec::new();
    while let Some(row) = {
        let after = paged.last().map(|(key, _): &(Vec<u8>, Vec<u8>)| key.clone());
        log.index(TEXTS, b"rows/", after.as_deref(), 1)
            .await
            .expect("a row")
            .pop()
    } {
        paged.push(row);
    }
    assert_eq!(paged, rows);
    let after_all = log.index(TEXTS, b"rows/", Some(b"rows/z"), 10).await.expect("rows");
    assert!(after_all.is_empty());
}

pub(super) async fn a_fold_that_fails_fails_alone(log: &Log) {
    let id = notes(log, "failing", &["a"]).await;
    let panic = NewRecord {
        kind: PANIC,
        ..note("b")
    };
    put(log, named("failing"), Vec::new(), vec![panic])
        .await
        .expect("an append");
    notes(log, "failing", &["c"]).await;
    let failed = log.view(id, TEXTS, |_: &TextsFold| ()).await;
    assert!(
        matches!(failed, Err(ViewError::Failed { position: 2, .. })),
        "{failed:?}"
    );
    assert_eq!(texts(&all(log, id).await), ["a", "b", "c"]);
    let other = notes(log, "failing/other", &["d"]).await;
    assert_eq!(shown(log, other).await, ["d"]);
}
