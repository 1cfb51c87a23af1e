//! Asking a server: one that is reached over HTTP, or one in this process that has opened the folder. Both are the same routes, so that what a
//! command shows does not depend on where it asks.

mod answer;

use std::path::Path;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request, Response, header};
use flowstate_engine::Principal;
use serde_json::{Value, json};
use tower::ServiceExt;

use self::answer::{causes, refusal, whole};
use super::failure::Failure;
use super::settings::{Origin, Settings, StoreKind};
use super::start::{self, Application, StartError};
use crate::FlowState;
use crate::server::caller::Caller;

/// Longest time that a connection to a server may take.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// Longest time that a server may say nothing: it is silent for 25 s at most.
const READ_WITHIN: Duration = Duration::from_secs(60);

/// Whom to ask.
#[derive(Debug, clap::Args)]
pub(super) struct Where {
    /// Ask the server at this address, instead of opening the folder.
    #[arg(long, value_name = "URL")]
    url: Option<String>,

    /// Variable that has the API key, or the token, for that server.
    #[arg(long, value_name = "NAME", default_value = "FLOWSTATE_API_KEY", requires = "url")]
    api_key_env: String,

    /// Whose sessions, in the folder of a server that asks for credentials: a user's, with the tenant if there is one.
    #[arg(long = "as", value_name = "[TENANT/]USER", conflicts_with = "url")]
    identity: Option<String>,
}

/// Whether there has to be something already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Folder {
    MustExist,
    MayBeMade,
}

/// See the module.
pub(super) struct Client {
    target: Target,
    /// Who it is, where nobody is asked.
    user: Option<String>,
}

enum Target {
    Here {
        app: FlowState,
        router: Router,
        caller: Option<Caller>,
    },
    There {
        http: reqwest::Client,
        base: String,
        credential: Option<String>,
    },
}

