//! Where resources are declared, and what is wrong with that.

use std::sync::Arc;

use flowstate_engine::model::{Model, Reply, ScriptedModel};
use flowstate_engine::prelude::*;
use flowstate_engine::record::ScopeKind;
use flowstate_engine::{ClientAccess, Collection, Eviction, NoState, Resource, ResourceProblem, collection, resource};
use serde_json::{Value, json};

use crate::support::{engine, go, going, memory};
use crate::work::{FILES, File, PLAN, Plan};

fn problems(flow: flowstate_engine::FlowBuilder) -> Vec<String> {
    flow.instance("default").map(drop).expect_err("it is wrong").problems
}

fn echo() -> Block<Value, Value> {
    handler("echo").run(|value: Value, _| async move { Ok(value) })
}

#[tokio::test]
async fn what_blocks_need_the_flow_has() {
    let writes = handler("writes").run(|value: Value, ctx: Ctx| async move {
        ctx.resource(&PLAN)?.write_content("planned").await?;
        ctx.collection_of(ScopeKind::User, &FILES)?.create("a").await?;
        Ok(value)
    });
    let writes = writes.session_resource(&PLAN).user_resource(&FILES);
    let asks = generator("asks")
        .model(Arc::new(ScriptedModel::script([Reply::text("ok")])) as Arc<dyn Model>)
        .context_with(|_: &Value, ctx: Ctx| async move {
            Ok(ctx.resource(&PLAN)?.read_content().await?.unwrap_or_default())
        })
        .user(|_: &Value, _| "go".to_owned())
        .session_resource(&PLAN);
    let reads = handler("reads").run(|_: String, ctx: Ctx| async move {
        let session = ctx.resources(ScopeKind::Session).expect("the session's");
        let user = ctx.resources(ScopeKind::User).expect("the user's");
        assert!(ctx.resources(ScopeKind::Project).is_none() && ctx.resources(ScopeKind::Request).is_none());
        let plan = session.get::<Plan>("plan")?.read_content().await?;
        let count = user.collection::<File>("files")?.count().await?;
        let wrong = [
            session.get::<File>("plan").map(drop),
            session.collection::<Plan>("plan").map(drop),
            user.get::<File>("files").map(drop),
        ];
        for wrong in wrong {
            let error = wrong.expect_err("it is of another type");
            assert!(matches!(error.problem, ResourceProblem::Other { .. }), "{error}");
        }
        let unknown = user.get::<Plan>("plan").map(drop).expect_err("the user has none");
        assert!(
            matches!(unknown.problem, ResourceProblem::Undeclared { .. }),
            "{unknown}"
        );
        Ok(json!([session.list(), user.list(), plan, count]))
    });
    let chain = sequencer::<Value>("chain").then(writes).then(asks).then(reads);
    let engine = engine(flow("f").action("go", action(chain))).await;
    assert_eq!(
        go(&engine, Value::Null).await,
        Ok(json!([["plan"], ["files"], "planned", 1]))
    );
    engine.close().await;
}

#[tokio::test]
async fn what_a_flow_does_not_declare_is_a_typed_error_that_says_what_to_do() {
    let flow = going("f", |_, ctx| async move {
        let error = ctx.resource(&PLAN).map(drop).expect_err("it is not declared");
        assert!(
            matches!(&error.problem, ResourceProblem::Undeclared { flow } if flow == "f"),
            "{error}"
        );
        assert!(error.to_string().contains(".session_resource(..)"), "{error}");
        let other: Resource<File> = resource("known");
        let error = ctx.resource(&other).map(drop).expect_err("it is of another type");
        assert!(matches!(error.problem, ResourceProblem::Other { .. }), "{error}");
        let many: Collection<Plan> = collection("known", "known/*");
        let error = ctx.collection(&many).map(drop).expect_err("it is no collection");
        assert!(matches!(error.problem, ResourceProblem::Other { .. }), "{error}");
        Err(ctx.resource(&PLAN).map(drop).expect_err("still").into())
    });
    let engine = engine(flow.session(scope::<NoState>().resource(&resource::<Plan>("known")))).await;
    let failed = go(&engine, Value::Null).await.expect_err("it fails");
    assert_eq!(failed.code, "resource_undeclared");
    engine.close().await;
}

