//! The API server's side: objects in, lists and reviews out.

use anyhow::{Context, Result, ensure};
use http::{Method, Request};
use http_body_util::Full;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use streamway_e2e::cluster::Cluster;
use streamway_e2e::httpclient::{HttpClient, Speaks};
use streamway_rbac::{Policy, Question, Who};

/// Connections to an API server as the administrator; what is sent goes over all of them at once.
pub(crate) struct Server(Vec<HttpClient>);

/// What the API server made of a question.
#[derive(Debug, Clone)]
pub(crate) struct Verdict {
    pub(crate) allowed: bool,
    /// Empty where it is not allowed.
    pub(crate) reason: String,
}

impl Server {
    pub(crate) async fn connect(cluster: &Cluster, connections: usize) -> Result<Self> {
        let url = cluster.url();
        let address = url.strip_prefix("https://").context("no https")?;
        let mut clients = Vec::new();
        for _ in 0..connections {
            clients.push(HttpClient::connect(address, Speaks::Http2, None).await?);
        }
        Ok(Self(clients))
    }

    /// POSTs each body to its path. The answers, in order.
    pub(crate) async fn post_all(&mut self, requests: &[(String, Value)]) -> Result<Vec<Value>> {
        let share = requests.len().div_ceil(self.0.len()).max(1);
        let shares = self.0.iter_mut().zip(requests.chunks(share));
        let shares = shares.map(async |(client, requests)| {
            let mut answers = Vec::new();
            for (path, body) in requests {
                answers.push(send(client, Method::POST, path, Some(body)).await?);
            }
            anyhow::Ok(answers)
        });
        let answers = futures_util::future::try_join_all(shares).await?;
        Ok(answers.concat())
    }

    /// All objects of a collection.
    pub(crate) async fn list<T: DeserializeOwned>(&mut self, collection: &str) -> Result<Vec<T>> {
        let path = format!("/apis/rbac.authorization.k8s.io/v1/{collection}");
        let client = self.0.first_mut().context("no connection")?;
        let mut list = send(client, Method::GET, &path, None).await?;
        Ok(serde_json::from_value(list["items"].take())?)
    }

    /// Adds the API server's roles and bindings to a policy.
    pub(crate) async fn fill(&mut self, mut policy: Policy) -> Result<Policy> {
        let roles = self.list("roles").await?;
        roles.iter().for_each(|role| policy.add_role(role));
        let roles = self.list("clusterroles").await?;
        roles.iter().for_each(|role| policy.add_cluster_role(role));
        let bindings = self.list("rolebindings").await?;
        let each = bindings.iter();
        each.for_each(|binding| policy.add_role_binding(binding));
        let bindings = self.list("clusterrolebindings").await?;
        let each = bindings.iter();
        each.for_each(|binding| policy.add_cluster_role_binding(binding));
        Ok(policy)
    }

    /// What the API server says to questions.
    pub(crate) async fn review(&mut self, asked: &[(Who, Question<'_>)]) -> Result<Vec<Verdict>> {
        let path = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
        let reviews = asked.iter().map(|(who, question)| {
            let mut spec = json!({"user": who.name, "groups": who.groups});
            match question {
                Question::Resource(asked) => {
                    spec["resourceAttributes"] = json!({
                        "verb": asked.verb,
                        "group": asked.group,
                        "resource": asked.resource,
                        "subresource": asked.subresource,
                        "namespace": asked.namespace,
                        "name": asked.name,
                    });
                }
                Question::Url { verb, path } => {
                    spec["nonResourceAttributes"] = json!({"verb": verb, "path": path});
                }
            }
            (path.to_owned(), json!({"spec": spec}))
        });
        let answers = self.post_all(&reviews.collect::<Vec<_>>()).await?;
        let verdicts = answers.iter().map(|answer| {
            let status = &answer["status"];
            Ok(Verdict {
                allowed: status["allowed"].as_bool().context("no verdict")?,
                reason: status["reason"].as_str().unwrap_or_default().to_owned(),
            })
        });
        verdicts.collect()
    }
}

async fn send(
    client: &mut HttpClient,
    method: Method,
    path: &str,
    body: Option<&Value>,
) -> Result<Value> {
    let body = body.map(Value::to_string).unwrap_or_default();
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(
            "authorization",
            format!("Bearer {}", Cluster::token("admin")),
        )
        .header("content-type", "application/json")
        .body(Full::from(body.clone()))?;
    let answer = client.whole(request).await?;
    let text = String::from_utf8_lossy(&answer.body);
    ensure!(answer.status.is_success(), "{path} {body}: {text}");
    Ok(serde_json::from_str(&text)?)
}
