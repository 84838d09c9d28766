//! The status page: one HTML document with everything in it, at `/`.
//!
//! It reads `GET /v1/events` and the history of its tunnels, and has nothing to command with. Its
//! Content-Security-Policy (W3C, CSP level 3) names its own style and script by their digests, and
//! lets nothing else run or load.

use std::sync::LazyLock;

use axum::Router;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

const FRAME: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = concat!(
    include_str!("words.js"),
    include_str!("timeline.js"),
    include_str!("rows.js"),
    include_str!("page.js"),
);

/// The document and what a browser may do with it.
struct Page {
    html: String,
    policy: String,
}

static PAGE: LazyLock<Page> = LazyLock::new(|| Page {
    html: FRAME.replace("{css}", STYLE).replace("{js}", SCRIPT),
    policy: format!(
        "default-src 'none'; script-src {}; style-src {}; connect-src 'self'; img-src data:; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        source(SCRIPT),
        source(STYLE),
    ),
});

/// How a policy names what stands in the document itself.
fn source(text: &str) -> String {
    format!("'sha256-{}'", STANDARD.encode(Sha256::digest(text)))
}

/// The page's own place.
pub(crate) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new().route("/", get(page))
}

async fn page() -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, &PAGE.policy),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        // Another version of the program has another page.
        (header::CACHE_CONTROL, "no-store"),
    ];
    (headers, PAGE.html.as_str()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_whole_and_small() {
        // Nothing in it comes from elsewhere, and nothing of the frame is left to be filled in.
        let html = &PAGE.html;
        assert!(html.len() < 60_000, "{} bytes", html.len());
        for part in ["{css}", "{js}", "http://", "https://", "@import", "url("] {
            let known = html.replace("http://www.w3.org/2000/svg", "");
            assert!(!known.contains(part), "{part} is in the page");
        }
        assert!(html.contains(STYLE) && html.contains(SCRIPT));
        assert_eq!(html.matches("<script").count(), 1);
        assert_eq!(html.matches("<style").count(), 1);
    }

    #[test]
    fn what_a_daemon_tells_can_only_become_text() {
        // The one place that reads markup paints the page's own pictures.
        for way in [
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "Function(",
        ] {
            assert!(!SCRIPT.contains(way), "{way} is in the script");
        }
        assert_eq!(SCRIPT.matches("innerHTML").count(), 1);
        assert!(!SCRIPT.contains("innerHTML ="));
    }
}
