//! What went wrong, as problem+json (RFC 9457).

use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::store::ReadError;

/// An answer that is an error.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    detail: String,
}

#[derive(Serialize)]
struct Body<'a> {
    r#type: &'static str,
    title: &'static str,
    status: u16,
    detail: &'a str,
}

impl Problem {
    /// `detail` is for people: what is wrong and what would be right.
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into() }
    }

    /// What is wrong, for people.
    pub(super) fn detail(&self) -> &str {
        &self.detail
    }

    /// A parameter of the request.
    pub(super) fn parameter(name: &str, wrong: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::BAD_REQUEST, format!("parameter `{name}` {wrong}"))
    }

    /// Something that is not there.
    pub(super) fn missing(what: &str, id: &str) -> Self {
        let id: String = id.chars().take(80).collect();
        Self::new(StatusCode::NOT_FOUND, format!("there is no {what} `{id}`"))
    }

    /// Too much at once.
    pub(super) fn busy(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, detail)
    }
}

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Late => Self::busy(error.to_string()),
            ReadError::Sql(cause) => {
                tracing::error!(error = %cause, "the store cannot be read");
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "the store cannot be read; see the gateway's log")
            }
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Self { status, detail } = self;
        let title = status.canonical_reason().unwrap_or("error");
        let body = Body { r#type: "about:blank", title, status: status.as_u16(), detail: &detail };
        // Only strings and a number: it cannot fail.
        let body = serde_json::to_vec(&body).unwrap_or_default();
        let mut response = (status, [(header::CONTENT_TYPE, "application/problem+json")], body).into_response();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static("1"));
        }
        response
    }
}

/// For paths under `/api` that do not exist.
pub(super) async fn no_such_path(uri: Uri) -> Problem {
    Problem::missing("path", uri.path())
}

/// For methods other than GET and HEAD.
pub(super) async fn no_such_method() -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "use GET")
}
