use std::sync::Arc;

use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use sqlx::{Column as _, Decode, Row as _, TypeInfo as _, ValueRef as _};

use crate::{StoreError, Value};

/// One row of an answer, independent of its database.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    names: Arc<[Box<str>]>,
    values: Vec<Value>,
}

impl Row {
    /// The column called `name`, as `String`, `&str`, `i64`, `f64`, `bool`, `Vec<u8>`, `&[u8]`, or an `Option` of them.
    pub fn get<'r, T: FromValue<'r>>(&'r self, name: &str) -> Result<T, StoreError> {
        let wrong = || StoreError::Column { name: name.to_owned() };
        let at = self.names.iter().position(|known| **known == *name).ok_or_else(wrong)?;
        T::from_value(&self.values[at]).ok_or_else(wrong)
    }

    /// The columns in the statement's order.
    pub fn into_values(self) -> Vec<Value> {
        self.values
    }
}

/// What a column can be read as.
pub trait FromValue<'r>: Sized {
    fn from_value(value: &'r Value) -> Option<Self>;
}

impl<'r> FromValue<'r> for &'r str {
    fn from_value(value: &'r Value) -> Option<Self> {
        match value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }
}

impl<'r> FromValue<'r> for String {
    fn from_value(value: &'r Value) -> Option<Self> {
        <&str>::from_value(value).map(str::to_owned)
    }
}

impl<'r> FromValue<'r> for i64 {
    fn from_value(value: &'r Value) -> Option<Self> {
        match value {
            Value::Integer(integer) => Some(*integer),
            _ => None,
        }
    }
}

impl<'r> FromValue<'r> for bool {
    fn from_value(value: &'r Value) -> Option<Self> {
        i64::from_value(value).map(|integer| integer != 0)
    }
}

impl<'r> FromValue<'r> for f64 {
    fn from_value(value: &'r Value) -> Option<Self> {
        match value {
            Value::Real(real) => Some(*real),
            // SQLite keeps whole numbers as integers where that loses nothing.
            #[allow(clippy::cast_precision_loss, reason = "written as f64 before")]
            Value::Integer(integer) => Some(*integer as f64),
            _ => None,
        }
    }
}

impl<'r> FromValue<'r> for &'r [u8] {
    fn from_value(value: &'r Value) -> Option<Self> {
        match value {
            Value::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }
}

impl<'r> FromValue<'r> for Vec<u8> {
    fn from_value(value: &'r Value) -> Option<Self> {
        <&[u8]>::from_value(value).map(<[u8]>::to_vec)
    }
}

impl<'r, T: FromValue<'r>> FromValue<'r> for Option<T> {
    fn from_value(value: &'r Value) -> Option<Self> {
        match value {
            Value::Null => Some(None),
            other => T::from_value(other).map(Some),
        }
    }
}

pub(crate) fn from_sqlite(rows: &[SqliteRow]) -> Result<Vec<Row>, sqlx::Error> {
    let names = rows.first().map_or_else(Arc::default, names);
    let read = |row: &SqliteRow| {
        let values = (0..row.len()).map(|at| {
            let raw = row.try_get_raw(at)?;
            if raw.is_null() {
                return Ok(Value::Null);
            }
            let value = match raw.type_info().name() {
                "TEXT" => Decode::<sqlx::Sqlite>::decode(raw).map(Value::Text),
                "INTEGER" => Decode::<sqlx::Sqlite>::decode(raw).map(Value::Integer),
                "REAL" => Decode::<sqlx::Sqlite>::decode(raw).map(Value::Real),
                "BLOB" => Decode::<sqlx::Sqlite>::decode(raw).map(Value::Bytes),
                other => Err(format!("values of type {other} are not read").into()),
            };
            value.map_err(sqlx::Error::Decode)
        });
        Ok(Row { names: Arc::clone(&names), values: values.collect::<Result<_, sqlx::Error>>()? })
    };
    rows.iter().map(read).collect()
}

pub(crate) fn from_postgres(rows: &[PgRow]) -> Result<Vec<Row>, sqlx::Error> {
    let names = rows.first().map_or_else(Arc::default, names);
    let read = |row: &PgRow| {
        let values = (0..row.len()).map(|at| {
            let raw = row.try_get_raw(at)?;
            if raw.is_null() {
                return Ok(Value::Null);
            }
            let kind = raw.type_info();
            let value = match kind.name() {
                "TEXT" | "VARCHAR" | "NAME" => Decode::<sqlx::Postgres>::decode(raw).map(Value::Text),
                "INT8" => Decode::<sqlx::Postgres>::decode(raw).map(Value::Integer),
                "INT4" => <i32 as Decode<sqlx::Postgres>>::decode(raw).map(|n| Value::Integer(n.into())),
                "BOOL" => <bool as Decode<sqlx::Postgres>>::decode(raw).map(Value::from),
                "FLOAT8" => Decode::<sqlx::Postgres>::decode(raw).map(Value::Real),
                "FLOAT4" => <f32 as Decode<sqlx::Postgres>>::decode(raw).map(|n| Value::Real(n.into())),
                "BYTEA" => Decode::<sqlx::Postgres>::decode(raw).map(Value::Bytes),
                other => Err(format!("values of type {other} are not read; cast them").into()),
            };
            value.map_err(sqlx::Error::Decode)
        });
        Ok(Row { names: Arc::clone(&names), values: values.collect::<Result<_, sqlx::Error>>()? })
    };
    rows.iter().map(read).collect()
}

fn names<R: sqlx::Row>(row: &R) -> Arc<[Box<str>]> {
    row.columns().iter().map(|column| column.name().into()).collect()
}
