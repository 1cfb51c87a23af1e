//! What blocks need of a state: merged into the flow that they are in, checked against each other when it is built, and held to
//! when they run.

use flowstate_engine::record::Fact;
use flowstate_engine::{Principal, SnapshotQuery};
use serde_json::{Value, json};

use super::support::*;
use flowstate_engine::prelude::*;

#[derive(Clone, Default, Serialize, Deserialize, JsonSchema)]
struct Turns {
    turns: u32,
}

#[derive(Clone, Default, Serialize, Deserialize, JsonSchema)]
struct Topics {
    /// What was talked about.
    topics: Vec<String>,
}

/// `turns` is something else than in [`Turns`].
#[derive(Clone, Default, Serialize, Deserialize, JsonSchema)]
struct Words {
    turns: String,
    topics: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
struct Both {
    turns: u32,
    topics: Vec<String>,
}

fn count() -> Block<String, String> {
    handler("count")
        .run(|topic: String, ctx: Ctx| async move {
            ctx.session::<Turns>().inc("turns", 1).await?;
            Ok(topic)
        })
        .session_state(view::<Turns>().commuting("turns"))
}

fn note() -> Block<String, String> {
    handler("note")
        .run(|topic: String, ctx: Ctx| async move {
            ctx.session::<Topics>().push("topics", &topic).await?;
            Ok(topic)
        })
        .session_state(view::<Topics>().commuting("topics"))
}

fn words() -> Block<String, String> {
    handler("words")
        .run(|topic: String, _| async move { Ok(topic) })
        .session_state(view::<Words>())
        .user_state(view::<Turns>())
}

#[tokio::test]
async fn a_flow_has_what_its_blocks_need_wherever_they_are() {
    let look = handler("look").run(|_: String, ctx: Ctx| async move {
        Ok(json!([
            ctx.session::<Both>().get().await?,
            ctx.request_state::<Turns>().get().await?.turns,
            ctx.user::<Turns>().get().await?.turns,
        ]))
    });
    let kept = handler("kept")
        .run(|topic: String, _| async move { Ok(topic) })
        .request_state(view::<Turns>());
    let told = handler("told")
        .run(|_: flowstate_engine::Started, _| async move { Ok(()) })
        .user_state(view::<Turns>());
    let chosen = router("which").route("note", note()).decide(|_, _, (note,)| note);
    let inner = sequencer::<String>("inner").then(chosen).tap(kept);
    let flow = flow("f")
        .action(
            "go",
            action(sequencer::<String>("s").then(count()).then(inner).then(look)),
        )
        .on_started(told);
    let engine = engine(flow).await;
    assert_eq!(
        go(&engine, json!("tea")).await,
        Ok(json!([{"turns": 1, "topics": ["tea"]}, 0, 0]))
    );
    assert_eq!(
        go(&engine, json!("milk")).await,
        Ok(json!([{"turns": 2, "topics": ["tea", "milk"]}, 0, 0]))
    );
}

#[tokio::test]
async fn what_the_flow_declares_counts_and_what_only_blocks_need_is_added() {
    #[derive(Clone, Serialize, Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    struct Own {
        turns: u32,
    }
    impl Default for Own {
        fn default() -> Self {
            Self { turns: 5 }
        }
    }
    let chain = sequencer::<String>("s").then(count()).then(note());
    let flow = flow("f")
        .action("go", action(chain))
        .session(scope::<Own>().client_data("turns", |own: &Own| own.turns));
    let engine = engine(flow).await;
    go(&engine, json!("tea")).await.expect("done");
    let query = SnapshotQuery::default();
    let found = engine.snapshot(&Principal::default(), "s", &query).await;
    let shown = found.expect("readable").expect("a session").client_data;
    assert_eq!(
        json(shown),
        json!({"session": {"turns": 6}}),
        "it began as the flow says"
    );
}

