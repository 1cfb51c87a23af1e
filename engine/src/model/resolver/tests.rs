//! Tables of what names mean under which variables; those that mean several models are in `lists`. Nothing is connected: what would be is kept as the way there.

use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use parking_lot::Mutex;

mod lists;

use super::*;
use crate::model::{ModelErrorKind, ModelEvent, ModelRequest, Models, Protocol, ScriptedModel, Secret};

/// A model that is its route.
struct Routed(String);

impl Model for Routed {
    fn name(&self) -> &str {
        &self.0
    }

    fn stream(&self, _: ModelRequest) -> BoxStream<'static, Result<ModelEvent, ModelError>> {
        stream::empty().boxed()
    }
}

type Routes = Arc<Mutex<Vec<Route>>>;

/// With these variables, and the ways that were connected.
fn models(variables: &[(&'static str, &'static str)]) -> (Models, Routes) {
    let variables = variables.to_vec();
    let routes = Routes::default();
    let kept = Arc::clone(&routes);
    let models = Models::new()
        .env(move |name| {
            variables
                .iter()
                .find(|(known, _)| *known == name)
                .map(|(_, value)| (*value).to_owned())
        })
        .connect(Arc::new(move |route| {
            kept.lock().push(route.clone());
            Ok(Arc::new(Routed(route.name.clone())) as Arc<dyn Model>)
        }));
    (models, routes)
}

fn resolver(variables: &[(&'static str, &'static str)]) -> (Resolver, Routes) {
    let (models, routes) = models(variables);
    (models.build().expect("models"), routes)
}

fn names(resolved: &Resolved) -> Vec<&str> {
    resolved
        .candidates
        .iter()
        .map(|candidate| candidate.model.name())
        .collect()
}

/// The way to one model.
fn route(variables: &[(&'static str, &'static str)], name: &str) -> Route {
    let (resolver, routes) = resolver(variables);
    resolver.resolve(name).unwrap_or_else(|error| panic!("{name}: {error}"));
    routes.lock().remove(0)
}

const OPENAI: (&str, &str) = ("OPENAI_API_KEY", "o");
const ANTHROPIC: (&str, &str) = ("ANTHROPIC_API_KEY", "a");
const GOOGLE: (&str, &str) = ("GOOGLE_GENERATIVE_AI_API_KEY", "g");
const VERCEL: (&str, &str) = ("AI_GATEWAY_API_KEY", "v");
const OPENROUTER: (&str, &str) = ("OPENROUTER_API_KEY", "r");

#[test]
fn a_provider_is_reached_directly_then_through_the_first_gateway() {
    for (variables, name, expected, id, key) in [
        (&[OPENAI][..], "gpt-5", "openai/gpt-5", "gpt-5", "o"),
        (&[OPENAI], "openai-chat/gpt-5", "openai-chat/gpt-5", "gpt-5", "o"),
        (
            &[ANTHROPIC],
            "anthropic/claude-opus-5-5",
            "anthropic/claude-opus-5-5",
            "claude-opus-5-5",
            "a",
        ),
        (&[GOOGLE], "google/gemini-x", "google/gemini-x", "gemini-x", "g"),
        (
            &[("GEMINI_API_KEY", "g")],
            "gemini-x",
            "google/gemini-x",
            "gemini-x",
            "g",
        ),
        (
            &[("GEMINI_API_KEY", "2"), ("GOOGLE_API_KEY", "1")],
            "gemini-x",
            "google/gemini-x",
            "gemini-x",
            "1",
        ),
        (
            &[("GOOGLE_API_KEY", "2"), GOOGLE],
            "gemini-x",
            "google/gemini-x",
            "gemini-x",
            "g",
        ),
        (&[VERCEL], "gpt-5", "vercel/openai/gpt-5", "openai/gpt-5", "v"),
        (
            &[VERCEL],
            "openai-chat/gpt-5",
            "vercel/openai/gpt-5",
            "openai/gpt-5",
            "v",
        ),
        (
            &[OPENROUTER],
            "claude-opus-5.5",
            "openrouter/anthropic/claude-opus-5.5",
            "anthropic/claude-opus-5.5",
            "r",
        ),
        (
            &[OPENROUTER, VERCEL],
            "google/gemini-x",
            "vercel/google/gemini-x",
            "google/gemini-x",
            "v",
        ),
        (&[VERCEL, OPENAI], "gpt-5", "openai/gpt-5", "gpt-5", "o"),
        (
            &[VERCEL, OPENAI],
            "claude-x",
            "vercel/anthropic/claude-x",
            "anthropic/claude-x",
            "v",
        ),
        (
            &[VERCEL, OPENAI],
            "vercel/openai/gpt-5",
            "vercel/openai/gpt-5",
            "openai/gpt-5",
            "v",
        ),
        (
            &[OPENROUTER],
            "openrouter/meta-llama/l:free",
            "openrouter/meta-llama/l:free",
            "meta-llama/l:free",
            "r",
        ),
        (&[("OPENAI_API_KEY", " o\n")], "gpt-5", "openai/gpt-5", "gpt-5", "o"),
    ] {
        let route = route(variables, name);
        assert_eq!((route.name.as_str(), route.model.as_str()), (expected, id), "{name}");
        assert_eq!(route.key, Some(Secret::new(key)), "{name}");
        let (via, _) = expected.split_once('/').expect("a slash");
        assert_eq!(route.provider, via, "options are those of whom the call is sent to");
    }
}

