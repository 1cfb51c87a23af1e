//! Keys that tokens are checked with: from a secret, a PEM, a key set.

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey};

use super::{JwtAlgorithm, JwtError};

/// A key, the algorithm that it is for, and how tokens name it.
#[derive(Clone)]
pub(super) struct Key {
    pub(super) id: Option<String>,
    pub(super) algorithm: Algorithm,
    pub(super) key: DecodingKey,
}

impl Key {
    pub(super) fn secret(algorithm: JwtAlgorithm, secret: &[u8]) -> Result<Self, JwtError> {
        let bytes_min = match algorithm {
            JwtAlgorithm::HS256 => 32,
            JwtAlgorithm::HS384 => 48,
            JwtAlgorithm::HS512 => 64,
            _ => return Err(wrong(algorithm, "it is checked with a public key, not with a secret")),
        };
        if secret.len() < bytes_min {
            return Err(wrong(algorithm, &format!("it has less than {bytes_min} bytes")));
        }
        Ok(Self::unnamed(algorithm, DecodingKey::from_secret(secret)))
    }

    pub(super) fn pem(algorithm: JwtAlgorithm, pem: &str) -> Result<Self, JwtError> {
        // A private key would do for checking too: it should not be here.
        if pem.contains("PRIVATE KEY") {
            return Err(wrong(algorithm, "it is a private key: give the public one"));
        }
        let key = match family(algorithm) {
            AlgorithmFamily::Rsa => DecodingKey::from_rsa_pem(pem.as_bytes()),
            AlgorithmFamily::Ec => DecodingKey::from_ec_pem(pem.as_bytes()),
            AlgorithmFamily::Ed => DecodingKey::from_ed_pem(pem.as_bytes()),
            AlgorithmFamily::Hmac => return Err(wrong(algorithm, "it is a secret, which PEM is not for")),
        };
        // The curve of an elliptic key shows in its length only: a point, uncompressed.
        let point_bytes = match algorithm {
            JwtAlgorithm::ES256 => Some(65),
            JwtAlgorithm::ES384 => Some(97),
            _ => None,
        };
        let is_of_curve = |key: &DecodingKey| {
            let bytes = key.try_get_as_bytes().map(<[u8]>::len);
            point_bytes.is_none() || bytes.ok() == point_bytes
        };
        key.ok()
            .filter(is_of_curve)
            .map(|key| Self::unnamed(algorithm, key))
            .ok_or_else(|| wrong(algorithm, "it is not a public key in PEM of this kind"))
    }

    fn unnamed(algorithm: JwtAlgorithm, key: DecodingKey) -> Self {
        Self {
            id: None,
            algorithm: algorithm.into(),
            key,
        }
    }
}

/// The keys of a key set that are for signatures by one of `algorithms`.
pub(super) fn set(algorithms: &[JwtAlgorithm], jwks: &str) -> Result<Vec<Key>, JwtError> {
    let wrong = |reason: String| JwtError::KeySet(reason);
    let set: JwkSet = serde_json::from_str(jwks)
        .map_err(|error| wrong(format!("line {} column {}", error.line(), error.column())))?;
    let mut keys = Vec::new();
    for jwk in &set.keys {
        if matches!(jwk.algorithm, AlgorithmParameters::OctetKey(_)) {
            return Err(wrong("it has a secret, which a key set may not have".to_owned()));
        }
        let is_for_signatures = matches!(jwk.common.public_key_use, None | Some(PublicKeyUse::Signature));
        let mut fitting = algorithms.iter().filter(|algorithm| fits(**algorithm, jwk));
        let Some(algorithm) = fitting.next().filter(|_| is_for_signatures) else {
            continue;
        };
        if fitting.next().is_some() {
            return Err(wrong(
                "a key in it does not say its algorithm: name one algorithm only that it can be for".to_owned(),
            ));
        }
        keys.push(Key {
            id: jwk.common.key_id.clone(),
            algorithm: (*algorithm).into(),
            key: DecodingKey::from_jwk(jwk).map_err(|_| wrong("a key in it can't be read".to_owned()))?,
        });
    }
    match keys.is_empty() {
        true => Err(wrong("it has no key for signatures by these algorithms".to_owned())),
        false => Ok(keys),
    }
}

/// Whether a key may be for an algorithm, by what it says or, if it says nothing, by its kind.
fn fits(algorithm: JwtAlgorithm, jwk: &Jwk) -> bool {
    if let Some(said) = jwk.common.key_algorithm {
        return said == KeyAlgorithm::from(Algorithm::from(algorithm));
    }
    match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => family(algorithm) == AlgorithmFamily::Rsa,
        AlgorithmParameters::EllipticCurve(key) => match key.curve {
            EllipticCurve::P256 => algorithm == JwtAlgorithm::ES256,
            EllipticCurve::P384 => algorithm == JwtAlgorithm::ES384,
            _ => false,
        },
        AlgorithmParameters::OctetKeyPair(key) => {
            key.curve == EllipticCurve::Ed25519 && algorithm == JwtAlgorithm::EdDSA
        }
        _ => false,
    }
}

fn wrong(algorithm: JwtAlgorithm, reason: &str) -> JwtError {
    JwtError::Key {
        algorithm,
        reason: reason.to_owned(),
    }
}

fn family(algorithm: JwtAlgorithm) -> AlgorithmFamily {
    use JwtAlgorithm as Alg;
    match algorithm {
        Alg::HS256 | Alg::HS384 | Alg::HS512 => AlgorithmFamily::Hmac,
        Alg::RS256 | Alg::RS384 | Alg::RS512 | Alg::PS256 | Alg::PS384 | Alg::PS512 => AlgorithmFamily::Rsa,
        Alg::ES256 | Alg::ES384 => AlgorithmFamily::Ec,
        Alg::EdDSA => AlgorithmFamily::Ed,
    }
}

impl From<JwtAlgorithm> for Algorithm {
    fn from(algorithm: JwtAlgorithm) -> Self {
        match algorithm {
            JwtAlgorithm::HS256 => Self::HS256,
            JwtAlgorithm::HS384 => Self::HS384,
            JwtAlgorithm::HS512 => Self::HS512,
            JwtAlgorithm::RS256 => Self::RS256,
            JwtAlgorithm::RS384 => Self::RS384,
            JwtAlgorithm::RS512 => Self::RS512,
            JwtAlgorithm::PS256 => Self::PS256,
            JwtAlgorithm::PS384 => Self::PS384,
            JwtAlgorithm::PS512 => Self::PS512,
            JwtAlgorithm::ES256 => Self::ES256,
            JwtAlgorithm::ES384 => Self::ES384,
            JwtAlgorithm::EdDSA => Self::EdDSA,
        }
    }
}
