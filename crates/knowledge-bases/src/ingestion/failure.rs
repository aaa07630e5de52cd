use craton_backend::BackendError;
use craton_inference::error::from_backend;
use craton_objects::ObjectError;
use craton_store::StoreError;
use craton_store::jobs::JobError;
use craton_vectors::VectorError;
use craton_wire::ApiError;

/// Why a step did not succeed, and for whom.
#[derive(Debug)]
pub(crate) enum Failure {
    /// This document alone, with the reason for its owner.
    Document(String),
    /// All of the job.
    Job(JobError),
}

impl Failure {
    pub(crate) fn document(reason: impl std::fmt::Display) -> Self {
        Self::Document(reason.to_string())
    }

    /// What a role may not read fails alone; where it could not be found out, the job is tried again.
    pub(crate) fn refused(error: ApiError) -> Self {
        if error.status(None).is_server_error() {
            Self::Job(from_api(error))
        } else {
            Self::Document(error.message)
        }
    }
}

impl From<JobError> for Failure {
    fn from(error: JobError) -> Self {
        Self::Job(error)
    }
}

/// Objects that are not as expected fail alone, also those in buckets that are not there (a data source's own bucket is
/// missed when it is listed); a store that can't be used fails the job.
impl From<ObjectError> for Failure {
    fn from(error: ObjectError) -> Self {
        match error {
            ObjectError::Unreachable(_)
            | ObjectError::Store(_)
            | ObjectError::Io(_)
            | ObjectError::Remote { status: 500.., .. } => {
                Self::Job(JobError::Fail(format!("The data source can't be read: {error}")))
            }
            other => Self::document(other),
        }
    }
}

/// `model`: what the embedding model was asked for by.
pub(crate) fn from_embedder(error: BackendError, model: &str) -> JobError {
    let told = from_backend(error, model).message;
    JobError::Fail(format!("The embedding model failed: {told}"))
}

pub(crate) fn from_index(error: VectorError) -> JobError {
    match error {
        VectorError::Store(error) => from_store(error),
        VectorError::Unavailable(_) => JobError::Retry(error.to_string()),
        other => JobError::Fail(format!("The index can't be used: {other}")),
    }
}

/// A full disk does not empty itself; other trouble with the records may pass.
pub(crate) fn from_store(error: StoreError) -> JobError {
    if error.is_full() {
        return JobError::Fail(format!("There is no space left: {error}"));
    }
    error.into()
}

/// A fault of this server's may pass; what the request or the configuration got wrong does not.
pub(crate) fn from_api(error: ApiError) -> JobError {
    if error.status(None).is_server_error() {
        JobError::Retry(error.message)
    } else {
        JobError::Fail(error.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_an_embedding_model_is_stays_the_operators() {
        let error = BackendError::Unreachable("gpu-7 at 10.0.0.1: refused".into());
        let JobError::Fail(told) = from_embedder(error, "m") else { panic!() };
        assert!(told.contains("can't be reached") && !told.contains("10.0.0.1"), "{told}");
    }

    #[test]
    fn a_store_that_is_away_is_tried_again_and_one_that_refuses_is_not() {
        let why = || "why".to_owned();
        assert!(
            matches!(from_index(VectorError::Unavailable(why())), JobError::Retry(said) if said.contains("why"))
        );
        assert!(
            matches!(from_index(VectorError::Refused(why())), JobError::Fail(said) if said.contains("why"))
        );
    }
}
