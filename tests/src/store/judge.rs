//! Compares what a store holds with what its drivers were told. Works on plain values, so that its own tests can spoil them.
//! `judge/order` has what compares operations with each other, `judge/conditions` the decisions, `judge/views` what is derived.

mod conditions;
mod order;
mod views;

use std::collections::{BTreeMap, BTreeSet};

use super::adapter::NODE;
use super::contents::{Contents, Entry};
use super::ledger::{Event, Refusal};
use super::plan::{Key, Op, OpId, OpPart, OpSub, key_of, payload, sub_id, sub_name};
use super::tally::{LOUD, QUIET};
use super::verdict::{Breach, Verdict};

/// An operation and what its driver knew of it.
struct Issued {
    op: Op,
    outcome: Outcome,
    /// The last commit that was acknowledged before it was queued.
    after_commit: u64,
    /// A later operation carried its key.
    repeated: bool,
    /// Per part: the last position of its stream that was acknowledged before it was queued.
    after_position: Vec<u64>,
}

enum Outcome {
    Open,
    Done(u64, Vec<([u8; 16], u64, u64)>),
    Refused(Refusal),
}

/// Where a record of an operation stands.
#[derive(Clone, Copy)]
struct Place<'a> {
    stream: &'a str,
    entry: &'a Entry,
}

/// Everything that the parts of the judge look at.
struct Case<'a> {
    contents: &'a Contents,
    issued: BTreeMap<OpId, Issued>,
    /// Where each record was found first.
    found: BTreeMap<Key, Place<'a>>,
}

/// The names of streams and the openers of sub-streams that a ledger speaks of.
pub fn names(events: &[Event]) -> (BTreeSet<String>, BTreeSet<OpId>) {
    let (mut streams, mut subs) = (BTreeSet::new(), BTreeSet::new());
    for event in events {
        let Event::Start { op, .. } = event else { continue };
        for part in &op.parts {
            streams.insert(part.stream.clone());
            subs.extend(part.records.iter().filter_map(|record| record.sub).map(OpSub::opener));
        }
    }
    (streams, subs)
}

/// Judges a store by its ledger.
pub fn judge(events: &[Event], contents: &Contents) -> Verdict {
    let mut verdict = Verdict::default();
    let mut case = Case {
        contents,
        issued: issued(events, &mut verdict),
        found: BTreeMap::new(),
    };
    for (name, stream) in &contents.streams {
        streams(name, stream, &mut verdict);
        past(name, stream, contents, &mut verdict);
        for entry in &stream.records {
            if name != NODE {
                recognise(&mut case, Place { stream: name, entry }, &mut verdict);
            }
        }
    }
    verdict.records = case.found.len() as u64;
    for (id, issued) in &case.issued {
        outcome(&case, *id, issued, &mut verdict);
    }
    order::commits(contents, &mut verdict);
    order::tasks(&case, &mut verdict);
    order::seen(&case, events, &mut verdict);
    conditions::all(&case, &mut verdict);
    views::all(contents, &mut verdict);
    verdict
}

fn issued(events: &[Event], verdict: &mut Verdict) -> BTreeMap<OpId, Issued> {
    let mut all: BTreeMap<OpId, Issued> = BTreeMap::new();
    let (mut commit, mut positions) = (0, BTreeMap::<String, u64>::new());
    let mut repeats: BTreeMap<OpId, OpId> = BTreeMap::new();
    for event in events {
        let (id, outcome) = match event {
            Event::Start { id, op } if op.key.is_some_and(|first| first != *id) => {
                verdict.issued += 1;
                if let Some((first, issued)) = op.key.and_then(|first| Some((first, all.get_mut(&first)?))) {
                    issued.repeated = true;
                    repeats.insert(*id, first);
                }
                continue;
            }
            Event::Start { id, op } => {
                let known = |part: &OpPart| positions.get(&part.stream).copied().unwrap_or(0);
                let issued = Issued {
                    after_commit: commit,
                    repeated: false,
                    after_position: op.parts.iter().map(known).collect(),
                    op: op.clone(),
                    outcome: Outcome::Open,
                };
                verdict.issued += 1;
                all.insert(*id, issued);
                continue;
            }
            Event::Done { id, commit: at, parts } => {
                verdict.acked += 1;
                commit = commit.max(*at);
                let id = repeats.get(id).unwrap_or(id);
                let before = all.get(id).map(|issued| &issued.outcome);
                if let Some(Outcome::Done(commit, told)) = before
                    && (commit, told) != (at, parts)
                {
                    verdict.breach(
                        Breach::Told,
                        format!("{id} was repeated and told commit {at}, {parts:?} instead of {commit}, {told:?}"),
                    );
                }
                let streams = all
                    .get(id)
                    .map(|issued| issued.op.parts.iter().map(|part| part.stream.clone()));
                for (stream, (_, _, last)) in streams.into_iter().flatten().zip(parts) {
                    let known = positions.entry(stream).or_default();
                    *known = (*known).max(*last);
                }
                (id, Outcome::Done(*at, parts.clone()))
            }
            Event::Refused { id, why } if repeats.contains_key(id) => {
                verdict.refused += 1;
                let acked = |first| matches!(all.get(first).map(|issued| &issued.outcome), Some(Outcome::Done(..)));
                if *why != Refusal::Full && repeats.get(id).is_some_and(acked) {
                    verdict.breach(
                        Breach::Condition,
                        format!("{id} repeats what was acknowledged and was refused: {why:?}"),
                    );
                }
                continue;
            }
            Event::Refused { id, why } => {
                verdict.refused += 1;
                (id, Outcome::Refused(why.clone()))
            }
            _ => continue,
        };
        match all.get_mut(id) {
            Some(issued) => issued.outcome = outcome,
            None => verdict.breach(Breach::NeverIssued, format!("{id} was answered and never issued")),
        }
    }
    all
}

