//! ApplyGuardrail and InvokeGuardrailChecks: guardrails without a model.

use std::collections::HashSet;

use craton_api_bedrock::{GuardrailContentFilterType as Category, GuardrailPiiEntityType as Kind};
use craton_api_bedrock_runtime as api;
use craton_core::RequestContext;
use craton_wire::ApiError;

use crate::guard::{Assessed, Guard, Piece, Qualifier, Scope, Source, narrow};
use crate::policies::content::CATEGORIES;
use crate::policies::pii::PiiDetector;
use crate::service::{GuardReference, Guardrails};

/// Most bytes of text that one request may bring.
const MOST_BYTES: usize = 2 << 20;
/// Most findings that InvokeGuardrailChecks lists.
const MOST_FINDINGS: usize = 1000;

impl Guardrails {
    pub async fn apply_guardrail(
        &self,
        context: &RequestContext,
        input: api::ApplyGuardrailRequest,
    ) -> Result<api::ApplyGuardrailResponse, ApiError> {
        let reference =
            GuardReference { identifier: input.guardrail_identifier, version: Some(input.guardrail_version) };
        let guard = self.guard(context, &reference).await?;
        let source = match input.source {
            api::GuardrailContentSource::Input => Source::Input,
            api::GuardrailContentSource::Output => Source::Output,
        };
        let pieces = input.content.into_iter().map(piece).collect::<Result<Vec<_>, _>>()?;
        if pieces.is_empty() {
            return Err(ApiError::validation(
                "The content to apply the guardrail to is empty. Add content and try again.",
            ));
        }
        check_size(pieces.iter().map(|piece| piece.text.len()).sum())?;
        check_grounding(&guard, source, &pieces)?;
        let judged: Vec<bool> = pieces.iter().map(Piece::is_judged).collect();
        let scope = match input.output_scope {
            Some(api::GuardrailOutputScope::Full) => Scope::Full,
            _ => Scope::Interventions,
        };
        let assessed = guard.assess(source, pieces).await?;
        Ok(response(&guard, source, assessed, &judged, scope))
    }

