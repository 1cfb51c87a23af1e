//! States and bodies of resources.

use std::io::Write;

use flowstate_engine::prelude::*;
use flowstate_engine::record::{Fact, ScopeKind};
use flowstate_engine::{NoState, Principal, ResourceProblem, StateProblem, offline, resource};
use flowstate_log::disk::memory::MemoryDisk;
use flowstate_log::verbs::Trim;
use flowstate_log::{Log, Options};
use serde_json::{Value, json};

use crate::support::{engine, go, going, json, open, records, run, to};
use crate::work::{FILES, PLAN, Plan, both, given, on, with};

#[tokio::test]
async fn a_resource_has_a_typed_state_with_all_operations_and_sees_its_own_writes() {
    let engine = both(|_, ctx| async move {
        let plan = ctx.resource(&PLAN)?;
        assert_eq!(plan.state().get().await?, Plan::default());
        assert_eq!(plan.state().inc("done", 2).await?.into_value(), 2.into());
        assert_eq!(plan.state().push("steps", "boil").await?.into_value(), 1);
        plan.state().patch(json!({"done": 5})).await?;
        let next = |plan: Plan| Plan {
            done: plan.done + 1,
            ..plan
        };
        assert_eq!(plan.state().atomic(next).await?.value().done, 6);
        let eat = Plan {
            steps: vec!["eat".into()],
            done: 7,
        };
        let set = plan.state().set(eat.clone()).await?;
        let again = plan.state().set(eat).await?;
        assert!(set.is_changed() && !again.is_changed(), "the same writes nothing");
        assert_eq!(again.version(), set.version());
        Ok(json(ctx.resource(&PLAN)?.state().get().await?))
    })
    .await;
    assert_eq!(go(&engine, Value::Null).await, Ok(json!({"steps": ["eat"], "done": 7})));
    engine.close().await;
}

#[tokio::test]
async fn a_resource_belongs_to_its_scope_and_lives_on_when_the_engine_is_opened_again() {
    let block = |_: Value, ctx: Ctx| async move {
        let session = ctx.resource_of(ScopeKind::Session, &PLAN)?;
        let user = ctx.resource_of(ScopeKind::User, &PLAN)?;
        let project = ctx.resource_of(ScopeKind::Project, &PLAN);
        assert!(
            project.is_err_and(|error| matches!(error.problem, ResourceProblem::NoProject)),
            "the session has no project"
        );
        assert_eq!(
            ctx.resource(&PLAN)?.scope(),
            ScopeKind::Session,
            "the session's comes first"
        );
        let counted = [
            session.state().inc("done", 1).await?.into_value(),
            user.state().inc("done", 10).await?.into_value(),
        ];
        let before = user.read_content().await?;
        user.write_content(format!("{} of the user", counted[1])).await?;
        assert_eq!(session.read_content().await?, None);
        Ok(json!([counted, before]))
    };
    let flow = || {
        let plan = || scope::<NoState>().resource(&PLAN);
        let flow = going("f", block).session(plan()).user(plan()).project(plan());
        flow.instance("default").expect("a flow")
    };
    let disk = MemoryDisk::new();
    let first = open([flow()], &on(disk.clone())).await;
    let run = async |engine: &Engine, user: &str, session: &str| {
        run(engine, to("f", user, session, Value::Null)).await.expect("it runs")
    };
    assert_eq!(run(&first, "ann", "s").await, json!([[1, 10], null]));
    assert_eq!(run(&first, "ann", "t").await, json!([[1, 20], "10 of the user"]));
    assert_eq!(run(&first, "ben", "u").await, json!([[1, 10], null]));
    first.close().await;
    let second = open([flow()], &on(disk)).await;
    assert_eq!(run(&second, "ann", "s").await, json!([[2, 30], "20 of the user"]));
    second.close().await;
}

