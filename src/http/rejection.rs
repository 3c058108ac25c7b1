use thiserror::Error;

/// Why a message, a target or a set of fields is refused. The sender is at fault, never the gateway.
///
/// Nothing of the message is inside, so that a rejection can be logged and recorded as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Rejection {
    #[error("the message head is too long")]
    HeadTooLong,
    #[error("the start line is too long")]
    StartLineTooLong,
    #[error("there are too many header fields")]
    FieldsTooMany,
    #[error("the head does not end with one blank line")]
    HeadIncomplete,
    #[error("a line ends with LF alone")]
    BareLf,
    #[error("a CR is not followed by LF")]
    BareCr,
    #[error("there is a control character in the head")]
    ControlCharacter,
    #[error("the start line is malformed")]
    StartLineInvalid,
    #[error("the method is not a token, or a known method in the wrong case")]
    MethodInvalid,
    #[error("CONNECT is not supported")]
    ConnectUnsupported,
    #[error("the protocol version is neither HTTP/1.0 nor HTTP/1.1")]
    VersionUnsupported,
    #[error("a field name is not a token directly followed by a colon")]
    FieldNameInvalid,
    #[error("a field value is folded over several lines")]
    FieldFolded,
    #[error("there is no Host field")]
    HostMissing,
    #[error("there is more than one Host field")]
    HostRepeated,
    #[error("the host is malformed")]
    HostInvalid,
    #[error("Host is not the authority of the target")]
    HostMismatch,
    #[error("the target names a user")]
    TargetUserinfo,
    #[error("the target has none of the forms that this method allows")]
    TargetFormInvalid,
    #[error("the target holds a character that is not allowed there")]
    TargetCharacterInvalid,
    #[error("the target holds an escape that is malformed or hides a delimiter")]
    TargetEscapeInvalid,
    #[error("the target leaves the root")]
    TargetTraversal,
    #[error("Content-Length is not a plain number of at most 18 digits")]
    ContentLengthInvalid,
    #[error("there is more than one Content-Length")]
    ContentLengthRepeated,
    #[error("Transfer-Encoding is not exactly chunked")]
    TransferEncodingInvalid,
    #[error("there is another transfer coding before chunked")]
    TransferEncodingUnknown,
    #[error("Transfer-Encoding is not allowed on HTTP/1.0")]
    TransferEncodingVersion,
    #[error("both Content-Length and Transfer-Encoding are there")]
    LengthConflict,
    #[error("a message that has no body announces one")]
    BodyForbidden,
    #[error("the Connection field is malformed")]
    ConnectionInvalid,
    #[error("the Connection field nominates a field that is not its to remove")]
    ConnectionNominates,
    #[error("the request went through this gateway before: an upstream leads back to it")]
    Loop,
    #[error("the expectation is not 100-continue")]
    ExpectationUnknown,
    #[error("the status is not a number from 100 to 999")]
    StatusInvalid,
    #[error("the protocol was switched though nobody asked for it")]
    UpgradeUnasked,
    #[error("a chunk size is malformed or has too many digits")]
    ChunkSizeInvalid,
    #[error("a chunk extension is malformed")]
    ChunkExtensionInvalid,
    #[error("the extensions of a chunk are too long")]
    ChunkExtensionTooLong,
    #[error("a chunk does not end with CRLF")]
    ChunkEndInvalid,
    #[error("a trailer field is malformed")]
    TrailerInvalid,
    #[error("the trailer section is too long")]
    TrailerTooLong,
    #[error("a trailer field may only be a header field")]
    TrailerForbidden,
    #[error("the connection ended within the body")]
    BodyIncomplete,
}

impl Rejection {
    /// Reason code for records and metrics: snake_case and stable.
    pub fn reason(&self) -> &'static str {
        match self {
            Rejection::HeadTooLong => "head_too_long",
            Rejection::StartLineTooLong => "start_line_too_long",
            Rejection::FieldsTooMany => "fields_too_many",
            Rejection::HeadIncomplete => "head_incomplete",
            Rejection::BareLf => "bare_lf",
            Rejection::BareCr => "bare_cr",
            Rejection::ControlCharacter => "control_character",
            Rejection::StartLineInvalid => "start_line_invalid",
            Rejection::MethodInvalid => "method_invalid",
            Rejection::ConnectUnsupported => "connect_unsupported",
            Rejection::VersionUnsupported => "version_unsupported",
            Rejection::FieldNameInvalid => "field_name_invalid",
            Rejection::FieldFolded => "field_folded",
            Rejection::HostMissing => "host_missing",
            Rejection::HostRepeated => "host_repeated",
            Rejection::HostInvalid => "host_invalid",
            Rejection::HostMismatch => "host_mismatch",
            Rejection::TargetUserinfo => "target_userinfo",
            Rejection::TargetFormInvalid => "target_form_invalid",
            Rejection::TargetCharacterInvalid => "target_character_invalid",
            Rejection::TargetEscapeInvalid => "target_escape_invalid",
            Rejection::TargetTraversal => "target_traversal",
            Rejection::ContentLengthInvalid => "content_length_invalid",
            Rejection::ContentLengthRepeated => "content_length_repeated",
            Rejection::TransferEncodingInvalid => "transfer_encoding_invalid",
            Rejection::TransferEncodingUnknown => "transfer_encoding_unknown",
            Rejection::TransferEncodingVersion => "transfer_encoding_version",
            Rejection::LengthConflict => "length_conflict",
            Rejection::BodyForbidden => "body_forbidden",
            Rejection::ConnectionInvalid => "connection_invalid",
            Rejection::ConnectionNominates => "connection_nominates",
            Rejection::Loop => "loop",
            Rejection::ExpectationUnknown => "expectation_unknown",
            Rejection::StatusInvalid => "status_invalid",
            Rejection::UpgradeUnasked => "upgrade_unasked",
            Rejection::ChunkSizeInvalid => "chunk_size_invalid",
            Rejection::ChunkExtensionInvalid => "chunk_extension_invalid",
            Rejection::ChunkExtensionTooLong => "chunk_extension_too_long",
            Rejection::ChunkEndInvalid => "chunk_end_invalid",
            Rejection::TrailerInvalid => "trailer_invalid",
            Rejection::TrailerTooLong => "trailer_too_long",
            Rejection::TrailerForbidden => "trailer_forbidden",
            Rejection::BodyIncomplete => "body_incomplete",
        }
    }

    /// Status of the answer to a refused request. For a refused response the answer is 502 whatever this
    /// says.
    ///
    /// 414: RFC 9112 section 3; 417: RFC 9110 section 10.1.1; 431: RFC 6585 section 5; 501: RFC 9110
    /// section 9.1, RFC 9112 section 6.1; 508: RFC 5842 section 7.2.
    pub fn status(&self) -> u16 {
        match self {
            Rejection::StartLineTooLong => 414,
            Rejection::ExpectationUnknown => 417,
            Rejection::HeadTooLong | Rejection::FieldsTooMany => 431,
            Rejection::ConnectUnsupported | Rejection::TransferEncodingUnknown => 501,
            Rejection::Loop => 508,
            _ => 400,
        }
    }
}
