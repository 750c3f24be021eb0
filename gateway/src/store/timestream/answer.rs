//! What Timestream says to a call, and what that means.

use aws_sdk_timestreamwrite::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_timestreamwrite::operation::write_records::{WriteRecordsError, WriteRecordsOutput};
use aws_sdk_timestreamwrite::types::RejectedRecord;

use crate::store::sink::Why;

/// Characters kept of what the service says.
const WORDS_MAX: usize = 300;

pub(super) type Outcome = Result<WriteRecordsOutput, SdkError<WriteRecordsError>>;

/// What is to be done about it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// All is there but these, by their places in the call.
    Done(Vec<(usize, Why)>),
    /// Nothing is there, because there were too many calls.
    Throttled,
    /// Nobody knows what is there.
    Again(String),
    /// Nothing is there: something in the call is not as it must be.
    Malformed(String),
    /// The endpoint is not valid any more.
    Moved,
    /// Nothing will be there until a person does something.
    Unfit(String),
}

pub(super) fn of(outcome: Outcome) -> Answer {
    let error = match outcome {
        Ok(_) => return Answer::Done(Vec::new()),
        Err(error) => error,
    };
    let words = || error.message().unwrap_or_default().chars().take(WORDS_MAX).collect::<String>();
    match error.as_service_error() {
        Some(WriteRecordsError::RejectedRecordsException(rejected)) => {
            Answer::Done(rejected.rejected_records().iter().filter_map(why).collect())
        }
        Some(WriteRecordsError::ThrottlingException(_)) => Answer::Throttled,
        Some(WriteRecordsError::ValidationException(_)) => Answer::Malformed(words()),
        Some(WriteRecordsError::InvalidEndpointException(_)) => Answer::Moved,
        Some(WriteRecordsError::InternalServerException(_)) => Answer::Again(format!("Timestream is ill: {}", words())),
        Some(WriteRecordsError::ResourceNotFoundException(_)) => {
            Answer::Unfit(format!("Timestream has no such database or table ({}): create them", words()))
        }
        Some(WriteRecordsError::AccessDeniedException(_)) => {
            Answer::Unfit(format!("Timestream forbids ({}): allow timestream:WriteRecords on the table", words()))
        }
        Some(other) => by_code(other.code().unwrap_or_default(), words(), &error),
        None => Answer::Again(format!("Timestream does not answer: {}", DisplayErrorContext(&error))),
    }
}

/// What the service's model does not name, but all of Amazon's services may say.
fn by_code(code: &str, words: String, error: &SdkError<WriteRecordsError>) -> Answer {
    let is_server = error.raw_response().is_none_or(|response| response.status().is_server_error());
    match code {
        "UnrecognizedClientException"
        | "InvalidSignatureException"
        | "ExpiredTokenException"
        | "InvalidClientTokenId"
        | "MissingAuthenticationTokenException" => {
            Answer::Unfit(format!("Timestream does not know us ({code}: {words}): check the credentials"))
        }
        "Throttling" | "TooManyRequestsException" | "RequestLimitExceeded" => Answer::Throttled,
        _ if is_server => Answer::Again(format!("Timestream is ill ({code}): {words}")),
        _ => Answer::Unfit(format!("Timestream refuses the call ({code}): {words}")),
    }
}

/// Why one record of a call was rejected. One with the version of what is there is another reading at the same instant
/// and rank: had it been the same, it would have been taken.
fn why(rejected: &RejectedRecord) -> Option<(usize, Why)> {
    let place = usize::try_from(rejected.record_index()).ok()?;
    let reason = rejected.reason().unwrap_or("no reason was given");
    let is_collision = rejected.existing_version().is_some();
    let never = || Why::Never(format!("Timestream rejects it: {}", reason.chars().take(WORDS_MAX).collect::<String>()));
    Some((place, if is_collision { Why::Collision } else { never() }))
}
