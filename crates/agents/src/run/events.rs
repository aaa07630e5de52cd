//! What a run tells its caller on its way, and the stream that carries it.

use bytes::Bytes;
use craton_api_bedrock_agent_runtime as api;
use craton_wire::driven;
use craton_wire::types::Blob;

/// One event of either operation's stream.
#[derive(Debug)]
pub(super) enum RunEvent {
    /// A piece of the answer, and what it rests on.
    Chunk {
        text: String,
        citations: Vec<api::Citation>,
    },
    Trace(Box<api::TracePart>),
    ReturnControl(api::ReturnControlPayload),
    Files(Vec<api::OutputFile>),
}

/// What a run tells, and the stream of it.
pub(super) type Feed = driven::Feed<RunEvent>;
pub(super) type RunStream = driven::Driven<RunEvent>;

fn bytes(text: String) -> Option<Blob> {
    Some(Blob(Bytes::from(text)))
}

fn attribution(citations: Vec<api::Citation>) -> Option<api::Attribution> {
    (!citations.is_empty()).then_some(api::Attribution { citations: Some(citations) })
}

impl From<RunEvent> for api::ResponseStream {
    fn from(event: RunEvent) -> Self {
        match event {
            RunEvent::Chunk { text, citations } => {
                Self::Chunk(api::PayloadPart { attribution: attribution(citations), bytes: bytes(text) })
            }
            RunEvent::Trace(trace) => Self::Trace(*trace),
            RunEvent::ReturnControl(payload) => Self::ReturnControl(payload),
            RunEvent::Files(files) => Self::Files(api::FilePart { files: Some(files) }),
        }
    }
}

/// The same events as InvokeInlineAgent names them.
impl From<RunEvent> for api::InlineAgentResponseStream {
    fn from(event: RunEvent) -> Self {
        match event {
            RunEvent::Chunk { text, citations } => Self::Chunk(api::InlineAgentPayloadPart {
                attribution: attribution(citations),
                bytes: bytes(text),
            }),
            RunEvent::Trace(trace) => Self::Trace(api::InlineAgentTracePart {
                caller_chain: trace.caller_chain,
                collaborator_name: trace.collaborator_name,
                event_time: trace.event_time,
                session_id: trace.session_id,
                trace: trace.trace,
            }),
            RunEvent::ReturnControl(payload) => Self::ReturnControl(api::InlineAgentReturnControlPayload {
                invocation_id: payload.invocation_id,
                invocation_inputs: payload.invocation_inputs,
            }),
            RunEvent::Files(files) => Self::Files(api::InlineAgentFilePart { files: Some(files) }),
        }
    }
}
