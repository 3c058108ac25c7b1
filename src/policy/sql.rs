//! What a SQL text does, statement by statement. It is parsed, not searched: comments, case, white space and
//! quoting do not matter.

use super::sql_chain::is_shallow;
use super::{Outcome, SqlDialect, SqlKind};
use crate::limits::{POLICY_SQL_BYTES_MAX, POLICY_SQL_DEPTH_MAX};
use sqlparser::ast::{
    AlterTable, BinaryOperator, CopySource, Delete, Expr, Insert, Merge, MergeAction, ObjectName, Query,
    Select, SetExpr, Statement, Update, Value, Visit, Visitor,
};
use sqlparser::dialect::{self, Dialect};
use sqlparser::parser::Parser;
use sqlparser::tokenizer::Tokenizer;
use std::ops::ControlFlow;

/// A set of [`SqlKind`]s.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Kinds(u32);

const _: () = assert!(SqlKind::NAMES.len() <= 32);

impl Kinds {
    /// The set of these.
    pub(super) fn of(kinds: &[SqlKind]) -> Kinds {
        Kinds(kinds.iter().fold(0, |bits, kind| bits | 1 << *kind as u32))
    }

    fn add(&mut self, kind: SqlKind) {
        self.0 |= 1 << kind as u32;
    }

    fn has(self, kind: SqlKind) -> bool {
        self.0 & 1 << kind as u32 != 0
    }

    fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// What one statement does, everything inside of it included.
#[derive(Debug, Default)]
pub(super) struct Effect {
    pub(super) kinds: Kinds,
    /// Names in lower case, the table last.
    pub(super) tables: Vec<Vec<String>>,
    /// Whether it may touch tables that are not seen here: procedures, files, other statements' texts.
    hides_tables: bool,
}

/// The effects of a text's statements, in order.
///
/// `None` when the text is no SQL of this dialect, too long or too deep: it has to be taken for anything.
pub(super) fn effects(sql: &str, dialect: SqlDialect) -> Option<Vec<Effect>> {
    if sql.len() > POLICY_SQL_BYTES_MAX {
        return None;
    }
    let parsed = |dialect: &&dyn Dialect| parsed(sql, *dialect);
    match dialect {
        SqlDialect::Generic => {
            let dialects: [&dyn Dialect; 3] =
                [&dialect::GenericDialect, &dialect::PostgreSqlDialect {}, &dialect::MySqlDialect {}];
            let readings: Vec<_> = dialects.iter().filter_map(parsed).collect();
            (!readings.is_empty()).then(|| readings.into_iter().flatten().collect())
        }
        SqlDialect::Postgres => parsed(&(&dialect::PostgreSqlDialect {} as &dyn Dialect)),
        SqlDialect::MySql => parsed(&(&dialect::MySqlDialect {} as &dyn Dialect)),
        SqlDialect::Sqlite => parsed(&(&dialect::SQLiteDialect {} as &dyn Dialect)),
        SqlDialect::MsSql => parsed(&(&dialect::MsSqlDialect {} as &dyn Dialect)),
        SqlDialect::Snowflake => parsed(&(&dialect::SnowflakeDialect as &dyn Dialect)),
        SqlDialect::BigQuery => parsed(&(&dialect::BigQueryDialect as &dyn Dialect)),
        SqlDialect::Redshift => parsed(&(&dialect::RedshiftSqlDialect {} as &dyn Dialect)),
        SqlDialect::ClickHouse => parsed(&(&dialect::ClickHouseDialect {} as &dyn Dialect)),
        SqlDialect::DuckDb => parsed(&(&dialect::DuckDbDialect {} as &dyn Dialect)),
        SqlDialect::Databricks => parsed(&(&dialect::DatabricksDialect {} as &dyn Dialect)),
        SqlDialect::Oracle => parsed(&(&dialect::OracleDialect {} as &dyn Dialect)),
    }
}

impl Effect {
    /// Whether the statement does one of `kinds` (none: anything) to one of `tables` (none: any).
    pub(super) fn outcome(&self, kinds: Kinds, tables: &[Vec<String>]) -> Outcome {
        let kinds = match self.kinds.0 & kinds.0 {
            _ if kinds.is_empty() => Outcome::Match,
            // A text that is executed here can do anything.
            0 if self.kinds.has(SqlKind::Execute) => Outcome::Unsure,
            0 => Outcome::Miss,
            shared if shared == self.kinds.0 => Outcome::Match,
            _ => Outcome::Unsure,
        };
        kinds.min(self.tables_outcome(tables))
    }