#[test]
fn whom_nothing_leads_to_is_told_with_the_variables_that_would() {
    for (variables, name, expected) in [
        (
            &[][..],
            "gpt-5",
            &[
                "OPENAI_API_KEY",
                "AI_GATEWAY_API_KEY",
                "OPENROUTER_API_KEY",
                "openai/gpt-5",
            ][..],
        ),
        (
            &[OPENAI],
            "claude-x",
            &[
                "ANTHROPIC_API_KEY or ANTHROPIC_AUTH_TOKEN",
                "AI_GATEWAY_API_KEY",
                "anthropic/claude-x",
            ],
        ),
        (
            &[("GOOGLE_API_KEY", "  ")],
            "gemini-x",
            &["GOOGLE_GENERATIVE_AI_API_KEY or GOOGLE_API_KEY or GEMINI_API_KEY"],
        ),
        (
            &[OPENAI, OPENROUTER],
            "vercel/openai/gpt-5",
            &["set AI_GATEWAY_API_KEY", "vercel/openai/gpt-5"],
        ),
        (&[VERCEL], "openrouter/openai/gpt-5", &["set OPENROUTER_API_KEY"]),
        (
            &[],
            "preset/fast",
            &[
                "preset/fast",
                "openai/gpt-5.4-mini",
                "OPENAI_API_KEY",
                "ANTHROPIC_API_KEY",
                "GEMINI_API_KEY",
            ],
        ),
        (&[], "preset/none", &["no such preset"]),
        (&[], "gtp-5", &["no model is named \"gtp-5\""]),
    ] {
        let (resolver, routes) = resolver(variables);
        let error = resolver.resolve(name).expect_err(name);
        assert_eq!((error.kind, error.retryable), (ModelErrorKind::Unavailable, false));
        let said = error.to_string();
        assert!(expected.iter().all(|part| said.contains(part)), "{said}");
        assert!(!said.contains("from_env"), "the environment was read: {said}");
        assert_eq!(resolver.names(name).expect_err(name), error);
        assert!(routes.lock().is_empty());
    }
    let unread = Models::new()
        .build()
        .expect("models")
        .resolve("gpt-5")
        .expect_err("no key");
    assert!(unread.to_string().contains("Models::from_env()"), "{unread}");
}

