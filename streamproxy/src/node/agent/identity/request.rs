//! Asks the cluster for a client certificate, and waits until it is approved and signed.

use std::time::{Duration, Instant};

use k8s_openapi::ByteString;
use k8s_openapi::api::certificates::v1::{
    CertificateSigningRequest, CertificateSigningRequestSpec, CertificateSigningRequestStatus,
};
use kube::api::{Api, ObjectMeta, PostParams};
use kube::{Client, ResourceExt};
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use rustls_pki_types::UnixTime;
use streamway_crds::names;

use super::super::backoff::Backoff;
use super::credential::{Credential, Unusable};

/// The life that is asked for; the cluster may give less. A month: long enough for any outage of the
/// control plane that a cluster survives, and a credential that was left behind dies.
const LIFE: Duration = Duration::from_secs(30 * 24 * 3600);

/// How long one call may take.
const CALL: Duration = Duration::from_secs(30);

/// How often it is said that approval is still waited for.
const REMIND: Duration = Duration::from_secs(60);

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(super) enum RequestError {
    #[error("the key cannot be made: {0}")]
    Key(#[from] rcgen::Error),
    #[error("the request cannot be made: {0}")]
    Create(#[source] kube::Error),
    #[error("request {name} was denied: {why}")]
    Denied { name: String, why: String },
    #[error("request {name} failed: {why}")]
    Failed { name: String, why: String },
    #[error("request {0} is gone before it was answered")]
    Gone(String),
    #[error("the certificate of request {name} cannot be used: {why}")]
    Unusable { name: String, why: Unusable },
    #[error("the API server gave no answer in 30 s")]
    Late,
}

/// What has become of a request.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Waits,
    Signed(Vec<u8>),
    Denied(String),
    Failed(String),
}

/// Has a certificate made for `user`.
///
/// # Errors
///
/// Every reason for which one has to begin anew. That nobody approves it is none: it is waited for.
pub(super) async fn certificate(client: &Client, user: &str) -> Result<Credential, RequestError> {
    let api: Api<CertificateSigningRequest> = Api::all(client.clone());
    let key = KeyPair::generate()?;
    let request = request(user, &key)?;
    let params = PostParams::default();
    let made = tokio::time::timeout(CALL, api.create(&params, &request))
        .await
        .map_err(|_| RequestError::Late)?
        .map_err(RequestError::Create)?;
    let name = made.name_any();
    tracing::info!(
        request = name,
        "a client certificate is asked for; the controller approves it, or kubectl certificate approve"
    );
    let certificate = wait(&api, &made).await?;
    let text = String::from_utf8_lossy(&certificate);
    Credential::new(&text, &key.serialize_pem(), user, UnixTime::now())
        .map_err(|why| RequestError::Unusable { name, why })
}

async fn wait(
    api: &Api<CertificateSigningRequest>,
    made: &CertificateSigningRequest,
) -> Result<Vec<u8>, RequestError> {
    let name = made.name_any();
    let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(10));
    let mut reminded = Instant::now();
    loop {
        backoff.pause().await;
        let read = tokio::time::timeout(CALL, api.get(&name)).await;
        let answer = match read {
            Ok(Ok(request)) if request.uid() == made.uid() => answer(request.status),
            Ok(Ok(_)) => return Err(RequestError::Gone(name)),
            Ok(Err(kube::Error::Api(status))) if status.code == 404 => {
                return Err(RequestError::Gone(name));
            }
            // It may be approved meanwhile: the request stands.
            Ok(Err(error)) => {
                tracing::debug!(request = name, %error, "the request cannot be read");
                Answer::Waits
            }
            Err(_) => Answer::Waits,
        };
        match answer {
            Answer::Signed(certificate) => return Ok(certificate),
            Answer::Denied(why) => return Err(RequestError::Denied { name, why }),
            Answer::Failed(why) => return Err(RequestError::Failed { name, why }),
            Answer::Waits if reminded.elapsed() >= REMIND => {
                reminded = Instant::now();
                tracing::warn!(
                    request = name,
                    "the client certificate still waits for approval"
                );
            }
            Answer::Waits => {}
        }
    }
}

