use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::ByteString;
use k8s_openapi::api::certificates::v1::{
    CertificateSigningRequestCondition, CertificateSigningRequestStatus,
};
use k8s_openapi::api::core::v1::PodSpec;
use rcgen::{
    CertificateParams, CustomExtension, DistinguishedName, DnType, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, SanType,
};

use super::*;

const USER: &str = "system:serviceaccount:streamway-nodes:streamway-agent";

fn agents() -> Agents {
    Agents {
        namespace: "streamway-nodes".into(),
        service_account: "streamway-agent".into(),
    }
}

fn pem(subject: &[(DnType, &str)], more: impl FnOnce(&mut CertificateParams)) -> String {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    for (kind, value) in subject {
        params.distinguished_name.push(kind.clone(), *value);
    }
    more(&mut params);
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    params.serialize_request(&key).unwrap().pem().unwrap()
}

fn subject(name: &str, group: &str) -> Vec<(DnType, String)> {
    vec![
        (DnType::CommonName, name.into()),
        (DnType::OrganizationName, group.into()),
    ]
}

fn plain(name: &str, group: &str) -> String {
    let subject = subject(name, group);
    let subject: Vec<_> = subject
        .iter()
        .map(|(kind, value)| (kind.clone(), value.as_str()))
        .collect();
    pem(&subject, |_| {})
}

/// The request of the agent on node `one`, as it should be.
fn request() -> CertificateSigningRequest {
    let extra = [
        (names::EXTRA_NODE_NAME, "one"),
        (names::EXTRA_POD_NAME, "agent-one"),
        (names::EXTRA_POD_UID, "uid-one"),
        ("authentication.kubernetes.io/credential-id", "JTI=1"),
    ];
    let extra = extra.map(|(name, value)| (name.to_owned(), vec![value.to_owned()]));
    let spec = CertificateSigningRequestSpec {
        signer_name: "kubernetes.io/kube-apiserver-client".into(),
        request: ByteString(plain("streamway:node:one", "streamway:nodes").into_bytes()),
        usages: Some(vec!["client auth".into(), "digital signature".into()]),
        username: Some(USER.into()),
        extra: Some(BTreeMap::from(extra)),
        ..CertificateSigningRequestSpec::default()
    };
    CertificateSigningRequest {
        spec,
        ..CertificateSigningRequest::default()
    }
}

fn pod(uid: &str, node: Option<&str>) -> Option<Arc<Pod>> {
    let mut pod = Pod::default();
    pod.metadata.name = Some("agent-one".into());
    pod.metadata.uid = Some(uid.into());
    pod.spec = Some(PodSpec {
        node_name: node.map(str::to_owned),
        ..PodSpec::default()
    });
    Some(Arc::new(pod))
}

fn checked(request: &CertificateSigningRequest) -> Verdict {
    agents().check(request, |name| {
        assert_eq!(name, "agent-one");
        pod("uid-one", Some("one"))
    })
}

#[test]
fn an_agents_own_request_is_approved() {
    let approve = Verdict::Approve { node: "one".into() };
    assert_eq!(checked(&request()), approve);
    let mut rsa = request();
    rsa.spec
        .usages
        .get_or_insert_default()
        .push("key encipherment".into());
    assert_eq!(checked(&rsa), approve);
}

