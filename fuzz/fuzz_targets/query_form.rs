//! Any form and query string, as IAM and STS are asked: found, read, validated, or refused.
#![no_main]

use bytes::Bytes;
use craton_wire::bind::bind;
use craton_wire::query;
use craton_wire::table::ServiceTable;
use http::HeaderMap;
use libfuzzer_sys::fuzz_target;

static TABLES: [&ServiceTable; 2] = [&craton_api_iam::SERVICE, &craton_api_sts::SERVICE];

// First byte: the service, and which of its operations is named in front; its high bit: as a GET.
fuzz_target!(|input: &[u8]| {
    let Some((selector, rest)) = input.split_first() else { return };
    let Ok(text) = std::str::from_utf8(rest) else { return };
    let table = TABLES[usize::from(*selector) % TABLES.len()];
    let operations = table.operations;
    let named = operations[usize::from(*selector >> 1) * 3 % operations.len()].name;
    // Half of the inputs name their operation themselves.
    let form = if selector & 0x40 == 0 { format!("Action={named}&{text}") } else { text.to_owned() };
    let (query, body) = match selector & 0x80 {
        0 => (None, Bytes::from(form)),
        _ => (Some(form.as_str().to_owned()), Bytes::new()),
    };
    let Ok(found) = query::find(table, query.as_deref(), &body) else { return };
    let Ok(bound) = bind(&found, query.as_deref(), &HeaderMap::new(), body) else { return };
    let read = match table.name {
        "iam" => craton_api_iam::ops::read_input(found.operation.name, bound),
        _ => craton_api_sts::ops::read_input(found.operation.name, bound),
    };
    // What passes validation is what the generated type can be made of; operations that are not served have none.
    assert!(matches!(read, None | Some(Ok(()))), "{}: {read:?}", found.operation.name);
});