impl Client {
    /// Opens the folder, or finds out how to reach the server. What an application says of authentication is for others: whoever can open
    /// the folder may see all of it.
    pub(super) async fn open(
        mut settings: Settings,
        place: &Where,
        folder: Folder,
        application: Application<'_>,
    ) -> Result<Self, Failure> {
        if let Some(url) = &place.url {
            let server = ["data_dir", "store", "model", "scripted_tokens_per_second"];
            for (key, origin) in &settings.said {
                if let (true, Origin::Flag(flag)) = (server.contains(key), origin) {
                    return Err(Failure::Usage(format!(
                        "{flag} is the server's own affair: leave it out with --url"
                    )));
                }
            }
            return Self::of_server(url, &place.api_key_env);
        }
        let caller = place.identity.as_deref().map(caller).transpose()?;
        // Neither is for a process that ends soon.
        settings.resume = false;
        settings.api_keys = None;
        settings.jwt = Default::default();
        let mut has_store = false;
        let own: Application<'_> = Box::new(|builder| {
            let builder = application(builder)?;
            has_store = builder.has_store();
            Ok(builder.leave_open_requests().without_authentication())
        });
        let app = start::build(&settings, own)?;
        if folder == Folder::MustExist && !has_store {
            look_for(&settings)?;
        }
        app.ready()
            .await
            .map_err(|error| match start::explained(error, &settings.data_dir) {
                StartError::FolderInUse(folder) => Failure::Served(folder),
                error => error.into(),
            })?;
        let router = app.router().map_err(StartError::Ready)?;
        let user = caller.as_ref().map(|(_, user)| user.clone());
        Ok(Self {
            target: Target::Here {
                app,
                router,
                caller: caller.map(|(caller, _)| caller),
            },
            user,
        })
    }

    fn of_server(url: &str, variable: &str) -> Result<Self, Failure> {
        let parsed = reqwest::Url::parse(url)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https"));
        let parsed = parsed
            .ok_or_else(|| Failure::Usage(format!("--url {url:?}: give an address such as http://127.0.0.1:4400")))?;
        // Whose implementation of TLS is used can be said once; whoever was first said the same.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = reqwest::Client::builder()
            .user_agent(concat!("flowstate/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_WITHIN)
            .read_timeout(READ_WITHIN)
            .redirect(reqwest::redirect::Policy::none());
        let host = parsed.host_str().unwrap_or_default().trim_matches(['[', ']']);
        let is_here = host == "localhost"
            || host
                .parse::<std::net::IpAddr>()
                .is_ok_and(|address| address.is_loopback());
        let builder = if is_here { builder.no_proxy() } else { builder };
        let builder = match parsed.scheme() {
            // Without TLS the machine needs no certificates.
            "http" => builder.tls_certs_only([]),
            _ => builder,
        };
        let http = builder.build().map_err(|error| Failure::Failed(error.to_string()))?;
        Ok(Self {
            target: Target::There {
                http,
                base: url.trim_end_matches('/').to_owned(),
                credential: std::env::var(variable).ok().filter(|key| !key.is_empty()),
            },
            user: None,
        })
    }

    /// The user that a call names if nobody says another: none where a credential says it.
    pub(super) fn default_user(&self) -> Option<&str> {
        match &self.target {
            Target::There {
                credential: Some(_), ..
            } => None,
            _ => Some(self.user.as_deref().unwrap_or("local")),
        }
    }

    /// Makes a call; whatever is no success is a failure.
    pub(super) async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        headers: &[(&'static str, &str)],
    ) -> Result<Response<Body>, Failure> {
        let bytes = body.map(Value::to_string).unwrap_or_default();
        let typed = body.map(|_| (header::CONTENT_TYPE.as_str(), "application/json"));
        let headers = headers.iter().copied().chain(typed);
        let response = match &self.target {
            Target::Here { router, caller, .. } => {
                let mut request = Request::builder()
                    .method(method)
                    .uri(path)
                    .header(header::HOST, "127.0.0.1");
                for (name, value) in headers {
                    request = request.header(name, value);
                }
                if let Some(caller) = caller {
                    request = request.extension(caller.clone());
                }
                let request = request.body(Body::from(bytes));
                let request = request.map_err(|error| Failure::Usage(error.to_string()))?;
                let Ok(response) = router.clone().oneshot(request).await;
                response
            }
            Target::There { http, base, credential } => {
                let mut request = http.request(method, format!("{base}{path}")).body(bytes);
                for (name, value) in headers {
                    request = request.header(name, value);
                }
                if let Some(credential) = credential {
                    request = request.bearer_auth(credential);
                }
                let sent = request.send().await;
                let sent =
                    sent.map_err(|error| Failure::Failed(format!("{base} can't be reached: {}", causes(&error))))?;
                Response::from(sent).map(Body::new)
            }
        };
        match response.status().is_success() {
            true => Ok(response),
            false => Err(refusal(response).await),
        }
    }

    /// GETs a value.
    pub(super) async fn get(&self, path: &str) -> Result<Value, Failure> {
        let response = self.call(Method::GET, path, None, &[]).await?;
        let bytes = whole(response.into_body()).await?;
        serde_json::from_slice(&bytes)
            .map_err(|error| Failure::Failed(format!("the answer to {path} is no JSON: {error}")))
    }

    /// Whether it is asked in this process.
    pub(super) fn is_here(&self) -> bool {
        matches!(self.target, Target::Here { .. })
    }

    /// Closes what was opened. What runs in this process is stopped.
    pub(super) async fn close(self) {
        if let Target::Here { app, .. } = self.target {
            app.dispose().await;
        }
    }
}

/// A text as one segment of a path.
pub(super) fn segment(text: &str) -> String {
    let mut segment = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'~' => segment.push(char::from(byte)),
            _ => segment.push_str(&format!("%{byte:02X}")),
        }
    }
    segment
}

/// Who `--as` names.
fn caller(text: &str) -> Result<(Caller, String), Failure> {
    let (tenant, user) = text.split_once('/').unwrap_or(("", text));
    let principal = Principal::of_user(tenant, user).filter(|_| !user.is_empty());
    let principal =
        principal.ok_or_else(|| Failure::Usage(format!("--as {text:?}: name a user, or a tenant and a user")))?;
    let caller = Caller {
        principal,
        proven: None,
    };
    Ok((caller, user.to_owned()))
}

/// Refuses a folder that holds nothing, so that nothing is made by looking at it.
fn look_for(settings: &Settings) -> Result<(), Failure> {
    let holds = match settings.store {
        StoreKind::Lsm => "log",
        StoreKind::Fjall => "tree",
        StoreKind::Memory => return Err(Failure::Usage("there is nothing to see in a new memory".to_owned())),
    };
    let folder: &Path = &settings.data_dir;
    match folder.join(holds).is_dir() {
        true => Ok(()),
        false => Err(Failure::Usage(format!(
            "there is no log in {}: name another folder with --data-dir, or a server with --url",
            folder.display()
        ))),
    }
}

/// The body that asks for an action.
pub(super) fn asked(fields: impl IntoIterator<Item = (&'static str, Option<Value>)>) -> Value {
    let given = fields
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)));
    json!(given.collect::<serde_json::Map<_, _>>())
}
