//! Answers of a collector: whether it has accepted a request, and when to try again.

use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};
use std::time::{Duration, SystemTime};

/// The maximum size in bytes of the body of an answer.
pub(crate) const MAX_BODY: u64 = 64 << 10;
/// The maximum time that a collector can ask to wait before the next request.
pub(crate) const MAX_RETRY_AFTER: Duration = Duration::from_secs(60);
/// The maximum number of characters of a message that is shown.
const MAX_MESSAGE: usize = 200;

/// What a collector has done with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It has accepted all of it, or all but `rejected` spans or data points. `message` is a
    /// warning or the reason; it may be empty.
    Accepted { rejected: u64, message: String },
    /// It may accept the request later.
    Retryable { problem: String, after: Option<Duration> },
    /// It has rejected the request.
    Rejected(String),
}

/// Interprets an answer: its status, its headers `Retry-After` and `Location`, and its body.
pub(crate) fn interpret(
    status: u16,
    retry_after: Option<&str>,
    location: Option<&str>,
    body: &[u8],
) -> Answer {
    match status {
        200..300 => accepted(body),
        // Following it would send the data, and the headers with their credentials, elsewhere.
        300..400 => Answer::Rejected(format!(
            "the collector redirects to `{}` (status {status}), which is not followed; set that URL as the endpoint if you trust it",
            shorten(location.unwrap_or("nowhere"))
        )),
        // The status codes that the specification declares retryable.
        429 | 502..=504 => Answer::Retryable {
            problem: format!("the collector answered with status {status}"),
            after: retry_after.and_then(parse_retry_after),
        },
        _ => Answer::Rejected(format!("the collector rejected the data (status {status})")),
    }
}

/// Interprets the body of a success. A body that is not a valid one is that of a collector that has
/// nothing to say.
fn accepted(body: &[u8]) -> Answer {
    let response: Response = serde_json::from_slice(body).unwrap_or_default();
    let PartialSuccess { rejected_spans, rejected_data_points, error_message } =
        response.partial_success.unwrap_or_default();
    Answer::Accepted {
        rejected: rejected_spans.0.saturating_add(rejected_data_points.0),
        message: shorten(&error_message),
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Response {
    partial_success: Option<PartialSuccess>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PartialSuccess {
    rejected_spans: Count,
    rejected_data_points: Count,
    #[serde(deserialize_with = "string_or_nothing")]
    error_message: String,
}

/// A 64-bit integer of the JSON mapping of proto3: a string or a number.
#[derive(Clone, Copy, Debug, Default)]
struct Count(u64);

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Count, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Notation {
            Number(u64),
            Text(String),
            Other(IgnoredAny),
        }
        Ok(Count(match Notation::deserialize(deserializer)? {
            Notation::Number(n) => n,
            Notation::Text(text) => text.parse().unwrap_or(0),
            Notation::Other(_) => 0,
        }))
    }
}

/// Accepts a string or null.
fn string_or_nothing<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Parses the value of a `Retry-After` header, which is a number of seconds or a date.
fn parse_retry_after(value: &str) -> Option<Duration> {
    let value = value.trim();
    let after = if value.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than a number has are a long time, too.
        value.parse().map_or(MAX_RETRY_AFTER, Duration::from_secs)
    } else {
        let date = httpdate::parse_http_date(value).ok()?;
        date.duration_since(SystemTime::now()).unwrap_or_default()
    };
    (!value.is_empty()).then(|| after.min(MAX_RETRY_AFTER))
}

/// Shortens a text of the collector.
fn shorten(text: &str) -> String {
    let mut short: String = text.chars().take(MAX_MESSAGE).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(text: &str) -> Answer {
        interpret(200, None, None, text.as_bytes())
    }

    #[test]
    fn counts_what_a_partial_success_rejects() {
        let accepted =
            |rejected, message: &str| Answer::Accepted { rejected, message: message.to_owned() };
        for (text, expected) in [
            ("", accepted(0, "")),
            ("{}", accepted(0, "")),
            ("<html>", accepted(0, "")),
            (r#"{"partialSuccess":{}}"#, accepted(0, "")),
            (r#"{"partialSuccess":null}"#, accepted(0, "")),
            (
                r#"{"partialSuccess":{"rejectedSpans":"12","errorMessage":"quota"}}"#,
                accepted(12, "quota"),
            ),
            (r#"{"partialSuccess":{"rejectedDataPoints":7,"errorMessage":null}}"#, accepted(7, "")),
            (r#"{"partialSuccess":{"rejectedSpans":"-1"},"x":[1]}"#, accepted(0, "")),
            (
                r#"{"partialSuccess":{"rejectedSpans":18446744073709551615,"rejectedDataPoints":"9"}}"#,
                accepted(u64::MAX, ""),
            ),
            (r#"{"partialSuccess":{"errorMessage":"slow"}}"#, accepted(0, "slow")),
        ] {
            assert_eq!(body(text), expected, "{text}");
        }
    }

    #[test]
    fn a_redirect_is_a_rejection() {
        let Answer::Rejected(problem) = interpret(302, None, Some("http://evil/"), b"") else {
            panic!("not a rejection");
        };
        assert!(
            problem.contains("`http://evil/`") && problem.contains("not followed"),
            "{problem}"
        );
    }

    #[test]
    fn retry_after_is_a_bounded_time_or_date() {
        let after = |value: &str| match interpret(503, Some(value), None, b"") {
            Answer::Retryable { after, .. } => after,
            other => panic!("{other:?}"),
        };
        assert_eq!(after("3"), Some(Duration::from_secs(3)));
        assert_eq!(after("99999999999999999999999"), Some(MAX_RETRY_AFTER));
        assert_eq!(after("Wed, 21 Oct 2015 07:28:00 GMT"), Some(Duration::ZERO));
        assert_eq!(after("Tue, 01 Jan 2999 00:00:00 GMT"), Some(MAX_RETRY_AFTER));
        for invalid in ["", " ", "-1", "soon", "1.5"] {
            assert_eq!(after(invalid), None, "{invalid}");
        }
    }

    #[test]
    fn long_messages_are_shortened() {
        let text = format!(r#"{{"partialSuccess":{{"errorMessage":"{}"}}}}"#, "é".repeat(10_000));
        let Answer::Accepted { message, .. } = body(&text) else { panic!("not accepted") };
        assert_eq!(message.chars().count(), MAX_MESSAGE + 1);
    }
}