#[test]
fn two_different_declarations_of_one_name_fail_the_build() {
    let base = || collection::<File>("files", "files/*");
    let different: Vec<(&str, Collection<File>)> = vec![
        ("pattern", collection("files", "files/**")),
        ("pattern, cap", base().max_instances(3)),
        ("body to begin with", base().content("x")),
        ("rendered", base().render(|body: String, _| body)),
        ("who may read", base().llm_readable()),
        ("rules of its state", base().commuting("reads")),
        ("clients", base().client(ClientAccess::new())),
        (
            "begins as",
            base().initial(File {
                language: "rust".into(),
                reads: 0,
            }),
        ),
        ("hooks", base().on_instance_deleted(|_, _| {})),
    ];
    for (what, other) in different {
        let block = echo().session_resource(&other);
        let flow = flow("f")
            .action("go", action(block))
            .session(scope::<NoState>().resource(&base()));
        let problems = problems(flow);
        let said = problems.iter().find(|problem| problem.contains(what));
        let said = said.unwrap_or_else(|| panic!("{what}: {problems:?}"));
        assert!(
            said.starts_with(
                "the flow and block \"echo\" (action \"go\") declare the session resource \"files\" differently"
            ),
            "{said}"
        );
    }
    let same = flow("f")
        .action("go", action(echo().session_resource(&base())))
        .session(scope::<NoState>().resource(&base()));
    same.instance("default").expect("they are the same");
    let single: Resource<File> = resource("files");
    let one = flow("f")
        .action("go", action(echo().session_resource(&single)))
        .session(scope::<NoState>().resource(&base()));
    assert!(
        problems(one)
            .iter()
            .any(|problem| problem.contains("one is a collection"))
    );
}

#[test]
fn everything_that_is_wrong_with_definitions_is_told_at_once() {
    let no_cap = collection::<File>("a", "a/*").eviction(Eviction::Lru);
    let zero = collection::<File>("b", "b/*").max_instances(0);
    let no_pattern = collection::<File>("c", "c");
    let one = collection::<File>("d", "d/*");
    let within = collection::<File>("e", "d/**");
    let bad_name = resource::<Plan>("no/name");
    let two_bodies = resource::<Plan>("f").content("x").content_file("y");
    let no_file = resource::<Plan>("i").content_file("no/file");
    let client = resource::<Plan>("g").client(ClientAccess::new().create());
    let named = resource::<Plan>("x");
    let takes_name = collection::<File>("h", "[name]");
    let has = scope::<NoState>()
        .resource(&no_cap)
        .resource(&zero)
        .resource(&no_pattern)
        .resource(&one)
        .resource(&within)
        .resource(&bad_name)
        .resource(&two_bodies)
        .resource(&no_file)
        .resource(&client)
        .resource(&named)
        .resource(&takes_name);
    let flow = going("f", |_, _| async { Ok(Value::Null) })
        .session(has)
        .request(scope::<NoState>().resource(&named));
    let problems = problems(flow);
    for part in [
        "the session collection \"a\" has the eviction \"lru\" and no cap",
        "the session collection \"b\" may have no instance",
        "the session collection \"c\": ",
        "the session resources \"d\" and \"e\" may have the same key",
        "the session resource \"no/name\": a name has letters",
        "the session resource \"f\" has more than one body",
        "the session resource \"i\": its content file no/file can't be read",
        "the session resource \"g\": clients can create, update and delete instances of collections only",
        "may have the same key: their patterns, or a name and a pattern, overlap",
        "the request scope has no resources",
    ] {
        assert!(
            problems.iter().any(|problem| problem.contains(part)),
            "{part}: {problems:#?}"
        );
    }
}

#[tokio::test]
async fn flows_that_share_a_scope_declare_its_resources_alike() {
    let of = |kind: &str, files: Collection<File>| {
        let flow = going(kind, |_, _| async { Ok(Value::Null) });
        let flow = flow.user(scope::<NoState>().resource(&files).shared());
        flow.instance("default").expect("a flow")
    };
    let base = || collection::<File>("files", "files/*");
    let opened = Engine::builder()
        .flow(of("a", base()))
        .flow(of("b", base().max_instances(3)))
        .open(memory())
        .await;
    let error = opened.map(drop).expect_err("they differ").to_string();
    assert!(
        error.contains("the flows \"a\" and \"b\" share the user resource \"files\" and declare it differently"),
        "{error}"
    );
    let alike = Engine::builder()
        .flow(of("a", base()))
        .flow(of("b", base()))
        .open(memory())
        .await;
    alike.expect("they are alike").close().await;
}