    fn tables_outcome(&self, wanted: &[Vec<String>]) -> Outcome {
        if wanted.is_empty() {
            return Outcome::Match;
        }
        let one = |table: &Vec<String>| wanted.iter().map(|name| names_outcome(name, table)).max();
        let seen = Outcome::of_occurrences(self.tables.iter().filter_map(one));
        if self.hides_tables && seen == Outcome::Miss { Outcome::Unsure } else { seen }
    }
}

/// Whether a statement's table is the one that a policy names. A name with fewer parts than the policy's may
/// be it, by the search path.
fn names_outcome(wanted: &[String], table: &[String]) -> Outcome {
    let alike = wanted.iter().rev().zip(table.iter().rev()).all(|(a, b)| a == b);
    match alike {
        false => Outcome::Miss,
        true if wanted.len() > table.len() => Outcome::Unsure,
        true => Outcome::Match,
    }
}

fn parsed(sql: &str, dialect: &dyn Dialect) -> Option<Vec<Effect>> {
    let tokens = Tokenizer::new(dialect, sql).tokenize().ok()?;
    if !is_shallow(&tokens) {
        return None;
    }
    let parser = Parser::new(dialect).with_recursion_limit(POLICY_SQL_DEPTH_MAX);
    let statements = parser.with_tokens(tokens).parse_statements().ok()?;
    Some(statements.iter().map(effect).collect())
}

fn effect(statement: &Statement) -> Effect {
    let mut collector = Collector(Effect::default());
    let ControlFlow::Continue(()) = statement.visit(&mut collector);
    collector.0
}

/// Walks one statement and everything inside of it.
struct Collector(Effect);

impl Visitor for Collector {
    type Break = std::convert::Infallible;