/// What holds of any stream, whoever wrote it.
fn streams(name: &str, stream: &super::contents::Stream, verdict: &mut Verdict) {
    let mut subs: BTreeMap<[u8; 16], u64> = BTreeMap::new();
    let mut before = (0, 0);
    let mut time_us = i64::MIN;
    for (at, entry) in (stream.base() + 1..).zip(&stream.records) {
        let said = format!("{name:?} position {}", entry.position);
        if entry.position != at {
            verdict.breach(Breach::Gap, format!("{said} stands where {at} belongs"));
        }
        if (entry.commit, entry.index) <= before && at > stream.base() + 1 {
            verdict.breach(
                Breach::Unordered,
                format!("{said} is of an earlier commit than the one before"),
            );
        }
        if entry.time_us < time_us {
            verdict.breach(Breach::Told, format!("{said}: time goes back"));
        }
        if (entry.opens.as_deref() == Some(name)) != (at == stream.base() + 1) {
            verdict.breach(Breach::Told, format!("{said} opens {:?}", entry.opens));
        }
        if let Some((sub, number)) = entry.sub {
            let count = subs.entry(sub).or_default();
            *count += 1;
            if number != *count {
                verdict.breach(Breach::Gap, format!("{said} has number {number} where {count} belongs"));
            }
            if (number == 1) != entry.opens_sub.is_some() {
                verdict.breach(
                    Breach::Told,
                    format!("{said} opens the sub-stream {:?}", entry.opens_sub),
                );
            }
        }
        before = (entry.commit, entry.index);
        time_us = entry.time_us;
    }
    if stream.tail != stream.base() + stream.records.len() as u64 {
        verdict.breach(
            Breach::Gap,
            format!("{name:?} ends at {} and has {}", stream.tail, stream.records.len()),
        );
    }
}

/// What a fork shows from before it is what the stream that it continues shows.
fn past(name: &str, stream: &super::contents::Stream, contents: &Contents, verdict: &mut Verdict) {
    let Some((parent, position)) = stream.records.first().and_then(|first| first.forks) else {
        if !stream.shared.is_empty() {
            verdict.breach(Breach::Altered, format!("{name:?} is no fork and has a past"));
        }
        return;
    };
    let parent = contents.streams.values().find(|other| other.id == parent);
    let same = parent.is_some_and(|parent| parent.all().take(stream.shared.len()).eq(&stream.shared));
    if position != stream.base() || !same {
        verdict.breach(
            Breach::Altered,
            format!("{name:?} does not show what it was forked from, up to {position}"),
        );
    }
}

/// The stream that has a position of this one: itself, or one that it continues.
fn owner(contents: &Contents, stream: [u8; 16], position: u64) -> [u8; 16] {
    let found = contents.streams.values().find(|other| other.id == stream);
    match found.and_then(|found| found.records.first()?.forks) {
        Some((parent, base)) if position <= base && parent != stream => owner(contents, parent, position),
        _ => stream,
    }
}

