//! Whom readings are about.

use axum::Json;
use axum::extract::{Path, State as Shared};
use serde_json::{Value, json};

use super::State;
use super::json::{self, many};
use super::problem::Problem;

pub(super) async fn all(Shared(state): Shared<State>) -> Result<Json<Value>, Problem> {
    let subjects: Vec<json::Subject> = many(state.ask(|view| view.subjects()).await?);
    Ok(Json(json!({ "as_of_us": state.now_us(), "subjects": subjects })))
}

pub(super) async fn one(Shared(state): Shared<State>, Path(id): Path<String>) -> Result<Json<Value>, Problem> {
    let asked = id.clone();
    let found = state.ask(move |view| view.subject(&asked)).await?;
    let subject: json::Subject = found.ok_or_else(|| Problem::missing("subject", &id))?.into();
    Ok(Json(json!({ "as_of_us": state.now_us(), "subject": subject })))
}
