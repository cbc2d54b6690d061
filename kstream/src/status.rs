//! What the error channel says at a command's end (v4 and v5): one `metav1.Status` as JSON.

use serde::{Deserialize, Serialize};

/// `status` of a command that ended well.
pub const SUCCESS: &str = "Success";
/// `status` of every other.
pub const FAILURE: &str = "Failure";
/// `reason` of a command that ended with an exit code.
pub const NON_ZERO_EXIT_CODE: &str = "NonZeroExitCode";
/// `reason` of the cause that holds the code.
pub const EXIT_CODE: &str = "ExitCode";

/// The parts of a `metav1.Status` that streams use.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Status {
    /// Always empty.
    #[serde(default)]
    pub metadata: Empty,
    /// [`SUCCESS`] or [`FAILURE`].
    #[serde(default)]
    pub status: String,
    /// What happened, in words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// What happened, in one word.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// More of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<Details>,
    /// An HTTP status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<i32>,
}

/// `{}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Empty {}

/// `details`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Details {
    /// What made it happen.
    #[serde(default)]
    pub causes: Vec<Cause>,
}

/// A cause.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Cause {
    /// [`EXIT_CODE`], or nothing.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// The code, or words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// What a status says.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// The command ended well.
    Success,
    /// It ended with this code. Upstream's clients take 0 to 255; Windows has 32 bits.
    ExitCode(i64),
    /// Something else.
    Failure {
        /// In one word.
        reason: String,
        /// In more.
        message: String,
    },
}

/// What is no status.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StatusError {
    /// Not JSON, or not of this shape.
    #[error("it is not a status: {0}")]
    Json(#[from] serde_json::Error),
    /// `status` is neither of the two.
    #[error("its status is {0:?}, not Success or Failure")]
    Unknown(String),
}

impl Status {
    /// A command ended well.
    pub fn success() -> Self {
        Self {
            status: SUCCESS.to_owned(),
            ..Self::default()
        }
    }

    /// The stream failed, in the shape of upstream's translator.
    pub fn internal_error(text: &str) -> Self {
        Self {
            status: FAILURE.to_owned(),
            message: format!("Internal error occurred: {text}"),
            reason: "InternalError".to_owned(),
            details: Some(Details {
                causes: vec![Cause {
                    reason: String::new(),
                    message: text.to_owned(),
                }],
            }),
            code: Some(500),
            ..Self::default()
        }
    }

    /// The message for the channel, without the channel's byte.
    pub fn to_json(&self) -> Vec<u8> {
        // Strings and numbers: it cannot fail.
        serde_json::to_vec(self).unwrap_or_default()
    }
}

/// Reads a whole status. Fields that are not known are passed over.
///
/// # Errors
///
/// Not JSON, or neither success nor failure.
pub fn parse(json: &[u8]) -> Result<Outcome, StatusError> {
    let status: Status = serde_json::from_slice(json)?;
    if status.status == SUCCESS {
        return Ok(Outcome::Success);
    }
    if status.status != FAILURE {
        return Err(StatusError::Unknown(status.status));
    }
    if status.reason == NON_ZERO_EXIT_CODE {
        let causes = status.details.iter().flat_map(|details| &details.causes);
        let mut codes = causes.filter(|cause| cause.reason == EXIT_CODE);
        if let Some(code) = codes.find_map(|cause| cause.message.parse().ok()) {
            return Ok(Outcome::ExitCode(code));
        }
    }
    Ok(Outcome::Failure {
        reason: status.reason,
        message: status.message,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_upstream_writes_them() {
        assert_eq!(
            Status::success().to_json(),
            br#"{"metadata":{},"status":"Success"}"#
        );
        let text = String::from_utf8(Status::internal_error("X").to_json()).unwrap();
        assert_eq!(
            text,
            r#"{"metadata":{},"status":"Failure","message":"Internal error occurred: X","reason":"InternalError","details":{"causes":[{"message":"X"}]},"code":500}"#
        );
    }

    #[test]
    fn what_they_say() {
        let success = [
            r#"{"status":"Success"}"#,
            r#"{"metadata":{},"status":"Success"}"#,
        ];
        for json in success {
            assert_eq!(parse(json.as_bytes()).unwrap(), Outcome::Success);
        }
        for code in [7, 255, 3_221_225_786, -1] {
            let json = format!(
                r#"{{"status":"Failure","reason":"NonZeroExitCode","details":{{"causes":[{{"reason":"ExitCode","message":"{code}"}}]}}}}"#
            );
            assert_eq!(parse(json.as_bytes()).unwrap(), Outcome::ExitCode(code));
        }
        let json = br#"{"kind":"Status","status":"Failure","reason":"InternalError","message":"m","code":500}"#;
        let failure = Outcome::Failure {
            reason: "InternalError".into(),
            message: "m".into(),
        };
        assert_eq!(parse(json).unwrap(), failure);
    }

    #[test]
    fn what_is_none() {
        for junk in [
            "",
            "{",
            "null",
            "[]",
            "exit 1",
            r#"{"status":"Maybe"}"#,
            r#"{}"#,
            r#"{"status":1}"#,
        ] {
            assert!(parse(junk.as_bytes()).is_err(), "{junk}");
        }
    }
}
