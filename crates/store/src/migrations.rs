//! The schema's steps, one text for both databases.
//!
//! Numbers are given out in advance, so an older one may arrive after a younger one was applied: both databases apply
//! whatever is missing, in order.

use sqlx::AssertSqlSafe;
use sqlx::SqlSafeStr as _;
use sqlx::migrate::{Migration, Migrator};

static MIGRATIONS: Migrator = sqlx::migrate!();

pub(crate) fn for_sqlite() -> &'static Migrator {
    &MIGRATIONS
}

pub(crate) fn for_postgres() -> Migrator {
    let spelled = MIGRATIONS.migrations.iter().map(|step| {
        let sql = AssertSqlSafe(spell_for_postgres(step.sql.as_str())).into_sql_str();
        Migration::new(step.version, step.description.clone(), step.migration_type, sql, step.no_tx)
    });
    Migrator { migrations: spelled.collect(), ..Migrator::DEFAULT }
}

/// SQLite compares text by bytes, PostgreSQL by the database's locale unless told; its word for bytes is another.
fn spell_for_postgres(sql: &str) -> String {
    let spell = |line: &str| {
        let (code, comment) = line.split_at(line.find("--").unwrap_or(line.len()));
        let mut spelled = String::with_capacity(line.len() + 16);
        for piece in code.split_inclusive(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_')) {
            let word =
                piece.trim_end_matches(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_'));
            spelled.push_str(match word {
                "TEXT" => "TEXT COLLATE \"C\"",
                "BLOB" => "BYTEA",
                other => other,
            });
            spelled.push_str(&piece[word.len()..]);
        }
        spelled + comment
    };
    sql.lines().map(spell).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::spell_for_postgres;

    #[test]
    fn only_types_are_spelled_anew() {
        let sql = "CREATE TABLE t (\n    a TEXT NOT NULL, -- TEXT here\n    TEXT_b BLOB,c TEXT);";
        let expected = "CREATE TABLE t (\n    a TEXT COLLATE \"C\" NOT NULL, -- TEXT here\n    TEXT_b BYTEA,c TEXT COLLATE \"C\");";
        assert_eq!(spell_for_postgres(sql), expected);
    }
}
