//! Conditions: what was appended met them, and what was refused was refused for a reason that is still there to see.

use super::super::contents::Stream;
use super::super::ledger::Refusal;
use super::super::plan::{Condition, Key, OpId, OpPart, OpSub, sub_id, sub_name};
use super::super::verdict::{Breach, Verdict};
use super::{Case, Issued, Outcome};

pub(super) fn all(case: &Case<'_>, verdict: &mut Verdict) {
    for (id, issued) in &case.issued {
        if let Outcome::Refused(why) = &issued.outcome {
            refused(case, *id, issued, why, verdict);
        } else {
            met(case, *id, issued, verdict);
        }
    }
}

fn version_before(stream: &Stream, subject: u16, first: u64) -> u64 {
    let before = stream.all().take_while(|entry| entry.position < first);
    before
        .filter(|entry| entry.subject == subject)
        .map(|entry| entry.position)
        .max()
        .unwrap_or(0)
}

/// Conditions hold of what stands before the whole append: before the first of its parts in that stream.
fn met(case: &Case<'_>, id: OpId, issued: &Issued, verdict: &mut Verdict) {
    for part in &issued.op.parts {
        let first_of = |other: &OpPart| other.stream == part.stream;
        let first = issued.op.parts.iter().position(first_of).unwrap_or(0);
        let key = Key {
            op: id,
            part: first as u16,
            record: 0,
        };
        let Some(place) = case.found.get(&key) else { continue };
        let Some(stream) = case.contents.streams.get(&part.stream) else {
            continue;
        };
        let at = place.entry.position;
        for condition in &part.expect {
            let actual = match condition {
                Condition::Absent => (at == 1) as u64,
                Condition::Exists => (at > 1) as u64,
                Condition::Position(_) => at - 1,
                Condition::Version(subject, _) => version_before(stream, *subject, at),
                Condition::SubAt(opener, _) => {
                    let sub = sub_id(*opener);
                    let before = stream.records.iter().take_while(|entry| entry.position < at);
                    before
                        .filter(|entry| entry.sub.is_some_and(|(other, _)| other == sub))
                        .count() as u64
                }
            };
            let expected = match condition {
                Condition::Absent | Condition::Exists => 1,
                Condition::Position(n) | Condition::Version(_, n) | Condition::SubAt(_, n) => *n,
            };
            if actual != expected {
                verdict.breach(
                    Breach::Condition,
                    format!("{id} is there although {condition:?} did not hold: {actual}"),
                );
            }
        }
    }
}

fn refused(case: &Case<'_>, id: OpId, issued: &Issued, why: &Refusal, verdict: &mut Verdict) {
    let stream = |part: &OpPart| case.contents.streams.get(&part.stream);
    let tail = |part: &OpPart| stream(part).map_or(0, |stream| stream.base() + stream.records.len() as u64);
    let parts = || issued.op.parts.iter().zip(&issued.after_position);
    // Some part and condition that this answer fits: the state it names differs from what was expected, is durable, and is not older
    // than what had been acknowledged before.
    let any = |fits: &dyn Fn(&OpPart, u64, &Condition) -> bool| {
        parts().any(|(part, after)| part.expect.iter().any(|condition| fits(part, *after, condition)))
    };
    let subs = |wanted: &dyn Fn(&OpPart, OpSub) -> bool| {
        parts().any(|(part, _)| {
            part.records
                .iter()
                .filter_map(|record| record.sub)
                .any(|sub| wanted(part, sub))
        })
    };
    let fits = match why {
        Refusal::Full => true,
        Refusal::Invalid(_) => false,
        Refusal::StreamExists => any(&|part, _, condition| *condition == Condition::Absent && tail(part) > 0),
        Refusal::StreamAbsent => any(&|_, after, condition| *condition == Condition::Exists && after == 0),
        Refusal::Position(actual) => any(&|part, after, condition| {
            matches!(condition, Condition::Position(expected) if expected != actual)
                && (after..=tail(part)).contains(actual)
        }),
        Refusal::Version(subject, actual) => any(&|part, after, condition| {
            let known = stream(part).map_or(0, |stream| version_before(stream, *subject, after + 1));
            let there = || stream(part).is_some_and(|stream| version_before(stream, *subject, actual + 1) == *actual);
            matches!(condition, Condition::Version(of, expected) if of == subject && expected != actual)
                && known <= *actual
                && (*actual == 0 || there())
        }),
        Refusal::SubAt(actual) => any(&|part, _, condition| match condition {
            Condition::SubAt(opener, expected) if expected != actual => {
                let count = case.contents.subs.get(&sub_name(*opener)).map_or(0, |sub| sub.count);
                *actual <= count && (*actual == 0 || stream(part).is_some())
            }
            _ => false,
        }),
        Refusal::SubTaken => {
            subs(&|_, sub| matches!(sub, OpSub::Open(opener) if case.contents.subs.contains_key(&sub_name(opener))))
        }
        Refusal::UnknownSub => subs(&|part, sub| {
            let at = case.contents.subs.get(&sub_name(sub.opener()));
            at.is_none_or(|at| stream(part).is_none_or(|stream| stream.id != at.stream))
        }),
    };
    if !fits {
        verdict.breach(
            Breach::Condition,
            format!("{id} was refused with {why:?}, which nothing bears out"),
        );
    }
}