    fn pre_visit_statement(&mut self, statement: &Statement) -> ControlFlow<Self::Break> {
        self.statement(statement);
        ControlFlow::Continue(())
    }

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Self::Break> {
        self.table_commands(&query.body);
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<Self::Break> {
        if let Some(into) = &select.into {
            self.0.kinds.add(SqlKind::Create);
            self.0.hides_tables |= !into.targets.is_empty();
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<Self::Break> {
        self.table(relation);
        ControlFlow::Continue(())
    }
}

impl Collector {
    fn statement(&mut self, statement: &Statement) {
        match statement {
            Statement::Query(query) => match &*query.body {
                // The statement inside says what is done.
                SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) => {}
                _ => self.0.kinds.add(SqlKind::Select),
            },
            Statement::Insert(insert) => self.insert(insert),
            Statement::Update(update) => self.update(update),
            Statement::Delete(delete) => self.delete(delete),
            Statement::Merge(merge) => self.merge(merge),
            Statement::Truncate(_) => self.0.kinds.add(SqlKind::Truncate),
            Statement::AlterTable(alter) => self.alter_table(alter),
            Statement::Drop { names, table, .. } => {
                self.0.kinds.add(SqlKind::Drop);
                names.iter().chain(table).for_each(|name| self.table(name));
            }
            Statement::Copy { source, .. } => {
                self.0.kinds.add(SqlKind::Copy);
                match source {
                    CopySource::Table { table_name, .. } => self.table(table_name),
                    CopySource::Query(_) => self.0.hides_tables = true,
                }
            }
            other => self.by_first_word(other),
        }
    }

    /// The parser has more than a hundred kinds of statements; the first word of each says what it does.
    fn by_first_word(&mut self, statement: &Statement) {
        let text = statement.to_string();
        let word = text.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default();
        let (kind, hides_tables) = match word.to_ascii_uppercase().as_str() {
            "DROP" => (SqlKind::Drop, true),
            "CREATE" => (SqlKind::Create, true),
            "ALTER" => (SqlKind::Alter, true),
            "GRANT" | "REVOKE" | "DENY" => (SqlKind::Grant, true),
            "COPY" | "LOAD" | "UNLOAD" | "EXPORT" | "IMPORT" => (SqlKind::Copy, true),
            "CALL" => (SqlKind::Call, true),
            "EXEC" | "EXECUTE" | "PREPARE" => (SqlKind::Execute, true),
            "BEGIN" | "START" | "COMMIT" | "ROLLBACK" | "SAVEPOINT" | "RELEASE" | "END" => {
                (SqlKind::Transaction, false)
            }
            "SET" => (SqlKind::Set, false),
            "SHOW" | "EXPLAIN" | "DESCRIBE" | "DESC" => (SqlKind::Show, false),
            _ => (SqlKind::Other, true),
        };
        self.0.kinds.add(kind);
        self.0.hides_tables |= hides_tables;
    }

    fn insert(&mut self, insert: &Insert) {
        self.0.kinds.add(SqlKind::Insert);
        if insert.overwrite {
            self.0.kinds.add(SqlKind::Truncate);
        }
        if insert.on.as_ref().is_some_and(|on| on.to_string().to_ascii_uppercase().contains("UPDATE")) {
            self.0.kinds.add(SqlKind::Update);
        }
        self.0.hides_tables |= insert.multi_table_insert_type.is_some();
    }

    fn update(&mut self, update: &Update) {
        self.0.kinds.add(SqlKind::Update);
        if !update.selection.as_ref().is_some_and(selects) {
            self.0.kinds.add(SqlKind::UpdateWithoutWhere);
        }
    }

    fn delete(&mut self, delete: &Delete) {
        self.0.kinds.add(SqlKind::Delete);
        if !delete.selection.as_ref().is_some_and(selects) {
            self.0.kinds.add(SqlKind::DeleteWithoutWhere);
        }
        delete.tables.iter().for_each(|table| self.table(table));
    }

    fn merge(&mut self, merge: &Merge) {
        self.0.kinds.add(SqlKind::Merge);
        for clause in &merge.clauses {
            match &clause.action {
                MergeAction::Insert(_) => self.0.kinds.add(SqlKind::Insert),
                MergeAction::Update(_) => self.0.kinds.add(SqlKind::Update),
                MergeAction::Delete { .. } => self.0.kinds.add(SqlKind::Delete),
                MergeAction::DoNothing { .. } => {}
            }
        }
    }

    fn alter_table(&mut self, alter: &AlterTable) {
        self.0.kinds.add(SqlKind::Alter);
        for operation in &alter.operations {
            let text = operation.to_string();
            if text.starts_with("DROP") {
                self.0.kinds.add(SqlKind::Drop);
            } else if text.starts_with("TRUNCATE") {
                self.0.kinds.add(SqlKind::Truncate);
            }
        }
    }

    /// `TABLE name` is a query whose table is no relation to the parser.
    fn table_commands(&mut self, body: &SetExpr) {
        match body {
            SetExpr::Table(table) => {
                let name = table.schema_name.iter().chain(&table.table_name);
                self.0.tables.push(name.map(|part| part.to_lowercase()).collect());
            }
            SetExpr::SetOperation { left, right, .. } => {
                self.table_commands(left);
                self.table_commands(right);
            }
            _ => {}
        }
    }

    fn table(&mut self, name: &ObjectName) {
        let part = |part: &sqlparser::ast::ObjectNamePart| match part.as_ident() {
            Some(ident) => ident.value.to_lowercase(),
            None => part.to_string(),
        };
        self.0.hides_tables |= name.0.iter().any(|part| part.as_ident().is_none());
        self.0.tables.push(name.0.iter().map(part).collect());
    }
}

/// Whether a WHERE can leave rows out: `1 = 1`, `true` or `id = id` cannot.
fn selects(condition: &Expr) -> bool {
    match condition {
        Expr::Nested(inner) => selects(inner),
        Expr::BinaryOp { left, op: BinaryOperator::Or, right } => selects(left) && selects(right),
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => selects(left) || selects(right),
        Expr::BinaryOp {
            left,
            op: BinaryOperator::Eq | BinaryOperator::LtEq | BinaryOperator::GtEq,
            right,
        } if left == right => false,
        Expr::Value(value) => matches!(value.value, Value::Placeholder(_)),
        other => names_something(other),
    }
}

/// Whether an expression looks at a column, a parameter, a function or a subquery: else it is a constant.
fn names_something(expression: &Expr) -> bool {
    struct Finder;
    impl Visitor for Finder {
        type Break = ();

        fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<()> {
            match expression {
                Expr::Identifier(_) | Expr::CompoundIdentifier(_) | Expr::CompoundFieldAccess { .. } => {
                    ControlFlow::Break(())
                }
                Expr::Function(_) | Expr::Subquery(_) | Expr::Exists { .. } => ControlFlow::Break(()),
                Expr::Value(value) if matches!(value.value, Value::Placeholder(_)) => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            }
        }
    }
    expression.visit(&mut Finder).is_break()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(effects: &[Effect]) -> Vec<&'static str> {
        let all = SqlKind::NAMES.iter().filter_map(|name| name.parse::<SqlKind>().ok());
        all.filter(|kind| effects.iter().any(|e| e.kinds.has(*kind))).map(SqlKind::as_str).collect()
    }

    #[test]
    fn statements_are_known_by_what_they_do() {
        let check = |sql: &str, expected: &[&str]| {
            let effects = effects(sql, SqlDialect::Postgres).unwrap_or_else(|| panic!("unparsable: {sql}"));
            assert_eq!(kinds(&effects), expected, "{sql}");
        };
        check("", &[]);
        check("select 1", &["select"]);
        check("SeLeCt * FROM a; dRoP /* really */ TABLE\n a", &["select", "drop"]);
        check("INSERT INTO a VALUES (1)", &["insert"]);
        check("INSERT INTO a VALUES (1) ON CONFLICT (id) DO UPDATE SET b = 1", &["insert", "update"]);
        check("INSERT INTO a VALUES (1) ON CONFLICT DO NOTHING", &["insert"]);
        check("UPDATE a SET b = 1 WHERE id = 2", &["update"]);
        check("UPDATE a SET b = 1", &["update", "update_without_where"]);
        check("DELETE FROM a WHERE id = 2", &["delete"]);
        check("DELETE FROM a", &["delete", "delete_without_where"]);
        check("DELETE FROM a WHERE 1 = 1", &["delete", "delete_without_where"]);
        check("DELETE FROM a WHERE (TRUE)", &["delete", "delete_without_where"]);
        check("DELETE FROM a WHERE id = id", &["delete", "delete_without_where"]);
        check("DELETE FROM a WHERE id = 1 OR 2 > 1", &["delete", "delete_without_where"]);
        check("DELETE FROM a WHERE id = 1 AND 2 > 1", &["delete"]);
        check("DELETE FROM a WHERE id = $1", &["delete"]);
        check(
            "WITH x AS (DELETE FROM a RETURNING *) SELECT * FROM x",
            &["select", "delete", "delete_without_where"],
        );
        check("WITH x AS (SELECT 1) INSERT INTO a SELECT * FROM x", &["insert"]);
        check("EXPLAIN ANALYZE DELETE FROM a WHERE id = 1", &["delete", "show"]);
        check("TRUNCATE a, b", &["truncate"]);
        check("ALTER TABLE a ADD COLUMN b INT", &["alter"]);
        check("ALTER TABLE a DROP COLUMN b", &["drop", "alter"]);
        check("DROP FUNCTION f", &["drop"]);
        check("DROP INDEX i", &["drop"]);
        check("CREATE TABLE a (b INT)", &["create"]);
        check("SELECT * INTO b FROM a", &["select", "create"]);
        check("GRANT ALL ON a TO b", &["grant"]);
        check("REVOKE ALL ON a FROM b", &["grant"]);
        check("COPY a FROM STDIN", &["copy"]);
        check("PREPARE p AS DELETE FROM a", &["delete", "delete_without_where", "execute"]);
        check("EXECUTE p", &["execute"]);
        check("CALL f()", &["call"]);
        check("BEGIN; COMMIT", &["transaction"]);
        check("SET a = 1", &["set"]);
        check("SELECT 1 UNION TABLE a", &["select"]);
    }

    #[test]
    fn the_dialect_decides_what_is_a_comment_and_what_a_string() {
        let check = |sql, dialect, expected: Option<&[&str]>| {
            assert_eq!(effects(sql, dialect).as_deref().map(kinds).as_deref(), expected, "{sql}");
        };
        check("SELECT 1 /*! ; DROP TABLE a */", SqlDialect::MySql, Some(&["select", "drop"]));
        check("SELECT 1 /*!50000 ; DROP TABLE a */", SqlDialect::Generic, Some(&["select", "drop"]));
        check(r"SELECT '\'; DROP TABLE a; --'", SqlDialect::MySql, Some(&["select"]));
        check(r"SELECT '\'; DROP TABLE a; --'", SqlDialect::Postgres, Some(&["select", "drop"]));
        check(r"SELECT '\'; DROP TABLE a; --'", SqlDialect::Generic, Some(&["select", "drop"]));
        check("SELECT /* /* */ ; DROP TABLE a -- */ 1", SqlDialect::MySql, None);
        check("REPLACE INTO a VALUES (1)", SqlDialect::MySql, Some(&["insert"]));
        check("EXEC('DROP TABLE a')", SqlDialect::MsSql, Some(&["execute"]));
        check("DO $$ BEGIN DROP TABLE a; END $$", SqlDialect::Postgres, None);
        check("this is not sql", SqlDialect::Generic, None);
    }

    #[test]
    fn tables_are_found_wherever_they_are_named() {
        let check = |sql, wanted: &str, outcome| {
            let effects = effects(sql, SqlDialect::Postgres).unwrap();
            let wanted = vec![wanted.split('.').map(str::to_owned).collect()];
            let found = Outcome::of_occurrences(effects.iter().map(|e| e.outcome(Kinds::default(), &wanted)));
            assert_eq!(found, outcome, "{sql}");
        };
        use Outcome::{Match, Miss, Unsure};
        check("SELECT * FROM customers", "customers", Match);
        check("SELECT * FROM Public.\"Customers\"", "customers", Match);
        check("SELECT * FROM public.customers", "public.customers", Match);
        check("SELECT * FROM customers", "public.customers", Unsure);
        check("SELECT * FROM other.customers", "public.customers", Miss);
        check("SELECT * FROM orders", "customers", Miss);
        check("SELECT (SELECT 1 FROM customers)", "customers", Match);
        check("SELECT * FROM orders JOIN customers ON true", "customers", Unsure);
        check("SELECT 1 UNION TABLE customers", "customers", Match);
        check("DROP TABLE orders, customers", "customers", Unsure);
        check("DELETE FROM customers WHERE id = 1", "customers", Match);
        check("UPDATE customers SET a = 1", "customers", Match);
        check("INSERT INTO customers VALUES (1)", "customers", Match);
        check("TRUNCATE customers", "customers", Match);
        check("COPY customers TO STDOUT", "customers", Match);
        check("ALTER TABLE customers ADD COLUMN b INT", "customers", Match);
        check("CALL f()", "customers", Unsure);
        check("SELECT 1; SELECT * FROM customers", "customers", Unsure);
    }

    #[test]
    fn a_text_that_only_partly_fits_is_unsure() {
        let check = |sql, wanted: &[SqlKind], outcome| {
            let effects = effects(sql, SqlDialect::Postgres).unwrap();
            let found = Outcome::of_occurrences(effects.iter().map(|e| e.outcome(Kinds::of(wanted), &[])));
            assert_eq!(found, outcome, "{sql}");
        };
        check("SELECT 1; SELECT 2", &[SqlKind::Select], Outcome::Match);
        check("SELECT 1; DROP TABLE a", &[SqlKind::Select], Outcome::Unsure);
        check("SELECT 1; DROP TABLE a", &[SqlKind::Drop], Outcome::Unsure);
        check("SELECT 1", &[SqlKind::Drop], Outcome::Miss);
        check("EXECUTE p", &[SqlKind::Drop], Outcome::Unsure);
        check("", &[SqlKind::Select], Outcome::Miss);
    }

    /// The parser, the walk and the drop of its trees must fit into the stack of a small thread.
    #[test]
    fn deep_texts_are_unparsable_and_cost_no_stack() {
        let check = |sql: String, dialects: &[&str]| {
            for name in dialects {
                let _ = effects(&sql, name.parse().unwrap());
            }
        };
        let walk = move || {
            let most = POLICY_SQL_BYTES_MAX - 100;
            for (before, link, after) in [
                ("SELECT 1", "+1", ""),
                ("SELECT a", " OR a", ""),
                ("SELECT ", "(", ""),
                ("SELECT ", "NOT ", "1"),
                ("SELECT ", "- ", "1"),
                ("SELECT ", "CASE WHEN ", "1"),
                ("SELECT 1", "::int", ""),
                ("SELECT 1", " IS NULL", ""),
                ("SELECT a", "[1]", ""),
                ("SELECT f", "(1)", ""),
                ("SELECT a", ".b", ""),
                ("SELECT 1", " UNION SELECT 1", ""),
                ("SELECT 1 FROM a", " JOIN a", " ON true"),
                ("SELECT 1 FROM ", "(SELECT 1 FROM ", "a"),
                ("", "EXPLAIN ", "SELECT 1"),
                ("", "BEGIN ", ""),
                ("", "IF 1 THEN ", ""),
                ("", "WITH a AS (", ""),
                ("CREATE TABLE a (b ", "ARRAY<", "INT"),
                ("CREATE TABLE a (b ", "STRUCT<a ", "INT"),
                ("SELECT CAST(1 AS ", "Nullable(", "Int"),
                ("SELECT INTERVAL ", "INTERVAL ", "1"),
                ("SELECT a", " COLLATE b", ""),
                ("SELECT {", "'a': {", ""),
                ("SELECT x -> ", "x -> ", "1"),
                ("/*", "/*", "*/"),
                ("SELECT 1 FROM ", "(", ""),
                ("SELECT 1 FROM a WHERE b IN ", "(", ""),
                ("INSERT INTO a ", "(", ""),
                ("SELECT ", "f(", ""),
                ("SELECT ", "(SELECT ", "1"),
                ("SELECT ", "EXISTS (", ""),
                ("SELECT ", "[", ""),
                ("SELECT ", "{a:", ""),
                ("SELECT x -> ", "(x, y) -> (", ""),
                ("SELECT a FROM b WHERE ", "c IN (SELECT ", "1"),
                ("SELECT 1 FROM ", "(a JOIN ", "a"),
                ("SELECT 1 FROM ", "LATERAL (", "a"),
                ("SELECT ", "CAST(", "1"),
                ("SELECT ", "CASE a WHEN (", "1"),
                ("(", "(SELECT 1 UNION ", ""),
            ] {
                let brackets = link.matches('(').count();
                for (times, dialects) in [
                    (20, SqlDialect::NAMES),
                    (60, SqlDialect::NAMES),
                    (400, &["generic"]),
                    (most / link.len(), &["mysql"]),
                ] {
                    let open = format!("{before}{}{after}", link.repeat(times));
                    let closed = format!("{open}{}", ")".repeat(brackets * times));
                    check(open, dialects);
                    check(closed, dialects);
                }
            }
        };
        std::thread::Builder::new().stack_size(2 << 20).spawn(walk).unwrap().join().unwrap();
    }
}
