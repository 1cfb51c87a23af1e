//! What is derived: folds, index rows and sub-streams are what the records come to, and what a rebuild from nothing gives.

use std::collections::BTreeMap;

use super::super::adapter::NODE;
use super::super::contents::{Contents, Rows, Stream, Sub};
use super::super::tally::{LOUD, Tally, index_rows};
use super::super::verdict::{Breach, Verdict};

/// What a stream's records come to.
pub(super) fn expected(stream: &Stream) -> Tally {
    let mut tally = Tally::default();
    for entry in stream.all().filter(|entry| entry.kind == LOUD.0) {
        tally.add(entry.position, entry.subject, &entry.payload);
    }
    tally
}

pub(super) fn all(contents: &Contents, verdict: &mut Verdict) {
    let (mut rows, mut subs) = (Rows::new(), BTreeMap::<String, Sub>::new());
    for (name, stream) in &contents.streams {
        let tally = expected(stream);
        if tally != stream.tally {
            verdict.breach(
                Breach::View,
                format!("the fold of {name:?} is not what its records come to"),
            );
        }
        if name != NODE {
            rows.extend(index_rows(name, &tally));
        }
        collect_subs(stream, &mut subs);
    }
    rows.sort();
    same_rows("index", &contents.index, &rows, verdict);
    if contents.subs != subs {
        verdict.breach(Breach::View, "the sub-streams are not what the records come to");
    }
    if let Some((kept, rebuilt)) = &contents.stored {
        same_rows("view store", kept, rebuilt, verdict);
    }
    if let Some(rebuilt) = &contents.rebuilt {
        let same = rebuilt.streams == contents.streams
            && rebuilt.index == contents.index
            && rebuilt.subs == contents.subs
            && rebuilt.last_commit == contents.last_commit;
        if !same {
            verdict.breach(Breach::View, "a rebuild from nothing gives other answers");
        }
    }
}

fn collect_subs(stream: &Stream, subs: &mut BTreeMap<String, Sub>) {
    let mut names: BTreeMap<[u8; 16], &String> = BTreeMap::new();
    for entry in &stream.records {
        let Some((id, _)) = entry.sub else { continue };
        if let Some(name) = &entry.opens_sub {
            names.insert(id, name);
        }
        let Some(name) = names.get(&id) else { continue };
        let sub = subs.entry((*name).clone()).or_insert(Sub {
            stream: stream.id,
            id,
            first: entry.position,
            last: 0,
            count: 0,
        });
        sub.last = entry.position;
        sub.count += 1;
    }
}

fn same_rows(of: &str, are: &Rows, should: &Rows, verdict: &mut Verdict) {
    let (are, should): (BTreeMap<_, _>, BTreeMap<_, _>) =
        (are.iter().cloned().collect(), should.iter().cloned().collect());
    for (key, value) in &should {
        match are.get(key) {
            None => verdict.breach(Breach::View, format!("the {of} lacks the row {}", key.escape_ascii())),
            Some(other) if other != value => {
                verdict.breach(
                    Breach::View,
                    format!(
                        "the {of} has another value at {}: {} instead of {}",
                        key.escape_ascii(),
                        other.escape_ascii(),
                        value.escape_ascii()
                    ),
                );
            }
            Some(_) => {}
        }
    }
    for key in are.keys().filter(|key| !should.contains_key(*key)) {
        verdict.breach(
            Breach::View,
            format!("the {of} has a row too many: {}", key.escape_ascii()),
        );
    }
}
