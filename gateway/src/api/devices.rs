//! Devices, their ledgers, and what lies in quarantine.

use axum::Json;
use axum::extract::{Path, State as Shared};
use serde_json::{Value, json};

use super::State;
use super::json::{self, Dated, many};
use super::problem::Problem;
use super::query::Parameters;
use crate::store::view::Ledger;

pub(super) async fn all(Shared(state): Shared<State>) -> Result<Json<Value>, Problem> {
    let devices = state.ask(|view| view.devices()).await?;
    Ok(Json(json!({ "as_of_us": state.now_us(), "devices": devices })))
}

pub(super) async fn one(Shared(state): Shared<State>, Path(id): Path<String>) -> Result<Json<Value>, Problem> {
    let asked = id.clone();
    let found = state.ask(move |view| Ok((view.device(&asked)?, view.series(Some(&asked))?))).await?;
    let (Some(device), series) = found else { return Err(Problem::missing("device", &id)) };
    let series: Vec<json::Series> = many(series);
    Ok(Json(json!({ "as_of_us": state.now_us(), "device": device, "series": series })))
}

pub(super) async fn ledger(
    Shared(state): Shared<State>,
    Path(id): Path<String>,
) -> Result<Json<Dated<Ledger>>, Problem> {
    let asked = id.clone();
    let found = state.ask(move |view| view.ledger(&asked)).await?;
    let answer = found.ok_or_else(|| Problem::missing("device", &id))?;
    Ok(Json(Dated { as_of_us: state.now_us(), answer }))
}

pub(super) async fn quarantine(Shared(state): Shared<State>, parameters: Parameters) -> Result<Json<Value>, Problem> {
    let device = parameters.text("device").map(str::to_owned);
    let entries = state.ask(move |view| view.quarantined(device.as_deref())).await?;
    Ok(Json(json!({ "as_of_us": state.now_us(), "entries": entries })))
}
