//! How long a provider asks to wait.

use rig_core::http_client::HeaderMap;
use serde_json::Value;

/// The wish in the headers of a refusal (`retry-after-ms`, or `retry-after` in seconds or as a date), else in its body.
pub(super) fn retry_after_ms(headers: Option<&HeaderMap>, body: &Value) -> Option<u64> {
    let header = |name: &str| headers?.get(name)?.to_str().ok().map(str::trim);
    header("retry-after-ms")
        .and_then(|ms| millis(ms, 1.0))
        .or_else(|| header("retry-after").and_then(|seconds| millis(seconds, 1_000.0)))
        .or_else(|| until(header("retry-after")?, header("date")?))
        .or_else(|| in_body(body))
}

fn millis(number: &str, unit: f64) -> Option<u64> {
    let number: f64 = number.parse().ok()?;
    (number.is_finite() && number >= 0.0).then_some((number * unit).ceil() as u64)
}

/// Between two dates: the server's clock is the only one that both are of.
fn until(date: &str, now: &str) -> Option<u64> {
    let date = httpdate::parse_http_date(date).ok()?;
    let now = httpdate::parse_http_date(now).ok()?;
    let wait = date.duration_since(now).unwrap_or_default();
    Some(wait.as_millis() as u64)
}

/// Google's: `error.details[].retryDelay`, as `"34.5s"`.
fn in_body(body: &Value) -> Option<u64> {
    let details = body.pointer("/error/details")?.as_array()?;
    let delay = details.iter().find_map(|detail| detail.get("retryDelay")?.as_str())?;
    millis(delay.strip_suffix('s')?, 1_000.0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(headers: &[(&'static str, &'static str)]) -> Option<u64> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().expect("a value"));
        }
        retry_after_ms(Some(&map), &Value::Null)
    }

    #[test]
    fn seconds_dates_and_milliseconds_are_read() {
        let date = ("date", "Wed, 21 Oct 2015 07:28:00 GMT");
        assert_eq!(of(&[("retry-after", "7")]), Some(7_000));
        assert_eq!(of(&[("retry-after", "0.25")]), Some(250));
        assert_eq!(of(&[("retry-after", "7"), ("retry-after-ms", "120")]), Some(120));
        assert_eq!(
            of(&[("retry-after", "Wed, 21 Oct 2015 07:28:30 GMT"), date]),
            Some(30_000)
        );
        assert_eq!(of(&[("retry-after", "Wed, 21 Oct 2015 07:27:00 GMT"), date]), Some(0));
        for odd in ["", "soon", "-1", "NaN", "inf", "Wed, 21 Oct 2015 07:28:30 GMT"] {
            assert_eq!(of(&[("retry-after", odd)]), None, "{odd}");
        }
        let body = json!({"error": {"details": [{"@type": "x"}, {"retryDelay": "34.5s"}]}});
        assert_eq!(retry_after_ms(None, &body), Some(34_500));
    }
}
