//! JSON Web Tokens. Those of `tokens.json` were made by another implementation (PyJWT), with keys that nobody has kept.

use std::time::{SystemTime, UNIX_EPOCH};

use axum::http::request::Parts;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use flowstate::auth::{Authenticate, Identity, Jwt, JwtAlgorithm};
use ring::hmac;
use serde_json::{Value, json};

use super::{get, server, status};

const SECRET: &[u8; 64] = b"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const PUBLIC: [JwtAlgorithm; 9] = [
    JwtAlgorithm::RS256,
    JwtAlgorithm::RS384,
    JwtAlgorithm::RS512,
    JwtAlgorithm::PS256,
    JwtAlgorithm::PS384,
    JwtAlgorithm::PS512,
    JwtAlgorithm::ES256,
    JwtAlgorithm::ES384,
    JwtAlgorithm::EdDSA,
];

fn fixtures() -> Value {
    serde_json::from_str(include_str!("tokens.json")).expect("JSON")
}

fn call(token: &str) -> Parts {
    get("/", token).into_parts().0
}

async fn who(jwt: &Jwt, token: &str) -> Option<Identity> {
    jwt.authenticate(&call(token)).await.ok()
}

#[allow(clippy::disallowed_methods)] // as who signs would
fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970")
        .as_secs()
}

