//! Order: commits are dense, tasks find their operations in the order in which they queued them, and what was seen stays.

use std::collections::BTreeMap;

use super::super::contents::Contents;
use super::super::ledger::Event;
use super::super::plan::{Key, OpId, key_of};
use super::super::verdict::{Breach, Verdict};
use super::{Case, Outcome};

/// Every commit up to the last is there, with records numbered from 0. This shows streams that nobody named, too.
pub(super) fn commits(contents: &Contents, verdict: &mut Verdict) {
    let mut commits: BTreeMap<u64, Vec<u32>> = BTreeMap::new();
    for entry in contents.streams.values().flat_map(|stream| &stream.records) {
        commits.entry(entry.commit).or_default().push(entry.index);
    }
    for (number, (commit, indexes)) in (1u64..).zip(&mut commits) {
        indexes.sort_unstable();
        if *commit != number {
            return verdict.breach(Breach::Gap, format!("commit {number} has no record"));
        }
        if (0u32..).zip(indexes.iter()).any(|(due, index)| due != *index) {
            verdict.breach(Breach::Gap, format!("commit {commit} has the records {indexes:?}"));
        }
    }
    let last = commits.last_key_value().map_or(0, |(commit, _)| *commit);
    if last != contents.last_commit {
        verdict.breach(
            Breach::Gap,
            format!("the last commit is said to be {} and is {last}", contents.last_commit),
        );
    }
}

/// The commit and place of an operation's first record.
fn place(case: &Case<'_>, id: OpId) -> Option<(u64, u32)> {
    let key = Key {
        op: id,
        part: 0,
        record: 0,
    };
    case.found
        .get(&key)
        .map(|place| (place.entry.commit, place.entry.index))
}

pub(super) fn tasks(case: &Case<'_>, verdict: &mut Verdict) {
    let mut before: Option<(OpId, (u64, u32))> = None;
    let mut absent: Option<OpId> = None;
    // One that was repeated may stand where the repetition put it.
    for (id, issued) in case.issued.iter().filter(|(_, issued)| !issued.repeated) {
        let same_task = |other: &OpId| (other.cycle, other.task) == (id.cycle, id.task);
        before = before.filter(|(other, _)| same_task(other));
        absent = absent.filter(same_task);
        let Some(at) = place(case, *id) else {
            if matches!(issued.outcome, Outcome::Open) && issued.op.is_unconditional() {
                absent = absent.or(Some(*id));
            }
            continue;
        };
        if at.0 <= issued.after_commit {
            verdict.breach(
                Breach::Unordered,
                format!(
                    "{id} is in commit {}, and {} was acknowledged before it was queued",
                    at.0, issued.after_commit
                ),
            );
        }
        if let Some((other, earlier)) = before.filter(|(_, earlier)| *earlier >= at) {
            verdict.breach(
                Breach::Unordered,
                format!("{id} stands at {at:?}, before {other} at {earlier:?}"),
            );
        }
        if let Some(other) = absent {
            verdict.breach(
                Breach::Unordered,
                format!("{id} is there and {other}, queued before it, is not"),
            );
        }
        before = Some((*id, at));
    }
}

pub(super) fn seen(case: &Case<'_>, events: &[Event], verdict: &mut Verdict) {
    for event in events {
        match event {
            Event::Saw { stream, from, keys } => {
                let stream_of = case.contents.streams.get(stream);
                for (position, key) in (*from..).zip(keys) {
                    verdict.seen += 1;
                    let there = stream_of.and_then(|stream| stream.at(position));
                    if there.and_then(|entry| key_of(&entry.payload)) != Some(*key) {
                        verdict.breach(Breach::SeenAndGone, format!("{stream:?} position {position}: {key:?}"));
                    }
                }
            }
            Event::SawFold { stream, last, hash } => {
                verdict.seen += 1;
                let tally = case.contents.streams.get(stream).map(super::views::expected);
                if *last > 0 && tally.is_none_or(|tally| tally.chain.get(last) != Some(hash)) {
                    verdict.breach(
                        Breach::SeenAndGone,
                        format!("the fold of {stream:?} as of position {last}"),
                    );
                }
            }
            _ => {}
        }
    }
}