/// Finds the operation of a record and compares the two.
fn recognise<'a>(case: &mut Case<'a>, place: Place<'a>, verdict: &mut Verdict) {
    let entry = place.entry;
    let said = format!("{:?} position {}", place.stream, entry.position);
    let Some(key) = key_of(&entry.payload) else {
        return verdict.breach(Breach::NeverIssued, format!("{said} is no driver's"));
    };
    let asked = case.issued.get(&key.op).and_then(|issued| {
        let part = issued.op.parts.get(usize::from(key.part))?;
        Some((part, part.records.get(usize::from(key.record))?))
    });
    let Some((part, record)) = asked else {
        return verdict.breach(Breach::NeverIssued, format!("{said} says it is {key:?}"));
    };
    let sub = record.sub.map(|sub| sub_id(sub.opener()));
    let opens_sub = match record.sub {
        Some(OpSub::Open(opener)) => Some(sub_name(opener)),
        _ => None,
    };
    let kind = if record.quiet { QUIET } else { LOUD };
    let fork = part.fork.as_ref().filter(|_| key.record == 0);
    let forks = fork.map(|(parent, position)| {
        let parent = case.contents.streams.get(parent).map(|parent| parent.id);
        (owner(case.contents, parent.unwrap_or_default(), *position), *position)
    });
    let same = part.stream == place.stream
        && entry.payload == payload(key, record.bytes)
        && entry.subject == record.subject
        && entry.kind == kind.0
        && entry.sub.map(|(id, _)| id) == sub
        && entry.opens_sub == opens_sub
        && entry.forks == forks
        && entry.causation == sub_id(key.op)
        && entry.origin == u64::from(key.op.number);
    if !same {
        verdict.breach(Breach::Altered, format!("{said} is not what {key:?} asked for"));
    }
    if let Some(other) = case.found.insert(key, place) {
        verdict.breach(
            Breach::Duplicated,
            format!(
                "{said} is {key:?}, as is {:?} position {}",
                other.stream, other.entry.position
            ),
        );
    }
}

fn keys(id: OpId, op: &Op) -> impl Iterator<Item = Key> {
    let parts = op.parts.iter().enumerate();
    parts.flat_map(move |(part, asked)| {
        (0..asked.records.len()).map(move |record| Key {
            op: id,
            part: part as u16,
            record: record as u16,
        })
    })
}

/// All or nothing, and where it was said to be.
fn outcome(case: &Case<'_>, id: OpId, issued: &Issued, verdict: &mut Verdict) {
    let asked: Vec<Key> = keys(id, &issued.op).collect();
    let there: Vec<Place<'_>> = asked.iter().filter_map(|key| case.found.get(key)).copied().collect();
    match &issued.outcome {
        Outcome::Done(commit, parts) => {
            for key in &asked {
                let (stream, first, _) = parts.get(usize::from(key.part)).copied().unwrap_or_default();
                let due = first + u64::from(key.record);
                let at = case.found.get(key).filter(|place| {
                    let known = case.contents.streams.get(place.stream);
                    let (entry, id) = (place.entry, known.map(|stream| stream.id));
                    entry.position == due && entry.commit == *commit && id == Some(stream)
                });
                if at.is_none() {
                    verdict.breach(
                        Breach::Lost,
                        format!("{key:?}, acknowledged in commit {commit} at {due}"),
                    );
                }
            }
            let last = |part: &OpPart, first: u64| first + part.records.len() as u64 - 1;
            let dense = |(part, (_, first, to)): (&OpPart, &(_, u64, u64))| last(part, *first) == *to;
            if parts.len() != issued.op.parts.len() || !issued.op.parts.iter().zip(parts).all(dense) {
                verdict.breach(
                    Breach::Told,
                    format!("{id} was told other positions than it has records"),
                );
            }
        }
        Outcome::Refused(why) if !there.is_empty() => {
            verdict.breach(Breach::Resurrected, format!("{id} was refused ({why:?}) and is there"));
        }
        Outcome::Refused(_) => {}
        Outcome::Open if there.is_empty() => verdict.unanswered_gone += 1,
        Outcome::Open => verdict.unanswered_there += 1,
    }
    if there.is_empty() {
        return;
    }
    if there.len() != asked.len() {
        verdict.breach(
            Breach::Torn,
            format!("{id}: {} of {} records are there", there.len(), asked.len()),
        );
    }
    let together = there.windows(2).all(|pair| {
        let (a, b) = (pair[0].entry, pair[1].entry);
        a.commit == b.commit && a.index + 1 == b.index
    });
    if !together {
        verdict.breach(Breach::Torn, format!("{id} does not stand together in one commit"));
    }
}
