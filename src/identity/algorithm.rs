/// Signature algorithms that an issuer may use (RFC 7518 section 3.1, RFC 8037). Symmetric ones and `none`
/// cannot be expressed: who publishes keys cannot share secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    Es256,
    Es384,
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    EdDsa,
}

/// Why a name in `algorithms` is refused. The operator is at fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AlgorithmError {
    #[error("algorithm {name} is symmetric: with published keys anybody could sign")]
    Symmetric { name: String },
    #[error("algorithm \"none\" accepts tokens that nobody signed")]
    Unsigned,
    #[error("algorithm {name:?} is unknown; known are {}", Algorithm::NAMES.join(", "))]
    Unknown { name: String },
}

impl Algorithm {
    const ALL: [Algorithm; 9] = [
        Algorithm::Es256,
        Algorithm::Es384,
        Algorithm::Rs256,
        Algorithm::Rs384,
        Algorithm::Rs512,
        Algorithm::Ps256,
        Algorithm::Ps384,
        Algorithm::Ps512,
        Algorithm::EdDsa,
    ];

    /// The names, in the order of the variants. `EdDSA` is Ed25519 only.
    pub const NAMES: [&str; 9] =
        ["ES256", "ES384", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "EdDSA"];

    /// The algorithm of a JWS `alg`, compared exactly.
    pub fn from_name(name: &str) -> Option<Algorithm> {
        let index = Algorithm::NAMES.iter().position(|known| *known == name)?;
        Some(Algorithm::ALL[index])
    }

    /// The algorithm of a name in the configuration.
    ///
    /// # Errors
    /// [`AlgorithmError`] with the reason; the operator is at fault.
    pub fn from_config(name: &str) -> Result<Algorithm, AlgorithmError> {
        match Algorithm::from_name(name) {
            Some(algorithm) => Ok(algorithm),
            None if name.eq_ignore_ascii_case("none") => Err(AlgorithmError::Unsigned),
            None if ["HS256", "HS384", "HS512"].contains(&name) => {
                Err(AlgorithmError::Symmetric { name: name.to_owned() })
            }
            None => Err(AlgorithmError::Unknown { name: name.to_owned() }),
        }
    }

    /// Its JWS name.
    pub fn name(self) -> &'static str {
        Algorithm::NAMES[self as usize]
    }

    /// The same algorithm as `jsonwebtoken` calls it.
    pub(super) fn backend(self) -> jsonwebtoken::Algorithm {
        match self {
            Algorithm::Es256 => jsonwebtoken::Algorithm::ES256,
            Algorithm::Es384 => jsonwebtoken::Algorithm::ES384,
            Algorithm::Rs256 => jsonwebtoken::Algorithm::RS256,
            Algorithm::Rs384 => jsonwebtoken::Algorithm::RS384,
            Algorithm::Rs512 => jsonwebtoken::Algorithm::RS512,
            Algorithm::Ps256 => jsonwebtoken::Algorithm::PS256,
            Algorithm::Ps384 => jsonwebtoken::Algorithm::PS384,
            Algorithm::Ps512 => jsonwebtoken::Algorithm::PS512,
            Algorithm::EdDsa => jsonwebtoken::Algorithm::EdDSA,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_variants_are_in_the_same_order() {
        for (algorithm, name) in Algorithm::ALL.into_iter().zip(Algorithm::NAMES) {
            assert_eq!(algorithm.name(), name);
            assert_eq!(Algorithm::from_name(name), Some(algorithm));
            assert_eq!(name.parse(), Ok(algorithm.backend()));
        }
    }
}