#[test]
fn a_request_that_claims_our_names_wrongly_is_denied() {
    type Change = fn(&mut CertificateSigningRequestSpec);
    let rows: [(&str, Change, &str); 22] = [
        (
            "another node's name",
            |spec| {
                spec.request.0 = plain("streamway:node:two", "streamway:nodes").into_bytes();
            },
            "a pod on node one asks for the certificate of node two",
        ),
        (
            "no node",
            |spec| {
                spec.request.0 = plain("streamway:node:", "streamway:nodes").into_bytes();
            },
            "the subject must be",
        ),
        (
            "our group under another's name",
            |spec| {
                spec.request.0 = plain("system:admin", "streamway:nodes").into_bytes();
            },
            "the subject must be",
        ),
        (
            "our name in another group",
            |spec| {
                spec.request.0 = plain("streamway:node:one", "system:masters").into_bytes();
            },
            "the subject must be",
        ),
        (
            "system:masters as well",
            |spec| {
                let subject = [
                    (DnType::CommonName, "streamway:node:one"),
                    (DnType::OrganizationName, "streamway:nodes"),
                    (DnType::CustomDnType(vec![2, 5, 4, 10, 1]), "x"),
                ];
                spec.request.0 = pem(&subject, |_| {}).into_bytes();
            },
            "the subject must be",
        ),
        (
            "a unit as well",
            |spec| {
                let subject = [
                    (DnType::CommonName, "streamway:node:one"),
                    (DnType::OrganizationName, "streamway:nodes"),
                    (DnType::OrganizationalUnitName, "x"),
                ];
                spec.request.0 = pem(&subject, |_| {}).into_bytes();
            },
            "the subject must be",
        ),
        (
            "no group",
            |spec| {
                let subject = [(DnType::CommonName, "streamway:node:one")];
                spec.request.0 = pem(&subject, |_| {}).into_bytes();
            },
            "the subject must be",
        ),
        (
            "another ServiceAccount",
            |spec| {
                spec.username = Some("system:serviceaccount:streamway-nodes:default".into());
            },
            "system:serviceaccount:streamway-nodes:default asks; only",
        ),
        (
            "the same ServiceAccount of another namespace",
            |spec| {
                spec.username = Some("system:serviceaccount:default:streamway-agent".into());
            },
            "only the agents' ServiceAccount",
        ),
        (
            "an agent's certificate, not its token",
            |spec| {
                spec.username = Some("streamway:node:one".into());
            },
            "only the agents' ServiceAccount",
        ),
        (
            "nobody",
            |spec| spec.username = None,
            "only the agents' ServiceAccount",
        ),
        (
            "a token that is bound to nothing",
            |spec| spec.extra = None,
            "is not bound to a pod",
        ),
        (
            "no node in extra",
            |spec| {
                spec.extra.as_mut().unwrap().remove(names::EXTRA_NODE_NAME);
            },
            "(authentication.kubernetes.io/node-name is missing)",
        ),
        (
            "no pod in extra",
            |spec| {
                spec.extra.as_mut().unwrap().remove(names::EXTRA_POD_NAME);
            },
            "(authentication.kubernetes.io/pod-name is missing)",
        ),
        (
            "no pod's UID in extra",
            |spec| {
                spec.extra.as_mut().unwrap().remove(names::EXTRA_POD_UID);
            },
            "(authentication.kubernetes.io/pod-uid is missing)",
        ),
        (
            "two nodes in extra",
            |spec| {
                let extra = spec.extra.as_mut().unwrap();
                extra
                    .get_mut(names::EXTRA_NODE_NAME)
                    .unwrap()
                    .push("two".into());
            },
            "is not bound to a pod",
        ),
        (
            "another node's pod",
            |spec| {
                let extra = spec.extra.as_mut().unwrap();
                extra.insert(names::EXTRA_NODE_NAME.into(), vec!["two".into()]);
            },
            "a pod on node two asks for the certificate of node one",
        ),
        (
            "a server's certificate",
            |spec| {
                spec.usages
                    .get_or_insert_default()
                    .push("server auth".into());
            },
            "the usages must be",
        ),
        (
            "any usage",
            |spec| spec.usages = Some(vec!["any".into()]),
            "the usages must be",
        ),
        ("no usage", |spec| spec.usages = None, "the usages must be"),
        (
            "alternative names",
            |spec| {
                let subject = subject("streamway:node:one", "streamway:nodes");
                let subject: Vec<_> = subject
                    .iter()
                    .map(|(kind, value)| (kind.clone(), value.as_str()))
                    .collect();
                let name = SanType::DnsName("kubernetes.default".try_into().unwrap());
                spec.request.0 =
                    pem(&subject, |params| params.subject_alt_names.push(name)).into_bytes();
            },
            "nothing but a subject",
        ),
        (
            "an extension",
            |spec| {
                let subject = subject("streamway:node:one", "streamway:nodes");
                let subject: Vec<_> = subject
                    .iter()
                    .map(|(kind, value)| (kind.clone(), value.as_str()))
                    .collect();
                let extension = CustomExtension::from_oid_content(&[1, 2, 3], vec![5, 0]);
                spec.request.0 = pem(&subject, |params| {
                    params.key_usages.push(KeyUsagePurpose::KeyCertSign);
                    params.custom_extensions.push(extension);
                })
                .into_bytes();
            },
            "nothing but a subject",
        ),
    ];
    for (what, change, words) in rows {
        let mut request = request();
        change(&mut request.spec);
        match checked(&request) {
            Verdict::Deny(refusal) => {
                let text = refusal.to_string();
                assert!(text.contains(words), "{what}: {text}");
            }
            other => panic!("{what}: {other:?}"),
        }
    }
}

#[test]
fn what_does_not_claim_our_names_is_left_alone() {
    type Change = fn(&mut CertificateSigningRequest);
    let rows: [(&str, Change); 8] = [
        ("another signer", |request| {
            request.spec.signer_name = "kubernetes.io/kube-apiserver-client-kubelet".into();
        }),
        ("system:masters of somebody else", |request| {
            request.spec.request.0 = plain("root", "system:masters").into_bytes();
        }),
        ("somebody else", |request| {
            request.spec.request.0 = plain("jane", "developers").into_bytes();
        }),
        ("nothing", |request| request.spec.request.0 = Vec::new()),
        ("no request", |request| {
            request.spec.request.0 = b"-----BEGIN X-----\n-----END X-----\n".to_vec()
        }),
        ("approved", |request| decide(request, "Approved")),
        ("denied", |request| decide(request, "Denied")),
        ("signed", |request| {
            let certificate = Some(ByteString(b"x".to_vec()));
            request.status.get_or_insert_default().certificate = certificate;
        }),
    ];
    for (what, change) in rows {
        let mut request = request();
        change(&mut request);
        assert_eq!(checked(&request), Verdict::NotOurs, "{what}");
    }
}

#[test]
fn the_pod_must_be_the_one_that_it_says_it_is() {
    for (found, denied) in [
        (pod("uid-two", Some("one")), true),
        (pod("uid-one", Some("two")), true),
        (pod("uid-one", None), true),
        (None, false),
    ] {
        let verdict = agents().check(&request(), |_| found);
        if denied {
            assert!(
                matches!(verdict, Verdict::Deny(Refusal::OtherPod(..))),
                "{verdict:?}"
            );
        } else {
            assert_eq!(verdict, Verdict::NotYet);
        }
    }
}

fn decide(request: &mut CertificateSigningRequest, kind: &str) {
    let condition = CertificateSigningRequestCondition {
        type_: kind.into(),
        ..CertificateSigningRequestCondition::default()
    };
    request.status = Some(CertificateSigningRequestStatus {
        conditions: Some(vec![condition]),
        ..CertificateSigningRequestStatus::default()
    });
}
