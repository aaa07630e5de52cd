/// What a principal needs to be allowed for an operation.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) operation: &'static str,
    /// The action's name without its vendor; `None` where it is the operation's.
    pub(crate) action: Option<&'static str>,
    /// Templates of resources: `agent/{agentId}`, `{resourceArn}` for an ARN as it was sent, `*` for none.
    ///
    /// `model/{…}` is whatever answers for a model id, `profile/{…}` an inference profile of either kind,
    /// `object/{…}/{…}` an object in a bucket (behind a `?` its version, where one is named), `uri/{…}` the object of an
    /// `s3://` URI, both to be read, `moved/user` what a user will be by the name and path it is to get. A name that ends in `[]` stands for all
    /// members of a list. What a template names and the request lacks becomes a `*`, which only patterns that end in one
    /// match.
    pub(crate) on: &'static [&'static str],
    /// Further actions on what the body names, each asked about only where the request names it.
    pub(crate) also: &'static [(&'static str, &'static str)],
    pub(crate) asked: Asked,
}

/// Who is asked whether the principal may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    /// Of the principal's policies and of the resource's own.
    Always,
    /// Of a role's trust policy too, since the operation begins a session of the role.
    OfTheRole,
    /// Never: everyone with credentials may.
    Never,
}

pub(crate) const fn rule(operation: &'static str, on: &'static [&'static str]) -> Rule {
    Rule { operation, action: None, on, also: &[], asked: Asked::Always }
}

impl Rule {
    pub(crate) const fn called(mut self, action: &'static str) -> Self {
        self.action = Some(action);
        self
    }

    pub(crate) const fn also(mut self, also: &'static [(&'static str, &'static str)]) -> Self {
        self.also = also;
        self
    }

    pub(crate) const fn of_the_role(mut self) -> Self {
        self.asked = Asked::OfTheRole;
        self
    }

    pub(crate) const fn open(mut self) -> Self {
        self.asked = Asked::Never;
        self
    }
}
