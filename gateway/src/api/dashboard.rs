//! The dashboard, embedded in the binary.

use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use rust_embed::RustEmbed;

use super::problem::Problem;

/// What `npm run build` made; empty where the gateway was built without it.
#[derive(RustEmbed)]
#[folder = "ui/dist"]
struct Dist;

/// Vite names what lies here by its content, so that it never changes.
const HASHED: &str = "assets/";
/// What is shown where the dashboard was not built.
const NOT_BUILT: &str =
    "The dashboard was not built; run `make ui`, then build the gateway again.\nThe API is at /api/v1.\n";

pub(super) async fn asset(uri: Uri, headers: HeaderMap) -> Response {
    let path = uri.path().trim_start_matches('/');
    if path == "api" || path.starts_with("api/") {
        return super::problem::no_such_path(uri).await.into_response();
    }
    // Views are behind the `#`, but an address that somebody typed should lead somewhere.
    let is_view = !path.rsplit('/').next().unwrap_or_default().contains('.');
    let path = if is_view { "index.html" } else { path };
    let Some(file) = Dist::get(path) else {
        return if is_view {
            (StatusCode::OK, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], NOT_BUILT).into_response()
        } else {
            Problem::missing("file", path).into_response()
        };
    };
    let [a, b, c, d, e, f, g, h, ..] = file.metadata.sha256_hash();
    let tag = format!("\"{:016x}\"", u64::from_be_bytes([a, b, c, d, e, f, g, h]));
    let cache = if path.starts_with(HASHED) { "public, max-age=31536000, immutable" } else { "no-cache" };
    let kept = headers.get(header::IF_NONE_MATCH).and_then(|kept| kept.to_str().ok());
    let described = [(header::ETAG, tag.as_str()), (header::CACHE_CONTROL, cache)];
    if kept.is_some_and(|kept| kept.split(',').any(|kept| kept.trim().trim_start_matches("W/") == tag)) {
        return (StatusCode::NOT_MODIFIED, described).into_response();
    }
    (described, [(header::CONTENT_TYPE, content_type(path))], file.data.into_owned()).into_response()
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map(|(_, ending)| ending) {
        Some("html") => "text/html; charset=utf-8",
        Some("js" | "mjs") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("json" | "webmanifest" | "map") => "application/json",
        Some("png") => "image/png",
        Some("ico") => "image/x-icon",
        Some("woff2") => "font/woff2",
        Some("txt" | "md") => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}
