//! What stands around the steps of a turn: guardrail, pre-processing and routing before them, post-processing,
//! guardrail, citations and the session after them.

use craton_api_bedrock_agent_runtime as api;
use craton_guardrails::Source;
use craton_wire::ApiError;
use futures::FutureExt as _;
use futures::future::BoxFuture;

use super::conversation;
use super::functions;
use super::prompt::{self, PromptKind, Thread};
use super::returned::{Returned, abandoned};
use super::session::Lease;
use super::step::Plan;
use super::tell::{self, Teller};
use super::trace;
use super::turn::{Acted, Answered, Outcome, Run};
use crate::definition::Collaboration;

/// What the user reads when pre-processing lets a message through to nobody.
const NOT_FOR_THIS_AGENT: &str = "Sorry, I can't help with that.";

impl Run {
    /// One turn, from the question or from what the caller brought back, to its end, the session kept. Boxed: a turn
    /// may hold turns of collaborators.
    pub(super) fn turn<'a>(
        &'a mut self,
        lease: &'a mut Lease,
        returned: Option<Returned>,
    ) -> BoxFuture<'a, Result<Outcome, ApiError>> {
        async move {
            let outcome = self.framed(lease, returned).await?;
            self.session.exchanges.drain(..self.relayed.min(self.session.exchanges.len()));
            self.relayed = 0;
            if let Outcome::Answer(answered) = &outcome
                && !answered.refused
            {
                let exchange = self.exchange(&answered.text);
                self.session.conclude(exchange);
            }
            self.runs.save_session(lease, &mut self.session).await?;
            Ok(outcome)
        }
        .boxed()
    }

    async fn framed(&mut self, lease: &mut Lease, returned: Option<Returned>) -> Result<Outcome, ApiError> {
        let guard = self.guard().await?;
        if let Some(returned) = returned {
            match self.resume(lease, returned).await? {
                Acted::Returned(payload) => return Ok(Outcome::Returned(payload)),
                Acted::GoOn | Acted::Ask(_) => {}
            }
        } else {
            if let Some(pending) = self.session.pending.take() {
                self.session.exchanges.push(abandoned(pending));
            }
            if let Some(guard) = &guard {
                let judged = self.judge(guard, Source::Input, &self.question).await?;
                if judged.blocked {
                    return Ok(refusal(judged.text));
                }
                self.question = judged.text;
            }
            if let Some(text) = self.pre_process().await? {
                return Ok(refusal(text));
            }
            let early = match self.route().await? {
                Some(outcome) => Some(outcome),
                None => self.without_orchestration().await?,
            };
            if let Some(outcome) = early {
                return self.finished(outcome, guard, None).await;
            }
        }
        // What a prompt or a function of the owner's makes of the answer is known at its end only.
        let remade = self.post_processes() || self.parser(PromptKind::Orchestration).is_some();
        let stream = self.options.stream && !remade;
        let mut teller = stream.then(|| Teller::new(self.feed.clone(), guard.clone()));
        let outcome = self.orchestrate(teller.as_mut()).await?;
        self.finished(outcome, guard, teller).await
    }

    /// What is done with an answer before the user has it.
    async fn finished(
        &mut self,
        outcome: Outcome,
        guard: Option<std::sync::Arc<craton_guardrails::Guard>>,
        teller: Option<Teller>,
    ) -> Result<Outcome, ApiError> {
        let Outcome::Answer(mut answered) = outcome else { return Ok(outcome) };
        match teller {
            Some(mut teller) if answered.told => {
                answered.text = teller.finish(&answered.text).await?;
                if guard.is_some() {
                    let assessments = teller.assessments();
                    self.trace_guard(Source::Output, teller.intervened(), assessments);
                }
                if teller.is_blocked() {
                    return Ok(Outcome::Answer(answered));
                }
            }
            _ => {
                if let Some(text) = self.post_process(&answered.text).await? {
                    answered.text = text;
                }
                if let Some(guard) = &guard {
                    let judged = self.judge(guard, Source::Output, &answered.text).await?;
                    answered.text = judged.text;
                    if judged.blocked {
                        return Ok(Outcome::Answer(answered));
                    }
                }
            }
        }
        answered.citations = self.citations(&answered.text).await?;
        Ok(Outcome::Answer(answered))
    }

    fn enabled(&self, kind: PromptKind) -> bool {
        self.prompt_step(kind).is_some_and(|step| step.enabled == Some(true))
    }

    pub(super) fn post_processes(&self) -> bool {
        self.enabled(PromptKind::PostProcessing)
    }

    /// What the user is told in place of an answer, where pre-processing finds that the agent should not see the message.
    async fn pre_process(&self) -> Result<Option<String>, ApiError> {
        let kind = PromptKind::PreProcessing;
        if !self.enabled(kind) {
            return Ok(None);
        }
        let thread = Thread { question: self.question.clone(), ..Thread::default() };
        let prompt = prompt::render(self.template(kind), &self.values(), thread);
        let plan = Plan { kind, prompt, tools: &[], choice: craton_backend::ToolChoice::Auto };
        let said = self.ask(plan, None).await?;
        let (valid, rationale) = match self.parsed_validity(&said).await? {
            Some(parsed) => parsed,
            None => verdict(&said.text()),
        };
        self.trace_pre_processed(&said, valid, &rationale);
        Ok((!valid).then(|| NOT_FOR_THIS_AGENT.to_owned()))
    }

    async fn post_process(&self, text: &str) -> Result<Option<String>, ApiError> {
        let kind = PromptKind::PostProcessing;
        if !self.enabled(kind) {
            return Ok(None);
        }
        let mut values = self.values();
        values.insert("latest_response", text.to_owned());
        values.insert("responses", text.to_owned());
        let thread = Thread { question: self.question.clone(), ..Thread::default() };
        let prompt = prompt::render(self.template(kind), &values, thread);
        let plan = Plan { kind, prompt, tools: &[], choice: craton_backend::ToolChoice::Auto };
        let said = self.ask(plan, None).await?;
        let last = match self.parsed_text(kind, &said).await? {
            Some(parsed) => parsed,
            None => {
                let whole = said.text();
                let inner = between(&whole, "final_response").map(str::to_owned);
                inner.unwrap_or_else(|| tell::part(&whole).1)
            }
        };
        self.trace_post_processed(&said, &last);
        Ok(Some(if last.trim().is_empty() { text.to_owned() } else { last.trim().to_owned() }))
    }

    /// Has a router's question answered by the one collaborator that it fits; none where the supervisor has to work.
    async fn route(&mut self) -> Result<Option<Outcome>, ApiError> {
        let kind = PromptKind::RoutingClassifier;
        let routes = self.agent.collaboration == Collaboration::SupervisorRouter;
        if !routes || self.prompt_step(kind).is_some_and(|step| step.enabled == Some(false)) {
            return Ok(None);
        }
        let one = |it: &crate::definition::Collaborator| format!("{}: {}", it.name, it.instruction.trim());
        let agents: Vec<String> = self.agent.collaborators.iter().map(one).collect();
        let mut values = self.values();
        values.insert("reachable_agents", agents.join("\n"));
        values.insert("conversation", conversation::transcript(self.earlier()));
        let thread = Thread { question: self.question.clone(), ..Thread::default() };
        let prompt = prompt::render(self.template(kind), &values, thread);
        let plan = Plan { kind, prompt, tools: &[], choice: craton_backend::ToolChoice::Auto };
        let said = self.ask(plan, None).await?;
        self.trace_routed(&said);
        let text = said.text();
        let named = between(&text, "agent").unwrap_or(&text).trim().to_owned();
        if !self.agent.collaborators.iter().any(|it| it.name == named) {
            return Ok(None);
        }
        self.hand_on(&named).await.map(Some)
    }

    /// Hands the whole question to one collaborator.
    async fn hand_on(&mut self, name: &str) -> Result<Outcome, ApiError> {
        let id = self.trace_id(PromptKind::RoutingClassifier);
        let input = self.message_input(name, self.question.clone());
        self.tracer.send(|| {
            let input = trace::invocation(id.clone(), api::InvocationType::AgentCollaborator, |it| {
                it.agent_collaborator_invocation_input = Some(input);
            });
            api::Trace::RoutingClassifierTrace(api::RoutingClassifierTrace::InvocationInput(input))
        });
        let delivered = self.deliver(name, self.question.clone()).await?;
        if matches!(delivered.outcome, Outcome::Returned(_)) {
            return Ok(self.hand_over_routed(delivered));
        }
        let Outcome::Answer(answered) = delivered.outcome else { return Ok(answer(String::new())) };
        self.files.extend(delivered.files);
        functions::apply(delivered.attributes, &mut self.session.attributes);
        self.found.extend(delivered.found);
        self.tracer.send(|| {
            let seen = trace::observation(id.clone(), api::Type::AgentCollaborator, |it| {
                it.agent_collaborator_invocation_output = Some(api::AgentCollaboratorInvocationOutput {
                    agent_collaborator_alias_arn: delivered.alias_arn,
                    agent_collaborator_name: Some(name.to_owned()),
                    metadata: Some(self.tracer.metadata(self.started, None)),
                    output: Some(api::AgentCollaboratorOutputPayload {
                        return_control_payload: None,
                        text: Some(answered.text.clone()),
                        r#type: Some(api::PayloadType::Text),
                    }),
                });
            });
            api::Trace::RoutingClassifierTrace(api::RoutingClassifierTrace::Observation(seen))
        });
        Ok(Outcome::Answer(Answered { told: false, ..answered }))
    }
}

