//! Which guardrails a call goes through.

use std::sync::Arc;

use craton_api_bedrock_runtime as api;
use craton_core::RequestContext;
use craton_guardrails::{Guard, GuardReference};
use craton_models::Resolved;
use craton_wire::ApiError;

use super::input::Reach;
use super::{GuardRecord, Guarding, Guards};
use crate::chat::Inference;

/// One guardrail of a call.
pub(super) struct Applied {
    pub guard: Arc<Guard>,
    /// What of the request it judges.
    pub reach: Reach,
    /// Whether the call names it.
    pub asked: bool,
    /// Whether the account enforces it: the call then has no say over how it judges.
    pub enforced: bool,
}

impl Applied {
    /// Whose wish it is that this guardrail judges.
    pub(super) fn origins(&self) -> Vec<api::GuardrailOrigin> {
        let asked = self.asked.then_some(api::GuardrailOrigin::Request);
        asked.into_iter().chain(self.enforced.then_some(api::GuardrailOrigin::AccountEnforced)).collect()
    }
}

impl Inference {
    /// A guardrail that a request names. It must never be passed over in silence.
    pub async fn guard(
        &self,
        context: &RequestContext,
        reference: &GuardReference,
    ) -> Result<Arc<Guard>, ApiError> {
        match &self.guardrails {
            Some(guardrails) => guardrails.guard(context, reference).await,
            None => Err(ApiError::validation("This server keeps no guardrails.")),
        }
    }

    /// The guardrail that a call asks for, and those that the account enforces.
    pub(crate) async fn guards(
        &self,
        context: &RequestContext,
        resolved: &Resolved,
        guarding: Guarding,
    ) -> Result<Guards, ApiError> {
        let mut guards: Vec<Applied> = Vec::new();
        if let Some(reference) = &guarding.guardrail {
            let guard = self.guard(context, reference).await?;
            guards.push(Applied { guard, reach: Reach::default(), asked: true, enforced: false });
        }
        if let Some(guardrails) = &self.guardrails {
            for it in guardrails.enforced(context, &resolved.model.id).await? {
                let reach = Reach { whole_system: it.whole_system, whole_messages: it.whole_messages };
                match guards.iter_mut().find(|known| Arc::ptr_eq(&known.guard, &it.guard)) {
                    // Once is enough, the stricter way.
                    Some(known) => {
                        known.reach = known.reach.and(reach);
                        known.enforced = true;
                    }
                    None => guards.push(Applied { guard: it.guard, reach, asked: false, enforced: true }),
                }
            }
        }
        Ok(Guards {
            guards,
            marked: guarding.marked,
            asynchronous: guarding.asynchronous,
            record: GuardRecord::new(guarding.trace),
            context: Vec::new(),
        })
    }
}
