use std::borrow::Cow;
use std::net::IpAddr;

use smallvec::smallvec;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::policy::{Context, Keys, Values};

/// The context keys that every request has, worked out when a policy asks for them.
#[derive(Debug, Clone, Copy, Default)]
pub struct RequestKeys<'a> {
    pub source_ip: Option<IpAddr>,
    /// Milliseconds since the Unix epoch.
    pub received_ms: i64,
    /// The region that the client signed for.
    pub region: &'a str,
    /// The request came over TLS.
    pub secure: bool,
    pub user_agent: Option<&'a str>,
    pub referer: Option<&'a str>,
    /// `SHORT_TERM` or `LONG_TERM` for a request with an API key.
    pub bearer_token: Option<&'static str>,
}

impl RequestKeys<'_> {
    const NAMES: [&'static str; 10] = [
        "aws:sourceip",
        "aws:currenttime",
        "aws:epochtime",
        "aws:securetransport",
        "aws:requestedregion",
        "aws:useragent",
        "aws:referer",
        "aws:viaawsservice",
        "aws:principalisawsservice",
        "bedrock:bearertokentype",
    ];

    /// All of them worked out, for a service that adds its own.
    pub fn context(&self) -> Context {
        let mut context = Context::new();
        for name in Self::NAMES {
            if let Some(values) = self.values(name) {
                context.set_all(name, values.into_iter().map(Cow::into_owned));
            }
        }
        context
    }
}

impl Keys for RequestKeys<'_> {
    fn values(&self, key: &str) -> Option<Values<'_>> {
        let value: Cow<'_, str> = match key {
            "aws:sourceip" => self.source_ip?.to_canonical().to_string().into(),
            "aws:currenttime" => rfc3339(self.received_ms)?.into(),
            "aws:epochtime" => self.received_ms.div_euclid(1000).to_string().into(),
            "aws:securetransport" => if self.secure { "true" } else { "false" }.into(),
            "aws:requestedregion" => self.region.into(),
            "aws:useragent" => self.user_agent?.into(),
            "aws:referer" => self.referer?.into(),
            "aws:viaawsservice" | "aws:principalisawsservice" => "false".into(),
            "bedrock:bearertokentype" => self.bearer_token?.into(),
            _ => return None,
        };
        Some(smallvec![value])
    }
}

/// `2026-01-01T00:00:00Z`, as AWS writes times.
pub fn rfc3339(ms: i64) -> Option<String> {
    OffsetDateTime::from_unix_timestamp(ms.div_euclid(1000)).ok()?.format(&Rfc3339).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_as_aws_writes_them() {
        let keys = RequestKeys {
            source_ip: Some("::ffff:192.0.2.1".parse().unwrap()),
            received_ms: 1_767_225_600_999,
            region: "eu-west-1",
            ..RequestKeys::default()
        };
        for (key, expected) in [
            ("aws:sourceip", Some("192.0.2.1")),
            ("aws:currenttime", Some("2026-01-01T00:00:00Z")),
            ("aws:epochtime", Some("1767225600")),
            ("aws:securetransport", Some("false")),
            ("aws:requestedregion", Some("eu-west-1")),
            ("aws:referer", None),
        ] {
            assert_eq!(keys.values(key).map(|values| values[0].to_string()).as_deref(), expected, "{key}");
            assert_eq!(keys.context().values(key), keys.values(key), "{key}");
        }
    }
}
