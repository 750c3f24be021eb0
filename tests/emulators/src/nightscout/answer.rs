//! What a site answers to what.

use std::cmp::Ordering;
use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Map, Value, json};

use super::data::date;
use super::store::{Collection, Store};
use super::{Asked, Fault};

type Record = Map<String, Value>;

/// Four days: what v1 looks back where nothing says otherwise.
const USUAL_MS: i64 = 4 * 86_400_000;

/// A status, headers of its own and a body.
pub(super) struct Answer {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

impl Answer {
    fn json(status: u16, body: &Value) -> Self {
        Self { status, headers: Vec::new(), body: body.to_string().into_bytes() }
    }

    fn no(status: u16, message: &str) -> Self {
        Self::json(status, &json!({"status": status, "message": message}))
    }

    /// As it is sent.
    pub(super) fn bytes(self, packed: bool, chunked: bool) -> Vec<u8> {
        let Self { status, mut headers, mut body } = self;
        if packed && !headers.iter().any(|(name, _)| *name == "Content-Encoding") {
            let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
            packer.write_all(&body).expect("memory takes it");
            body = packer.finish().expect("memory takes it");
            headers.push(("Content-Encoding", "gzip".into()));
        }
        let mut bytes = format!("HTTP/1.1 {status} Word\r\nContent-Type: application/json\r\n").into_bytes();
        for (name, value) in headers {
            bytes.extend(format!("{name}: {value}\r\n").into_bytes());
        }
        if status == 304 {
            bytes.extend(b"\r\n");
        } else if chunked {
            bytes.extend(b"Transfer-Encoding: chunked\r\n\r\n");
            for piece in body.chunks(1_000) {
                bytes.extend(format!("{:x}\r\n", piece.len()).into_bytes());
                bytes.extend(piece);
                bytes.extend(b"\r\n");
            }
            bytes.extend(b"0\r\n\r\n");
        } else {
            bytes.extend(format!("Content-Length: {}\r\n\r\n", body.len()).into_bytes());
            bytes.extend(body);
        }
        bytes
    }
}

/// The answer to `asked`, as good as `fault` lets it be.
pub(super) fn answer(store: &mut Store, asked: &Asked, fault: &Fault) -> Answer {
    let mut answer = match fault {
        Fault::Status(status, header) => {
            let mut answer = Answer::no(*status, "a fault");
            answer.headers.extend(header.clone());
            answer
        }
        Fault::Long(length) => {
            let headers = vec![("Content-Encoding", "identity".to_owned())];
            Answer { status: 200, headers, body: vec![b' '; *length] }
        }
        Fault::Bomb(length) => Answer { status: 200, headers: Vec::new(), body: vec![b' '; *length] },
        Fault::Body(text) => Answer { status: 200, headers: Vec::new(), body: text.as_bytes().to_vec() },
        _ => good(store, asked),
    };
    if let Fault::Packed(how) = fault {
        answer.headers.push(("Content-Encoding", (*how).to_owned()));
    }
    answer.headers.push(("Date", date(store.now_ms)));
    answer
}

fn good(store: &mut Store, asked: &Asked) -> Answer {
    let (path, query) = asked.target.split_once('?').unwrap_or((&asked.target, ""));
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    match parts.as_slice() {
        ["api", "v2", "authorization", "request", token] => pass(store, token),
        ["api", "v3", ..] if !store.has_v3 => Answer::no(404, "Not Found"),
        ["api", "v3", "version"] => Answer::json(200, &json!({"status": 200, "result": {"apiVersion": "3.0.3-alpha"}})),
        ["api", "v3", name, "history", since] => history(store, asked, name, since, query),
        ["api", "v1", name] => list(store, asked, name, query),
        _ => Answer::no(404, "Not Found"),
    }
}

fn pass(store: &mut Store, token: &str) -> Answer {
    if store.token.as_deref() != Some(token) {
        return Answer::no(401, "Unauthorized");
    }
    let (number, iat) = (store.new_pass(), store.now_ms / 1_000);
    let pass = json!({"token": format!("pass.{number}"), "sub": "reader", "iat": iat, "exp": iat + 8 * 3_600});
    Answer::json(200, &pass)
}

fn has_pass(store: &mut Store, asked: &Asked) -> bool {
    let (number, uses) = store.pass;
    if uses == 0 || asked.header("authorization") != Some(&format!("Bearer pass.{number}")) {
        return false;
    }
    store.pass.1 = uses - 1;
    true
}

fn history(store: &mut Store, asked: &Asked, name: &str, since: &str, query: &str) -> Answer {
    if !has_pass(store, asked) {
        return Answer::no(401, "Missing or bad access token or JWT");
    }
    let Some(collection) = Collection::of(name) else { return Answer::no(404, "Not Found") };
    if store.denied == Some(name) {
        return Answer::no(403, &format!("Missing permission api:{name}:read"));
    }
    let since: i64 = since.parse().unwrap_or(0);
    if since <= 946_684_800_000 {
        return Answer::no(400, "Bad or missing Last-Modified header/parameter");
    }
    let limit = parameter(query, "limit").map_or(Ok(store.limit_max), |limit| limit.parse()).unwrap_or(0);
    if !(1..=store.limit_max).contains(&limit) {
        return Answer::no(400, "Parameter limit out of tolerance");
    }
    let modified = |record: &Record| record.get("srvModified").and_then(Value::as_i64);
    let mut found: Vec<&Record> = store.all(collection).iter().collect();
    found.retain(|record| modified(record).is_some_and(|modified| modified > since));
    found.sort_by_key(|record| modified(record));
    found.truncate(limit);
    let without_id = |record: &Record| {
        let mut record = record.clone();
        record.remove("_id");
        Value::Object(record)
    };
    let last = found.last().and_then(|record| modified(record));
    let result: Vec<Value> = found.into_iter().map(without_id).collect();
    let mut answer = Answer::json(200, &json!({"status": 200, "result": result}));
    if let Some(last) = last {
        answer.headers.extend([("Last-Modified", date(last)), ("ETag", format!("W/\"{last}\""))]);
    }
    answer
}

fn list(store: &mut Store, asked: &Asked, name: &str, query: &str) -> Answer {
    let shown = asked.header("api-secret").map(str::to_owned);
    let known = shown.is_some() && (shown == store.api_secret || shown == store.token);
    if !(store.open || known || has_pass(store, asked)) {
        let body = json!({"status": 401, "message": "Unauthorized", "description": "Invalid/Missing"});
        return Answer::json(401, &body);
    }
    let Some(collection) = Collection::of(name.trim_end_matches(".json")) else { return Answer::no(404, "Not Found") };
    let field = collection.field();
    let mut found: Vec<&Record> = store.all(collection).iter().collect();
    let find = |operator: &str| parameter(query, &format!("find[{field}][${operator}]"));
    let bound = |text: String| {
        if field == "date" { text.parse().map_or(Value::Null, |ms: i64| json!(ms)) } else { json!(text) }
    };
    let least = find("gte").map(bound);
    if let Some(least) = &least {
        found.retain(|record| order(record.get(field), Some(least)) != Ordering::Less);
    } else if field == "date" {
        let usual = json!(store.now_ms - USUAL_MS);
        found.retain(|record| order(record.get(field), Some(&usual)) != Ordering::Less);
    }
    if let Some(end) = find("lt").map(bound) {
        found.retain(|record| order(record.get(field), Some(&end)) == Ordering::Less);
    }
    found.sort_by(|one, other| order(other.get(field), one.get(field)));
    found.truncate(parameter(query, "count").and_then(|count| count.parse().ok()).unwrap_or(10));
    Answer::json(200, &Value::Array(found.into_iter().cloned().map(Value::Object).collect()))
}

/// Numbers by their value, texts by their letters, as the site's database has it.
fn order(one: Option<&Value>, other: Option<&Value>) -> Ordering {
    match (one, other) {
        (Some(Value::Number(one)), Some(Value::Number(other))) => {
            one.as_f64().partial_cmp(&other.as_f64()).unwrap_or(Ordering::Equal)
        }
        (Some(Value::String(one)), Some(Value::String(other))) => one.cmp(other),
        _ => Ordering::Less,
    }
}

/// A query's parameter, with its percent signs resolved.
fn parameter(query: &str, name: &str) -> Option<String> {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.map(|(key, value)| (plain(key), plain(value))).find(|(key, _)| key == name).map(|(_, value)| value)
}

fn plain(text: &str) -> String {
    let mut pieces = text.split('%');
    let mut plain = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let code = piece.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        plain.push(char::from(code.unwrap_or(b'?')));
        plain.push_str(piece.get(2..).unwrap_or_default());
    }
    plain
}
