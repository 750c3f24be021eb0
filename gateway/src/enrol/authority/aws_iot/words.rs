//! What went wrong, in words that say what to do.

use aws_sdk_iot::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};

use super::AuthorityError;

/// What an error of the service is called. Errors of the way there have no such name.
fn code<E: ProvideErrorMetadata, R>(error: &SdkError<E, R>) -> &str {
    error.as_service_error().and_then(ProvideErrorMetadata::code).unwrap_or_default()
}

/// Whether what was named is not there.
pub(super) fn is_missing<E: ProvideErrorMetadata, R>(error: &SdkError<E, R>) -> bool {
    code(error) == "ResourceNotFoundException"
}

/// Whether what was to be made is there already, and is not the very same.
pub(super) fn is_already_there<E: ProvideErrorMetadata, R>(error: &SdkError<E, R>) -> bool {
    code(error) == "ResourceAlreadyExistsException"
}

/// That something could not be done.
pub(super) fn in_words<E, R>(what: &str, error: &SdkError<E, R>) -> AuthorityError
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
    R: std::fmt::Debug,
{
    let named = code(error);
    let said = error.as_service_error().and_then(ProvideErrorMetadata::message).unwrap_or_default();
    match named {
        "UnauthorizedException"
        | "AccessDeniedException"
        | "UnrecognizedClientException"
        | "InvalidSignatureException"
        | "ExpiredTokenException"
        | "InvalidClientTokenId" => AuthorityError::Unfit(format!(
            "AWS IoT does not let us {what} ({named}: {said}); docs/aws-iot.md lists what the credentials must allow"
        )),
        "CertificateValidationException" => AuthorityError::Request(format!("{named}: {said}")),
        "InvalidRequestException" | "LimitExceededException" | "ResourceNotFoundException" => {
            AuthorityError::Unfit(format!("AWS IoT refuses to {what}: {named}: {said}"))
        }
        "" if lacks_credentials(error) => AuthorityError::Unfit(
            "there are no credentials for AWS IoT: set `authority.aws_iot.credentials_file`, or give the machine a role"
                .to_owned(),
        ),
        "" => AuthorityError::Away(format!("cannot {what}: AWS IoT does not answer: {}", DisplayErrorContext(error))),
        // Too much at once, failures inside, and whatever comes to be.
        _ => AuthorityError::Away(format!("cannot {what} now: {named}: {said}")),
    }
}

/// That something that the operator makes is not there.
pub(super) fn no_such(what: &str, setting: &str, name: &str) -> AuthorityError {
    AuthorityError::Unfit(format!(
        "AWS IoT has no {what} `{name}` in this account and region: make it, or correct `authority.aws_iot.{setting}`; \
         docs/aws-iot.md shows how"
    ))
}

fn lacks_credentials<E, R>(error: &SdkError<E, R>) -> bool
where
    E: std::error::Error + 'static,
    R: std::fmt::Debug,
{
    matches!(error, SdkError::ConstructionFailure(_) | SdkError::DispatchFailure(_))
        && DisplayErrorContext(error).to_string().contains("credentials")
}