#[test]
fn addresses_and_headers_are_those_of_the_vendors_variables() {
    let url = |name, value| (name, value);
    let route_ = route(
        &[
            OPENAI,
            url("OPENAI_BASE_URL", "https://proxy.example/v1/"),
            ("OPENAI_ORG_ID", "org"),
            ("OPENAI_PROJECT_ID", "p"),
        ],
        "gpt-5",
    );
    assert_eq!(route_.base_url.as_deref(), Some("https://proxy.example/v1"));
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(
        route_.headers,
        [header("openai-organization", "org"), header("openai-project", "p")]
    );
    assert_eq!(route_.protocol, Protocol::OpenAiResponses);

    let local = route(
        &[url("OPENAI_BASE_URL", "http://127.0.0.1:11434/v1"), VERCEL],
        "openai-chat/llama3",
    );
    assert_eq!(
        (local.key, local.protocol),
        (None, Protocol::OpenAiChat),
        "a server that needs no key goes before a gateway"
    );
    assert_eq!(local.base_url.as_deref(), Some("http://127.0.0.1:11434/v1"));

    let token = route(
        &[
            ("ANTHROPIC_AUTH_TOKEN", "t"),
            url("ANTHROPIC_BASE_URL", "https://claude.example"),
        ],
        "claude-x",
    );
    assert_eq!((token.key.clone(), token.protocol), (None, Protocol::Anthropic));
    assert_eq!(token.headers, [header("authorization", "Bearer t")]);
    assert_eq!(token.base_url.as_deref(), Some("https://claude.example"));
    assert!(!format!("{token:?}").contains("Bearer"), "{token:?}");
    let both = route(&[("ANTHROPIC_AUTH_TOKEN", "t"), ANTHROPIC], "claude-x");
    assert_eq!(
        (both.key, both.headers),
        (Some(Secret::new("a")), Vec::new()),
        "the key goes before the token"
    );

    let google = route(
        &[GOOGLE, url("GOOGLE_GEMINI_BASE_URL", "https://gemini.example")],
        "gemini-x",
    );
    assert_eq!(
        (google.base_url.as_deref(), google.protocol),
        (Some("https://gemini.example"), Protocol::Google)
    );

    for (key, name, address) in [
        (VERCEL, "vercel/openai/x", "https://ai-gateway.vercel.sh/v1"),
        (OPENROUTER, "openrouter/openai/x", "https://openrouter.ai/api/v1"),
    ] {
        let route = route(
            &[
                key,
                url("OPENAI_BASE_URL", "https://proxy.example"),
                ("OPENAI_ORG_ID", "org"),
            ],
            name,
        );
        assert_eq!(
            (route.base_url.as_deref(), route.protocol),
            (Some(address), Protocol::OpenAiChat)
        );
        assert!(route.headers.is_empty(), "a gateway is not told what OpenAI is");
    }
    let (resolver, _) = resolver(&[url("ANTHROPIC_BASE_URL", "https://claude.example")]);
    assert!(resolver.resolve("claude-x").is_err(), "an address alone is no key");
}

#[test]
fn what_is_declared_goes_before_the_environment() {
    let (declared, routes) = models(&[OPENAI, ("OPENAI_BASE_URL", "https://env.example"), VERCEL]);
    let resolver = declared
        .key("openai", "declared")
        .base_url("openai", "https://code.example/")
        .base_url("openai-chat", "http://localhost:8000/v1")
        .key("vercel", "code")
        .timeouts(Timeouts {
            connect: std::time::Duration::from_millis(7),
            ..Timeouts::default()
        })
        .build()
        .expect("models");
    for name in ["openai/x", "openai-chat/x", "vercel/openai/x"] {
        resolver.resolve(name).expect(name);
    }
    let routes = routes.lock();
    let seen: Vec<_> = routes
        .iter()
        .map(|route| {
            (
                route.key.as_ref().map(Secret::expose),
                route.base_url.as_deref().unwrap_or_default(),
            )
        })
        .collect();
    assert_eq!(
        seen,
        [
            (Some("declared"), "https://code.example"),
            (None, "http://localhost:8000/v1"),
            (Some("code"), "https://ai-gateway.vercel.sh/v1"),
        ],
        "a server of its own is not told OpenAI's key"
    );
    assert!(routes.iter().all(|route| route.timeouts.connect.as_millis() == 7));

    for (variables, expected) in [
        (&[][..], (Some("c"), None)),
        (
            &[OPENAI, ("OPENAI_BASE_URL", "https://env.example")],
            (Some("c"), Some("https://env.example")),
        ),
    ] {
        let (chat, routes) = models(variables);
        let resolver = chat.key("openai-chat", "c").build().expect("models");
        resolver.resolve("openai-chat/x").expect("reachable");
        let route = routes.lock().remove(0);
        let key = route.key.as_ref().map(Secret::expose);
        assert_eq!(
            (key, route.base_url.as_deref()),
            expected,
            "a key of its own, where openai goes"
        );
        assert_eq!(
            resolver.names("openai/x").is_ok(),
            variables.len() > 1,
            "which openai is not told"
        );
    }

    let (shared, routes) = models(&[]);
    let resolver = shared
        .key("openai", "k")
        .base_url("openai", "https://code.example")
        .build()
        .expect("models");
    resolver.resolve("openai-chat/x").expect("reachable");
    let route = routes.lock().remove(0);
    assert_eq!(
        (route.key, route.base_url.as_deref()),
        (Some(Secret::new("k")), Some("https://code.example"))
    );
}

