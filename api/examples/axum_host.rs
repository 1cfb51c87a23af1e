//! Flows in an axum application that is there already, under a prefix. Run it and call
//! `POST http://127.0.0.1:4400/ai/api/flows/echo/actions/say` with `{"userId": "u", "input": "hello"}`.

use axum::Router;
use axum::routing::get;
use flowstate::prelude::*;
use flowstate::{FlowState, Profile, lsm, memory};

/// The application, with the flows' routes in it.
fn application(flows: &FlowState) -> Result<Router, flowstate::ReadyError> {
    Ok(Router::new()
        .route("/", get(async || "the application's own page"))
        .nest_service("/ai", flows.router()?))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let echo = handler("echo").run(|input: String, _ctx: Ctx| async move { Ok(input) });
    let app = flow("echo").action("say", action(echo)).instance("default")?;
    let flows = FlowState::builder()
        .flow(app)
        .profile("dev", Profile::primary(memory()))
        .profile("prod", Profile::primary(lsm("./data")))
        .on_error(|error, call| eprintln!("{} {}: {}", call.method, call.path, error.message))
        .build()?;
    flows.ready().await?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:4400").await?;
    let stop = {
        let flows = flows.clone();
        async move {
            // Event streams end when the flows are disposed of; the host waits for them.
            let _ = tokio::signal::ctrl_c().await;
            flows.dispose().await;
        }
    };
    axum::serve(listener, application(&flows)?)
        .with_graceful_shutdown(stop)
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::{Request, StatusCode};
    use tower::ServiceExt;

    use super::*;

    #[tokio::test]
    async fn both_answer_and_each_under_its_own_path() {
        let flows = FlowState::builder().models(Models::new()).store(memory());
        let flows = flows.build().expect("a server");
        let application = application(&flows).expect("routes");
        for (path, status) in [
            ("/", StatusCode::OK),
            ("/ai/api/flows", StatusCode::OK),
            ("/api/flows", StatusCode::NOT_FOUND),
        ] {
            let request = Request::get(path).header("host", "localhost").body(Body::empty());
            let answer = application.clone().oneshot(request.expect("a request")).await;
            assert_eq!(answer.expect("an answer").status(), status, "{path}");
        }
    }
}
