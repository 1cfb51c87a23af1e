//! What is declared of models: defaults, and everything that can be wrong.

use std::sync::Arc;

use serde_json::json;

use super::*;

/// An environment with these variables.
fn env(variables: &[(&'static str, &'static str)]) -> impl Fn(&str) -> Option<String> + Clone + Send + Sync + 'static {
    let variables = variables.to_vec();
    move |name| {
        variables
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| (*value).to_owned())
    }
}

fn problems(models: Models) -> Vec<String> {
    models.build().err().expect("problems").problems
}

#[test]
fn the_default_is_the_deployments_then_the_codes_then_the_first_model_then_the_scripted_one() {
    let own = || Arc::new(ScriptedModel::default()) as Arc<dyn Model>;
    let deployed = env(&[("FLOWSTATE_MODEL", " openai/deployed ")]);
    let empty = env(&[("FLOWSTATE_MODEL", " ")]);
    for (models, expected) in [
        (Models::new(), "scripted"),
        (Models::new().env(empty.clone()), "scripted"),
        (Models::new().env(deployed.clone()), "openai/deployed"),
        (
            Models::new().env(deployed.clone()).default("openai/code"),
            "openai/deployed",
        ),
        (Models::new().env(deployed.clone()).model(own()), "openai/deployed"),
        (
            Models::new().env(deployed.clone()).default_override("openai/flag"),
            "openai/flag",
        ),
        (Models::new().env(empty.clone()).default("openai/code"), "openai/code"),
        (Models::new().default("openai/code").model(own()), "openai/code"),
        (Models::new().model(own()), "scripted"),
    ] {
        assert_eq!(models.build().expect("models").default_model(), expected);
    }
}

#[test]
fn everything_that_is_wrong_is_told_at_once() {
    let own = || Arc::new(ScriptedModel::default()) as Arc<dyn Model>;
    let said = problems(
        Models::new()
            .env(env(&[
                ("FLOWSTATE_MODEL", "preset/fast"),
                ("ANTHROPIC_BASE_URL", "example.org"),
            ]))
            .model(own())
            .model(own())
            .intent("chat", ["preset/fast", "gtp-5"])
            .intent("", ["gpt-5"])
            .preset("mine", Preset::new(["intent/chat"]))
            .preset("empty", Preset::new::<&str>([]))
            .preset("odd", Preset::new(["gpt-5"]).provider_options(json!([1])))
            .key("opnai", "k")
            .key("openai", " ")
            .base_url("openai", "ftp://example.org"),
    );
    for part in [
        "two models have the name \"scripted\"",
        "the default model: \"preset/fast\" is not one model",
        "intent \"chat\": \"preset/fast\" is not one model",
        "intent \"chat\": no model is named \"gtp-5\"",
        "an intent or a preset has no name",
        "preset \"mine\": \"intent/chat\" is not one model",
        "preset \"empty\" has no models",
        "preset \"odd\": the options of providers are no object",
        "a key or an address is given for \"opnai\"",
        "the key of \"openai\" is empty",
        "the address of \"openai\" is no address of a provider",
        "ANTHROPIC_BASE_URL is no address of a provider",
    ] {
        assert_eq!(
            said.iter().filter(|problem| problem.starts_with(part)).count(),
            1,
            "{part}: {said:#?}"
        );
    }
    assert_eq!(said.len(), 12, "{said:#?}");
}

#[test]
fn intents_need_a_default() {
    let said = problems(Models::new().intent("chat", ["gpt-5"]));
    assert!(
        said[0].starts_with("there are intents and no default model"),
        "{said:?}"
    );
    for fine in [
        Models::new().intent("chat", ["gpt-5"]).default("gpt-5"),
        Models::new()
            .intent("chat", ["gpt-5"])
            .env(env(&[("FLOWSTATE_MODEL", "gpt-5")])),
        Models::new().intent("chat", ["gpt-5"]).default("scripted"),
    ] {
        fine.build().expect("models");
    }
}

#[test]
fn the_built_in_presets_name_models_of_each_provider() {
    let resolver = Models::new().build().expect("models");
    let presets: Vec<_> = resolver.presets().collect();
    let names: Vec<&str> = presets.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["balanced", "fast", "thinking"]);
    for (name, models) in presets {
        for provider in ["openai/", "anthropic/", "google/"] {
            assert!(
                models.iter().any(|model| model.starts_with(provider)),
                "{name}: {models:?}"
            );
        }
    }
}

#[test]
fn an_address_that_others_can_listen_to_is_warned_of_once() {
    let remote = env(&[
        ("OPENAI_BASE_URL", "http://10.0.0.7:8000/v1"),
        ("ANTHROPIC_BASE_URL", "http://[::1]:80"),
    ]);
    let resolver = Models::new()
        .env(remote)
        .base_url("vercel", "http://gateway.example")
        .build()
        .expect("models");
    assert_eq!(
        resolver.warnings(),
        [
            "OPENAI_BASE_URL: keys and messages are sent to http://10.0.0.7:8000/v1 unencrypted",
            "the address of \"vercel\": keys and messages are sent to http://gateway.example unencrypted",
        ]
    );
}

#[test]
fn a_default_that_cannot_be_reached_is_warned_of() {
    let resolver = Models::new().default("gpt-5").build().expect("models");
    let [warning] = resolver.warnings() else {
        panic!("{:?}", resolver.warnings())
    };
    assert!(
        warning.starts_with("the default model can't be reached now: the model openai/gpt-5"),
        "{warning}"
    );
    let with_key = Models::new()
        .default("gpt-5")
        .key("openai", "k")
        .build()
        .expect("models");
    assert!(with_key.warnings().is_empty());
}
