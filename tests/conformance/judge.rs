//! Whether matchers hold of results.

use regex::Regex;
use serde_json::Value;

use super::matcher::{Matcher, Names, Op, Selection, Size, Type};
use super::values::{Results, has_at_least, places, plain, substituted, text_of};

/// Where something that was selected is: in which result, in which element of it, and where in that.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub(crate) result: String,
    pub(crate) element: String,
    pub(crate) place: String,
}

impl Found {
    pub(crate) fn pointer(&self) -> String {
        format!("{}{}", self.element, self.place)
    }

    fn value<'a>(&self, results: &'a Results) -> Option<&'a Value> {
        results.get(&self.result)?.pointer(&self.pointer())
    }
}

/// `Err` says what does not hold.
pub(crate) fn judge(matcher: &Matcher, results: &Results) -> Result<(), String> {
    match matcher {
        Matcher::Of(selection, op) => of(selection, op, results)
            .map_err(|why| format!("{why}\n    in {}", brief(&format!("{selection:?} {op:?}")))),
        Matcher::Either(sides) => {
            let mut failures = Vec::new();
            for side in sides {
                match side.iter().try_for_each(|matcher| judge(matcher, results)) {
                    Ok(()) => return Ok(()),
                    Err(why) => failures.push(why),
                }
            }
            Err(format!("neither: {}", failures.join("\n  nor: ")))
        }
    }
}

/// The elements that are selected: the results themselves, or elements of an array in each.
pub(crate) fn elements(selection: &Selection, results: &Results) -> Result<Vec<Found>, String> {
    let mut elements = Vec::new();
    let pattern = selection.pattern.as_ref().map(|pattern| substituted(pattern, results));
    let pattern = pattern.transpose()?;
    let after = selection.after.as_ref().map(|after| substituted(after, results));
    let after = after.transpose()?;
    for name in selection.of.list() {
        let result = results.get(name).ok_or_else(|| format!("there is no result {name}"))?;
        let all = match &selection.within {
            None => vec![String::new()],
            Some(array) => places(result, &format!("{array}/*")),
        };
        for element in all {
            let value = &result.pointer(&element).expect("a place that was found");
            let fits = pattern.as_ref().is_none_or(|pattern| has_at_least(value, pattern));
            let number = value["data"]["sequence_number"].as_u64();
            let is_after = after.as_ref().is_none_or(|after| number > after.as_u64());
            if fits && is_after {
                elements.push(Found {
                    result: name.clone(),
                    element,
                    place: String::new(),
                });
            }
        }
    }
    Ok(elements)
}

/// What is selected: places in the elements.
pub(crate) fn found(selection: &Selection, results: &Results) -> Result<Vec<Found>, String> {
    let at = text_of(&selection.at, results, str::to_owned)?;
    let mut all = Vec::new();
    for element in elements(selection, results)? {
        let value = element.value(results).expect("an element that was found");
        let inside = places(value, &at);
        if inside.is_empty() && !at.contains('*') && !selection.at.is_empty() {
            // Told apart from nothing being selected.
            all.push(Found {
                place: at.clone(),
                ..element.clone()
            });
        }
        all.extend(inside.into_iter().map(|place| Found {
            place,
            ..element.clone()
        }));
    }
    Ok(all)
}

fn of(selection: &Selection, op: &Op, results: &Results) -> Result<(), String> {
    let found = found(selection, results)?;
    let values: Vec<Option<&Value>> = found.iter().map(|found| found.value(results)).collect();
    if let Op::Absent(_) = op {
        let there = values.iter().flatten().next();
        let elements = elements(selection, results)?;
        return match there {
            Some(value) => Err(format!("there is {}", brief(&value.to_string()))),
            None if elements.is_empty() => Err("nothing is selected".into()),
            None => Ok(()),
        };
    }
    let values: Vec<&Value> = values
        .into_iter()
        .zip(&found)
        .map(|(value, found)| value.ok_or_else(|| format!("{} has no {}", found.result, found.pointer())))
        .collect::<Result<_, _>>()?;
    if let Some(holds) = of_all(op, &values, results)? {
        let seen = || Value::from_iter(values.iter().map(|value| (*value).clone())).to_string();
        return if holds {
            Ok(())
        } else {
            Err(format!("of {}", brief(&seen())))
        };
    }
    if values.is_empty() {
        return Err("nothing is selected".into());
    }
    for (value, found) in values.iter().zip(&found) {
        let element = results[&found.result].pointer(&found.element).expect("an element");
        if !of_one(op, value, element, results)? {
            return Err(format!("{} is {}", found.pointer(), brief(&value.to_string())));
        }
    }
    Ok(())
}

