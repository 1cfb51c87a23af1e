//! Who may call, by the settings: the file of API keys, and the keys of JSON Web Tokens.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::settings::Settings;
use super::start::StartError;
use crate::FlowStateBuilder;
use crate::auth::{ApiKeys, Jwt, JwtAlgorithm};

/// Largest file of a key.
const KEY_BYTES_MAX: u64 = 1 << 20;

/// The builder with the authenticators that the settings name.
pub(super) fn authenticated(
    mut builder: FlowStateBuilder,
    settings: &Settings,
) -> Result<FlowStateBuilder, StartError> {
    if let Some(file) = &settings.api_keys {
        builder = builder.authenticate(ApiKeys::from_file(file)?);
    }
    if let Some(tokens) = tokens(settings).map_err(StartError::Jwt)? {
        builder = builder.authenticate(tokens);
    }
    Ok(builder)
}

fn tokens(settings: &Settings) -> Result<Option<Jwt>, String> {
    let said = &settings.jwt;
    if said.keys.is_empty() {
        let without_effect = !said.algorithms.is_empty() || !said.issuers.is_empty() || !said.audiences.is_empty();
        return match without_effect || said.operator_claim.is_some() {
            true => Err("there are settings for tokens and no key: name its file with --jwt-key".to_owned()),
            false => Ok(None),
        };
    }
    if said.algorithms.is_empty() {
        return Err("how are tokens signed? Name it with --jwt-algorithm, such as ES256".to_owned());
    }
    let mut jwt = Jwt::new()
        .tenant_claim(&*said.tenant_claim)
        .projects_claim(&*said.projects_claim)
        .leeway(said.leeway);
    for file in &said.keys {
        jwt = with_key(jwt, &said.algorithms, file).map_err(|reason| format!("{}: {reason}", file.display()))?;
    }
    jwt = said.issuers.iter().fold(jwt, Jwt::issuer);
    jwt = said.audiences.iter().fold(jwt, Jwt::audience);
    if let Some((name, value)) = &said.operator_claim {
        jwt = jwt.operator_claim(name, value);
    }
    Ok(Some(jwt))
}

/// With the key of a file, whatever kind of key it is, for each of the algorithms that it fits.
fn with_key(jwt: Jwt, algorithms: &[JwtAlgorithm], file: &Path) -> Result<Jwt, String> {
    let metadata = std::fs::metadata(file).map_err(|error| error.to_string())?;
    if metadata.len() > KEY_BYTES_MAX {
        return Err(format!("it has more than {KEY_BYTES_MAX} bytes"));
    }
    let bytes = std::fs::read(file).map_err(|error| error.to_string())?;
    let text = std::str::from_utf8(&bytes).unwrap_or_default();
    if text.trim_start().starts_with('{') {
        return jwt.jwks(algorithms, text).map_err(|error| error.to_string());
    }
    let is_pem = text.contains("-----BEGIN");
    if !is_pem && metadata.mode() & 0o077 != 0 {
        return Err("others than its owner may use this secret: chmod 600 it".to_owned());
    }
    // The line's end that editors add is no part of a secret.
    let secret = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
    let (mut with, mut refusal, mut fits) = (jwt, String::new(), false);
    for algorithm in algorithms {
        let added = match is_pem {
            true => with.clone().pem(*algorithm, text),
            false => with.clone().secret(*algorithm, secret),
        };
        match added {
            Ok(added) => (with, fits) = (added, true),
            Err(error) => refusal = error.to_string(),
        }
    }
    match fits {
        true => Ok(with),
        false => Err(refusal),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::Request;
    use serde_json::{Value, json};

    use super::super::settings::Tokens;
    use super::*;
    use crate::auth::{Authenticate, Identity};

    /// Whom the settings let in by the token of this algorithm, with this text as the file of its key.
    async fn who(
        name: &str,
        key: &str,
        algorithms: &[JwtAlgorithm],
        audience: &str,
    ) -> Result<Option<Identity>, String> {
        let file = tempfile::NamedTempFile::new().map_err(|error| error.to_string())?;
        std::fs::write(file.path(), key).map_err(|error| error.to_string())?;
        let jwt = Tokens {
            keys: vec![file.path().to_owned()],
            algorithms: algorithms.to_vec(),
            issuers: vec!["https://issuer.example".to_owned()],
            audiences: vec![audience.to_owned()],
            tenant_claim: "tenant".to_owned(),
            projects_claim: "projects".to_owned(),
            ..Tokens::default()
        };
        let settings = Settings {
            jwt,
            ..Settings::default()
        };
        let tokens = tokens(&settings)?.ok_or("no tokens are checked")?;
        let token = fixtures()[name]["token"].as_str().unwrap_or_default().to_owned();
        let call = Request::get("/")
            .header("authorization", format!("Bearer {token}"))
            .body(());
        let (call, ()) = call.map_err(|error| error.to_string())?.into_parts();
        Ok(tokens.authenticate(&call).await.ok())
    }

    fn fixtures() -> Value {
        serde_json::from_str(include_str!("../../tests/auth/tokens.json")).expect("JSON")
    }

    #[tokio::test]
    async fn a_key_counts_as_pem_and_in_a_key_set_for_the_algorithms_that_it_fits() {
        let of = fixtures();
        let pem = of["RS256"]["pem"].as_str().expect("PEM");
        let set = json!({ "keys": [of["RS256"]["jwk"]] }).to_string();
        let both = [JwtAlgorithm::ES256, JwtAlgorithm::RS256];
        for key in [pem, &set] {
            let ann = who("RS256", key, &both, "flowstate")
                .await
                .expect("a key")
                .expect("ann");
            assert_eq!((ann.tenant.as_str(), ann.user.as_str()), ("acme", "ann"));
            assert!(ann.projects.contains("p1"), "{ann:?}");
            assert_eq!(who("RS256", key, &both, "another").await, Ok(None));
            assert!(who("RS256", key, &[JwtAlgorithm::ES256], "flowstate").await.is_err());
        }
        let refused = who("RS256", "{}", &both, "flowstate").await.expect_err("no key set");
        assert!(refused.contains("key set"), "{refused}");
    }
}
