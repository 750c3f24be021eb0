//! Whether the gateway lives, and whether it can do its work.

use axum::Json;
use axum::extract::State as Shared;
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::State;
use super::problem::Problem;

pub(super) async fn healthz() -> &'static str {
    "ok"
}

pub(super) async fn readyz(Shared(state): Shared<State>) -> (StatusCode, Json<Value>) {
    let mut reasons = Vec::new();
    if state.ask(|view| view.check()).await.is_err() {
        reasons.push("the store cannot be read");
    }
    // The writer holds the sending half.
    if state.0.feed.has_changed().is_err() {
        reasons.push("nothing records any more");
    }
    if !(state.0.is_recording)() {
        reasons.push("the store takes nothing; devices keep what they have");
    }
    let status = if reasons.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(json!({ "ready": reasons.is_empty(), "reasons": reasons })))
}

pub(super) async fn about(Shared(state): Shared<State>) -> Result<Json<Value>, Problem> {
    let readings = state.ask(|view| view.readings_total()).await?;
    Ok(Json(json!({
        "as_of_us": state.now_us(),
        "version": env!("CARGO_PKG_VERSION"),
        "store": state.0.reader.kind(),
        "started_us": state.0.started.0,
        "readings": readings,
        "note": "not for treatment decisions",
    })))
}
