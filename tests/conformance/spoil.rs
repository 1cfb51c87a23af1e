//! Whether matchers can fail: what a case has got is spoilt in small ways, and each of its matchers must notice one of them.

use serde_json::{Value, json};

use super::judge::{Found, elements, found, judge};
use super::matcher::{Matcher, Op, Selection};
use super::suite::described;
use super::values::{Results, substituted, text_of};

/// The matchers that hold whatever is spoilt of what they look at.
pub(crate) fn blind(matchers: &[Matcher], results: &Results) -> Vec<String> {
    let mut blind: Vec<String> = matchers
        .iter()
        .filter(|matcher| !notices(matcher, results))
        .map(described)
        .collect();
    if matchers.iter().all(|matcher| judge(matcher, &nothing(results)).is_ok()) {
        blind.push("all of them hold of empty answers".into());
    }
    blind
}

/// The same results, as a server gives them that answers everything with an empty object.
fn nothing(results: &Results) -> Results {
    let empty =
        json!({"status": 200, "headers": {}, "body": {}, "text": "{}", "frames": [], "comments": 0, "ended": true});
    let named = results.iter().map(|(name, value)| {
        let value = match value {
            Value::Object(_) => empty.clone(),
            Value::Array(_) => json!([]),
            other => other.clone(),
        };
        (name.clone(), value)
    });
    named.collect()
}

fn notices(matcher: &Matcher, results: &Results) -> bool {
    match matcher {
        Matcher::Either(sides) => sides.iter().any(|side| {
            let holds = side.iter().all(|matcher| judge(matcher, results).is_ok());
            holds && side.iter().all(|matcher| notices(matcher, results))
        }),
        Matcher::Of(selection, op) => {
            let spoilt = |changed: Results| judge(matcher, &changed).is_err();
            let found = found(selection, results).unwrap_or_default();
            let places = found.iter().take(1).chain(found.iter().skip(1).last());
            let one_gone = found.first().and_then(|found| without(found, results));
            let alike = match &found[..] {
                [first, .., last] => with_the_same(first, last, results),
                _ => None,
            };
            places.flat_map(|found| values_changed(found, op, results)).any(spoilt)
                || one_gone.into_iter().chain(alike).any(spoilt)
                || arrays_changed(selection, op, results).into_iter().any(spoilt)
        }
    }
}

/// Results in which what was found is gone.
fn without(found: &Found, results: &Results) -> Option<Results> {
    let mut results = results.clone();
    let pointer = found.pointer();
    let (parent, name) = pointer.rsplit_once('/')?;
    match results.get_mut(&found.result)?.pointer_mut(parent)? {
        Value::Array(values) => drop(values.remove(name.parse().ok()?)),
        Value::Object(fields) => drop(fields.remove(name)?),
        _ => return None,
    }
    Some(results)
}

/// Results in which what was found first is what was found last.
fn with_the_same(first: &Found, last: &Found, results: &Results) -> Option<Results> {
    let mut results = results.clone();
    let value = results.get(&last.result)?.pointer(&last.pointer())?.clone();
    set(results.get_mut(&first.result)?, &first.pointer(), value)?;
    Some(results)
}

/// Results in which what was found is another value, or there although it should not be.
fn values_changed(found: &Found, op: &Op, results: &Results) -> Vec<Results> {
    let pointer = found.pointer();
    let now = results[&found.result].pointer(&pointer);
    let others = match (now, op) {
        (None, _) => vec![json!("there")],
        (Some(Value::Array(values)), Op::Lacks(pattern)) => {
            let pattern = substituted(pattern, results).unwrap_or_default();
            vec![values.iter().cloned().chain([pattern]).collect()]
        }
        (Some(now), _) => other_values(now, op, results),
    };
    let changed = |other| {
        let mut results = results.clone();
        let result = results.get_mut(&found.result)?;
        set(result, &pointer, other)?;
        Some(results)
    };
    others.into_iter().filter_map(changed).collect()
}

