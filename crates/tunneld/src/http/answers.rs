//! The answers that every server gives.

use axum::Json;
use axum::extract::Request;
use axum::http::header::CONTENT_LENGTH;
use axum::http::{Method, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tunneld_core::text::clip;

use super::error::{ApiError, ErrorKind};

/// The largest body that a request may announce, in bytes; none of them needs one.
const MAX_BODY: u64 = 64 << 10;
/// How much of what was asked for an error repeats, in characters.
const MOST_SHOWN: usize = 120;

/// There is nothing at that path.
pub(crate) async fn not_found() -> Response {
    answer::<()>(Err(ApiError::new(
        ErrorKind::NotFound,
        "nothing here; try GET /v1/status",
    )))
}

/// There is something at that path, and it is asked for in another way.
pub(crate) async fn wrong_method(method: Method, uri: Uri) -> Response {
    let path = clip(uri.path(), MOST_SHOWN);
    let message = format!("{path} is there, and not for {method}: GET shows, POST commands");
    answer::<()>(Err(ApiError::new(ErrorKind::MethodNotAllowed, message)))
}

/// The daemon ends before the answer is made.
pub(crate) fn stopping() -> Response {
    answer::<()>(Err(ApiError::stopping()))
}

/// A part of the request makes no sense.
pub(crate) fn bad_request(why: &str) -> Response {
    let message = clip(&why.to_lowercase().replace(['\n', '\r'], " "), MOST_SHOWN);
    answer::<()>(Err(ApiError::new(ErrorKind::BadRequest, message)))
}

/// Nothing here takes a body: one that is announced as large is not waited for.
pub(crate) async fn no_large_body(request: Request, next: Next) -> Response {
    let length = request.headers().get(CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > MAX_BODY) {
        let message = format!("the body has more than {MAX_BODY} bytes; no request here needs one");
        return answer::<()>(Err(ApiError::new(ErrorKind::TooLarge, message)));
    }
    next.run(request).await
}

/// Data as JSON, or the error with the status code of its kind.
pub(crate) fn answer<T: serde::Serialize>(result: Result<T, ApiError>) -> Response {
    match result {
        Ok(value) => Json(value).into_response(),
        Err(error) => {
            let status = match error.kind {
                ErrorKind::BadConfig => StatusCode::UNPROCESSABLE_ENTITY,
                ErrorKind::NoSuchTunnel | ErrorKind::NotFound => StatusCode::NOT_FOUND,
                ErrorKind::BadRequest => StatusCode::BAD_REQUEST,
                ErrorKind::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
                ErrorKind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
                ErrorKind::WrongHost => StatusCode::MISDIRECTED_REQUEST,
                ErrorKind::CrossSite => StatusCode::FORBIDDEN,
                ErrorKind::Busy | ErrorKind::Stopping => StatusCode::SERVICE_UNAVAILABLE,
            };
            (status, Json(error)).into_response()
        }
    }
}
