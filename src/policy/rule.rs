use crate::http::Method;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

/// One policy as the config says it; [`super::RuleSet::compile`] makes it fast.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Unique among a route's policies.
    pub name: Arc<str>,
    /// Where it stands, such as `ringward.toml:58`.
    pub place: Arc<str>,
    /// Conditions; all must hold.
    pub when: When,
    pub action: Action,
    /// Evaluated and reported, but never decides.
    pub dry_run: bool,
}

/// The conditions of a policy. All must hold; an empty list or `None` is no condition.
#[derive(Clone, Debug, Default)]
pub struct When {
    /// Any of these methods.
    pub methods: Vec<Method>,
    /// Any of these path patterns; see [`super::PathPattern`].
    pub paths: Vec<String>,
    /// Each of these header tests.
    pub headers: Vec<FieldTest>,
    /// Each of these query parameter tests.
    pub query: Vec<FieldTest>,
    /// At least one of these groups.
    pub groups_any: Vec<String>,
    /// Every one of these groups.
    pub groups_all: Vec<String>,
    /// Any of these subjects.
    pub subjects: Vec<String>,
    /// Any of these purposes.
    pub purposes: Vec<String>,
    pub body: Option<BodyTest>,
    /// Each of these tests on a JSON body.
    pub json: Vec<JsonTest>,
    pub sql: Option<SqlTest>,
}

/// What a policy does when its conditions hold.
#[derive(Clone, Debug)]
pub enum Action {
    /// Forward.
    Allow,
    /// Refuse with a reason that the caller sees.
    Block { reason: Arc<str>, next: Option<Arc<str>> },
    /// Hold until people said yes.
    Approve { reason: Arc<str>, terms: Arc<ApprovalTerms> },
}

/// `approval = { … }` of an `approve` policy. This module only carries it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApprovalTerms {
    /// Who may answer, such as `group:sre`.
    pub by: Vec<String>,
    /// How many different people must say yes; at least 1.
    pub approvals_min: u32,
    /// Whether the caller's owner may answer.
    pub allow_self: bool,
    /// How long it waits for an answer.
    pub timeout: Duration,
    /// Of the policy as it is configured: a verdict is good for no other one.
    pub digest: [u8; 32],
}

/// A test on header fields or query parameters of one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldTest {
    /// Header names are compared without case, query names exactly.
    pub name: String,
    pub op: FieldOp,
}

/// What a field's values must be. Where several fields of the name differ, the outcome is unsure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FieldOp {
    /// There is one.
    Present,
    /// There is none.
    Absent,
    /// The value is this one, byte for byte.
    Equals(String),
    /// The value holds this, byte for byte.
    Contains(String),
}

/// `body = { contains_any = […], ignore_case = … }`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BodyTest {
    /// Looked for with white space folded: `DROP TABLE` finds `DROP \n TABLE`.
    pub contains_any: Vec<String>,
    /// ASCII letters match without case.
    pub ignore_case: bool,
}

/// `json = { path = "/max_tokens", gt = 40000 }`.
#[derive(Clone, Debug, PartialEq)]
pub struct JsonTest {
    /// JSON pointer (RFC 6901); empty is the whole document.
    pub path: String,
    pub op: JsonOp,
}

/// A test on one JSON value. A value of another type than the test's is unsure; a missing value is a miss,
/// but unsure for `Ne`.
#[derive(Clone, Debug, PartialEq)]
pub enum JsonOp {
    Gt(Number),
    Ge(Number),
    Lt(Number),
    Le(Number),
    Eq(Scalar),
    Ne(Scalar),
    In(Vec<Scalar>),
    /// Whether there is a value, `null` included.
    Exists(bool),
    /// The string, or any string below the array or object, holds this with white space folded.
    Contains(String),
}

/// A number in a test; whole numbers are compared exactly.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    Integer(i128),
    Float(f64),
}

/// A JSON value without children.
#[derive(Clone, Debug, PartialEq)]
pub enum Scalar {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
}

