//! `docs/coverage.md`: every modelled operation and whether it is served.

use std::fmt::Write as _;

use crate::table::{Operation, ServiceTable};

/// The page, from the tables and what `is_served` says of each operation. Depends on nothing else, so that a test can
/// compare it with the checked-in one.
pub fn render(
    tables: &[&'static ServiceTable],
    is_served: impl Fn(&ServiceTable, &Operation) -> bool,
) -> String {
    let mut page = String::from(
        "# Coverage\n\n\
         Printed from the service tables and the server's routes; a test compares this page with them.\n\
         An operation that is not served answers `UnknownOperationException` (`InvalidAction` in IAM and STS) and says \
         so.\n\n\
         | service | served | modelled |\n|---|--:|--:|\n",
    );
    let count = |table: &ServiceTable| {
        table.operations.iter().filter(|operation| is_served(table, operation)).count()
    };
    // Writing to a String cannot fail.
    for table in tables {
        let _ = writeln!(page, "| {} | {} | {} |", table.name, count(table), table.operations.len());
    }
    let served: usize = tables.iter().map(|table| count(table)).sum();
    let modelled: usize = tables.iter().map(|table| table.operations.len()).sum();
    let _ = writeln!(page, "| **all** | **{served}** | **{modelled}** |");
    for table in tables {
        let _ = write!(page, "\n## {}\n\n| operation | request | served |\n|---|---|---|\n", table.name);
        for operation in table.operations {
            let mark = if is_served(table, operation) { "yes" } else { "not yet" };
            let method = operation.method.as_str();
            let _ = writeln!(page, "| {} | `{method} {}` | {mark} |", operation.name, operation.uri);
        }
    }
    page
}