#[tokio::test]
async fn a_body_is_what_was_written_last_and_until_then_what_the_definition_says() {
    let engine = given(resource::<Plan>("notes").content(""), |_, ctx, notes| async move {
        let notes = ctx.resource(&notes)?;
        assert_eq!(notes.read_content().await?.as_deref(), Some(""), "an empty body is one");
        notes.write_content("first").await?;
        let last = notes.write_content("second\nline").await?;
        assert_eq!(notes.read_content().await?.as_deref(), Some("second\nline"));
        ctx.durable().await?;
        assert_eq!(notes.read_content_raw().await?.as_deref(), Some("second\nline"));
        let versions = notes.content_versions().await?;
        assert_eq!(versions.last().map(|version| version.version), Some(last));
        Ok(Value::Null)
    })
    .await;
    assert_eq!(go(&engine, Value::Null).await, Ok(Value::Null));
    engine.close().await;
    let engine = both(|_, ctx| async move { Ok(json(ctx.resource(&PLAN)?.read_content_raw().await?)) }).await;
    assert_eq!(go(&engine, Value::Null).await, Ok(Value::Null), "it has none");
    engine.close().await;
}

#[tokio::test]
async fn every_body_that_was_written_can_be_read_again() {
    let engine = both(|input, ctx| async move {
        let plan = ctx.resource(&PLAN)?;
        for text in ["one", "two", "three"] {
            plan.write_content(format!("{text} of {input}")).await?;
        }
        let mut all = Vec::new();
        for version in plan.content_versions().await? {
            all.push((version.index, plan.read_content_version(version.version).await?));
        }
        let none = plan
            .read_content_version(1)
            .await
            .expect_err("that is the session's record");
        assert!(
            matches!(none.problem, ResourceProblem::NoBody { version: 1, .. }),
            "{none}"
        );
        Ok(json(all))
    })
    .await;
    go(&engine, json!(1)).await.expect("it runs");
    assert_eq!(
        go(&engine, json!(2)).await,
        Ok(json!([
            [0, "one of 1"],
            [1, "two of 1"],
            [2, "three of 1"],
            [3, "one of 2"],
            [4, "two of 2"],
            [5, "three of 2"]
        ]))
    );
    engine.close().await;
}

#[tokio::test]
async fn a_large_body_is_a_blob_and_reads_back_as_it_was() {
    let mut options = Options::in_memory();
    options.limits.segment_bytes = 8 << 20;
    let flow = with(&*PLAN, |_, ctx| async move {
        let plan = ctx.resource(&PLAN)?;
        let body = "0123456789abcdef\n".repeat(100_000);
        plan.write_content(body.clone()).await?;
        ctx.durable().await?;
        assert!(plan.read_content().await? == Some(body));
        Ok(Value::Null)
    });
    let engine = open([flow.instance("default").expect("a flow")], &options).await;
    let records = records(&engine, to("f", "ann", "s", Value::Null)).await;
    let written = records
        .iter()
        .find(|(_, fact)| matches!(fact, Fact::ResourceWritten(_)));
    let (record, _) = written.expect("a body");
    assert!(record.extras.blob.is_some(), "it is a file of its own");
    assert!(
        matches!(records.last(), Some((_, Fact::RequestCompleted(_)))),
        "{:?}",
        records.last()
    );
    engine.close().await;
}

#[tokio::test]
async fn a_body_that_no_record_takes_is_an_error_that_writes_nothing() {
    let engine = both(|_, ctx| async move {
        let plan = ctx.resource(&PLAN)?;
        plan.write_content("small").await?;
        let error = plan
            .write_content("x".repeat(1 << 20))
            .await
            .expect_err("it is too large");
        assert!(matches!(error.problem, ResourceProblem::Record(_)), "{error}");
        assert!(
            error.to_string().starts_with("the resource \"plan\" can't be recorded"),
            "{error}"
        );
        Ok(json(plan.read_content().await?))
    })
    .await;
    assert_eq!(go(&engine, Value::Null).await, Ok(json!("small")));
    engine.close().await;
}

#[tokio::test]
async fn a_body_may_come_from_a_file_and_a_file_that_is_not_there_fails_the_build() {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(b"# From a file").expect("room");
    let from = resource::<Plan>("notes").content_file(file.path());
    let engine = given(from, |_, ctx, notes| async move {
        let notes = ctx.resource(&notes)?;
        let before = notes.read_content().await?;
        notes.write_content("written").await?;
        Ok(json!([before, notes.read_content().await?]))
    })
    .await;
    assert_eq!(
        go(&engine, Value::Null).await,
        Ok(json!(["# From a file", "written"])),
        "what is stored counts"
    );
    engine.close().await;
    let none = resource::<Plan>("notes").content_file("no/such/file.md");
    let error = with(&none, |_, _| async { Ok(Value::Null) }).instance("default");
    let error = error.expect_err("it can't be read").to_string();
    assert!(
        error.contains("resource \"notes\": its content file no/such/file.md can't be read"),
        "{error}"
    );
}

