use super::arn::{self, ArnParts, ArnPattern};
use super::condition::Condition;
use super::evaluate::Request;
use super::glob::Glob;
use super::keys::Keys;
use super::principal::{Naming, Principals};
use super::template::Fit;

/// What a statement that matches says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    Allow,
    Deny,
}

/// A compiled policy. Immutable: a new version is a new policy. The default one says nothing.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    pub(super) statements: Box<[Statement]>,
    /// Every context key that conditions and variables ask for, in lower case, sorted.
    pub(super) keys: Box<[Box<str>]>,
}

#[derive(Debug, Clone)]
pub(super) struct Statement {
    pub(super) sid: Option<Box<str>>,
    pub(super) effect: Effect,
    pub(super) actions: Listed<Glob>,
    /// `None` in trust policies, which are about the role they belong to.
    pub(super) resources: Option<Listed<ArnPattern>>,
    /// `None` in identity policies, which are about whom they are attached to.
    pub(super) principals: Option<Listed<Principals>>,
    pub(super) conditions: Box<[Condition]>,
}

/// `Action` or `NotAction`, and the like.
#[derive(Debug, Clone)]
pub(super) enum Listed<T> {
    These(Box<[T]>),
    AllBut(Box<[T]>),
}

/// A request with what every statement would otherwise work out again.
pub(super) struct Prepared<'a> {
    pub(super) request: &'a Request<'a>,
    /// In lower case.
    action: String,
    arn: Option<ArnParts<'a>>,
}

impl<'a> Prepared<'a> {
    pub(super) fn new(request: &'a Request<'a>) -> Self {
        Self { action: request.action.to_ascii_lowercase(), arn: arn::split(request.resource), request }
    }
}

impl Policy {
    /// The context keys that it asks for, in lower case, sorted.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(|key| &**key)
    }

    /// The context keys of its conditions, as they are written.
    pub fn written_keys(&self) -> impl Iterator<Item = &str> {
        let conditions = self.statements.iter().flat_map(|statement| &statement.conditions);
        conditions.map(|condition| &*condition.key_as_written)
    }

    /// Whether it asks for a key that begins so: `aws:resourcetag/`.
    pub fn mentions(&self, prefix: &str) -> bool {
        let first = self.keys.partition_point(|key| **key < *prefix);
        self.keys.get(first).is_some_and(|key| key.starts_with(prefix))
    }

    /// The statements that match a request: their index, `Sid` and effect.
    pub fn matching<'p>(
        &'p self,
        request: &'p Request<'p>,
    ) -> impl Iterator<Item = (usize, Option<&'p str>, Effect)> {
        let prepared = Prepared::new(request);
        self.statements.iter().enumerate().filter_map(move |(index, statement)| {
            let naming = statement.naming(&prepared);
            (naming != Naming::No).then_some((index, statement.sid.as_deref(), statement.effect))
        })
    }
}

impl Statement {
    /// Whether it matches, and how closely it names who asks; an identity policy's always names them directly.
    pub(super) fn naming(&self, prepared: &Prepared<'_>) -> Naming {
        let request = prepared.request;
        if !self.matches_action(&prepared.action) {
            return Naming::No;
        }
        let naming = match &self.principals {
            None => Naming::Direct,
            Some(Listed::These(principals)) => {
                principals.iter().map(|own| own.naming(request.requester)).max().unwrap_or(Naming::No)
            }
            Some(Listed::AllBut(principals)) => {
                let excepted = principals.iter().any(|own| own.except(request.requester, self.effect));
                if excepted { Naming::No } else { Naming::Indirect }
            }
        };
        // Most statements have no conditions and end here.
        if naming != Naming::No
            && self.matches_resource(prepared.arn.as_ref(), request.keys)
            && self.conditions.iter().all(|condition| condition.holds(request.keys, self.effect))
        {
            naming
        } else {
            Naming::No
        }
    }

    fn matches_action(&self, action: &str) -> bool {
        match &self.actions {
            Listed::These(patterns) => patterns.iter().any(|pattern| pattern.matches(action)),
            Listed::AllBut(patterns) => !patterns.iter().any(|pattern| pattern.matches(action)),
        }
    }

    fn matches_resource(&self, arn: Option<&ArnParts<'_>>, keys: &dyn Keys) -> bool {
        match &self.resources {
            None => true,
            Some(Listed::These(patterns)) => {
                Fit::any(patterns.iter().map(|pattern| pattern.fit(arn, keys))) == Fit::Yes
            }
            Some(Listed::AllBut(patterns)) => {
                Fit::any(patterns.iter().map(|pattern| pattern.fit(arn, keys))).is_none_for(self.effect)
            }
        }
    }

    /// The keys it asks for.
    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        let resources: &[ArnPattern] = match &self.resources {
            None => &[],
            Some(Listed::These(patterns) | Listed::AllBut(patterns)) => patterns,
        };
        resources.iter().flat_map(ArnPattern::keys).chain(self.conditions.iter().flat_map(Condition::keys))
    }
}
