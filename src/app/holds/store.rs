//! What outlives the process: cards, grants, stops, and what people elsewhere are still to be told of them,
//! in a database beside the log.
//!
//! The log holds all of it, too, but not for the gateway: what it has sealed may be encrypted to auditors.

use crate::approval::{Card, Change, Freeze, Grant, Head, Key, Letter, Remembered};
use rusqlite::{Connection, OptionalExtension, params};
use serde::de::DeserializeOwned;
use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

/// "RWap" in SQLite's header.
const APPLICATION_ID: i32 = 0x5257_6170;
const VERSION: i32 = 2;
const SCHEMA: &str = "CREATE TABLE key (id INTEGER PRIMARY KEY CHECK (id = 1), bytes BLOB NOT NULL); \
                      CREATE TABLE kept (id TEXT PRIMARY KEY, content TEXT NOT NULL) WITHOUT ROWID;";
/// What version 2 added.
const CONVERSATIONS: &str = "CREATE TABLE IF NOT EXISTS conversation (head BLOB PRIMARY KEY, \
                             owner BLOB NOT NULL, tick INTEGER NOT NULL, judged TEXT NOT NULL) \
                             WITHOUT ROWID;";

/// The open database.
#[derive(Debug)]
pub struct Store(Connection);

/// What a former process kept.
#[derive(Debug)]
pub struct Kept {
    pub key: Key,
    pub cards: Vec<Card>,
    pub grants: Vec<Grant>,
    pub freezes: Vec<Freeze>,
    /// What was judged of conversations.
    pub conversations: Vec<Remembered>,
    /// What has not arrived where it is to be told.
    pub letters: Vec<Letter>,
}

/// Where the database of the log in `audit` is.
pub fn path(audit: &Path) -> PathBuf {
    let mut name = audit.file_name().unwrap_or_default().to_owned();
    name.push("-approvals.sqlite");
    audit.with_file_name(name)
}

impl Store {
    /// Opens the database, or makes it.
    ///
    /// # Errors
    /// In words: it cannot be opened, or is another one.
    pub fn open(file: &Path, fresh_key: [u8; 32]) -> Result<Store, String> {
        let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
        // SQLite gives its other files the mode of this one.
        let made = fs::OpenOptions::new().create(true).append(true).mode(0o600).open(file);
        drop(made.map_err(|error| failed(&error))?);
        Store::opened(file, fresh_key).map_err(|error| failed(&error))?.map_err(|what| failed(&what))
    }

    fn opened(file: &Path, fresh_key: [u8; 32]) -> rusqlite::Result<Result<Store, String>> {
        let connection = Connection::open(file)?;
        connection.pragma_update(None, "journal_mode", "wal")?;
        // What is written is on the disk before a request is let through.
        connection.pragma_update(None, "synchronous", "full")?;
        connection.pragma_update(None, "secure_delete", "on")?;
        let pragma = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
        match (pragma("application_id")?, pragma("user_version")?) {
            (0, 0) => {
                connection.execute_batch(&format!(
                    "BEGIN IMMEDIATE; {SCHEMA} {CONVERSATIONS} PRAGMA application_id = {APPLICATION_ID}; \
                     PRAGMA user_version = {VERSION}; COMMIT;"
                ))?;
                connection.execute("INSERT INTO key (id, bytes) VALUES (1, ?)", [fresh_key])?;
            }
            (APPLICATION_ID, 1) => connection.execute_batch(&format!(
                "BEGIN IMMEDIATE; {CONVERSATIONS} PRAGMA user_version = {VERSION}; COMMIT;"
            ))?,
            (APPLICATION_ID, VERSION) => {}
            (APPLICATION_ID, version) => {
                return Ok(Err(format!("version {version} is newer than this program")));
            }
            _ => return Ok(Err("it is not a store of approvals".to_owned())),
        }
        Ok(Ok(Store(connection)))
    }

    /// Everything that is kept.
    ///
    /// # Errors
    /// In words: it cannot be read.
    pub fn load(&self) -> Result<Kept, String> {
        let failed = |error: rusqlite::Error| format!("the store of approvals cannot be read: {error}");
        let key: Option<[u8; 32]> =
            self.0.query_row("SELECT bytes FROM key", [], |row| row.get(0)).optional().map_err(failed)?;
        let key = Key::new(&key.ok_or("the store of approvals has no key")?);
        let (cards, grants, freezes) = (self.all("apr_")?, self.all("gra_")?, self.all("frz_")?);
        let letters = self.all("msg_")?;
        let conversations = self.conversations().map_err(failed)?;
        Ok(Kept { key, cards, grants, freezes, conversations, letters })
    }