#[tokio::test]
async fn readers_get_what_render_makes_of_the_body_and_the_state() {
    let at_once = resource::<Plan>("a")
        .content("body")
        .render(|body: String, plan: Plan| format!("{body} {}", plan.done));
    let later = resource::<Plan>("b")
        .content("body")
        .render(|body: String, plan: Plan| async move { Ok(format!("{body} {} later", plan.done)) });
    let fails = resource::<Plan>("c")
        .content("body")
        .render(|_: String, _: Plan| Err::<String, _>(BlockError::new("bad_body", "no")));
    let template = resource::<Plan>("d")
        .content("{% for step in steps %}- {{ step }}\n{% endfor %}{{ done }}")
        .template();
    let strict = resource::<Plan>("e").content("{{ missing }}").template();
    let no_body = resource::<Plan>("g").render(|_: String, _: Plan| "never".to_owned());
    let all = [at_once, later, fails, template, strict, no_body];
    let has = all.iter().fold(scope::<NoState>(), |scope, one| scope.resource(one));
    let flow = going("f", move |_, ctx| {
        let all = all.clone();
        async move {
            let mut read = Vec::new();
            for one in &all {
                let one = ctx.resource(one)?;
                one.state().patch(json!({"done": 3, "steps": ["boil", "eat"]})).await?;
                read.push(match one.read_content().await {
                    Ok(text) => json!([text, one.read_content_raw().await?]),
                    Err(error) => json!(error.to_string()),
                });
            }
            Ok(json(read))
        }
    });
    let engine = engine(flow.session(has)).await;
    let read = go(&engine, Value::Null).await.expect("it runs");
    let template = "{% for step in steps %}- {{ step }}\n{% endfor %}{{ done }}";
    assert_eq!(read[0], json!(["body 3", "body"]));
    assert_eq!(read[1], json!(["body 3 later", "body"]));
    assert_eq!(read[2], json!("the resource \"c\" can't be rendered: no (bad_body)"));
    assert_eq!(read[3], json!(["- boil\n- eat\n3", template]));
    assert!(
        read[4].as_str().is_some_and(|error| error.contains("missing")),
        "{}",
        read[4]
    );
    assert_eq!(read[5], json!([null, null]));
    engine.close().await;
}

#[tokio::test]
async fn what_is_read_only_refuses_every_write() {
    let engine = given(
        resource::<Plan>("notes").content("fixed").read_only(),
        |_, ctx, notes| async move {
            let notes = ctx.resource(&notes)?;
            let body = notes.write_content("other").await.expect_err("it is read-only");
            assert!(matches!(body.problem, ResourceProblem::ReadOnly), "{body}");
            let state = notes.state();
            let refused = [
                state.inc("done", 1).await.map(drop),
                state.patch(json!({"done": 1})).await.map(drop),
                state.set(Plan::default()).await.map(drop),
                state.atomic(|plan| plan).await.map(drop),
            ];
            for refused in refused {
                let error = refused.expect_err("it is read-only");
                assert!(matches!(error.problem, StateProblem::ReadOnly), "{error}");
                assert!(
                    error
                        .to_string()
                        .starts_with("the state of the session resource \"notes\" is read-only"),
                    "{error}"
                );
            }
            Ok(json!([notes.read_content().await?, state.get().await?]))
        },
    )
    .await;
    assert_eq!(
        go(&engine, Value::Null).await,
        Ok(json!(["fixed", {"steps": [], "done": 0}]))
    );
    engine.close().await;
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema, Validate)]
struct Ruled {
    #[garde(length(min = 1))]
    title: String,
    #[garde(range(max = 10))]
    score: i64,
}

impl Default for Ruled {
    fn default() -> Self {
        Self {
            title: "none".into(),
            score: 1,
        }
    }
}

