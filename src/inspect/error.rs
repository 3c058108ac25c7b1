use crate::limits::MASK_KEY_BYTES_MAX as KEY_BYTES_MAX;

/// Why a rule set does not compile, or why a body cannot be masked.
///
/// The first group is the operator's fault and appears when a configuration is loaded. The second group is
/// the sender's fault: the body is refused (`response_unmaskable`) or, after a 200 head, the exchange is cut.
/// No variant carries a byte of the body.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A replacement names something in braces that does not exist.
    #[error(
        "unknown placeholder {{{0}}} in a replacement; known are {{name}}, {{kind}}, {{length}}, {{last4}} \
         and {{token}}"
    )]
    UnknownPlaceholder(String),
    /// A replacement has a brace without its partner. `{{` and `}}` stand for the braces themselves.
    #[error("unbalanced brace in a replacement; write {{{{ or }}}} for a brace itself")]
    UnbalancedBrace,
    /// A replacement or a literal has a control character, which could break the framing around it.
    #[error("control character in a replacement or a literal of mask {0:?}")]
    ControlCharacter(String),
    /// A replacement is longer than `MASK_REPLACEMENT_BYTES_MAX`.
    #[error("a replacement has more than {max} bytes", max = crate::limits::MASK_REPLACEMENT_BYTES_MAX)]
    ReplacementTooLong,
    /// A literal without a byte would match everywhere.
    #[error("mask {0:?} has an empty literal")]
    EmptyLiteral(String),
    /// A literal is longer than `MASK_LITERAL_BYTES_MAX`.
    #[error("mask {0:?} has a literal of more than {max} bytes", max = crate::limits::MASK_LITERAL_BYTES_MAX)]
    LiteralTooLong(String),
    /// All rules together have more than `MASK_LITERALS_MAX` literals.
    #[error("more than {max} literals", max = crate::limits::MASK_LITERALS_MAX)]
    TooManyLiterals,
    /// An expression does not compile, or cannot be searched for within bounds.
    #[error("mask {name:?} has an expression that cannot be used: {why}")]
    Expression {
        /// The mask.
        name: String,
        /// What to change.
        why: String,
    },
    /// A path is not one.
    #[error("mask {name:?} has a path {path:?} that cannot be used: {why}")]
    Path {
        /// The mask.
        name: String,
        /// The path.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// More than `MASK_PATHS_MAX` paths.
    #[error("more than {max} paths", max = crate::limits::MASK_PATHS_MAX)]
    TooManyPaths,
    /// A key is empty, longer than `MASK_KEY_BYTES_MAX`, or has a quote or a control character.
    #[error("mask {0:?} has a key that is empty, over {max} bytes, or not plain text", max = KEY_BYTES_MAX)]
    BadKey(String),
    /// More than `MASK_KEYS_MAX` keys.
    #[error("mask {0:?} has more than {max} keys", max = crate::limits::MASK_KEYS_MAX)]
    TooManyKeys(String),
    /// Only a JSON value can become `null`.
    #[error("mask {0:?} drops what is no JSON value; only masks of kind \"key\" or \"path\" do")]
    NotAValue(String),
    /// More than `MASK_RULES_MAX` rules.
    #[error("more than {max} masks", max = crate::limits::MASK_RULES_MAX)]
    TooManyRules,

    /// The body is not in an encoding whose ASCII characters are single bytes (UTF-16, or binary).
    #[error("the body is not text in UTF-8 or another superset of ASCII")]
    NotText,
    /// What may still match has grown beyond `MASK_HOLD_RAW_BYTES_MAX` bytes by escapes within escapes.
    #[error("a value is escaped so densely that it cannot be held back within bounds")]
    HoldTooLong,
    /// An event that carries a piece of a streamed value is larger than `SSE_EVENT_BYTES_MAX`, and what is in
    /// front of that piece does not say which value it is of, or what is behind it says otherwise.
    #[error("a part of a streamed value has over {max} bytes", max = crate::limits::SSE_EVENT_BYTES_MAX)]
    EventTooLong,
    /// More than `SSE_STREAMS_MAX` values of one answer are streamed at once, all of them unfinished, or one
    /// event has more than `SSE_PIECES_MAX` pieces.
    #[error("more than {max} values are streamed at once", max = crate::limits::SSE_STREAMS_MAX)]
    TooManyStreams,
    /// Thinking holds what a mask finds. It cannot be replaced, and may not go on: [`super::Thinking::End`].
    #[error(
        "the model's thinking holds what a mask of this route finds; it is signed and cannot be masked, and \
         `thinking = \"end\"` ends such an answer"
    )]
    Thinking,
}

impl Error {
    /// The reason code for records and metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Error::UnknownPlaceholder(_) => "mask_unknown_placeholder",
            Error::UnbalancedBrace => "mask_unbalanced_brace",
            Error::ControlCharacter(_) => "mask_control_character",
            Error::ReplacementTooLong => "mask_replacement_too_long",
            Error::EmptyLiteral(_) => "mask_empty_literal",
            Error::LiteralTooLong(_) => "mask_literal_too_long",
            Error::TooManyLiterals => "mask_too_many_literals",
            Error::Expression { .. } => "mask_bad_expression",
            Error::Path { .. } => "mask_bad_path",
            Error::TooManyPaths => "mask_too_many_paths",
            Error::BadKey(_) => "mask_bad_key",
            Error::TooManyKeys(_) => "mask_too_many_keys",
            Error::NotAValue(_) => "mask_not_a_value",
            Error::TooManyRules => "mask_too_many_rules",
            Error::NotText => "body_not_text",
            Error::HoldTooLong => "body_escaped_too_densely",
            Error::EventTooLong => "sse_event_too_long",
            Error::TooManyStreams => "sse_too_many_streams",
            Error::Thinking => "thinking_masked",
        }
    }
}
