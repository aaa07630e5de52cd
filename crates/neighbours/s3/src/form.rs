//! What a form that a browser posts says of its signature. `s3s` reads the form and checks the signature, but asks for
//! the secret by the key's id alone: so the form's fields are looked at here as they go by, for the session token that
//! belongs to the key and the region of the scope.

use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http_body::{Frame, SizeHint};
use s3s::{Body, StdError};

use crate::signed::Signed;

/// Bytes of fields that are kept, a little more than `s3s` takes.
const MAX_KEPT_BYTES: usize = (1 << 20) + (64 << 10);

/// A form's fields, as far as they were read.
pub(crate) struct Form {
    boundary: String,
    kept: Mutex<Vec<u8>>,
    signed: OnceLock<Option<Signed>>,
}

impl Form {
    /// The form that a request's body is, if it is one.
    pub(crate) fn of(parts: &Parts) -> Option<Arc<Self>> {
        let kind = parts.headers.get(CONTENT_TYPE)?.to_str().ok()?;
        let (kind, parameters) = kind.split_once(';')?;
        if parts.method != http::Method::POST || !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
            return None;
        }
        let boundary = parameters.split(';').find_map(|parameter| {
            let (name, value) = parameter.trim().split_once('=')?;
            name.eq_ignore_ascii_case("boundary").then(|| value.trim_matches('"').to_owned())
        })?;
        Some(Arc::new(Self { boundary, kept: Mutex::default(), signed: OnceLock::new() }))
    }

    /// The body, whose fields are kept as they are read.
    pub(crate) fn read_along(self: &Arc<Self>, body: Body) -> Body {
        Body::http_body_unsync(ReadAlong { body, form: Arc::clone(self) })
    }

    /// Who says to have signed it. To be asked when the fields were read.
    pub(crate) fn signed(&self) -> Option<&Signed> {
        let read = || {
            let kept = std::mem::take(&mut *self.kept.lock().unwrap_or_else(PoisonError::into_inner));
            signed(&fields(&kept, &self.boundary))
        };
        self.signed.get_or_init(read).as_ref()
    }

    /// The same, if it was asked before.
    pub(crate) fn known(&self) -> Option<&Signed> {
        self.signed.get()?.as_ref()
    }

    fn keep(&self, data: &[u8]) {
        if self.signed.get().is_none() {
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            let room = MAX_KEPT_BYTES.saturating_sub(kept.len());
            kept.extend_from_slice(&data[..room.min(data.len())]);
        }
    }
}

fn signed(fields: &[(String, String)]) -> Option<Signed> {
    // Of a field that is there twice, `s3s` takes the last.
    let field = |name: &str| fields.iter().rfind(|(known, _)| known == name).map(|(_, value)| value.as_str());
    let session_token = field("x-amz-security-token").map(str::to_owned);
    match (field("x-amz-signature"), field("x-amz-credential"), field("awsaccesskeyid")) {
        (Some(_), Some(credential), _) => Some(Signed::of_credential(credential, session_token)),
        (None, _, Some(key)) => Some(Signed { access_key_id: key.to_owned(), session_token, region: None }),
        _ => None,
    }
}

/// The fields before the file, their names in lower case.
fn fields(form: &[u8], boundary: &str) -> Vec<(String, String)> {
    let delimiter = format!("\r\n--{boundary}");
    let mut fields = Vec::new();
    let first = delimiter.trim_start().as_bytes();
    let Some(mut rest) = form.strip_prefix(b"\r\n").unwrap_or(form).strip_prefix(first) else {
        return fields;
    };
    // After the last delimiter come two dashes.
    while let Some(part) = rest.strip_prefix(b"\r\n") {
        let Some(end) = find(part, b"\r\n\r\n") else { break };
        let (head, value) = (&part[..end], &part[end + 4..]);
        let Some(name) = std::str::from_utf8(head).ok().and_then(name_of) else { break };
        let Some(end) = find(value, delimiter.as_bytes()).filter(|_| name != "file") else { break };
        let Ok(text) = std::str::from_utf8(&value[..end]) else { break };
        fields.push((name, text.to_owned()));
        rest = &value[end + delimiter.len()..];
    }
    fields
}

