//! An operation's answer in its service's protocol.

use bytes::Bytes;
use craton_wire::ApiError;
use craton_wire::operation::{Reply, ReplyBody};
use craton_wire::table::{Operation, Protocol, ServiceTable};
use craton_wire::xml;
use http::{HeaderValue, Response, StatusCode, header};

use super::events::EventBody;
use crate::body::Body;
use crate::transport::Shutdown;
use craton_metering::RequestTimer;

const EVENT_STREAM: HeaderValue = HeaderValue::from_static("application/vnd.amazon.eventstream");

/// What a handler answered, and to what.
pub(super) struct Answered {
    pub(super) table: &'static ServiceTable,
    pub(super) operation: &'static Operation,
    pub(super) reply: Reply,
}

pub(super) fn render(
    answered: Answered,
    request_id: &str,
    shutdown: Shutdown,
    timer: RequestTimer,
) -> Response<Body> {
    let Answered { table, operation, reply } = answered;
    let status = reply.status.unwrap_or(operation.status);
    let mut content_type = Some(content_type(table));
    let body = match reply.body {
        ReplyBody::Events(frames) => {
            content_type = Some(EVENT_STREAM);
            let events = EventBody::new(frames, shutdown, move |error| {
                timer.finish(error.map_or(status, |error| error.status(None).as_u16()));
            });
            Body::stream(events)
        }
        ReplyBody::Empty | ReplyBody::Bytes(_) => {
            let inside = match reply.body {
                ReplyBody::Bytes(bytes) => Some(bytes),
                _ => None,
            };
            if inside.is_none() && table.protocol == Protocol::RestJson {
                content_type = None;
            }
            timer.finish(status);
            Body::full(whole(table, operation, inside, request_id))
        }
    };
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
    let headers = response.headers_mut();
    headers.extend(content_type.map(|content_type| (header::CONTENT_TYPE, content_type)));
    for (name, value) in reply.headers {
        headers.insert(name, value);
    }
    response
}

fn content_type(table: &ServiceTable) -> HeaderValue {
    HeaderValue::from_static(match table.protocol {
        Protocol::RestJson => "application/json",
        Protocol::Json { version: "1.1", .. } => "application/x-amz-json-1.1",
        Protocol::Json { .. } => "application/x-amz-json-1.0",
        Protocol::Query { .. } => "text/xml",
    })
}

/// The body with its envelope, where the protocol has one.
fn whole(table: &ServiceTable, operation: &Operation, inside: Option<Bytes>, request_id: &str) -> Bytes {
    match table.protocol {
        Protocol::Query { xmlns, .. } => {
            xml::response(operation.name, xmlns, inside.as_deref(), request_id).into()
        }
        Protocol::Json { .. } => inside.unwrap_or_else(|| Bytes::from_static(b"{}")),
        Protocol::RestJson => inside.unwrap_or_default(),
    }
}

pub(super) fn refuse(
    error: &ApiError,
    table: Option<&'static ServiceTable>,
    request_id: &str,
) -> Response<Body> {
    tracing::debug!(request_id, code = %error.code, message = %error.message, "refused");
    error.render(table, request_id).map(Body::full)
}