    /// What was judged of conversations. What cannot be understood is judged again.
    fn conversations(&self) -> rusqlite::Result<Vec<Remembered>> {
        let mut query = self.0.prepare("SELECT head, owner, tick, judged FROM conversation ORDER BY tick")?;
        let rows = query.query_map([], |row| {
            let (head, owner, tick): (Head, Head, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
            let judged = serde_json::from_str(&row.get::<_, String>(3)?).ok();
            Ok(judged.map(|judged| Remembered { head, owner, tick: tick as u64, judged }))
        })?;
        rows.filter_map(Result::transpose).collect()
    }

    /// Keeps what was judged of conversations, and forgets what is forgotten, all or nothing.
    ///
    /// # Errors
    /// It is not kept.
    pub fn remember(&mut self, changes: &[Change]) -> rusqlite::Result<()> {
        let transaction = self.0.transaction()?;
        for change in changes {
            match change {
                Change::Keep(one) => transaction
                    .prepare_cached("INSERT OR REPLACE INTO conversation VALUES (?, ?, ?, ?)")?
                    .execute(params![
                        one.head,
                        one.owner,
                        one.tick as i64,
                        serde_json::to_string(&one.judged).unwrap_or_default()
                    ])?,
                Change::Forget(head) => {
                    transaction.prepare_cached("DELETE FROM conversation WHERE head = ?")?.execute([head])?
                }
            };
        }
        transaction.commit()
    }

    fn all<T: DeserializeOwned>(&self, prefix: &str) -> Result<Vec<T>, String> {
        let read = || -> rusqlite::Result<Vec<String>> {
            let mut query =
                self.0.prepare("SELECT content FROM kept WHERE substr(id, 1, 4) = ? ORDER BY id")?;
            query.query_map([prefix], |row| row.get(0))?.collect()
        };
        let texts = read().map_err(|error| format!("the store of approvals cannot be read: {error}"))?;
        let parsed = texts.iter().map(|text| serde_json::from_str(text));
        parsed
            .collect::<Result<_, _>>()
            .map_err(|error| format!("the store of approvals is damaged: {error}"))
    }

    /// Keeps what has a content, and forgets what has none, all or nothing and durably.
    ///
    /// # Errors
    /// It is not kept.
    pub fn keep(&mut self, changes: &BTreeMap<String, Option<String>>) -> rusqlite::Result<()> {
        let transaction = self.0.transaction()?;
        for (id, content) in changes {
            match content {
                Some(content) => transaction
                    .prepare_cached("INSERT OR REPLACE INTO kept (id, content) VALUES (?, ?)")?
                    .execute(params![id, content])?,
                None => transaction.prepare_cached("DELETE FROM kept WHERE id = ?")?.execute([id])?,
            };
        }
        transaction.commit()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::approval::Judged;

    #[test]
    fn what_is_kept_is_there_again_and_another_database_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("audit-approvals.sqlite");
        let freeze = Freeze {
            id: "frz_1".into(),
            whom: crate::approval::Whom::Route("claude".into()),
            reason: "no".into(),
            by: "local:0".into(),
            at: "2026-11-22T00:00:00Z".into(),
        };
        let mut store = Store::open(&file, [1; 32]).unwrap();
        let content = Some(serde_json::to_string(&freeze).unwrap());
        store.keep(&BTreeMap::from([("frz_1".to_owned(), content)])).unwrap();
        drop(store);
        let mut store = Store::open(&file, [2; 32]).unwrap();
        assert_eq!(store.load().unwrap().freezes, [freeze]);
        store.keep(&BTreeMap::from([("frz_1".to_owned(), None)])).unwrap();
        assert!(store.load().unwrap().freezes.is_empty());
        // A store of the first version learns to remember.
        store.0.execute_batch("DROP TABLE conversation; PRAGMA user_version = 1").unwrap();
        drop(store);
        let mut store = Store::open(&file, [2; 32]).unwrap();
        let judged = Judged::Passed(vec![(3, "no-drop".to_owned())]);
        let one = Remembered { head: [1; 32], owner: [2; 32], tick: 7, judged };
        let other = Remembered { head: [3; 32], judged: Judged::Refused, tick: 6, ..one.clone() };
        store.remember(&[Change::Keep(one.clone()), Change::Keep(other.clone())]).unwrap();
        assert_eq!(store.load().unwrap().conversations, [other, one]);
        store.remember(&[Change::Forget([1; 32])]).unwrap();
        assert_eq!(store.load().unwrap().conversations.len(), 1);
        let other = dir.path().join("other.sqlite");
        Connection::open(&other).unwrap().execute_batch("PRAGMA application_id = 7").unwrap();
        assert!(Store::open(&other, [1; 32]).unwrap_err().contains("not a store"));
    }
}
