//! Rules over a whole state, and what a flow may declare about one.

use flowstate_engine::record::Fact;
use serde_json::{Value, json};

use super::support::*;
use flowstate_engine::prelude::*;

#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema, Validate)]
struct Budget {
    #[garde(range(max = 100))]
    limit: u32,
    #[garde(custom(within(self.limit)))]
    spent: u32,
    #[garde(skip)]
    notes: Vec<String>,
}

fn within(limit: u32) -> impl FnOnce(&u32, &()) -> garde::Result {
    move |spent, ()| match *spent <= limit {
        true => Ok(()),
        false => Err(garde::Error::new("is more than the limit")),
    }
}

#[tokio::test]
async fn rules_hold_for_set_and_atomic_and_commuting_operations_are_kept_off_them() {
    let engine = engine(
        going("f", |input, ctx| async move {
            let budget = ctx.session::<Budget>();
            match input.as_str().unwrap_or_default() {
                "inc" => budget.inc("spent", 1).await.map(drop)?,
                "over" => budget.atomic(|budget| Budget { spent: 51, ..budget }).await.map(drop)?,
                "limit" => drop(
                    budget
                        .set(Budget {
                            limit: 101,
                            ..Budget::default()
                        })
                        .await?,
                ),
                _ => {
                    budget
                        .set(Budget {
                            limit: 50,
                            ..Budget::default()
                        })
                        .await?;
                    budget.atomic(|budget| Budget { spent: 50, ..budget }).await?;
                    budget.push("notes", "all is spent").await?;
                }
            }
            Ok(json(budget.get().await?))
        })
        .session(scope::<Budget>().validated().commuting("notes")),
    )
    .await;
    let kept = json!({"limit": 50, "spent": 50, "notes": ["all is spent"]});
    assert_eq!(go(&engine, Value::Null).await, Ok(kept));
    for (misuse, says) in [
        (
            "inc",
            "has rules, and \"spent\" is not declared with `.commuting(\"spent\")`: change it with `set` or `atomic`",
        ),
        ("over", "spent: is more than the limit"),
        ("limit", "limit: "),
    ] {
        let records = records(&engine, to("f", "ann", "s", json!(misuse))).await;
        let Some((_, Fact::RequestFailed(failed))) = records.last() else {
            panic!("{misuse}: {records:?}")
        };
        assert!(failed.message.contains(says), "{misuse}: {}", failed.message);
        assert!(
            !records.iter().any(|(_, fact)| matches!(fact, Fact::StateChanged(_))),
            "{misuse}"
        );
    }
}

#[test]
fn what_a_scope_declares_is_checked_when_the_flow_is_built() {
    let error = going("f", |_, _| async move { Ok(Value::Null) })
        .request(scope::<State>().client_data("n", |state: &State| state.n))
        .session(scope::<Budget>().validated().commuting("limit").commuting("nothing"))
        .session(
            scope::<State>()
                .shared()
                .expose("nowhere")
                .expose("n")
                .client_data("n", |state: &State| state.n),
        )
        .instance("default")
        .expect_err("many problems")
        .to_string();
    for part in [
        "the field \"limit\" of the session state can't be declared as commuting: it has the rule maximum",
        "the session state has no field \"nothing\"; it has limit, notes, spent",
        "the session state has no field \"nowhere\"",
        "the session scope is declared twice",
        "the session scope can't be shared",
        "the request scope has no client data",
        "the client data entry \"n\" of the session is declared twice",
    ] {
        assert!(error.contains(part), "{part} is missing in {error}");
    }
}
