//! From a document's text to a compiled policy, with IAM's reasons for refusing one.

use super::arn::{self, ArnPattern};
use super::condition::Condition;
use super::glob::Glob;
use super::json::Node;
use super::principal::Principals;
use super::statement::{Effect, Listed, Policy, Statement};

/// Longer documents are refused before they are read. What each kind of policy may hold is the services' business.
pub const MAX_POLICY_BYTES: usize = 131_072;

/// What a policy is for: which elements it must and must not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PolicyKind {
    /// A managed policy: only of version 2012-10-17.
    Managed,
    /// A policy inside a user, group or role, or one passed with a session.
    Inline,
    /// Who may assume a role.
    Trust,
    /// Attached to a resource.
    Resource,
}

/// Why a document is no policy: the message of IAM's `MalformedPolicyDocument`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(std::borrow::Cow<'static, str>);

impl Malformed {
    pub(crate) const SYNTAX: Self = Self::of("Syntax errors in policy.");
    pub(crate) const NOBODY: Self = Self::of("Invalid principal in policy");
    pub(super) const LEGACY: Self = Self::of("The policy failed legacy parsing");
    pub(super) const VENDOR: Self =
        Self::of("Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.");

    const fn of(message: &'static str) -> Self {
        Self(std::borrow::Cow::Borrowed(message))
    }

    pub(crate) fn principal(kind: &str, value: &str) -> Self {
        Self(format!("Invalid principal in policy: \"{kind}\":\"{value}\"").into())
    }
}

impl Policy {
    /// Reads and compiles a document.
    pub fn parse(text: &str, kind: PolicyKind) -> Result<Self, Malformed> {
        if text.len() > MAX_POLICY_BYTES {
            return Err(Malformed(format!("The policy is longer than {MAX_POLICY_BYTES} bytes.").into()));
        }
        let document: Node = serde_json::from_str(text).map_err(|_| Malformed::SYNTAX)?;
        let Node::Object(members) = &document else { return Err(Malformed::SYNTAX) };
        let mut latest = false;
        let mut statements = None;
        for (name, value) in members {
            match (name.as_str(), value) {
                ("Version", Node::Text(version)) if version == "2012-10-17" => latest = true,
                ("Version", Node::Text(version)) if version == "2008-10-17" => {}
                ("Id", Node::Text(_)) => {}
                ("Statement", Node::Object(_)) => statements = Some(std::slice::from_ref(value)),
                ("Statement", Node::List(list)) => statements = Some(list.as_slice()),
                _ => return Err(Malformed::SYNTAX),
            }
        }
        let nodes = statements.filter(|list| !list.is_empty()).ok_or(Malformed::SYNTAX)?;
        if kind == PolicyKind::Managed && !latest {
            return Err(Malformed::of("Policy document must be version 2012-10-17 or greater."));
        }
        let statements =
            nodes.iter().map(|node| statement(node, kind, latest)).collect::<Result<Box<[_]>, _>>()?;
        let mut sids: Vec<&str> =
            statements.iter().filter_map(|own| own.sid.as_deref()).filter(|sid| !sid.is_empty()).collect();
        sids.sort_unstable();
        if sids.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(Malformed::of("Statement IDs (SID) in a single policy must be unique."));
        }
        let mut keys: Vec<Box<str>> = statements.iter().flat_map(Statement::keys).map(Into::into).collect();
        keys.sort_unstable();
        keys.dedup();
        Ok(Self { statements, keys: keys.into() })
    }
}

fn statement(node: &Node, kind: PolicyKind, variables: bool) -> Result<Statement, Malformed> {
    const ELEMENTS: &[&str] = &[
        "Sid",
        "Effect",
        "Action",
        "NotAction",
        "Resource",
        "NotResource",
        "Principal",
        "NotPrincipal",
        "Condition",
    ];
    let Node::Object(members) = node else { return Err(Malformed::SYNTAX) };
    if members.iter().any(|(name, _)| !ELEMENTS.contains(&name.as_str())) {
        return Err(Malformed::SYNTAX);
    }
    let effect = match node.get("Effect").and_then(Node::text) {
        Some("Allow") => Effect::Allow,
        Some("Deny") => Effect::Deny,
        Some(other) if ["allow", "deny"].contains(&other.to_lowercase().as_str()) => {
            return Err(Malformed::LEGACY);
        }
        _ => return Err(Malformed::SYNTAX),
    };
    Ok(Statement {
        sid: sid(node, kind)?,
        effect,
        principals: principals(node, kind)?,
        actions: actions(node, kind)?,
        resources: resources(node, kind, variables)?,
        conditions: conditions(node, variables)?,
    })
}

fn sid(node: &Node, kind: PolicyKind) -> Result<Option<Box<str>>, Malformed> {
    let Some(sid) = node.get("Sid") else { return Ok(None) };
    let sid = sid.text().ok_or(Malformed::SYNTAX)?;
    if kind != PolicyKind::Resource && !sid.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err(Malformed::of(
            "Statement IDs (SID) must be alpha-numeric. Check that your input satisfies the regular expression \
             [0-9A-Za-z]*",
        ));
    }
    Ok(Some(sid.into()))
}

/// One of an element and its negation; `None` when the statement has neither.
fn either<'n>(node: &'n Node, name: &str, negation: &str) -> Result<Option<(&'n Node, bool)>, Malformed> {
    match (node.get(name), node.get(negation)) {
        (Some(_), Some(_)) => Err(Malformed::SYNTAX),
        (Some(these), None) => Ok(Some((these, true))),
        (None, Some(others)) => Ok(Some((others, false))),
        (None, None) => Ok(None),
    }
}