    pub async fn invoke_guardrail_checks(
        &self,
        _context: &RequestContext,
        input: api::InvokeGuardrailChecksRequest,
    ) -> Result<api::InvokeGuardrailChecksResponse, ApiError> {
        let checks = input.checks;
        if checks.content_filter.is_none()
            && checks.prompt_attack.is_none()
            && checks.sensitive_information.is_none()
        {
            return Err(ApiError::validation(
                "At least one check must be asked for. Add a check and try again.",
            ));
        }
        check_repeated(&checks)?;
        let source = |role: api::GuardrailChecksRole| match role {
            api::GuardrailChecksRole::Assistant => Source::Output,
            _ => Source::Input,
        };
        let sources: Vec<Source> =
            input.messages.iter().flat_map(|it| it.content.iter().map(|_| source(it.role))).collect();
        let texts: Vec<(i32, i32, String)> = (0..)
            .zip(input.messages)
            .flat_map(|(message, it)| {
                let blocks = (0..).zip(it.content);
                blocks
                    .map(move |(block, api::GuardrailChecksContentBlock::Text(text))| (message, block, text))
            })
            .collect();
        check_size(texts.iter().map(|(_, _, text)| text.len()).sum())?;
        let names = match (&checks.sensitive_information, &self.parts.vectors.names) {
            (Some(wanted), Some(names)) if wanted.entities.iter().any(|it| needs_names(it.r#type)) => {
                names.get().await.map(Some).map_err(|reason| {
                    tracing::error!(reason, "the model that finds names can't be used");
                    ApiError::unavailable(
                        "The model that finds names and addresses can't be loaded. Try again later.",
                    )
                })?
            }
            _ => None,
        };
        let severities = match checks.content_filter.is_some() || checks.prompt_attack.is_some() {
            true => {
                let texts = texts.iter().map(|(_, _, text)| text.clone());
                self.checking()?.severities(sources.into_iter().zip(texts).collect()).await?
            }
            false => [0.0; CATEGORIES.len()],
        };
        let run = move || run_checks(&checks, &texts, (names, severities));
        tokio::task::spawn_blocking(run).await.map_err(|error| ApiError::internal(error.to_string()))
    }
}

fn piece(block: api::GuardrailContentBlock) -> Result<Piece, ApiError> {
    match block {
        api::GuardrailContentBlock::Text(block) => {
            let qualifiers = block.qualifiers.unwrap_or_default().into_iter().map(|it| match it {
                api::GuardrailContentQualifier::GroundingSource => Qualifier::GroundingSource,
                api::GuardrailContentQualifier::Query => Qualifier::Query,
                api::GuardrailContentQualifier::GuardContent => Qualifier::GuardContent,
            });
            Ok(Piece { text: block.text, qualifiers: qualifiers.collect() })
        }
        api::GuardrailContentBlock::Image(_) => Err(ApiError::validation(
            "This server's guardrails look at text only. Remove the image and try again.",
        )),
    }
}

/// Each thing is checked once: nobody could tell two answers apart.
fn check_repeated(checks: &api::GuardrailChecksConfig) -> Result<(), ApiError> {
    let content =
        checks.content_filter.iter().flat_map(|it| it.categories.iter().map(|it| it.category.as_str()));
    let attacks =
        checks.prompt_attack.iter().flat_map(|it| it.categories.iter().map(|it| it.category.as_str()));
    let entities =
        checks.sensitive_information.iter().flat_map(|it| it.entities.iter().map(|it| it.r#type.as_str()));
    let mut seen = HashSet::new();
    let named = content.map(|it| ("contentFilter", it));
    let named = named.chain(attacks.map(|it| ("promptAttack", it)));
    for (check, name) in named.chain(entities.map(|it| ("sensitiveInformation", it))) {
        if !seen.insert((check, name)) {
            return Err(ApiError::validation(format!(
                "The check {check} names {name} more than once. Remove the repetition and try again."
            )));
        }
    }
    Ok(())
}

fn check_size(bytes: usize) -> Result<(), ApiError> {
    match bytes > MOST_BYTES {
        true => Err(ApiError::validation(format!(
            "The content has more than {MOST_BYTES} bytes. Send less and try again."
        ))),
        false => Ok(()),
    }
}

/// A grounding policy has nothing to say without a source, a query and an answer.
fn check_grounding(guard: &Guard, source: Source, pieces: &[Piece]) -> Result<(), ApiError> {
    let qualified = pieces.iter().any(|it| it.is(Qualifier::GroundingSource) || it.is(Qualifier::Query));
    if source != Source::Output || !qualified || !guard.needs_whole_answers() {
        return Ok(());
    }
    let has = |qualifier| pieces.iter().any(|it| it.is(qualifier));
    let answer = pieces
        .iter()
        .any(|it| it.is_judged() && !it.is(Qualifier::Query) && !it.is(Qualifier::GroundingSource));
    match has(Qualifier::GroundingSource) && has(Qualifier::Query) && answer {
        true => Ok(()),
        false => Err(ApiError::validation(
            "The contextual grounding policy needs a grounding source, a query and content to guard. Add what is missing \
             and try again.",
        )),
    }
}

fn response(
    guard: &Guard,
    source: Source,
    assessed: Assessed,
    judged: &[bool],
    scope: Scope,
) -> api::ApplyGuardrailResponse {
    let reason = assessed.reason().to_owned();
    let text = |text: String| api::GuardrailOutputContent { text: Some(text) };
    let outputs = match (assessed.blocked, assessed.masked) {
        (true, _) => vec![text(guard.blocked_message(source).to_owned())],
        (false, true) => {
            let kept = assessed.texts.iter().zip(judged).filter(|(_, judged)| **judged);
            kept.map(|(it, _)| text(it.clone())).collect()
        }
        (false, false) => Vec::new(),
    };
    let action = match assessed.intervened() {
        true => api::GuardrailAction::GuardrailIntervened,
        false => api::GuardrailAction::None,
    };
    let mut assessment = assessed.assessment;
    narrow(&mut assessment, scope);
    api::ApplyGuardrailResponse {
        usage: assessed.usage,
        action,
        action_reason: Some(reason),
        outputs,
        assessments: vec![assessment],
        guardrail_coverage: Some(assessed.coverage),
    }
}

fn needs_names(kind: api::GuardrailChecksSensitiveInformationEntityType) -> bool {
    matches!(kind.as_str(), "NAME" | "ADDRESS")
}

type Names = Option<std::sync::Arc<crate::ner::NameModel>>;

fn run_checks(
    checks: &api::GuardrailChecksConfig,
    texts: &[(i32, i32, String)],
    (names, severities): (Names, [f32; CATEGORIES.len()]),
) -> api::InvokeGuardrailChecksResponse {
    let mut response = api::InvokeGuardrailChecksResponse::default();
    let chars: usize = texts.iter().map(|(_, _, text)| text.chars().count()).sum();
    let text_units = i32::try_from(chars.div_ceil(1000).max(1)).unwrap_or(i32::MAX);
    if checks.content_filter.is_some() || checks.prompt_attack.is_some() {
        let score = |category: Category| {
            let index = CATEGORIES.iter().position(|it| *it == category);
            index.map_or(0.0, |index| (f64::from(severities[index]) * 10_000.0).round() / 10_000.0)
        };
        if let Some(config) = &checks.content_filter {
            let entry = |it: &api::GuardrailChecksContentFilterCategoryConfig| {
                api::GuardrailChecksContentFilterResultEntry {
                    category: it.category,
                    severity_score: it.category.as_str().parse().map_or(0.0, score),
                }
            };
            let results = config.categories.iter().map(entry).collect();
            response.results.content_filter = Some(api::GuardrailChecksContentFilterResult { results });
            response.usage.content_filter = Some(api::GuardrailChecksContentFilterUsage { text_units });
        }
        if let Some(config) = &checks.prompt_attack {
            let entry = |it: &api::GuardrailChecksPromptAttackCategoryConfig| {
                api::GuardrailChecksPromptAttackResultEntry {
                    category: it.category,
                    severity_score: score(Category::PromptAttack),
                }
            };
            let results = config.categories.iter().map(entry).collect();
            response.results.prompt_attack = Some(api::GuardrailChecksPromptAttackResult { results });
            response.usage.prompt_attack = Some(api::GuardrailChecksPromptAttackUsage { text_units });
        }
    }
    if let Some(config) = &checks.sensitive_information {
        let kinds: Vec<Kind> =
            config.entities.iter().filter_map(|it| it.r#type.as_str().parse().ok()).collect();
        response.results.sensitive_information = Some(sensitive(&PiiDetector::new(&kinds, names), texts));
        response.usage.sensitive_information =
            Some(api::GuardrailChecksSensitiveInformationUsage { text_units });
    }
    response
}

fn sensitive(
    detector: &PiiDetector,
    texts: &[(i32, i32, String)],
) -> api::GuardrailChecksSensitiveInformationResult {
    let mut results = Vec::new();
    let mut truncated = false;
    'texts: for (message_index, content_index, text) in texts {
        // Offsets are in characters, as clients count; findings come in the order of the text.
        let (mut bytes, mut counted) = (0, 0);
        let mut chars = |at: usize| {
            counted += text[bytes..at].chars().count();
            bytes = at;
            i32::try_from(counted).unwrap_or(i32::MAX)
        };
        for finding in detector.find(text) {
            let Ok(r#type) = finding.kind.as_str().parse() else { continue };
            if results.len() == MOST_FINDINGS {
                truncated = true;
                break 'texts;
            }
            results.push(api::GuardrailChecksSensitiveInformationResultEntry {
                r#type,
                confidence_score: f64::from(finding.confidence) / 100.0,
                begin_offset: chars(finding.range.start),
                end_offset: chars(finding.range.end),
                message_index: *message_index,
                content_index: *content_index,
            });
        }
    }
    api::GuardrailChecksSensitiveInformationResult { results, truncated: truncated.then_some(true) }
}