/// What is said of all values together; `None` if the operation is about each.
fn of_all(op: &Op, values: &[&Value], results: &Results) -> Result<Option<bool>, String> {
    let pairs = |holds: fn(f64, f64) -> bool| {
        let numbers: Option<Vec<f64>> = values.iter().map(|value| value.as_f64()).collect();
        numbers.is_some_and(|numbers| numbers.len() > 1 && numbers.windows(2).all(|pair| holds(pair[0], pair[1])))
    };
    Ok(Some(match op {
        Op::Count(size) => size.holds(values.len()),
        Op::Distinct(_) => values.len() > 1 && (1..values.len()).all(|at| !values[..at].contains(&values[at])),
        Op::Increasing(_) => pairs(|one, next| one < next),
        Op::Rising(_) => pairs(|one, next| one <= next),
        Op::Joined(expected) => {
            let joined: String = values.iter().map(|value| plain(value)).collect();
            !values.is_empty() && joined == text_of(expected, results, str::to_owned)?
        }
        Op::Order(expected) => {
            order(expected)?.is_match(&values.iter().map(|value| plain(value) + "\n").collect::<String>())
        }
        Op::SameAs(other) => {
            let others = found(other, results)?;
            let others: Option<Vec<&Value>> = others.iter().map(|found| found.value(results)).collect();
            !values.is_empty() && others.is_some_and(|others| others == values)
        }
        _ => return Ok(None),
    }))
}

fn order(expected: &[String]) -> Result<Regex, String> {
    let one = |text: &String| match text.as_str() {
        "..." => r"(?:[^\n]*\n)*".to_owned(),
        text => {
            let (name, often) = match text.strip_suffix(['+', '*', '?']) {
                Some(name) => (name, &text[name.len()..]),
                None => (text, ""),
            };
            format!("(?:{}\n){often}", regex::escape(name))
        }
    };
    let all: String = expected.iter().map(one).collect();
    Regex::new(&format!("^{all}$")).map_err(|error| error.to_string())
}

fn of_one(op: &Op, value: &Value, element: &Value, results: &Results) -> Result<bool, String> {
    let number = |bound: &Value| {
        let bound = substituted(bound, results)?.as_f64().ok_or("a bound is a number")?;
        Ok::<_, String>(value.as_f64().map(|value| (value, bound)))
    };
    let elements = || value.as_array().map(Vec::as_slice);
    Ok(match op {
        Op::Equals(expected) => *value == substituted(expected, results)?,
        Op::Differs(other) => *value != substituted(other, results)?,
        Op::OneOf(several) => several.contains(value),
        Op::Type(expected) => is(value, *expected),
        Op::Matches(pattern) => {
            let pattern = Regex::new(&text_of(pattern, results, regex::escape)?).map_err(|error| error.to_string())?;
            value.as_str().is_some_and(|text| pattern.is_match(text))
        }
        Op::Contains(part) | Op::Without(part) => {
            let part = text_of(part, results, str::to_owned)?;
            let contains = value.as_str().map(|text| text.contains(&part));
            contains == Some(matches!(op, Op::Contains(_)))
        }
        Op::Superset(pattern) => has_at_least(value, &substituted(pattern, results)?),
        Op::Has(pattern) | Op::Lacks(pattern) => {
            let pattern = substituted(pattern, results)?;
            let has = elements().map(|elements| elements.iter().any(|element| has_at_least(element, &pattern)));
            has == Some(matches!(op, Op::Has(_)))
        }
        Op::Length(size) => length(value).is_some_and(|length| size.holds(length)),
        Op::AtLeast(bound) => number(bound)?.is_some_and(|(value, bound)| value >= bound),
        Op::AtMost(bound) => number(bound)?.is_some_and(|(value, bound)| value <= bound),
        Op::Template(template) => filled(template, element, results)?.is_some_and(|text| plain(value) == text),
        _ => return Err("not about one value".into()),
    })
}

fn filled(template: &str, element: &Value, results: &Results) -> Result<Option<String>, String> {
    let template = text_of(template, results, str::to_owned)?;
    let mut parts = template.split('{');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (place, rest) = part.split_once('}').ok_or("a place has no end")?;
        let Some(value) = element.pointer(place) else {
            return Ok(None);
        };
        text += &plain(value);
        text += rest;
    }
    Ok(Some(text))
}

fn is(value: &Value, expected: Type) -> bool {
    match expected {
        Type::String => value.is_string(),
        Type::Integer => value.is_i64() || value.is_u64(),
        Type::Number => value.is_number(),
        Type::Boolean => value.is_boolean(),
        Type::Array => value.is_array(),
        Type::Object => value.is_object(),
        Type::Null => value.is_null(),
    }
}

fn length(value: &Value) -> Option<usize> {
    match value {
        Value::String(text) => Some(text.len()),
        Value::Array(values) => Some(values.len()),
        Value::Object(fields) => Some(fields.len()),
        _ => None,
    }
}

/// The beginning of what may be long.
pub(crate) fn brief(text: &str) -> String {
    match text.char_indices().nth(600) {
        Some((end, _)) => format!("{}… ({} bytes)", &text[..end], text.len()),
        None => text.to_owned(),
    }
}

/// The results that a matcher looks at.
pub(crate) fn looked_at(matcher: &Matcher) -> Vec<&Names> {
    match matcher {
        Matcher::Of(selection, _) => vec![&selection.of],
        Matcher::Either(sides) => sides.iter().flatten().flat_map(looked_at).collect(),
    }
}

#[cfg(test)]
mod tests;