fn listed<T>(items: Vec<T>, these: bool) -> Listed<T> {
    if these { Listed::These(items.into()) } else { Listed::AllBut(items.into()) }
}

fn principals(node: &Node, kind: PolicyKind) -> Result<Option<Listed<Principals>>, Malformed> {
    let found = either(node, "Principal", "NotPrincipal")?;
    match (found, kind) {
        (None, PolicyKind::Managed | PolicyKind::Inline) => Ok(None),
        (Some(_), PolicyKind::Managed | PolicyKind::Inline) => {
            Err(Malformed::of("Policy document should not specify a principal."))
        }
        (None, PolicyKind::Trust | PolicyKind::Resource) => {
            Err(Malformed::of("Missing required field Principal"))
        }
        (Some((_, false)), PolicyKind::Trust) => Err(Malformed::of("Has prohibited field NotPrincipal")),
        (Some((own, these)), _) => Ok(Some(listed(vec![Principals::parse(own)?], these))),
    }
}

fn actions(node: &Node, kind: PolicyKind) -> Result<Listed<Glob>, Malformed> {
    const NONE: Malformed = Malformed::of("Policy statement must contain actions.");
    let (own, these) = either(node, "Action", "NotAction")?.ok_or(NONE)?;
    let texts = own.texts().ok_or(Malformed::SYNTAX)?;
    if texts.is_empty() {
        return Err(NONE);
    }
    for action in &texts {
        check_action(action)?;
        if kind == PolicyKind::Trust && !action.to_ascii_lowercase().starts_with("sts:") {
            return Err(Malformed::of("AssumeRole policy may only specify STS AssumeRole actions."));
        }
    }
    Ok(listed(texts.iter().map(|action| Glob::parse(&action.to_ascii_lowercase())).collect(), these))
}

/// `*`, or `vendor:Action`.
fn check_action(action: &str) -> Result<(), Malformed> {
    let mut parts = action.split(':');
    let (Some(vendor), name) = (parts.next(), parts.next()) else { return Err(Malformed::VENDOR) };
    if parts.next().is_some() {
        return Err(Malformed::of("Actions/Condition can contain only one colon."));
    }
    match name {
        None if vendor == "*" => Ok(()),
        None => Err(Malformed::VENDOR),
        Some(_) if vendor == "*" => Ok(()),
        Some(_)
            if vendor.is_empty()
                || !vendor.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.".contains(&b)) =>
        {
            Err(Malformed(format!("Vendor {vendor} is not valid").into()))
        }
        Some("") => Err(Malformed::SYNTAX),
        Some(_) => Ok(()),
    }
}

fn resources(
    node: &Node,
    kind: PolicyKind,
    variables: bool,
) -> Result<Option<Listed<ArnPattern>>, Malformed> {
    const NONE: Malformed = Malformed::of("Policy statement must contain resources.");
    let found = either(node, "Resource", "NotResource")?;
    let (own, these) = match (found, kind) {
        (None, PolicyKind::Trust) => return Ok(None),
        (Some(_), PolicyKind::Trust) => return Err(Malformed::of("Has prohibited field Resource")),
        (None, PolicyKind::Resource) => return Err(Malformed::of("Missing required field Resource")),
        (None, PolicyKind::Managed | PolicyKind::Inline) => return Err(NONE),
        (Some(found), _) => found,
    };
    let texts = own.texts().ok_or(Malformed::SYNTAX)?;
    if texts.is_empty() {
        return Err(NONE);
    }
    let patterns = texts.iter().map(|text| resource(text, variables)).collect::<Result<_, _>>()?;
    Ok(Some(listed(patterns, these)))
}

fn resource(text: &str, variables: bool) -> Result<ArnPattern, Malformed> {
    let pattern = ArnPattern::parse(text, variables, true)?;
    let Some(pattern) = pattern else {
        return Err(Malformed(format!("Resource {text} must be in ARN format or \"*\".").into()));
    };
    let mut parts = text.splitn(6, ':').skip(1);
    let (partition, vendor) = (parts.next().unwrap_or_default(), parts.next());
    if text != "*" && !partition.contains(['*', '?']) && !["aws", "aws-cn", "aws-us-gov"].contains(&partition)
    {
        let rest: Vec<&str> = arn::split(text).map_or_else(Vec::new, |parts| parts[2..].to_vec());
        let rest = if rest.is_empty() { "*:*:*:*".to_owned() } else { rest.join(":") };
        let message =
            format!("Partition \"{partition}\" is not valid for resource \"arn:{partition}:{rest}\".");
        return Err(Malformed(message.into()));
    }
    if text != "*" && vendor.is_none_or(str::is_empty) {
        return Err(Malformed::of("Resource vendor must be fully qualified and cannot contain regexes."));
    }
    Ok(pattern)
}

fn conditions(node: &Node, variables: bool) -> Result<Box<[Condition]>, Malformed> {
    let Some(block) = node.get("Condition") else { return Ok(Box::default()) };
    let Node::Object(operators) = block else { return Err(Malformed::SYNTAX) };
    let mut conditions = Vec::new();
    for (operator, keys) in operators {
        let Node::Object(keys) = keys else { return Err(Malformed::SYNTAX) };
        for (key, values) in keys {
            conditions.push(Condition::parse(operator, key, values, variables)?);
        }
    }
    Ok(conditions.into())
}
