//! Which modelled operations are served: the tables joined with the routes.

use craton_wire::table::{Operation, ServiceTable};

use crate::routes::{Routes, TABLES};

/// Every modelled operation, and whether this release serves it.
pub fn operations() -> Vec<(&'static ServiceTable, &'static Operation, bool)> {
    let routes = Routes::all();
    let of_table = |table: &&'static ServiceTable| {
        let table = *table;
        table.operations.iter().map(move |operation| (table, operation))
    };
    let all = TABLES.iter().flat_map(of_table);
    all.map(|(table, operation)| (table, operation, routes.serves(table, operation))).collect()
}

/// The text of `docs/coverage.md`.
pub fn page() -> String {
    let routes = Routes::all();
    craton_wire::coverage::render(TABLES, |table, operation| routes.serves(table, operation))
}