/// A token with this head and these claims, signed with [`SECRET`].
fn signed(head: Value, claims: Value) -> String {
    let text = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", text(head), text(claims));
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET);
    let signature = hmac::sign(&key, message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn claims(change: impl FnOnce(&mut Value)) -> Value {
    let mut claims = json!({ "sub": "ann", "exp": now() + 600 });
    change(&mut claims);
    claims
}

#[tokio::test]
async fn tokens_of_every_algorithm_are_checked_with_keys_from_pem_and_from_key_sets() {
    let fixtures = fixtures();
    let set = json!({ "keys": PUBLIC.map(|algorithm| fixtures[format!("{algorithm:?}")]["jwk"].clone()) }).to_string();
    let of_set = Jwt::new().jwks(&PUBLIC, &set).expect("a key set").audience("flowstate");
    for algorithm in PUBLIC {
        let fixture = &fixtures[format!("{algorithm:?}")];
        let (pem, token) = (
            fixture["pem"].as_str().expect("PEM"),
            fixture["token"].as_str().expect("a token"),
        );
        let of_pem = Jwt::new().pem(algorithm, pem).expect("a key").audience("flowstate");
        for jwt in [&of_pem, &of_set] {
            let identity = who(jwt, token).await.unwrap_or_else(|| panic!("{algorithm:?}"));
            assert_eq!(
                (&*identity.tenant, &*identity.user, identity.is_operator),
                ("acme", "ann", false)
            );
            assert_eq!(identity.projects, ["p1".to_owned()].into());
            assert!(identity.expires.is_some());
        }
        // One byte of the signature, of the claims, of the head.
        for at in [token.len() - 8, token.find('.').expect("a dot") + 9, 5] {
            let mut changed = token.to_owned().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).expect("text");
            assert_eq!(who(&of_pem, &changed).await, None, "{algorithm:?} {at}");
        }
        // A key is for its algorithm: a public key is no secret, and no key of the same kind either.
        for other in PUBLIC.into_iter().filter(|other| *other != algorithm) {
            let Ok(jwt) = Jwt::new().pem(other, pem) else { continue };
            assert_eq!(
                who(&jwt.audience("flowstate"), token).await,
                None,
                "{algorithm:?} as {other:?}"
            );
        }
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_token_is_no_way_in() {
    let jwt = Jwt::new().secret(JwtAlgorithm::HS256, SECRET).expect("a key");
    let head = || json!({ "alg": "HS256", "typ": "JWT" });
    let good = signed(head(), claims(|_| ()));
    assert!(who(&jwt, &good).await.is_some());

    let (message, signature) = good.rsplit_once('.').expect("a signature");
    let without = |alg: &str| {
        format!(
            "{}.",
            signed(json!({ "alg": alg }), claims(|_| ()))
                .rsplit_once('.')
                .expect("dots")
                .0
        )
    };
    let long = signed(head(), claims(|claims| claims["pad"] = json!("x".repeat(100_000))));
    for (what, token) in [
        ("no algorithm", without("none")),
        ("no algorithm, spelt otherwise", without("nOnE")),
        (
            "no algorithm, but a signature",
            signed(json!({ "alg": "none" }), claims(|_| ())),
        ),
        ("another algorithm", signed(json!({ "alg": "HS384" }), claims(|_| ()))),
        ("an unknown algorithm", signed(json!({ "alg": "XX" }), claims(|_| ()))),
        ("no signature", format!("{message}.")),
        ("half a signature", format!("{message}.{}", &signature[..20])),
        ("two parts", message.to_owned()),
        ("four parts", format!("{good}.x")),
        (
            "extensions that must be understood",
            signed(json!({ "alg": "HS256", "crit": ["b64"], "b64": false }), claims(|_| ())),
        ),
        (
            "expired",
            signed(head(), claims(|claims| claims["exp"] = json!(now() - 60))),
        ),
        (
            "no end",
            signed(
                head(),
                claims(|claims| drop(claims.as_object_mut().expect("claims").remove("exp"))),
            ),
        ),
        (
            "an end that is no number",
            signed(head(), claims(|claims| claims["exp"] = json!("never"))),
        ),
        (
            "an end that no clock has",
            signed(head(), claims(|claims| claims["exp"] = json!(1e300))),
        ),
        (
            "not yet",
            signed(head(), claims(|claims| claims["nbf"] = json!(now() + 60))),
        ),
        (
            "for somebody else",
            signed(head(), claims(|claims| claims["aud"] = json!("other"))),
        ),
        (
            "of nobody",
            signed(
                head(),
                claims(|claims| drop(claims.as_object_mut().expect("claims").remove("sub"))),
            ),
        ),
        ("of a number", signed(head(), claims(|claims| claims["sub"] = json!(7)))),
        (
            "a tenant that is no text",
            signed(head(), claims(|claims| claims["tenant"] = json!(["acme"]))),
        ),
        (
            "projects that are no list",
            signed(head(), claims(|claims| claims["projects"] = json!("p1"))),
        ),
        ("100 kB", long),
        ("no token", "x".to_owned()),
        ("dots", "..".to_owned()),
    ] {
        assert_eq!(who(&jwt, &token).await, None, "{what}");
    }
    let router = server()
        .authenticate(jwt)
        .build()
        .expect("a server")
        .router()
        .expect("routes");
    assert_eq!(status(&router, get("/api/flows", &good)).await, 200);
    assert_eq!(status(&router, get("/api/flows", &without("none"))).await, 401);
    assert_eq!(
        status(&router, get(&format!("/api/flows?access_token={good}"), "")).await,
        401
    );
}

#[tokio::test]
async fn audience_issuer_and_key_id_count_when_they_are_configured() {
    let fixtures = fixtures();
    let set = json!({ "keys": [fixtures["ES256"]["jwk"]] }).to_string();
    let jwt = || Jwt::new().jwks(&[JwtAlgorithm::ES256], &set).expect("a key set");
    let token = fixtures["ES256"]["token"].as_str().expect("a token");
    let issuer = "https://issuer.example";
    for (jwt, is_in) in [
        (jwt(), false),
        (jwt().audience("flowstate"), true),
        (jwt().audience("other"), false),
        (jwt().audience("other").audience("flowstate"), true),
        (jwt().audience("flowstate").issuer(issuer), true),
        (jwt().audience("flowstate").issuer("https://other.example"), false),
    ] {
        assert_eq!(who(&jwt, token).await.is_some(), is_in);
    }
    let renamed = set.replace("key-ES256", "key-2");
    let other = Jwt::new().jwks(&[JwtAlgorithm::ES256], &renamed).expect("a key set");
    assert_eq!(
        who(&other.audience("flowstate"), token).await,
        None,
        "the token names another key"
    );

    // Configured, but not in the token.
    let head = || json!({ "alg": "HS256" });
    let own = || Jwt::new().secret(JwtAlgorithm::HS256, SECRET).expect("a key");
    let plain = signed(head(), claims(|_| ()));
    assert_eq!(who(&own().audience("flowstate"), &plain).await, None);
    assert_eq!(who(&own().issuer(issuer), &plain).await, None);

    // Who runs the server.
    let operator = || own().operator_claim("roles", "operator");
    for (roles, is_operator) in [
        (json!("operator"), true),
        (json!(["a", "operator"]), true),
        (json!(["a"]), false),
        (json!(true), false),
    ] {
        let token = signed(head(), claims(|claims| claims["roles"] = roles.clone()));
        assert_eq!(
            who(&operator(), &token).await.expect("in").is_operator,
            is_operator,
            "{roles}"
        );
        assert!(!who(&own(), &token).await.expect("in").is_operator);
    }
}

#[test]
fn keys_that_are_none_are_refused_when_they_are_given() {
    let fixtures = fixtures();
    let pem = |algorithm: &str| fixtures[algorithm]["pem"].as_str().expect("PEM").to_owned();
    let set = |jwk: Value| json!({ "keys": [jwk] }).to_string();
    let unnamed = {
        let mut jwk = fixtures["RS256"]["jwk"].clone();
        jwk.as_object_mut().expect("a key").remove("alg");
        set(jwk)
    };
    let encryption = {
        let mut jwk = fixtures["RS256"]["jwk"].clone();
        jwk["use"] = json!("enc");
        set(jwk)
    };
    use JwtAlgorithm::{ES256, ES384, EdDSA, HS256, HS512, PS256, RS256};
    for (what, made) in [
        ("a short secret", Jwt::new().secret(HS256, &SECRET[..31])),
        (
            "a shorter secret than the hash",
            Jwt::new().secret(HS512, &SECRET[..63]),
        ),
        ("a secret for a public algorithm", Jwt::new().secret(RS256, SECRET)),
        ("PEM for a secret", Jwt::new().pem(HS256, &pem("RS256"))),
        ("another kind of key", Jwt::new().pem(ES256, &pem("RS256"))),
        ("another curve", Jwt::new().pem(ES384, &pem("ES256"))),
        ("another curve again", Jwt::new().pem(EdDSA, &pem("ES256"))),
        (
            "a private key",
            Jwt::new().pem(EdDSA, "-----BEGIN PRIVATE KEY-----\nMC4=\n-----END PRIVATE KEY-----\n"),
        ),
        ("no PEM", Jwt::new().pem(RS256, "x")),
        ("no key set", Jwt::new().jwks(&[RS256], "{}")),
        ("a key set without keys", Jwt::new().jwks(&[RS256], r#"{"keys":[]}"#)),
        (
            "no key of this algorithm",
            Jwt::new().jwks(&[ES256], &set(fixtures["RS256"]["jwk"].clone())),
        ),
        ("a key for something else", Jwt::new().jwks(&[RS256], &encryption)),
        (
            "a key that could be for both",
            Jwt::new().jwks(&[RS256, PS256], &unnamed),
        ),
        (
            "a secret in a key set",
            Jwt::new().jwks(&[HS256], &set(json!({ "kty": "oct", "k": "AAAA", "alg": "HS256" }))),
        ),
    ] {
        assert!(made.is_err(), "{what}");
    }
    assert!(Jwt::new().jwks(&[RS256], &unnamed).is_ok());
}
