//! Metrics that every binary has, and their text form.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text;
use prometheus_client::metrics::{family::Family, gauge::Gauge};
use prometheus_client::registry::Registry;

/// `Content-Type` of [`encode`]'s text.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// All metrics of `registry` as OpenMetrics text 1.0.0.
///
/// # Errors
/// [`std::fmt::Error`] where a metric cannot be written as text.
pub fn encode(registry: &Registry) -> Result<String, std::fmt::Error> {
    let mut text = String::new();
    text::encode(&mut text, registry)?;
    Ok(text)
}

/// `streamway_certificate_expiry_timestamp_seconds{name}`: when a certificate ends to be valid, in
/// seconds since 1970. Clones share their values.
#[derive(Debug, Clone, Default)]
pub struct CertificateExpiry(Family<CertificateLabels, Gauge>);

impl CertificateExpiry {
    /// Registers the gauge; certificates appear in it once [`set`](Self::set).
    pub fn register(registry: &mut Registry) -> Self {
        let expiry = Self::default();
        registry.register(
            "streamway_certificate_expiry_timestamp_seconds",
            "When a certificate ends to be valid, in seconds since 1970",
            expiry.0.clone(),
        );
        expiry
    }

    /// Notes that the certificate `name` is valid until `not_after`, in seconds since 1970.
    pub fn set(&self, name: &'static str, not_after: i64) {
        self.0
            .get_or_create(&CertificateLabels { name })
            .set(not_after);
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CertificateLabels {
    name: &'static str,
}
