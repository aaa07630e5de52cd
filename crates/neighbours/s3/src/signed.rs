//! What a request's head says of its signature, and rules for it beyond the sum itself.

use http::HeaderValue;
use http::request::Parts;
use s3s::{S3Error, S3Result, s3_error};

const TOKEN: &str = "x-amz-security-token";

/// The key, session token and region that a head or a form names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Signed {
    pub(crate) access_key_id: String,
    pub(crate) session_token: Option<String>,
    /// `None` for a signature that has none.
    pub(crate) region: Option<String>,
}

/// Reads who says to have signed. `None` for an unsigned request.
pub(crate) fn claim(parts: &Parts) -> S3Result<Option<Signed>> {
    let query = Query::of(parts)?;
    let authorization = header(parts, "authorization")?;
    match (authorization, query.has("X-Amz-Signature"), query.has("Signature")) {
        (None, false, false) => Ok(None),
        (Some(authorization), false, false) => by_header(parts, authorization).map(Some),
        (None, true, false) => by_v4_query(parts, &query).map(Some),
        (None, false, true) => {
            let access_key_id = query.get("AWSAccessKeyId").ok_or_else(incomplete)?.to_owned();
            let session_token = query.get(TOKEN).or(header(parts, TOKEN)?).map(str::to_owned);
            Ok(Some(Signed { access_key_id, session_token, region: None }))
        }
        _ => Err(s3_error!(
            InvalidArgument,
            "Only one auth mechanism allowed; only the X-Amz-Algorithm query \
             parameter, Signature query string parameter or the Authorization header should be specified"
        )),
    }
}

fn incomplete() -> S3Error {
    s3_error!(AuthorizationQueryParametersError, "Query-string authentication requires all of its parameters")
}

fn by_header(parts: &Parts, authorization: &str) -> S3Result<Signed> {
    let Some(fields) = authorization.strip_prefix("AWS4-HMAC-SHA256") else {
        // Version 2 signatures of headers have no end and are not what any client of this decade sends.
        return Err(s3_error!(
            InvalidRequest,
            "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256."
        ));
    };
    let field =
        |name: &str| fields.split(',').find_map(|field| field.trim().strip_prefix(name)?.strip_prefix('='));
    let malformed =
        || s3_error!(AuthorizationHeaderMalformed, "The authorization header you provided is invalid.");
    let credential = field("Credential").ok_or_else(malformed)?;
    everything_is_signed(parts, field("SignedHeaders").ok_or_else(malformed)?, false)?;
    let session_token = header(parts, TOKEN)?.map(str::to_owned);
    Ok(Signed::of_credential(credential, session_token))
}

fn by_v4_query(parts: &Parts, query: &Query) -> S3Result<Signed> {
    let credential = query.get("X-Amz-Credential").ok_or_else(incomplete)?;
    everything_is_signed(parts, query.get("X-Amz-SignedHeaders").ok_or_else(incomplete)?, true)?;
    check_expires(query)?;
    Ok(Signed::of_credential(credential, query.get("X-Amz-Security-Token").map(str::to_owned)))
}

/// A presigned request is good for a week at most, in seconds.
fn check_expires(query: &Query) -> S3Result<()> {
    const WEEK_S: i64 = 604_800;
    let wrong = |message: &str| Err(s3_error!(AuthorizationQueryParametersError, "{message}"));
    let mut all = query.all("X-Amz-Expires");
    let (first, second) = (all.next(), all.next());
    match (first.map(str::parse::<i64>), second) {
        (_, Some(_)) => wrong("X-Amz-Expires must be there once"),
        (None, _) => Err(incomplete()),
        (Some(Err(_)), _) => wrong("X-Amz-Expires should be a number"),
        (Some(Ok(seconds)), _) if seconds < 0 => wrong("X-Amz-Expires must be non-negative"),
        (Some(Ok(seconds)), _) if seconds > WEEK_S => wrong(
            "X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be less than \
             604800 seconds",
        ),
        (Some(Ok(_)), _) => Ok(()),
    }
}

impl Signed {
    /// `credential`: `KEY/20260102/REGION/s3/aws4_request`.
    pub(crate) fn of_credential(credential: &str, session_token: Option<String>) -> Self {
        let mut parts = credential.split('/');
        let access_key_id = parts.next().unwrap_or_default().to_owned();
        Self { access_key_id, session_token, region: parts.nth(1).map(str::to_owned) }
    }
}

/// Version 2 signs the session token as the header that it would be: so it is made one, for whoever checks the
/// signature. One that is already there and another than the URL's is left, and the signature does not match.
pub(crate) fn complete_v2(parts: &mut Parts, claimed: Option<&Signed>) {
    let Some(token) = claimed.filter(|claimed| claimed.region.is_none()) else { return };
    let token = token.session_token.as_deref().and_then(|token| HeaderValue::from_str(token).ok());
    if let (Some(token), false) = (token, parts.headers.contains_key(TOKEN)) {
        parts.headers.insert(TOKEN, token);
    }
}

