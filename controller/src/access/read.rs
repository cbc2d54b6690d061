//! Everything that an audit needs, page by page.

use std::fmt::Debug;

use http::Request;
use jiff::Timestamp;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use kube::api::{Api, ListParams};
use kube::{Client, Resource};
use serde::de::DeserializeOwned;
use streamway_audit::{CREATE_CHECK, Exemptions, Nowhere, Origin, Report, Server, Version};
use streamway_rbac::{Index, Policy};

use crate::scrape;

/// How many objects are asked for at once.
const PAGE: u32 = 500;

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("{kind} cannot be listed: {source}")]
    List {
        kind: &'static str,
        source: Box<kube::Error>,
    },
    #[error("the API server's version cannot be read: {0}")]
    Version(Box<kube::Error>),
    #[error("the audit ended early")]
    Ended,
}

/// Audits the cluster once.
///
/// # Errors
///
/// What is needed for it could not be read; half of it would say too little or too much.
pub(super) async fn report(client: &Client) -> Result<Report, Error> {
    let mut policy = Policy::of_cluster();
    let all = Api::<ClusterRole>::all(client.clone());
    let mut roles = pages(all, "ClusterRoles", |one| policy.add_cluster_role(one)).await?;
    let all = Api::<Role>::all(client.clone());
    roles += pages(all, "Roles", |one| policy.add_role(one)).await?;
    let all = Api::<ClusterRoleBinding>::all(client.clone());
    let add = |one: &ClusterRoleBinding| policy.add_cluster_role_binding(one);
    let mut bindings = pages(all, "ClusterRoleBindings", add).await?;
    let all = Api::<RoleBinding>::all(client.clone());
    bindings += pages(all, "RoleBindings", |one| policy.add_role_binding(one)).await?;

    let exemptions = exemptions(client).await?;
    let server = server(client).await?;
    // Of tens of thousands of bindings it takes a good part of a second.
    let judged = tokio::task::spawn_blocking(move || {
        let mut report = Report::of(&Index::new(policy), server, &Nowhere);
        report.source.roles = roles;
        report.source.bindings = bindings;
        report.exempt(&exemptions, Timestamp::now());
        report
    });
    judged.await.map_err(|_| Error::Ended)
}

async fn exemptions(client: &Client) -> Result<Exemptions, Error> {
    // All at once: they are few, and each is for a time.
    let request = Request::get(Exemptions::PATH).body(Vec::new());
    let listed = match request {
        Ok(request) => client.request(request).await,
        Err(error) => Err(kube::Error::HttpError(error)),
    };
    listed.map_err(|source| Error::List {
        kind: "AccessExemptions",
        source: Box::new(source),
    })
}

async fn server(client: &Client) -> Result<Server, Error> {
    let told = client.apiserver_version().await;
    let told = told.map_err(|error| Error::Version(Box::new(error)))?;
    let mut server = Server::of(Version::parse(&told.git_version).ok());
    // Without it the version's default stands.
    if let Ok(told) = scrape::api_server(client).await
        && let Some(enabled) = told.create_check
    {
        server.tell(CREATE_CHECK, enabled, Origin::Server);
    }
    Ok(server)
}

async fn pages<K>(api: Api<K>, kind: &'static str, mut take: impl FnMut(&K)) -> Result<usize, Error>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    let mut pages = ListParams::default().limit(PAGE);
    let mut count = 0;
    loop {
        let page = api.list(&pages).await.map_err(|source| Error::List {
            kind,
            source: Box::new(source),
        })?;
        count += page.items.len();
        page.items.iter().for_each(&mut take);
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => pages = pages.continue_token(&token),
            None => return Ok(count),
        }
    }
}