/// What the user reads in place of an answer.
fn refusal(text: String) -> Outcome {
    Outcome::Answer(Answered { text, refused: true, ..Answered::default() })
}

fn answer(text: String) -> Outcome {
    Outcome::Answer(Answered { text, ..Answered::default() })
}

/// Whether pre-processing lets a message through, and why. A verdict that can't be read lets nothing through.
fn verdict(text: &str) -> (bool, String) {
    let rationale = tell::part(text).0;
    match category(text) {
        Some('D' | 'E') => (true, rationale),
        Some('A' | 'B' | 'C') => (false, rationale),
        _ => {
            tracing::warn!(
                "pre-processing gave no category that can be read, and its message is turned away"
            );
            (false, format!("{rationale} The model gave no category.").trim().to_owned())
        }
    }
}

/// The letter that pre-processing gave, in a tag or alone.
fn category(text: &str) -> Option<char> {
    let given = between(text, "category").map_or_else(|| tell::part(text).1, str::to_owned);
    let given = given.trim().trim_start_matches("Category").trim_start_matches([':', ' ']);
    let first = given.chars().next()?;
    let alone = given.chars().count() == 1 || !given.chars().nth(1)?.is_alphanumeric();
    alone.then(|| first.to_ascii_uppercase())
}

/// What stands between `<tag>` and `</tag>`, or after `<tag>` where a stop sequence cut the end off.
pub(super) fn between<'t>(text: &'t str, tag: &str) -> Option<&'t str> {
    let open = format!("<{tag}>");
    let start = text.find(&open)? + open.len();
    let rest = &text[start..];
    Some(rest.find(&format!("</{tag}>")).map_or(rest, |end| &rest[..end]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn categories_are_read_from_tags_and_letters() {
        assert_eq!(category("<thinking>x</thinking><category>D</category>"), Some('D'));
        assert_eq!(category("<thinking>x</thinking> A"), Some('A'));
        assert_eq!(category("A: harmful"), Some('A'));
        assert_eq!(category("<category>Category e</category>"), Some('E'));
        assert_eq!(category("Certainly"), None);
        assert!(verdict("<thinking>Fine.</thinking><category>D</category>").0);
        for turned_away in ["<category>A</category>", "garbage", "", "<category>F</category>", "<thinking>x"]
        {
            assert!(!verdict(turned_away).0, "{turned_away}");
        }
        assert_eq!(between("<agent>x", "agent"), Some("x"));
    }
}
