//! A cluster, by its API server.

mod gates;
mod list;
mod proto;

use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{Request, StatusCode};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use kube::client::Body;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use prost::Message;
use serde::Deserialize;
use serde_json::Value;
use streamway_audit::{Exemptions, Version};

use crate::args::ConnectionArgs;
pub(crate) use list::Collection;

const JSON: &str = "application/json";
const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

/// A cluster, as somebody sees it.
#[derive(Clone)]
pub(crate) struct Cluster {
    client: Client,
    /// The API server's address.
    pub(crate) url: String,
}

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The API server said no.
    #[error("{message} ({})", code.as_u16())]
    Refused {
        code: StatusCode,
        message: String,
        /// Where a list that took too long can go on.
        resume: Option<String>,
    },
    #[error(transparent)]
    Client(#[from] kube::Error),
    #[error("the answer cannot be read")]
    Malformed(#[from] prost::DecodeError),
    #[error("the answer cannot be read")]
    Json(#[from] serde_json::Error),
    #[error("the answer is {0}, which is not what was asked for")]
    Other(String),
}

/// A body, and whether it is protobuf.
pub(crate) struct Answer {
    pub(crate) body: Bytes,
    pub(crate) protobuf: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct VersionInfo {
    git_version: String,
}

impl Cluster {
    /// Finds it as kubectl would.
    pub(crate) async fn connect(args: &ConnectionArgs) -> Result<Self> {
        let mut config = config(args).await?;
        if let Some(user) = &args.impersonate {
            config.auth_info.impersonate = Some(user.clone());
            config.auth_info.impersonate_groups = Some(args.impersonate_groups.clone());
        }
        let silence = Some(args.request_timeout).filter(|time| !time.is_zero());
        config.read_timeout = silence;
        config.write_timeout = silence;
        config.connect_timeout = silence.or(Some(Duration::from_secs(30)));
        let url = config.cluster_url.to_string();
        let client = Client::try_from(config).context("the kubeconfig cannot be used")?;
        Ok(Self {
            client,
            url: url.trim_end_matches('/').to_owned(),
        })
    }

    /// Its version.
    ///
    /// # Errors
    ///
    /// The server cannot be reached: nothing else can be asked then.
    pub(crate) async fn version(&self) -> Result<Result<Version, String>> {
        match self.get("/version").await {
            Ok(answer) => {
                let info: Result<VersionInfo, _> = serde_json::from_slice(&answer.body);
                let text = info.map(|info| info.git_version);
                let text = text.map_err(|error| error.to_string());
                Ok(text.and_then(|text| Version::parse(&text).map_err(|error| error.to_string())))
            }
            Err(failure @ Failure::Refused { .. }) => Ok(Err(failure.to_string())),
            Err(failure) => Err(failure).with_context(|| {
                format!(
                    "the API server {} cannot be asked; --kubeconfig, --context and --request-timeout \
                     say which and how long, -f and --from need none",
                    self.url
                )
            }),
        }
    }

    /// A GET for JSON.
    pub(crate) async fn get(&self, path: &str) -> Result<Answer, Failure> {
        let request = Request::get(path).header(ACCEPT, JSON);
        self.send(request.body(Body::empty())).await
    }

    /// A GET for JSON, read.
    pub(crate) async fn read<T: for<'de> Deserialize<'de>>(
        &self,
        path: &str,
    ) -> Result<T, Failure> {
        let answer = self.get(path).await?;
        Ok(serde_json::from_slice(&answer.body)?)
    }

    /// AccessExemptions; none where the cluster does not know the kind.
    pub(crate) async fn exemptions(&self) -> Result<Exemptions, Failure> {
        match self.read(Exemptions::PATH).await {
            Err(Failure::Refused { code, .. }) if code == StatusCode::NOT_FOUND => {
                Ok(Exemptions::default())
            }
            read => read,
        }
    }

    /// A GET for protobuf, or JSON if the server knows no better.
    pub(crate) async fn get_protobuf(&self, path: &str) -> Result<Answer, Failure> {
        let accept = format!("{PROTOBUF}, {JSON};q=0.5");
        let request = Request::get(path).header(ACCEPT, accept);
        self.send(request.body(Body::empty())).await
    }

    /// A POST of JSON.
    pub(crate) async fn post(&self, path: &str, body: Vec<u8>) -> Result<Answer, Failure> {
        let request = Request::post(path).header(ACCEPT, JSON);
        let request = request.header(CONTENT_TYPE, JSON);
        self.send(request.body(Body::from(body))).await
    }

    /// A JSON patch (RFC 6902) that the server tries and does not keep.
    pub(crate) async fn try_patch(&self, path: &str, patch: &[Value]) -> Result<(), Failure> {
        let request = Request::patch(format!("{path}?dryRun=All")).header(ACCEPT, JSON);
        let request = request.header(CONTENT_TYPE, "application/json-patch+json");
        let body = serde_json::to_vec(patch)?;
        self.send(request.body(Body::from(body))).await.map(drop)
    }

    async fn send(&self, request: http::Result<Request<Body>>) -> Result<Answer, Failure> {
        let request = request.map_err(kube::Error::HttpError)?;
        let response = self.client.send(request).await?;
        let (parts, body) = response.into_parts();
        let kind = parts.headers.get(CONTENT_TYPE);
        let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let protobuf = kind.starts_with(PROTOBUF);
        let body = body.collect_bytes().await?;
        let answer = Answer { body, protobuf };
        if parts.status.is_success() {
            return Ok(answer);
        }
        Err(refusal(parts.status, &answer))
    }
}

/// A name as a part of a path: those of roles may hold nearly anything.
pub(crate) fn segment(name: &str) -> String {
    utf8_percent_encode(name, NON_ALPHANUMERIC).to_string()
}

async fn config(args: &ConnectionArgs) -> Result<Config> {
    let options = KubeConfigOptions {
        context: args.context.clone(),
        cluster: args.cluster.clone(),
        user: args.user.clone(),
    };
    let Some(path) = &args.kubeconfig else {
        let chosen = [&options.context, &options.cluster, &options.user];
        let config = match chosen.iter().any(|own| own.is_some()) {
            true => Config::from_kubeconfig(&options)
                .await
                .map_err(anyhow::Error::from),
            false => Config::infer().await.map_err(anyhow::Error::from),
        };
        return config
            .context("no cluster is found; --kubeconfig says where, -f and --from need none");
    };
    let named = || format!("--kubeconfig {} cannot be used", path.display());
    let kubeconfig = Kubeconfig::read_from(path).with_context(named)?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &options).await;
    config.with_context(named)
}

/// What a Status says, or the body's first line.
fn refusal(code: StatusCode, answer: &Answer) -> Failure {
    let (message, resume) = if answer.protobuf {
        let status = proto::unwrapped(&answer.body)
            .and_then(|raw| proto::Status::decode(raw).ok())
            .unwrap_or_default();
        (status.message, status.metadata.map(|own| own.next))
    } else {
        let status: Status = serde_json::from_slice(&answer.body).unwrap_or_default();
        let resume = status.metadata.continue_;
        (status.message.unwrap_or_default(), resume)
    };
    let message = match message.is_empty() {
        false => message,
        true => {
            let text = String::from_utf8_lossy(&answer.body);
            let line = text.lines().next().unwrap_or_default();
            line.chars().take(200).collect()
        }
    };
    Failure::Refused {
        code,
        message,
        resume: resume.filter(|token| !token.is_empty()),
    }
}
