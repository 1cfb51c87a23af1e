//! Names that are read, and names that are not.

use proptest::prelude::*;

use super::*;

#[test]
fn names_are_read_and_ids_are_kept_as_typed() {
    for (text, shown) in [
        ("openai/gpt-5", "openai/gpt-5"),
        ("openai-chat//models/My-Llama:Q4", "openai-chat//models/My-Llama:Q4"),
        ("anthropic/claude-opus-5-5", "anthropic/claude-opus-5-5"),
        ("google/models/gemini-3.8-flash", "google/models/gemini-3.8-flash"),
        ("vercel/openai/gpt-5", "vercel/openai/gpt-5"),
        ("openrouter/openrouter/auto", "openrouter/openrouter/auto"),
        ("preset/fast", "preset/fast"),
        ("intent/chat", "intent/chat"),
        ("intent/", "intent/"),
        ("gpt-5-mini", "openai/gpt-5-mini"),
        ("chatgpt-4o-latest", "openai/chatgpt-4o-latest"),
        ("codex-mini-latest", "openai/codex-mini-latest"),
        ("o1", "openai/o1"),
        ("o4-mini", "openai/o4-mini"),
        ("claude-sonnet-5-5", "anthropic/claude-sonnet-5-5"),
        ("gemini-3.8-flash", "google/gemini-3.8-flash"),
    ] {
        let read: ModelRef = text.parse().unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(read.to_string(), shown);
    }
}

#[test]
fn what_names_no_model_is_told_what_does() {
    let long = format!("openai/{}", "x".repeat(250));
    for text in [
        "",
        "/",
        "gpt",
        "openai",
        "openai/",
        "OpenAI/gpt-5",
        "opnai/gpt-5",
        "mistral-large",
        "ollama",
        "vercel",
        "vercel/",
        "vercel/gpt-5",
        "vercel//gpt-5",
        "openrouter/openai/",
        "preset",
        "preset/",
        "intent",
        "open ai/x",
        "openai/x\n",
        "google/../x",
        "google/a/./b",
        "google/x?key=1",
        "google/x#y",
        "google/%2e%2e",
        "google/x\\y",
        &long,
    ] {
        let error = text.parse::<ModelRef>().expect_err(text).to_string();
        for part in [
            "provider/model",
            "openai-chat, anthropic",
            "vercel, openrouter",
            "preset/<name>",
            "intent/<name>",
        ] {
            assert!(error.contains(part), "{error}");
        }
    }
}

proptest! {
    #[test]
    fn a_name_that_is_shown_is_read_as_the_same(text in "(openai/|google/|vercel/|preset/|intent/|o|gpt-|)[a-z0-9./:-]{0,12}") {
        if let Ok(read) = text.parse::<ModelRef>() {
            let shown = read.to_string();
            prop_assert!(shown.ends_with(&text), "{} -> {}", text, shown);
            prop_assert_eq!(shown.parse::<ModelRef>(), Ok(read));
        }
    }

    #[test]
    fn no_text_panics(text in ".{0,300}") {
        let _ = text.parse::<ModelRef>();
    }
}
