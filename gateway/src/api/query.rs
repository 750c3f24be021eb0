//! Parameters of a request, each error naming its parameter.

use std::collections::HashMap;
use std::str::FromStr;

use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;

use super::problem::Problem;

/// What stands behind the question mark.
pub(super) struct Parameters(HashMap<String, String>);

impl<S: Send + Sync> FromRequestParts<S> for Parameters {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let read = Query::<Vec<(String, String)>>::from_request_parts(parts, state).await;
        let Ok(Query(pairs)) = read else {
            return Err(Problem::parameter("?", "cannot be read: it is not URL-encoded"));
        };
        let mut parameters = HashMap::new();
        for (name, value) in pairs {
            if parameters.insert(name.clone(), value).is_some() {
                return Err(Problem::parameter(&name, "is there twice"));
            }
        }
        Ok(Self(parameters))
    }
}

impl Parameters {
    /// The text of a parameter, if it is there.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// A parameter, if it is there; `what` says what it should be.
    pub(super) fn read<T: FromStr>(&self, name: &str, what: &str) -> Result<Option<T>, Problem> {
        self.text(name).map(|text| parse(name, text, what)).transpose()
    }
}

/// `text` as what it should be.
pub(super) fn parse<T: FromStr>(name: &str, text: &str, what: &str) -> Result<T, Problem> {
    text.parse().map_err(|_| {
        let shown: String = text.chars().take(40).collect();
        Problem::parameter(name, format!("is `{shown}`, which is not {what}"))
    })
}