#[test]
fn models_that_were_added_win_over_every_other_meaning() {
    for name in [
        "openai/gpt-5",
        "preset/fast",
        "intent/chat",
        "gpt-5",
        "parrot",
        "scripted",
    ] {
        let (declared, routes) = models(&[OPENAI]);
        let resolver = declared.model(Arc::new(Routed(name.into()))).build().expect("models");
        assert_eq!(resolver.problems(&name.into()), Vec::<String>::new());
        assert_eq!(names(&resolver.resolve(name).expect(name)), [name]);
        assert_eq!(
            names(&resolver.resolve(ModelChoice::default()).expect(name)),
            [name],
            "the first one is the default"
        );
        assert!(routes.lock().is_empty(), "{name} is not connected to");
    }
}

#[test]
fn what_has_a_meaning_can_be_told_before_anything_is_reachable() {
    let (resolver, _) = resolver(&[]);
    for (name, has_meaning) in [
        ("gpt-5", true),
        ("vercel/openai/gpt-5", true),
        ("preset/fast", true),
        ("preset/none", false),
        ("intent/anything", true),
        ("scripted", true),
        ("parrot", false),
    ] {
        assert_eq!(resolver.problems(&name.into()).is_empty(), has_meaning, "{name}");
    }
    let given = ModelChoice::from(Arc::new(Routed("given".into())) as Arc<dyn Model>);
    let several = [given, "parrot".into(), "gpt-5".into(), "preset/none".into()];
    let problems = resolver.problems(&several.into());
    assert!(
        problems.len() == 2 && problems[0].contains("parrot") && problems[1].contains("preset/none"),
        "{problems:?}"
    );
    assert_eq!(resolver.problems(&Vec::<String>::new().into()).len(), 1);
    assert!(resolver.problems(&ModelChoice::default()).is_empty());
}

#[test]
fn a_way_is_connected_once_and_a_failure_is_not_kept() {
    let (resolver, routes) = resolver(&[OPENAI]);
    let first = resolver.resolve("gpt-5").expect("reachable");
    let again = resolver.resolve(["openai/gpt-5", "gpt-6"]).expect("reachable");
    assert!(Arc::ptr_eq(&first.candidates[0].model, &again.candidates[0].model));
    let connected: Vec<String> = routes.lock().iter().map(|route| route.name.clone()).collect();
    assert_eq!(connected, ["openai/gpt-5", "openai/gpt-6"]);

    let tries = Arc::new(Mutex::new(0));
    let counted = Arc::clone(&tries);
    let resolver = Models::new()
        .key("openai", "k")
        .connect(Arc::new(move |route| {
            *counted.lock() += 1;
            match *counted.lock() {
                1 => Err(ModelError::new(&route.name, ModelErrorKind::Other, "no certificates")),
                _ => Ok(Arc::new(Routed(route.name.clone()))),
            }
        }))
        .build()
        .expect("models");
    let error = resolver.resolve("gpt-5").expect_err("not connected");
    assert_eq!(
        (error.kind, error.message.as_str()),
        (ModelErrorKind::Unavailable, "no certificates")
    );
    assert_eq!(names(&resolver.resolve("gpt-5").expect("connected")), ["openai/gpt-5"]);
    assert_eq!(*tries.lock(), 2);
}

#[test]
fn connections_that_are_kept_have_a_bound() {
    let (resolver, routes) = resolver(&[OPENAI]);
    for _ in 0..2 {
        for n in 0..=CONNECTIONS_MAX {
            resolver.resolve(format!("gpt-{n}")).expect("reachable");
        }
    }
    assert_eq!(
        routes.lock().len(),
        CONNECTIONS_MAX + 2,
        "only the last name is connected to anew"
    );
}