#[test]
fn everything_that_is_declared_differently_is_found_when_the_flow_is_built() {
    #[derive(Clone, Default, Serialize, Deserialize, JsonSchema)]
    struct Late {
        turns: u32,
        topics: Vec<String>,
        #[serde(default)]
        late: Option<bool>,
    }
    #[derive(Clone, Serialize, Deserialize, JsonSchema)]
    struct Begins {
        topics: Vec<String>,
    }
    impl Default for Begins {
        fn default() -> Self {
            let topics = vec!["weather".into()];
            Self { topics }
        }
    }
    let begins = handler("begins")
        .run(|topic: String, _| async move { Ok(topic) })
        .session_state(view::<Begins>());
    let error = flow("f")
        .action(
            "go",
            action(sequencer::<String>("s").then(count()).then(note()).then(begins)),
        )
        .action("other", action(sequencer::<String>("s").then(words()).then(words())))
        .user(scope::<Late>())
        .project(scope::<Words>())
        .on_started(
            handler("begin")
                .run(|_: flowstate_engine::Started, _| async move { Ok(()) })
                .project_state(view::<Late>()),
        )
        .instance("default")
        .expect_err("they do not fit together")
        .to_string();
    for part in [
        "block \"count\" (action \"go\") and block \"words\" (action \"other\") declare the field \"turns\" of the session state \
         differently: {\"format\":\"uint32\",\"type\":\"integer\"} and {\"type\":\"string\"}",
        "block \"note\" (action \"go\") and block \"words\" (action \"other\") declare the field \"topics\" of the session state",
        "block \"note\" (action \"go\") and block \"begins\" (action \"go\") declare the field \"topics\" of the session state \
         differently: it begins as [] and as [\"weather\"]",
        "the flow and block \"begin\" (a hook) declare the field \"turns\" of the project state",
        "the flow and block \"begin\" (a hook) declare the field \"topics\" of the project state",
    ] {
        assert!(error.contains(part), "{part} is missing in {error}");
    }
    assert_eq!(
        error.matches("differently").count(),
        5,
        "each once, and nothing else: {error}"
    );
}

#[tokio::test]
async fn a_block_with_a_view_sees_and_changes_no_more_than_that() {
    let narrow = handler("narrow")
        .run(|misuse: Value, ctx: Ctx| async move {
            let whole = ctx.session::<State>();
            match misuse.as_str().unwrap_or_default() {
                "read" => drop(whole.get().await?),
                "any" => drop(ctx.session::<std::collections::BTreeMap<String, Value>>().get().await?),
                "set" => drop(whole.set(State::default()).await?),
                "atomic" => drop(whole.atomic(|state| state).await?),
                "inc" => whole.inc("m", 1).await.map(drop)?,
                "patch" => drop(whole.patch(json!({"n": 1, "word": "x"})).await?),
                "unsaid" => drop(ctx.session::<Narrow>().push("list", 1).await?),
                _ => {
                    whole.inc("n", 2).await?;
                    let narrow = ctx.session::<Narrow>();
                    narrow
                        .atomic(|narrow| Narrow {
                            list: vec![narrow.n],
                            ..narrow
                        })
                        .await?;
                    // Another state it may use as it likes.
                    ctx.request_state::<State>().inc("m", 1).await?;
                    return Ok(json(ctx.session::<OnlyN>().get().await?.n));
                }
            }
            Ok(Value::Null)
        })
        .session_state(view::<Narrow>().commuting("n"));
    #[derive(Clone, Default, Serialize, Deserialize, JsonSchema)]
    struct Narrow {
        n: i64,
        list: Vec<i64>,
    }
    #[derive(Clone, Default, Serialize, Deserialize, JsonSchema)]
    struct OnlyN {
        n: i64,
    }
    let whole = scope::<State>();
    let flow = flow("f")
        .action("go", action(narrow))
        .session(whole.expose("n").expose("list"))
        .request(scope::<State>());
    let engine = engine(flow).await;
    assert_eq!(go(&engine, Value::Null).await, Ok(json!(2)));
    let unseen = |field: &str| format!("has a field {field:?} that the block \"narrow\" does not declare");
    let unsaid = "has a field \"list\" that the block \"narrow\" only declares to read and replace".to_owned();
    for (misuse, says) in [
        ("read", unseen("m")),
        ("any", unseen("*")),
        ("set", unseen("m")),
        ("atomic", unseen("m")),
        ("inc", unseen("m")),
        ("patch", unseen("word")),
        ("unsaid", unsaid.clone()),
    ] {
        let records = records(&engine, to("f", "ann", "s", json!(misuse))).await;
        let Some((_, Fact::RequestFailed(failed))) = records.last() else {
            panic!("{misuse}: {records:?}")
        };
        assert!(failed.message.contains(&says), "{misuse}: {}", failed.message);
        assert_eq!(failed.code, "invalid_state", "{misuse}");
        let changed = records.iter().any(|(_, fact)| matches!(fact, Fact::StateChanged(_)));
        assert!(!changed, "{misuse} was recorded");
    }
}

