//! Searches that people keep under a name.

use async_recursion::async_recursion;
use jiff::Timestamp;
use serde::Serialize;

use crate::catalog::{Catalog, ask, change};
use crate::error::CatalogError;
use crate::gather::{clean, micros};
use crate::rows::{Read, time};

/// A query with a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SavedSearch {
    /// What it is called.
    pub name: String,
    /// As it was typed.
    pub query: String,
    /// When it was saved last.
    pub saved_at: Timestamp,
}

impl Catalog {
    /// Keeps a search; one of the same name is replaced. `false` when there are `most` of them already.
    ///
    /// # Errors
    /// When the database does not take it.
    #[async_recursion]
    pub async fn save_search(
        &self,
        name: &str,
        query: &str,
        at: Timestamp,
        most: u32,
    ) -> Result<bool, CatalogError> {
        let changed = change!(
            self,
            "keep a search",
            sqlx::query(
                "INSERT INTO saved_searches (name, query, saved_at) SELECT $1, $2, $3 \
                 WHERE (SELECT COUNT(*) FROM saved_searches WHERE name <> $1) < $4 \
                 ON CONFLICT (name) DO UPDATE SET query = excluded.query, saved_at = excluded.saved_at"
            )
            .bind(clean(name))
            .bind(clean(query))
            .bind(micros(at).as_microsecond())
            .bind(i64::from(most))
        );
        Ok(changed > 0)
    }

    /// Forgets a search. `false` when there is none of this name.
    ///
    /// # Errors
    /// When the database does not take it.
    #[async_recursion]
    pub async fn forget_search(&self, name: &str) -> Result<bool, CatalogError> {
        let changed = change!(
            self,
            "forget a search",
            sqlx::query("DELETE FROM saved_searches WHERE name = $1").bind(clean(name))
        );
        Ok(changed > 0)
    }

    /// All kept searches, in the order of their names.
    ///
    /// # Errors
    /// When the database does not answer.
    #[async_recursion]
    pub async fn saved_searches(&self) -> Result<Vec<SavedSearch>, CatalogError> {
        let rows: Vec<(String, String, i64)> = ask!(self, "list kept searches", pool => {
            sqlx::query_as("SELECT name, query, saved_at FROM saved_searches ORDER BY name").fetch_all(pool)
        })?;
        rows.into_iter()
            .map(|(name, query, at)| Ok(SavedSearch { name, query, saved_at: time(at)? }))
            .collect::<Read<_>>()
            .map_err(|error| self.unreadable(error))
    }
}
