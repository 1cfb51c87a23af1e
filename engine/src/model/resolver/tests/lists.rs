//! Intents, presets and lists.

use serde_json::{Value, json};

use super::*;

#[test]
fn an_intent_is_its_first_model_that_can_be_reached_else_the_default() {
    for (variables, name, expected, skipped) in [
        (&[OPENAI, ANTHROPIC][..], "intent/code", &["anthropic/claude-x"][..], 0),
        (&[OPENAI], "intent/code", &["openai/gpt-x"], 1),
        (&[VERCEL], "intent/code", &["vercel/anthropic/claude-x"], 0),
        (&[GOOGLE], "intent/code", &["google/gemini-default"], 2),
        (&[OPENAI, GOOGLE], "intent/unknown", &["google/gemini-default"], 0),
        (&[GOOGLE], "intent/", &["google/gemini-default"], 0),
        (&[GOOGLE], "intent/nothing", &["google/gemini-default"], 0),
        (&[], "intent/offline", &["scripted"], 1),
    ] {
        let (declared, _) = models(variables);
        let resolver = declared
            .default("google/gemini-default")
            .intent("code", ["anthropic/claude-x", "openai/gpt-x"])
            .intent("nothing", Vec::<String>::new())
            .intent("offline", ["gpt-5", "scripted"])
            .build()
            .expect("models");
        let resolved = resolver.resolve(name).expect(name);
        assert_eq!(names(&resolved), expected, "{name}");
        assert_eq!(
            (resolved.requested.as_str(), resolved.unreachable.len()),
            (name, skipped)
        );
        assert_eq!(resolver.names(name).expect(name), expected);
    }
    let (declared, _) = models(&[]);
    let resolver = declared
        .default("gemini-default")
        .intent("code", ["claude-x"])
        .build()
        .expect("models");
    let error = resolver.resolve("intent/code").expect_err("no keys");
    let tried: Vec<&str> = error.attempts.iter().map(|attempt| attempt.model.as_str()).collect();
    assert_eq!(
        (error.model.as_str(), tried),
        ("intent/code", vec!["anthropic/claude-x", "google/gemini-default"])
    );
}

#[test]
fn a_preset_is_all_its_models_that_can_be_reached_with_its_settings() {
    let options =
        json!({"openai": {"reasoning": {"effort": "low"}}, "anthropic": {"thinking": 1}, "vercel": {"models": []}});
    let preset = || {
        Preset::new(["claude-x", "openai/gpt-x", "gemini-x", "scripted"])
            .tokens_max(9)
            .provider_options(options.clone())
    };
    let (declared, _) = models(&[OPENAI, ANTHROPIC]);
    let resolver = declared.preset("mine", preset()).build().expect("models");
    let resolved = resolver.resolve("preset/mine").expect("reachable");
    assert_eq!(names(&resolved), ["anthropic/claude-x", "openai/gpt-x", "scripted"]);
    let keys: Vec<Vec<&str>> = resolved
        .candidates
        .iter()
        .map(|candidate| {
            let mut keys: Vec<&str> = candidate.provider_options.keys().map(String::as_str).collect();
            keys.sort_unstable();
            keys
        })
        .collect();
    assert_eq!(
        keys,
        [vec!["anthropic"], vec!["openai"], vec!["anthropic", "openai", "vercel"]]
    );
    assert!(
        resolved
            .candidates
            .iter()
            .all(|candidate| candidate.tokens_max == Some(9))
    );
    let missing: Vec<&str> = resolved
        .unreachable
        .iter()
        .map(|attempt| attempt.model.as_str())
        .collect();
    assert_eq!(missing, ["google/gemini-x"]);

    let (declared, _) = models(&[VERCEL]);
    let resolved = declared
        .preset("mine", preset())
        .build()
        .expect("models")
        .resolve("preset/mine")
        .expect("reachable");
    assert_eq!(
        names(&resolved),
        [
            "vercel/anthropic/claude-x",
            "vercel/openai/gpt-x",
            "vercel/google/gemini-x",
            "scripted"
        ]
    );
    assert_eq!(
        resolved.candidates[0].provider_options.keys().collect::<Vec<_>>(),
        ["vercel"]
    );

    let (declared, _) = models(&[OPENAI]);
    let resolver = declared
        .preset("fast", Preset::new(["gpt-mine"]))
        .build()
        .expect("models");
    assert_eq!(
        resolver.names("preset/fast").expect("a preset"),
        ["openai/gpt-mine"],
        "a declared preset replaces a built-in one"
    );
    assert_eq!(resolver.names("preset/balanced").expect("a preset"), ["openai/gpt-5.6"]);
}

#[test]
fn several_names_are_expanded_in_order_and_none_is_an_error() {
    let (declared, _) = models(&[OPENAI, ANTHROPIC]);
    let given = Arc::new(Routed("given".into())) as Arc<dyn Model>;
    let resolver = declared
        .default("gpt-default")
        .intent("chat", ["gemini-x", "claude-chat"])
        .preset("two", Preset::new(["gpt-1", "claude-2"]))
        .build()
        .expect("models");
    let mixed = [
        ModelChoice::from("intent/chat"),
        ModelChoice::from("preset/two"),
        ModelChoice::from(given),
        ModelChoice::from("gemini-y"),
        ModelChoice::from("o3"),
    ];
    let resolved = resolver.resolve(mixed).expect("reachable");
    assert_eq!(resolved.requested, "intent/chat, preset/two, given, gemini-y, o3");
    assert_eq!(
        names(&resolved),
        [
            "anthropic/claude-chat",
            "openai/gpt-1",
            "anthropic/claude-2",
            "given",
            "openai/o3"
        ]
    );
    let missing: Vec<&str> = resolved
        .unreachable
        .iter()
        .map(|attempt| attempt.model.as_str())
        .collect();
    assert_eq!(missing, ["google/gemini-x", "google/gemini-y"]);

    let default = resolver.resolve(ModelChoice::default()).expect("reachable");
    assert_eq!(
        (default.requested.as_str(), names(&default)),
        ("gpt-default", vec!["openai/gpt-default"])
    );
    let none = resolver.resolve(Vec::<String>::new()).expect_err("an empty list");
    assert!(none.to_string().contains("empty list"), "{none}");
    let typo = resolver
        .resolve(["gpt-5", "gtp-5"])
        .expect_err("a name that has no meaning");
    assert!(typo.message.contains("gtp-5"), "{typo}");
}

#[test]
fn a_candidates_settings_lose_to_the_callers() {
    let candidate = Candidate {
        model: Arc::new(ScriptedModel::default()),
        tokens_max: Some(9),
        provider_options: json!({"openai": {"a": 1, "b": 1}, "google": {"c": 1}})
            .as_object()
            .expect("an object")
            .clone(),
    };
    let plain = candidate.settle(ModelRequest::default());
    assert_eq!(
        (plain.tokens_max, &plain.provider_options),
        (Some(9), &candidate.provider_options)
    );
    let request = ModelRequest {
        tokens_max: Some(5),
        provider_options: json!({"openai": {"b": 2}}).as_object().expect("an object").clone(),
        ..ModelRequest::default()
    };
    let settled = candidate.settle(request);
    assert_eq!(settled.tokens_max, Some(5));
    assert_eq!(
        Value::Object(settled.provider_options),
        json!({"openai": {"a": 1, "b": 2}, "google": {"c": 1}})
    );
}
