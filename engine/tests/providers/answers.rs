//! What is made of answers.

use flowstate_engine::model::{AssistantPart, Finish, Protocol, ToolUse};
use serde_json::json;

use super::server::{Reply, Server};
use super::support::{Answer, PROTOCOLS, ask, exchange, play, question, recording, route, tools};

/// With two tools.
async fn with_tools(protocol: Protocol, case: &str) -> Answer {
    let mut request = question();
    request.tools = tools();
    play(protocol, case, request).await
}

fn plain(call: &ToolUse) -> (&str, &str, serde_json::Value) {
    (
        &call.id,
        &call.name,
        serde_json::from_str(&call.arguments).expect("JSON"),
    )
}

#[tokio::test]
async fn text_is_told_as_it_comes_with_what_it_used() {
    for protocol in PROTOCOLS {
        let answer = play(protocol, "text", question()).await;
        assert_eq!(answer.text(), "Grüße 👋🏽, 世界!", "{protocol:?}");
        assert_eq!(answer.texts, ["Grüße", " 👋🏽, 世", "界!"], "{protocol:?}");
        assert_eq!(*answer.finish(), Finish::Stop, "{protocol:?}");
        let usage = answer.usage();
        assert_eq!((usage.input_tokens, usage.output_tokens), (21, 7), "{protocol:?}");
        assert_eq!(usage.cache_read_tokens, 16, "{protocol:?}");
    }
}

#[tokio::test]
async fn a_character_may_be_cut_between_chunks() {
    for protocol in PROTOCOLS {
        for bytes in [1, 2, 3, 7] {
            let reply = Reply::events(recording(protocol, "text")).in_chunks_of(bytes);
            let (answer, _) = exchange(protocol, reply, question()).await;
            assert_eq!(answer.text(), "Grüße 👋🏽, 世界!", "{protocol:?} by {bytes}");
            assert_eq!(*answer.finish(), Finish::Stop, "{protocol:?} by {bytes}");
        }
    }
}

#[tokio::test]
async fn a_call_of_a_tool_is_shown_while_it_is_written_and_then_whole() {
    for protocol in PROTOCOLS {
        let answer = with_tools(protocol, "tool").await;
        let calls: Vec<_> = answer.calls().into_iter().map(plain).collect();
        assert_eq!(
            calls,
            [("call_1", "weather", json!({"city": "Zürich"}))],
            "{protocol:?}"
        );
        assert_eq!(*answer.finish(), Finish::ToolCalls, "{protocol:?}");
        let written: String = answer.deltas.iter().map(|(_, _, delta)| delta.as_str()).collect();
        if protocol == Protocol::Google {
            assert!(answer.deltas.is_empty(), "its calls come whole: {:?}", answer.deltas);
        } else {
            assert_eq!(written, answer.calls()[0].arguments, "{protocol:?}");
            assert!(answer.deltas.len() > 1, "{protocol:?}: {:?}", answer.deltas);
            let named = answer
                .deltas
                .iter()
                .all(|(id, name, _)| (id.as_str(), name.as_str()) == ("call_1", "weather"));
            assert!(named, "{protocol:?}: {:?}", answer.deltas);
        }
    }
}

#[tokio::test]
async fn calls_of_one_answer_are_kept_apart() {
    for protocol in PROTOCOLS {
        let answer = with_tools(protocol, "parallel").await;
        let calls: Vec<_> = answer.calls().into_iter().map(plain).collect();
        let expected = [
            ("call_1", "weather", json!({"city": "Zürich"})),
            ("call_2", "time", json!({"zone": "Europe/Zurich"})),
        ];
        assert_eq!(calls, expected, "{protocol:?}");
        for call in answer.calls().into_iter().filter(|_| protocol != Protocol::Google) {
            let deltas = answer.deltas.iter().filter(|(id, ..)| *id == call.id);
            let written: String = deltas.map(|(_, _, delta)| delta.as_str()).collect();
            assert_eq!(written, call.arguments, "{protocol:?}");
        }
    }
}

#[tokio::test]
async fn thoughts_are_told_apart_from_words() {
    for protocol in PROTOCOLS {
        let answer = with_tools(protocol, "reasoning").await;
        let Some(AssistantPart::Reasoning { text, .. }) = answer.parts.first() else {
            panic!("{protocol:?}: {answer:?}");
        };
        assert_eq!(text, "The user asks.", "{protocol:?}");
        assert_eq!(answer.text(), "", "{protocol:?}");
        assert_eq!(answer.calls().len(), 1, "{protocol:?}");
        let usage = answer.usage();
        assert_eq!((usage.output_tokens, usage.reasoning_tokens), (30, 12), "{protocol:?}");
    }
}