/// The request: a subject and nothing else, which is all that is approved.
fn request(user: &str, key: &KeyPair) -> Result<CertificateSigningRequest, rcgen::Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::OrganizationName, names::AGENT_GROUP);
    params.distinguished_name.push(DnType::CommonName, user);
    let pem = params.serialize_request(key)?.pem()?;
    let usages = ["digital signature", "client auth"].map(str::to_owned);
    Ok(CertificateSigningRequest {
        metadata: ObjectMeta {
            generate_name: Some(format!("{}-", names::AGENT)),
            ..ObjectMeta::default()
        },
        spec: CertificateSigningRequestSpec {
            request: ByteString(pem.into_bytes()),
            signer_name: names::AGENT_SIGNER.to_owned(),
            usages: Some(usages.into()),
            expiration_seconds: i32::try_from(LIFE.as_secs()).ok(),
            ..CertificateSigningRequestSpec::default()
        },
        status: None,
    })
}

fn answer(status: Option<CertificateSigningRequestStatus>) -> Answer {
    let status = status.unwrap_or_default();
    for condition in status.conditions.unwrap_or_default() {
        let (reason, message) = (condition.reason, condition.message);
        let why = [reason, message].into_iter().flatten().collect::<Vec<_>>();
        match condition.type_.as_str() {
            "Denied" => return Answer::Denied(why.join(": ")),
            "Failed" => return Answer::Failed(why.join(": ")),
            _ => {}
        }
    }
    match status.certificate {
        Some(certificate) if !certificate.0.is_empty() => Answer::Signed(certificate.0),
        _ => Answer::Waits,
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::certificates::v1::CertificateSigningRequestCondition;
    use x509_parser::certification_request::X509CertificationRequest;
    use x509_parser::pem::Pem;
    use x509_parser::prelude::FromDer;

    use super::*;

    #[test]
    fn it_asks_for_a_subject_and_nothing_else() {
        let key = KeyPair::generate().unwrap();
        let made = request("streamway:node:one", &key).unwrap();
        let pem = Pem::iter_from_buffer(&made.spec.request.0)
            .next()
            .unwrap()
            .unwrap();
        let (rest, parsed) = X509CertificationRequest::from_der(&pem.contents).unwrap();
        assert!(rest.is_empty());
        let info = &parsed.certification_request_info;
        assert_eq!(
            info.subject.to_string(),
            "O=streamway:nodes, CN=streamway:node:one"
        );
        assert!(info.attributes().is_empty());
        parsed.verify_signature().unwrap();
        assert_eq!(made.spec.expiration_seconds, Some(2_592_000));
    }

    #[test]
    fn answers() {
        let condition = |kind: &str| CertificateSigningRequestCondition {
            type_: kind.into(),
            reason: Some("Why".into()),
            message: Some("not yours".into()),
            ..CertificateSigningRequestCondition::default()
        };
        let status = |kind: Option<&str>, certificate: &str| {
            Some(CertificateSigningRequestStatus {
                certificate: Some(ByteString(certificate.into())),
                conditions: kind.map(|kind| vec![condition(kind)]),
            })
        };
        assert_eq!(answer(None), Answer::Waits);
        assert_eq!(answer(status(Some("Approved"), "")), Answer::Waits);
        assert_eq!(
            answer(status(Some("Approved"), "x")),
            Answer::Signed(b"x".into())
        );
        let denied = Answer::Denied("Why: not yours".into());
        assert_eq!(answer(status(Some("Denied"), "")), denied);
        let failed = Answer::Failed("Why: not yours".into());
        assert_eq!(answer(status(Some("Failed"), "")), failed);
    }
}