/// `Content-Disposition: form-data; name="key"`.
fn name_of(head: &str) -> Option<String> {
    let disposition = head.split("\r\n").find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.trim().eq_ignore_ascii_case("content-disposition").then_some(value)
    })?;
    let name = disposition.split(';').find_map(|part| part.trim().strip_prefix("name="))?;
    Some(name.trim_matches('"').to_ascii_lowercase())
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

/// A body that its form reads too.
struct ReadAlong {
    body: Body,
    form: Arc<Form>,
}

impl http_body::Body for ReadAlong {
    type Data = Bytes;
    type Error = StdError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StdError>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if let Some(data) = frame.as_ref().and_then(|frame| frame.as_ref().ok()).and_then(Frame::data_ref) {
            self.form.keep(data);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        http_body::Body::size_hint(&self.body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(fields: &[(&str, &str)], boundary: &str) -> Vec<u8> {
        let mut text = String::new();
        for (name, value) in fields {
            text += &format!(
                "--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
            );
        }
        text += &format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\nbytes\r\n"
        );
        text += &format!("--{boundary}--\r\n");
        text.into_bytes()
    }

    #[test]
    fn the_key_the_token_and_the_region_are_found_among_the_fields() {
        let credential = "ASIA/20260101/eu-west-1/s3/aws4_request";
        let v4 = [
            ("key", "a\r\nb"),
            ("X-Amz-Credential", credential),
            ("x-amz-security-token", "to--ken"),
            ("X-Amz-Signature", "00"),
        ];
        let expected = Signed {
            access_key_id: "ASIA".into(),
            session_token: Some("to--ken".into()),
            region: Some("eu-west-1".into()),
        };
        assert_eq!(signed(&fields(&form(&v4, "b"), "b")), Some(expected.clone()));
        let v2 = [("AWSAccessKeyId", "ASIA"), ("x-amz-security-token", "to--ken"), ("signature", "00")];
        let expected = Signed { region: None, ..expected };
        assert_eq!(signed(&fields(&form(&v2, "--b--"), "--b--")), Some(expected));
        assert_eq!(signed(&fields(&form(&[("key", "a")], "b"), "b")), None);
    }

    proptest::proptest! {
        #[test]
        fn fields_are_read_as_they_were_written(
            written in proptest::collection::vec(("[a-z-]{1,12}", "[^\r]{0,40}"), 0..6),
            cut in 0_usize..400,
        ) {
            let given: Vec<(&str, &str)> =
                written.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            proptest::prop_assume!(given.iter().all(|(name, _)| *name != "file"));
            let whole = form(&given, "b7");
            proptest::prop_assert_eq!(fields(&whole, "b7"), written.clone());
            // What came so far says no more than the whole does.
            let part = fields(&whole[..cut.min(whole.len())], "b7");
            proptest::prop_assert_eq!(&part[..], &written[..part.len()]);
        }

        #[test]
        fn any_bytes_are_read_to_an_end(bytes in proptest::collection::vec(0_u8..=255, 0..300)) {
            let _ = signed(&fields(&bytes, "b"));
            let prefixed = [b"--b\r\n".as_slice(), &bytes].concat();
            let _ = signed(&fields(&prefixed, "b"));
        }
    }

    #[test]
    fn what_is_no_form_has_no_fields_and_what_comes_after_the_file_counts_for_nothing() {
        for nothing in ["", "--", "--b", "--b\r\n", "--b\r\n\r\n", "--b\r\nContent-Disposition: x\r\n\r\n"] {
            assert!(fields(nothing.as_bytes(), "b").is_empty(), "{nothing}");
        }
        let mut late = form(&[("key", "a")], "b");
        late.extend(form(&[("x-amz-signature", "0"), ("x-amz-credential", "K/d/r")], "b"));
        assert_eq!(fields(&late, "b"), [("key".to_owned(), "a".to_owned())]);
    }
}
