//! The contract of [`ViewStore`] as a function; every implementation runs it. Panics where the contract is broken.

use std::ops::Bound::{Excluded, Included, Unbounded};

use super::{Entry, ViewStore};
use crate::limits::KEY_BYTES_MAX;

fn entries(pairs: &[(&str, &str)]) -> Vec<Entry> {
    pairs
        .iter()
        .map(|(k, v)| (k.as_bytes().to_vec(), v.as_bytes().to_vec()))
        .collect()
}

/// Runs the contract on an empty store and leaves it empty.
pub fn run(store: &dyn ViewStore) {
    let set = |key: &str, value: &str| (key.as_bytes().to_vec(), Some(value.as_bytes().to_vec()));
    let remove = |key: &str| (key.as_bytes().to_vec(), None);
    let all = || store.scan(Unbounded, Unbounded, 100).expect("scan");
    assert_eq!(all(), entries(&[]), "the store must be empty");

    store
        .write(vec![set("b", "1"), set("a", "2"), set("a\u{0}", "3"), set("c", "")])
        .expect("write");
    assert_eq!(
        all(),
        entries(&[("a", "2"), ("a\u{0}", "3"), ("b", "1"), ("c", "")]),
        "bytewise order"
    );
    assert_eq!(store.get(b"b").expect("get"), Some(b"1".to_vec()));
    assert_eq!(
        store.get(b"c").expect("get"),
        Some(Vec::new()),
        "an empty value is a value"
    );
    assert_eq!(store.get(b"d").expect("get"), None);

    let scan = |from, to, limit| store.scan(from, to, limit).expect("scan");
    assert_eq!(
        scan(Included(b"a".as_slice()), Excluded(b"b".as_slice()), 9),
        entries(&[("a", "2"), ("a\u{0}", "3")])
    );
    assert_eq!(
        scan(Excluded(b"a".as_slice()), Included(b"b".as_slice()), 9),
        entries(&[("a\u{0}", "3"), ("b", "1")])
    );
    assert_eq!(scan(Unbounded, Unbounded, 1), entries(&[("a", "2")]));
    assert_eq!(scan(Unbounded, Unbounded, 0), entries(&[]));

    store
        .write(vec![
            set("a", "4"),
            remove("b"),
            remove("none"),
            set("d", "5"),
            remove("d"),
        ])
        .expect("write");
    assert_eq!(
        all(),
        entries(&[("a", "4"), ("a\u{0}", "3"), ("c", "")]),
        "the last change of a key in a batch wins"
    );

    let long = "k".repeat(KEY_BYTES_MAX);
    store
        .write(vec![set(&long, &"v".repeat(1 << 20))])
        .expect("the longest key and a large value");
    assert_eq!(store.get(long.as_bytes()).expect("get").map(|v| v.len()), Some(1 << 20));

    store
        .write(vec![remove("a"), remove("a\u{0}"), remove("c"), remove(&long)])
        .expect("write");
    store.flush().expect("flush");
    assert_eq!(all(), entries(&[]));
}
