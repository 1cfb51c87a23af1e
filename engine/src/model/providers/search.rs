//! Search of the web, as each provider offers it.

use serde_json::{Map, Value, json};

use super::super::{Protocol, Search, SearchDepth, UserLocation};

/// The provider's tool for it. What a provider has no word for is left out; Chat Completions have no search.
pub(super) fn tool(protocol: Protocol, search: &Search) -> Option<Value> {
    let tool = match protocol {
        Protocol::OpenAiChat => return None,
        Protocol::Google => json!({"google_search": {}}),
        Protocol::Anthropic => fields([
            ("type", Some(json!("web_search_20250305"))),
            ("name", Some(json!("web_search"))),
            ("max_uses", search.uses_max.map(Value::from)),
            ("allowed_domains", list(&search.allowed_domains)),
            ("blocked_domains", list(&search.blocked_domains)),
            ("user_location", search.user_location.as_ref().map(location)),
        ]),
        Protocol::OpenAiResponses => fields([
            ("type", Some(json!("web_search"))),
            (
                "filters",
                list(&search.allowed_domains).map(|domains| json!({"allowed_domains": domains})),
            ),
            ("user_location", search.user_location.as_ref().map(location)),
            ("search_context_size", search.depth.map(depth)),
        ]),
    };
    Some(tool)
}

fn list(domains: &[String]) -> Option<Value> {
    (!domains.is_empty()).then(|| json!(domains))
}

fn location(location: &UserLocation) -> Value {
    fields([
        ("type", Some(json!("approximate"))),
        ("city", location.city.as_ref().map(|city| json!(city))),
        ("region", location.region.as_ref().map(|region| json!(region))),
        ("country", location.country.as_ref().map(|country| json!(country))),
        ("timezone", location.timezone.as_ref().map(|timezone| json!(timezone))),
    ])
}

fn depth(depth: SearchDepth) -> Value {
    json!(match depth {
        SearchDepth::Low => "low",
        SearchDepth::Medium => "medium",
        SearchDepth::High => "high",
    })
}

fn fields<const N: usize>(fields: [(&str, Option<Value>); N]) -> Value {
    let fields = fields
        .into_iter()
        .filter_map(|(key, value)| Some((key.to_owned(), value?)));
    Value::Object(fields.collect::<Map<_, _>>())
}
