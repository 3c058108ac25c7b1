use crate::time::Timestamp;
use serde::{Serialize, Serializer};
use std::{fmt, sync::Arc};

/// Names a token in records without giving it away: the first half of its HMAC-SHA-256 under the journal's
/// key. Nobody without that key can test a guess against it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenId(pub [u8; 16]);

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for TokenId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Who calls, as a verified token says. Holds neither the token nor its signature.
///
/// Texts are not empty, at most `CLAIM_BYTES_MAX` long, and without control characters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Principal {
    /// Name of the `[[identity]]` table that vouched.
    pub identity: Arc<str>,
    /// The token's `iss`: subjects are unique within it.
    pub issuer: Arc<str>,
    /// The agent.
    pub subject: String,
    /// The person behind the agent; approvals compare it.
    pub owner: Option<String>,
    /// In the token's order; policies match them.
    pub groups: Vec<String>,
    /// What the agent is working on, as the issuer says.
    pub purpose: Option<String>,
    /// The token's own id.
    pub jti: Option<String>,
    /// OAuth client that fetched the token: `azp`, `client_id`, `appid` or `cid`, whichever comes first.
    pub client: Option<String>,
    /// When the token ends, without clock skew.
    #[serde(serialize_with = "as_text")]
    pub expires: Timestamp,
    /// Names the token in records.
    pub token_id: TokenId,
}

fn as_text<S: Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(at)
}
