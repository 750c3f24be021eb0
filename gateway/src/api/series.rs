//! Series and their readings.

use std::ops::RangeInclusive;

use axum::Json;
use axum::extract::{Path, State as Shared};
use jiff::tz::TimeZone;
use serde::Serialize;
use serde_json::{Value, json};

use super::State;
use super::json::{self, Dated, Point, Points, many};
use super::problem::Problem;
use super::query::{Parameters, parse};
use crate::store::view::ChartLevel;

/// Points of one answer: enough for the widest screen.
const POINTS: RangeInclusive<usize> = 2..=10_000;
/// Points of one answer unless asked otherwise.
const POINTS_DEFAULT: usize = 1_000;
/// What an instant looks like.
const INSTANT: &str = "a whole number of microseconds since 1970";

pub(super) async fn all(Shared(state): Shared<State>, parameters: Parameters) -> Result<Json<Value>, Problem> {
    let device = parameters.text("device").map(str::to_owned);
    let series: Vec<json::Series> = many(state.ask(move |view| view.series(device.as_deref())).await?);
    Ok(Json(json!({ "as_of_us": state.now_us(), "series": series })))
}

#[derive(Serialize)]
pub(super) struct Readings {
    series: json::Series,
    from_us: i64,
    to_us: i64,
    level: ChartLevel,
    readings_in_range: i64,
    newest_us: Option<i64>,
    points: Points,
}

pub(super) async fn readings(
    Shared(state): Shared<State>,
    Path(id): Path<String>,
    parameters: Parameters,
) -> Result<Json<Dated<Readings>>, Problem> {
    let key = series_id(&id)?;
    let from_us: Option<i64> = parameters.read("from_us", INSTANT)?;
    let to_us: Option<i64> = parameters.read("to_us", INSTANT)?;
    if from_us.zip(to_us).is_some_and(|(from_us, to_us)| from_us >= to_us) {
        return Err(Problem::parameter("to_us", "must be later than `from_us`: the span is [from_us, to_us)"));
    }
    let points = parameters.read("points", "a whole number from 2 to 10000")?.unwrap_or(POINTS_DEFAULT);
    if !POINTS.contains(&points) {
        return Err(Problem::parameter("points", format!("is {points}, which is not within 2 to 10000")));
    }
    let found = state.ask(move |view| {
        let Some(series) = view.one_series(key)? else { return Ok(None) };
        // Without bounds: everything up to the newest reading that is not from the future.
        let last_us = series.latest.as_ref().map(|latest| latest.time_us);
        let from_us = from_us.or(series.first_us).unwrap_or(0);
        let to_us = to_us.or(last_us.map(|last| last.saturating_add(1))).unwrap_or(from_us).max(from_us);
        let chart = view.chart(key, (from_us, to_us), points)?;
        Ok(Some((series, (from_us, to_us), chart)))
    });
    let Some((series, (from_us, to_us), chart)) = found.await? else { return Err(Problem::missing("series", &id)) };
    let series = json::Series::from(series);
    let answer = Readings {
        from_us,
        to_us,
        level: chart.level,
        readings_in_range: chart.readings_in_range,
        newest_us: series.last_us,
        points: chart.points.into(),
        series,
    };
    Ok(Json(Dated { as_of_us: state.now_us(), answer }))
}

pub(super) async fn days(
    Shared(state): Shared<State>,
    Path(id): Path<String>,
    parameters: Parameters,
) -> Result<Json<Value>, Problem> {
    let key = series_id(&id)?;
    let name = parameters.text("zone").unwrap_or("UTC").to_owned();
    let zone = TimeZone::get(&name)
        .map_err(|_| Problem::parameter("zone", "is no time zone; use an IANA name such as Europe/Berlin"))?;
    let found = state.ask(move |view| {
        let series = view.one_series(key)?;
        series.map(|_| view.days(key, &zone)).transpose()
    });
    let days = found.await?.ok_or_else(|| Problem::missing("series", &id))?;
    Ok(Json(json!({ "as_of_us": state.now_us(), "zone": name, "days": days })))
}

#[derive(Serialize)]
struct Latest {
    point: Option<Point>,
    series: json::Series,
}

pub(super) async fn latest(Shared(state): Shared<State>, parameters: Parameters) -> Result<Json<Value>, Problem> {
    let (device, subject) = (parameters.text("device"), parameters.text("subject"));
    let (what, id) = match (device, subject) {
        (Some(device), None) => ("device", device.to_owned()),
        (None, Some(subject)) => ("subject", subject.to_owned()),
        _ => return Err(Problem::parameter("subject", "or else `device` must be there, and not both")),
    };
    let asked = id.clone();
    let found = state.ask(move |view| {
        Ok(match what {
            "device" => (view.device(&asked)?.is_some(), view.series(Some(&asked))?),
            _ => view.subject(&asked)?.map_or((false, Vec::new()), |subject| (true, subject.series)),
        })
    });
    let (true, series) = found.await? else { return Err(Problem::missing(what, &id)) };
    let pair = |series: crate::store::view::Series| Latest {
        point: series.latest.clone().map(Point::from),
        series: series.into(),
    };
    let latest: Vec<Latest> = series.into_iter().map(pair).collect();
    Ok(Json(json!({ "as_of_us": state.now_us(), "latest": latest })))
}

fn series_id(id: &str) -> Result<i64, Problem> {
    parse("id", id, "the whole number of a series")
}