fn other_values(now: &Value, op: &Op, results: &Results) -> Vec<Value> {
    let avoided = match op {
        Op::Differs(other) => substituted(other, results).ok(),
        Op::Without(part) => text_of(part, results, str::to_owned).ok().map(Value::from),
        _ => None,
    };
    let others = match now {
        Value::Null => vec![json!(0)],
        Value::Bool(is) => vec![json!(!is), json!("true")],
        Value::Number(number) => {
            let number = number.as_f64().unwrap_or_default();
            vec![
                json!(number + 1.0),
                json!(number - 1e12),
                json!(number + 1e12),
                json!("1"),
            ]
        }
        Value::String(text) => vec![
            format!("{text}!").into(),
            format!("!{text}").into(),
            "".into(),
            json!(7),
        ],
        Value::Array(values) => {
            let fewer: Value = values.iter().skip(1).cloned().collect();
            let more: Value = values.iter().cloned().chain([json!({})]).collect();
            vec![fewer, more, json!([]), json!({})]
        }
        Value::Object(fields) => {
            let without = fields.keys().map(|name| {
                let mut fields = fields.clone();
                fields.remove(name);
                Value::Object(fields)
            });
            without.chain([json!({"more": 1}), json!([])]).collect()
        }
    };
    avoided.into_iter().chain(others).collect()
}

/// Results in which the array that elements are selected from has fewer, one more, or another order.
fn arrays_changed(selection: &Selection, op: &Op, results: &Results) -> Vec<Results> {
    let Some(array) = &selection.within else {
        return Vec::new();
    };
    let elements = elements(selection, results).unwrap_or_default();
    let mut all = Vec::new();
    for name in selection.of.list() {
        let Some(Value::Array(values)) = results[name].pointer(array) else {
            continue;
        };
        let mine = elements.iter().filter(|element| element.result == *name);
        let mine: Vec<usize> = mine
            .filter_map(|element| element.element.rsplit('/').next()?.parse().ok())
            .collect();
        for changed in reordered(values, &mine, intruder(selection, op, values, results)) {
            let mut results = results.clone();
            let result = results.get_mut(name).expect("a result");
            set(result, array, changed.into());
            all.push(results);
        }
    }
    all
}

fn reordered(values: &[Value], mine: &[usize], intruder: Option<Value>) -> Vec<Vec<Value>> {
    let mut all = Vec::new();
    if let (Some(first), Some(last)) = (mine.first(), mine.last()) {
        for at in [*first, *last] {
            let mut less = values.to_vec();
            let one = less.remove(at);
            all.push(less);
            let mut twice = values.to_vec();
            twice.push(one);
            all.push(twice);
        }
        let mut swapped = values.to_vec();
        swapped.swap(*first, *last);
        all.push(swapped);
        let others = (0..values.len()).filter(|at| !mine.contains(at));
        all.push(others.map(|at| values[at].clone()).collect());
    }
    all.extend(intruder.map(|intruder| values.iter().cloned().chain([intruder]).collect()));
    all
}

/// Something that is selected too, though it should not be there.
fn intruder(selection: &Selection, op: &Op, values: &[Value], results: &Results) -> Option<Value> {
    let pattern = selection
        .pattern
        .as_ref()
        .map_or(Some(json!({})), |pattern| substituted(pattern, results).ok())?;
    let mut intruder = pattern;
    if let Some(number) = values
        .last()
        .and_then(|last| last.pointer("/data/sequence_number")?.as_u64())
    {
        set(&mut intruder, "/data/sequence_number", json!(number + 1));
    }
    if !matches!(op, Op::Count(_)) || !selection.at.is_empty() {
        let at = text_of(&selection.at, results, str::to_owned).ok()?;
        set(&mut intruder, &at, json!("intruder"));
    }
    Some(intruder)
}

/// Puts a value at a place, whose objects are made.
fn set(into: &mut Value, pointer: &str, value: Value) -> Option<()> {
    let Some(path) = pointer.strip_prefix('/') else {
        *into = value;
        return Some(());
    };
    let (name, rest) = match path.find('/') {
        Some(at) => path.split_at(at),
        None => (path, ""),
    };
    if into.is_null() {
        *into = json!({});
    }
    let next = match into {
        Value::Array(values) => values.get_mut(name.parse::<usize>().ok()?)?,
        Value::Object(fields) => fields
            .entry(name.replace("~1", "/").replace("~0", "~"))
            .or_insert(Value::Null),
        _ => return None,
    };
    set(next, rest, value)
}

#[cfg(test)]
mod tests;
