//! Matches without a bound: once they are confirmed, what belongs to them is taken in with constant state.

use super::block::Class;

/// How the rest of a confirmed match is told from what stands behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Swallow {
    /// Characters of a JSON web token.
    Token,
    /// Characters of a key: letters, digits, `_` and `-`.
    Key,
    /// Characters of a random string.
    Random,
    /// A block of PEM up to its end line: the characters of that line that were read, if it has begun.
    Pem(PemEnd),
}

/// How much of `-----END …-----` was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PemEnd {
    /// So many bytes of `-----END `.
    Mark(u8),
    /// The label, and so many hyphens behind it.
    Label(u8),
}

const TOKEN: Class = Class::of(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_-.=");
/// What a PEM block holds: base64, header fields, line ends, also as they stand in source code.
pub const PEM: Class =
    Class::of(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz+/=-:,.\\ \t\r\n");
const PEM_END: &[u8] = b"-----END ";

impl Swallow {
    /// The state at the end of `text`, or how many of its bytes belong to the match.
    pub fn take(self, text: &[u8]) -> Result<Swallow, usize> {
        let class = match self {
            Swallow::Token => &TOKEN,
            Swallow::Key => &super::provider::URL,
            Swallow::Random => &super::hits::RANDOM,
            Swallow::Pem(end) => return take_pem(end, text),
        };
        match text.iter().position(|byte| !class.has(*byte)) {
            Some(end) => Err(end),
            None => Ok(self),
        }
    }
}

fn take_pem(mut state: PemEnd, text: &[u8]) -> Result<Swallow, usize> {
    for (at, byte) in text.iter().enumerate() {
        if !PEM.has(*byte) {
            return Err(at);
        }
        state = match state {
            PemEnd::Mark(read) if *byte == PEM_END[usize::from(read)] => {
                if usize::from(read) + 1 == PEM_END.len() { PemEnd::Label(0) } else { PemEnd::Mark(read + 1) }
            }
            // A run of hyphens longer than five still ends in five.
            PemEnd::Mark(5) if *byte == b'-' => PemEnd::Mark(5),
            PemEnd::Mark(_) => PemEnd::Mark(u8::from(*byte == b'-')),
            PemEnd::Label(4) if *byte == b'-' => return Err(at + 1),
            PemEnd::Label(read) if *byte == b'-' => PemEnd::Label(read + 1),
            PemEnd::Label(_) => PemEnd::Label(0),
        };
    }
    Ok(Swallow::Pem(state))
}
