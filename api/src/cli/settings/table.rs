//! The settings themselves, but for the limits.

use super::{For, Kind, Setting, read};

/// One that nobody has to say.
fn none() -> Option<String> {
    None
}

fn off() -> Option<String> {
    Some("false".to_owned())
}

macro_rules! switch {
    ($($field:ident).+) => {
        |settings, text| {
            settings.$($field).+ = read::switch(text)?;
            Ok(())
        }
    };
}

macro_rules! one {
    ($read:path, $($field:ident).+) => {
        |settings, text| {
            settings.$($field).+ = $read(text)?;
            Ok(())
        }
    };
}

macro_rules! some {
    ($read:path, $($field:ident).+) => {
        |settings, text| {
            settings.$($field).+ = Some($read(text)?);
            Ok(())
        }
    };
}

macro_rules! push {
    ($read:path, $($field:ident).+) => {
        |settings, text| {
            settings.$($field).+.push($read(text)?);
            Ok(())
        }
    };
}

macro_rules! setting {
    ($key:literal, $kind:expr, $who:ident, $default:expr, $set:expr, $help:literal) => {
        Setting {
            key: $key,
            kind: $kind,
            who: For::$who,
            help: $help,
            default: $default,
            set: $set,
        }
    };
}

/// All settings but the limits.
#[rustfmt::skip] // a table
pub(super) static SETTINGS: &[Setting] = &[
    setting!("data_dir", Kind::Text("FOLDER"), All, || Some("./flowstate-data".to_owned()), one!(read::path, data_dir),
        "Folder that everything is kept in; a server makes it if there is none"),
    setting!("store", Kind::Text("STORE"), Opening, || Some("lsm".to_owned()), one!(read::store, store),
        "What keeps the records: lsm, the log's own segments; fjall, a tree, to compare; memory, nothing on disk"),
    setting!("model", Kind::Text("MODEL"), Running, none, one!(read::model, model),
        "Model that answers where flows name none, such as openai/gpt-5-mini; without it, the built-in scripted model. Keys are read from the \
         variables of the providers, such as OPENAI_API_KEY"),
    setting!("scripted_tokens_per_second", Kind::Number, Running, || Some("50".to_owned()), one!(read::number, tokens_per_second),
        "Speed of the built-in scripted model; 0 is without pause"),
    setting!("listen", Kind::Text("HOST:PORT"), Serving, || Some("127.0.0.1:4400".to_owned()), one!(read::listen, listen),
        "Address and port to listen on; port 0 takes a free one"),
    setting!("allow_host", Kind::List("HOST"), Serving, none, push!(read::host, allow_host),
        "Host name that clients reach the server under, with or without port. Loopback names always work"),
    setting!("allow_origin", Kind::List("ORIGIN"), Serving, none, push!(read::origin, allow_origin),
        "Origin of another site whose pages may call the server"),
    setting!("api_keys", Kind::Text("FILE"), Serving, none, some!(read::path, api_keys),
        "File of API keys: calls need one of them then. Its owner alone may read it"),
    setting!("jwt_key", Kind::List("FILE"), Serving, none, push!(read::path, jwt.keys),
        "File of a key that JSON Web Tokens are signed with: a public key in PEM, a key set, or a secret that its owner alone may read. Calls \
         need a token, or an API key, then"),
    setting!("jwt_algorithm", Kind::List("NAME"), Serving, none, push!(read::algorithm, jwt.algorithms),
        "How tokens are signed, such as ES256 or RS256; no other algorithm counts"),
    setting!("jwt_issuer", Kind::List("NAME"), Serving, none, push!(read::text, jwt.issuers),
        "Issuer that tokens must be of"),
    setting!("jwt_audience", Kind::List("NAME"), Serving, none, push!(read::text, jwt.audiences),
        "Audience that tokens must be for"),
    setting!("jwt_tenant_claim", Kind::Text("NAME"), Serving, || Some("tenant".to_owned()), one!(read::text, jwt.tenant_claim),
        "Claim that names the tenant"),
    setting!("jwt_projects_claim", Kind::Text("NAME"), Serving, || Some("projects".to_owned()), one!(read::text, jwt.projects_claim),
        "Claim that lists the projects"),
    setting!("jwt_operator_claim", Kind::Text("NAME=VALUE"), Serving, none, some!(read::pair, jwt.operator_claim),
        "Claim, and its value, by which tokens of operators are known; without it there are none"),
    setting!("jwt_leeway", Kind::Text("TIME"), Serving, || Some("30s".to_owned()), one!(read::time, jwt.leeway),
        "How far the clock of who signs may be off"),
    setting!("allow_unauthenticated_public", Kind::Switch, Serving, off, switch!(allow_unauthenticated_public),
        "Serve an address that other machines can reach although nobody is asked for a credential"),
    setting!("resume", Kind::Switch, Serving, off, switch!(resume),
        "Go on with the requests that were open when the server last stopped, instead of closing them as interrupted. No answer of a model \
         and no result of a tool that is recorded is asked for again"),
    setting!("trace_access", Kind::Switch, Serving, off, switch!(trace_access),
        "Let callers see what clients don't: hidden items, for those that ask for them (include=trace)"),
    setting!("later_stop_names", Kind::Switch, Serving, off, switch!(later_stop_names),
        "Call the end of a request that was stopped request.aborted or request.interrupted, instead of request.incomplete"),
    setting!("drain_within", Kind::Text("TIME"), Serving, || Some("4s".to_owned()), one!(read::time, drain_within),
        "How long calls that are being answered are given at a stop"),
    setting!("close_within", Kind::Text("TIME"), Serving, || Some("5s".to_owned()), one!(read::time, close_within),
        "How long runs are given at a stop to write their last record"),
];