#[tokio::test]
async fn where_an_answer_is_from_is_told_once_for_each_place() {
    for protocol in PROTOCOLS {
        let (answer, _) = exchange(protocol, Reply::events(recording(protocol, "search")), question()).await;
        assert_eq!(answer.text(), "It is sunny.", "{protocol:?}");
        let sources: Vec<_> = answer
            .sources
            .iter()
            .map(|source| (source.url.as_str(), source.title.as_deref()))
            .collect();
        let mut expected = vec![("https://weather.example/zurich", Some("Weather"))];
        if protocol != Protocol::OpenAiChat {
            expected.push(("https://news.example/sun", Some("Sun")));
        }
        assert_eq!(sources, expected, "{protocol:?}");
    }
}

#[tokio::test]
async fn a_refusal_is_text() {
    for protocol in PROTOCOLS {
        let (answer, _) = exchange(protocol, Reply::events(recording(protocol, "refusal")), question()).await;
        assert_eq!(answer.text(), "I can't help.", "{protocol:?}");
        let openai = matches!(protocol, Protocol::OpenAiChat | Protocol::OpenAiResponses);
        let expected = if openai { Finish::Stop } else { Finish::ContentFilter };
        assert_eq!(*answer.finish(), expected, "{protocol:?}");
    }
}

#[tokio::test]
async fn what_nobody_knows_is_skipped() {
    for protocol in PROTOCOLS {
        let (answer, _) = exchange(protocol, Reply::events(recording(protocol, "unknown")), question()).await;
        assert_eq!(answer.text(), "Still here.", "{protocol:?}");
        assert_eq!(*answer.finish(), Finish::Stop, "{protocol:?}");
    }
}

#[tokio::test]
async fn an_answer_may_be_empty() {
    for protocol in PROTOCOLS {
        let (answer, _) = exchange(protocol, Reply::events(recording(protocol, "empty")), question()).await;
        assert!(answer.parts.is_empty(), "{protocol:?}: {answer:?}");
        assert_eq!(*answer.finish(), Finish::Stop, "{protocol:?}");
    }
}

#[tokio::test]
async fn an_answer_that_is_as_long_as_it_may_be_says_so() {
    for protocol in PROTOCOLS {
        let (answer, _) = exchange(protocol, Reply::events(recording(protocol, "length")), question()).await;
        assert_eq!(answer.text(), "As long as", "{protocol:?}");
        assert_eq!(*answer.finish(), Finish::Length, "{protocol:?}");
    }
}

#[tokio::test]
async fn a_provider_that_pauses_is_asked_again_with_what_it_has() {
    let reply = Reply::events(recording(Protocol::Anthropic, "pause"));
    let (answer, _) = exchange(Protocol::Anthropic, reply, question()).await;
    assert_eq!(*answer.finish(), Finish::Pause);
    assert_eq!(answer.natives().len(), 1, "{answer:?}");
}

#[tokio::test]
async fn servers_that_speak_a_protocol_by_halves_are_understood() {
    // Google's own says STOP after calls.
    let word = recording(Protocol::Google, "parallel").replace("\"STOP\"", "\"FUNCTION_CALL\"");
    let (answer, _) = exchange(Protocol::Google, Reply::events(word), question()).await;
    assert_eq!((answer.calls().len(), answer.finish()), (2, &Finish::ToolCalls));
    // No word for why it ended, only the mark of the end.
    let wordless =
        recording(Protocol::OpenAiChat, "text").replace("\"finish_reason\":\"stop\"", "\"finish_reason\":null");
    let server = Server::start([Reply::events(wordless)]).await;
    let mut way = route(Protocol::OpenAiChat, &server.url);
    way.provider = "vllm".to_owned();
    let answer = Answer::of(ask(&way, question()).await);
    assert_eq!(
        (answer.text().as_str(), answer.finish()),
        ("Grüße 👋🏽, 世界!", &Finish::Stop)
    );
    // Calls that come whole, all in one piece.
    let call = |n: usize, id: &str| json!({"index": n, "id": id, "type": "function", "function": {"name": "time", "arguments": "{}"}});
    let piece = json!({"choices": [{"index": 0, "delta": {"tool_calls": [call(0, "call_a"), call(1, "call_b")]}, "finish_reason": "tool_calls"}]});
    let whole = format!("data: {piece}\n\ndata: [DONE]\n\n");
    let (answer, _) = exchange(Protocol::OpenAiChat, Reply::events(whole), question()).await;
    let shown: Vec<_> = answer
        .deltas
        .iter()
        .map(|(id, _, delta)| (id.as_str(), delta.as_str()))
        .collect();
    assert_eq!(shown, [("call_a", "{}"), ("call_b", "{}")]);
    assert_eq!(answer.calls().len(), 2);
    // A word that nobody knows.
    let odd =
        recording(Protocol::OpenAiChat, "text").replace("\"finish_reason\":\"stop\"", "\"finish_reason\":\"tired\"");
    let (answer, _) = exchange(Protocol::OpenAiChat, Reply::events(odd), question()).await;
    assert_eq!(*answer.finish(), Finish::Other("tired".to_owned()));
}