#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema, Validate)]
struct Ruled {
    #[garde(range(max = 9))]
    turns: u32,
    #[garde(skip)]
    topics: Vec<String>,
}

#[test]
fn a_flow_may_rule_what_its_blocks_leave_open_but_not_against_what_they_do() {
    let build = |session: flowstate_engine::Scope<Ruled>| {
        flow("f")
            .action("go", action(sequencer::<String>("s").then(count()).then(note())))
            .session(session)
            .instance("default")
    };
    assert!(
        build(scope::<Ruled>()).is_ok(),
        "no rule is declared for the whole state"
    );
    let error = build(scope::<Ruled>().validated()).expect_err("ruled").to_string();
    for (block, field) in [("count", "turns"), ("note", "topics")] {
        let says = format!(
            "block {block:?} (action \"go\") changes the field {field:?} of the session state by operations that commute, and the state has rules"
        );
        assert!(error.contains(&says), "{says} is missing in {error}");
    }
    let error = build(scope::<Ruled>().validated().commuting("topics")).expect_err("ruled");
    assert_eq!(error.problems.len(), 1, "{error}");
    let reads = handler("reads")
        .run(|topic: String, ctx: Ctx| async move {
            ctx.session::<Turns>()
                .atomic(|now| Turns { turns: now.turns + 1 })
                .await?;
            Ok(topic)
        })
        .session_state(view::<Turns>());
    let flow = flow("f")
        .action("go", action(reads))
        .session(scope::<Ruled>().validated());
    assert!(flow.instance("default").is_ok(), "set and atomic hold the rules");
}

#[test]
fn a_view_is_checked_by_itself() {
    let block = handler("odd")
        .run(|topic: String, _| async move { Ok(topic) })
        .session_state(view::<Turns>().commuting("tunrs"))
        .user_state(view::<u32>())
        .project_state(view::<Ruin>());
    #[derive(Clone, Default, Serialize, Deserialize, JsonSchema)]
    struct Ruin {
        #[garde(length(min = 1))]
        topic: String,
    }
    let asks = generator::<String>("asks")
        .user(|topic, _| topic.clone())
        .session_state(view::<Turns>().commuting("other"));
    let error = flow("f")
        .action("go", action(block))
        .action("ask", action(asks))
        .instance("default")
        .expect_err("odd")
        .to_string();
    for part in [
        "block \"odd\": its view of the session state has no field \"tunrs\"; it has turns",
        "block \"odd\": its view of the user state, u32, names no fields",
        "block \"odd\": the default of its view of the project state is not valid: topic:",
        "block \"asks\": its view of the session state has no field \"other\"; it has turns",
    ] {
        assert!(error.contains(part), "{part} is missing in {error}");
    }
}

#[tokio::test]
async fn flows_that_share_a_state_agree_on_what_their_blocks_add_to_it() {
    let with = |kind: &str, block: Block<String, String>| {
        flow(kind)
            .action("go", action(block))
            .user(scope::<Turns>().shared())
            .instance("default")
            .expect("a flow")
    };
    let of_user = |name: &str| handler(name).run(|topic: String, _| async move { Ok(topic) });
    #[derive(Clone, Default, Serialize, Deserialize, JsonSchema)]
    struct Text {
        topics: String,
    }
    let list = || of_user("list").user_state(view::<Topics>());
    let same = Engine::builder()
        .flow(with("a", list()))
        .flow(with("b", list()))
        .flow(with("c", of_user("none")));
    assert!(same.open(memory()).await.is_ok());
    let other = Engine::builder()
        .flow(with("a", list()))
        .flow(with("b", of_user("text").user_state(view::<Text>())));
    let error = other.open(memory()).await.err().expect("different types").to_string();
    assert!(error.contains("\"a\" and \"b\" share the user state"), "{error}");
}