/// Refuses what a holder of a signed request could have added to it. The payload's hash may be added to a presigned
/// one, and is checked.
fn everything_is_signed(parts: &Parts, signed: &str, presigned: bool) -> S3Result<()> {
    let is_signed = |name: &str| signed.split(';').any(|one| one.eq_ignore_ascii_case(name));
    if !is_signed("host") {
        return Err(s3_error!(AccessDenied, "The host header must be signed"));
    }
    for name in parts.headers.keys() {
        let name = name.as_str();
        let may_be_added =
            presigned && matches!(name, "x-amz-content-sha256" | "x-amz-date" | "x-amz-user-agent");
        if name.starts_with("x-amz-") && !is_signed(name) && !may_be_added {
            return Err(s3_error!(
                AccessDenied,
                "There were headers present in the request which were not signed: {name}"
            ));
        }
    }
    Ok(())
}

fn header<'a>(parts: &'a Parts, name: &str) -> S3Result<Option<&'a str>> {
    let mut values = parts.headers.get_all(name).iter();
    let (first, second) = (values.next(), values.next());
    if second.is_some() {
        return Err(s3_error!(InvalidRequest, "The header {name} is there more than once"));
    }
    let text = first.map(|value| value.to_str()).transpose();
    text.map_err(|_| s3_error!(InvalidRequest, "The header {name} is not readable"))
}

/// A decoded query.
struct Query(Vec<(String, String)>);

impl Query {
    fn of(parts: &Parts) -> S3Result<Self> {
        let text = parts.uri.query().unwrap_or_default();
        let decode = |part: &str| {
            let spaced = part.replace('+', " ");
            percent_encoding::percent_decode_str(&spaced).decode_utf8().map(std::borrow::Cow::into_owned)
        };
        let pair = |pair: &str| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decode(name)?, decode(value)?))
        };
        let pairs: Result<Vec<_>, std::str::Utf8Error> = text.split('&').map(pair).collect();
        Ok(Self(pairs.map_err(|_| s3_error!(InvalidURI, "Couldn't parse the specified URI."))?))
    }

    fn has(&self, name: &'static str) -> bool {
        self.get(name).is_some()
    }

    fn get(&self, name: &'static str) -> Option<&str> {
        self.all(name).next()
    }

    fn all(&self, name: &'static str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(uri: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = http::Request::builder().uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    const SIGNED: &str = "AWS4-HMAC-SHA256 Credential=AKIA/20260101/us-east-1/s3/aws4_request, \
                          SignedHeaders=host;x-amz-date, Signature=00";

    #[test]
    fn the_key_is_found_wherever_it_is() {
        let key =
            |parts: Parts| claim(&parts).unwrap().map(|signed| (signed.access_key_id, signed.session_token));
        assert_eq!(key(parts("/b", &[])), None);
        assert_eq!(
            key(parts("/b", &[("authorization", SIGNED), ("x-amz-date", "d")])),
            Some(("AKIA".into(), None))
        );
        let query = "/b?X-Amz-Signature=0&X-Amz-Credential=AKIA%2F20260101%2Fr%2Fs3%2Faws4_request&\
                     X-Amz-SignedHeaders=host&X-Amz-Security-Token=a%2Bb&X-Amz-Expires=604800";
        assert_eq!(key(parts(query, &[])), Some(("AKIA".into(), Some("a+b".into()))));
        for expires in ["604801", "-1", "soon", "", "60&X-Amz-Expires=60"] {
            let query = query.replace("604800", expires);
            let error = claim(&parts(&query, &[])).unwrap_err();
            assert_eq!(error.code().as_str(), "AuthorizationQueryParametersError", "{expires}");
        }
        assert_eq!(key(parts("/b?AWSAccessKeyId=K&Signature=s&Expires=1", &[])), Some(("K".into(), None)));
    }

    #[test]
    fn what_is_not_signed_is_refused() {
        let refused = |parts: Parts| claim(&parts).unwrap_err().code().as_str().to_owned();
        let added = [("authorization", SIGNED), ("x-amz-copy-source", "/other/secret")];
        assert_eq!(refused(parts("/b", &added)), "AccessDenied");
        let no_host = SIGNED.replace("host;", "");
        assert_eq!(refused(parts("/b", &[("authorization", &no_host)])), "AccessDenied");
        assert_eq!(refused(parts("/b", &[("authorization", "AWS AKIA:sig")])), "InvalidRequest");
        let both = parts("/b?X-Amz-Signature=0", &[("authorization", SIGNED)]);
        assert_eq!(refused(both), "InvalidArgument");
        assert_eq!(
            refused(parts("/b", &[("authorization", SIGNED), ("authorization", SIGNED)])),
            "InvalidRequest"
        );
    }
}