#[tokio::test]
async fn an_invalid_write_is_a_typed_error_and_changes_nothing() {
    let ruled = resource::<Ruled>("ruled").validated().initial(Ruled {
        title: "first".into(),
        score: 2,
    });
    let engine = given(ruled, |_, ctx, ruled| async move {
        let ruled = ctx.resource(&ruled)?;
        let title = |title: &str| Ruled {
            title: title.into(),
            score: 11,
        };
        let error = ruled.state().set(title("")).await.expect_err("it has no title");
        let StateProblem::Invalid(problems) = &error.problem else {
            panic!("{error}");
        };
        assert_eq!(problems.len(), 2, "{error}");
        let error = ruled.state().inc("score", 1).await.expect_err("it has rules");
        assert!(matches!(error.problem, StateProblem::Ruled { .. }), "{error}");
        let error = ruled
            .state()
            .patch(json!({"other": 1}))
            .await
            .expect_err("there is no such field");
        assert!(matches!(error.problem, StateProblem::UnknownField { .. }), "{error}");
        Ok(json(ruled.state().get().await?))
    })
    .await;
    assert_eq!(
        go(&engine, Value::Null).await,
        Ok(json!({"title": "first", "score": 2}))
    );
    engine.close().await;
}

#[tokio::test]
async fn requests_at_once_lose_nothing() {
    let engine = both(|input, ctx| async move {
        let plan = ctx.resource(&PLAN)?;
        for _ in 0..10 {
            plan.state().inc("done", 1).await?;
            plan.state().push("steps", input.to_string()).await?;
        }
        let now = plan.state().get().await?;
        Ok(json!([now.done, now.steps.len()]))
    })
    .await;
    let runs = (0..8).map(|n| run(&engine, to("f", "ann", "s", json!(n))));
    for ran in futures_util::future::join_all(runs).await {
        assert!(ran.is_ok(), "{ran:?}");
    }
    let last = run(&engine, to("f", "ann", "s", json!(8))).await;
    assert_eq!(last, Ok(json!([90, 90])), "what nine requests have done");
    engine.close().await;
}

#[tokio::test]
async fn a_stream_that_is_trimmed_keeps_the_last_body_of_each_resource() {
    let flow = || {
        let flow = going("f", |input, ctx| async move {
            let (plan, files) = (ctx.resource(&PLAN)?, ctx.collection(&FILES)?);
            if input == json!("write") {
                for n in 0..200 {
                    plan.write_content(format!("plan {n}")).await?;
                }
                files.get_or_create("a").await?.write_content("of a").await?;
                plan.state().inc("done", 1).await?;
            }
            let versions = plan.content_versions().await?.len();
            let file = files.get("a").await?.read_content().await?;
            Ok(json!([
                plan.read_content().await?,
                file,
                versions,
                plan.state().get().await?.done
            ]))
        });
        let has = scope::<NoState>().resource(&PLAN).resource(&FILES);
        flow.session(has).instance("default").expect("a flow")
    };
    let disk = MemoryDisk::new();
    let engine = open([flow()], &on(disk.clone())).await;
    let session = |input: &str| to("f", "ann", "s", json!(input));
    assert_eq!(
        run(&engine, session("write")).await,
        Ok(json!(["plan 199", "of a", 200, 1]))
    );
    engine.close().await;

    let mut options = on(disk.clone());
    options.views = offline::views();
    for trim in [Trim::KeepLast(1), Trim::KeepLast(1), Trim::OlderThan(0)] {
        let log = Log::open(options.clone()).expect("a log");
        let name = offline::session_stream(&Principal::default(), "s").expect("a name");
        let stream = log.stream(&name).await.expect("readable").expect("a session");
        let trimmed = match trim {
            // All of it is old, and so is what is written anew.
            Trim::OlderThan(_) => Trim::OlderThan(log.env().now_us()),
            trim => trim,
        };
        let (trimmed, count) = offline::carry_bodies(&log, stream, trimmed)
            .await
            .expect("they are kept");
        assert_eq!(count, 2, "{trim:?}");
        log.trim(stream, trimmed).await.expect("it is trimmed");
        log.close().await;
    }
    let engine = open([flow()], &on(disk)).await;
    assert_eq!(
        run(&engine, session("read")).await,
        Ok(json!(["plan 199", "of a", 1, 1]))
    );
    engine.close().await;
}
