use std::fmt;
use std::str::FromStr;

/// An Amazon Resource Name: `arn:partition:service:region:account:resource`.
///
/// Region and account may be empty (foundation models have no account). The resource part keeps its own colons and
/// slashes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Arn {
    pub partition: String,
    pub service: String,
    pub region: String,
    pub account: String,
    pub resource: String,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not an ARN: expected arn:partition:service:region:account:resource")]
pub struct ArnError(String);

/// The ARN partition that a region belongs to; that of what has no region is `aws`.
pub fn partition(region: &str) -> &'static str {
    if region.starts_with("us-gov-") {
        "aws-us-gov"
    } else if region.starts_with("cn-") {
        "aws-cn"
    } else {
        "aws"
    }
}

impl Arn {
    /// An ARN of the region's partition.
    pub fn new(service: &str, region: &str, account: &str, resource: impl Into<String>) -> Self {
        Self {
            partition: partition(region).into(),
            service: service.into(),
            region: region.into(),
            account: account.into(),
            resource: resource.into(),
        }
    }

    /// This ARN in its region's own partition, whatever partition it was written with.
    #[must_use]
    pub fn canonical(self) -> Self {
        Self { partition: partition(&self.region).into(), ..self }
    }

    /// The resource's type and id, split at the first `/` or `:`: `foundation-model/x` gives `("foundation-model", "x")`.
    pub fn resource_parts(&self) -> (&str, &str) {
        self.resource.split_once(['/', ':']).unwrap_or(("", &self.resource))
    }
}

impl fmt::Display for Arn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { partition, service, region, account, resource } = self;
        write!(f, "arn:{partition}:{service}:{region}:{account}:{resource}")
    }
}

impl FromStr for Arn {
    type Err = ArnError;

    fn from_str(text: &str) -> Result<Self, ArnError> {
        let mut parts = text.splitn(6, ':');
        let mut next = || parts.next().map(str::to_owned);
        match (next().as_deref(), next(), next(), next(), next(), next()) {
            (Some("arn"), Some(partition), Some(service), Some(region), Some(account), Some(resource))
                if !partition.is_empty() && !service.is_empty() && !resource.is_empty() =>
            {
                Ok(Self { partition, service, region, account, resource })
            }
            _ => Err(ArnError(text.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips_with_empty_account_and_colons_in_the_resource() {
        let text = "arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-3-haiku-20240307-v1:0";
        let arn: Arn = text.parse().unwrap();
        assert_eq!(arn.account, "");
        assert_eq!(arn.resource_parts(), ("foundation-model", "anthropic.claude-3-haiku-20240307-v1:0"));
        assert_eq!(arn.to_string(), text);
    }

    #[test]
    fn a_region_has_one_partition() {
        for (text, expected) in [
            ("arn:aws-x:bedrock:us-east-1::foundation-model/m", "aws"),
            ("arn:aws:bedrock:us-gov-west-1::foundation-model/m", "aws-us-gov"),
            ("arn:aws:lambda:cn-north-1:1:function:f", "aws-cn"),
            ("arn:aws-cn:iam::1:role/r", "aws"),
        ] {
            assert_eq!(text.parse::<Arn>().unwrap().canonical().partition, expected, "{text}");
        }
    }

    #[test]
    fn refuses_what_is_not_an_arn() {
        for text in ["", "arn", "arn:aws:bedrock", "urn:aws:bedrock:r:a:x", "arn:aws:bedrock:us-east-1:1:"] {
            assert!(text.parse::<Arn>().is_err(), "{text}");
        }
    }
}