/// `sql = { path = "/sql", any_of = ["drop"], tables = ["customers"] }`.
///
/// It holds for a text with a statement whose effects are among `any_of` and whose tables among `tables`
/// (an empty list is any). A text that only partly is so, or that does not parse, is unsure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqlTest {
    /// JSON pointer to a string (RFC 6901); `None` takes the whole body as SQL.
    pub path: Option<String>,
    pub any_of: Vec<SqlKind>,
    /// `name`, `schema.name` or `catalog.schema.name`, compared without case.
    pub tables: Vec<String>,
    pub dialect: SqlDialect,
}

/// Declares an enum whose variants have names in the config.
macro_rules! named {
    ($(#[$doc:meta])* $type:ident, $unknown:ident, $what:literal,
     $($(#[$variant_doc:meta])* $variant:ident = $name:literal,)+) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $type {
            $($(#[$variant_doc])* $variant,)+
        }

        #[doc = concat!("A name that is none of [`", stringify!($type), "::NAMES`]; the config is at fault.")]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
        #[error("unknown {}", $what)]
        pub struct $unknown;

        impl $type {
            /// All names in the order of the variants.
            pub const NAMES: &[&str] = &[$($name),+];

            /// Its name in the config.
            pub fn as_str(self) -> &'static str {
                match self {
                    $($type::$variant => $name,)+
                }
            }
        }

        impl FromStr for $type {
            type Err = $unknown;

            fn from_str(name: &str) -> Result<$type, $unknown> {
                match name {
                    $($name => Ok($type::$variant),)+
                    _ => Err($unknown),
                }
            }
        }
    };
}

named! {
    /// What a SQL statement does. One statement may do several things.
    SqlKind, UnknownSqlKind, "SQL effect",
    Select = "select",
    Insert = "insert",
    Update = "update",
    /// Without WHERE, or with one that holds for every row.
    UpdateWithoutWhere = "update_without_where",
    Delete = "delete",
    /// Without WHERE, or with one that holds for every row.
    DeleteWithoutWhere = "delete_without_where",
    Merge = "merge",
    Truncate = "truncate",
    /// DROP of anything, also of a column in ALTER TABLE.
    Drop = "drop",
    Create = "create",
    Alter = "alter",
    /// GRANT, REVOKE and DENY.
    Grant = "grant",
    /// COPY, LOAD, UNLOAD and EXPORT: data in or out of files and programs.
    Copy = "copy",
    Call = "call",
    /// Runs a text or a prepared statement that is not seen here.
    Execute = "execute",
    /// BEGIN, COMMIT, ROLLBACK, SAVEPOINT.
    Transaction = "transaction",
    Set = "set",
    /// SHOW, DESCRIBE, EXPLAIN.
    Show = "show",
    /// Anything else.
    Other = "other",
}

named! {
    /// Whose SQL it is.
    SqlDialect, UnknownSqlDialect, "SQL dialect",
    /// Not known: read as generic SQL, PostgreSQL and MySQL, whatever parses counts.
    Generic = "generic",
    Postgres = "postgres",
    MySql = "mysql",
    Sqlite = "sqlite",
    MsSql = "mssql",
    Snowflake = "snowflake",
    BigQuery = "bigquery",
    Redshift = "redshift",
    ClickHouse = "clickhouse",
    DuckDb = "duckdb",
    Databricks = "databricks",
    Oracle = "oracle",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for name in SqlKind::NAMES {
            assert_eq!(name.parse::<SqlKind>().map(SqlKind::as_str), Ok(*name));
        }
        for name in SqlDialect::NAMES {
            assert_eq!(name.parse::<SqlDialect>().map(SqlDialect::as_str), Ok(*name));
        }
        assert_eq!("DROP".parse::<SqlKind>(), Err(UnknownSqlKind));
        assert_eq!("".parse::<SqlDialect>(), Err(UnknownSqlDialect));
    }
}
