//! What is audited: a cluster, manifests or a snapshot.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use streamway_audit::manifests::{Manifests, Places};
use streamway_audit::{Exemptions, Location, Origin, Server, Warning};
use streamway_rbac::Policy;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::args::AuditArgs;
use crate::cluster::{Cluster, Collection, Failure};
use crate::progress::Progress;
use crate::{files, output, snapshot};

/// What is audited.
pub(crate) struct Input {
    pub(crate) policy: Policy,
    /// Where things are written, in manifests.
    pub(crate) places: Option<Places>,
    pub(crate) server: Server,
    /// For people.
    pub(crate) source: String,
    pub(crate) warnings: Vec<Warning>,
    /// Of a cluster.
    pub(crate) exemptions: Exemptions,
    /// The cluster, where it is one that can be asked more.
    pub(crate) cluster: Option<Cluster>,
}

/// Pages that wait to be taken in.
const WAITING: usize = 2;

pub(crate) async fn read(args: &AuditArgs) -> Result<Input> {
    let mut input = if !args.filenames.is_empty() {
        of_manifests(args)?
    } else if let Some(path) = &args.from {
        of_snapshot(path)?
    } else {
        of_cluster(args).await?
    };
    if let Some(version) = &args.server_version {
        // What the server told of its gates is of another version.
        input.server = Server::of(Some(version.clone()));
    }
    for (name, enabled) in &args.feature_gates.0 {
        if !Server::knows_gate(name) {
            output::note(&format!("the gate {name} changes nothing that is audited"));
        }
        input.server.tell(name, *enabled, Origin::Flag);
    }
    if input.server.version.is_none() && input.server.checks_create().is_none() {
        output::note(
            "the API server's version is not known, so the worst is told; --server-version says which",
        );
    }
    Ok(input)
}

fn of_manifests(args: &AuditArgs) -> Result<Input> {
    let progress = Progress::new("manifests");
    let mut manifests = Manifests::default();
    for given in &args.filenames {
        let found = files::manifests(given)?;
        if found.is_empty() {
            let file = given.display();
            bail!("{file} holds no file that ends in .yaml, .yml or .json");
        }
        for path in found {
            let name = path.display().to_string();
            let read = manifests.read(&name, files::open(&path)?);
            read.with_context(|| format!("{name} cannot be read"))?;
            progress.add(1);
        }
    }
    let unresolved = manifests.unresolved();
    let problems = manifests.problems().chain(&unresolved);
    let problems = problems.map(|problem| Warning {
        text: problem.cause.to_string(),
        location: Some(Location::from(problem.place.clone())),
        incomplete: !problem.cause.is_warning(),
    });
    let mut warnings: Vec<Warning> = problems.collect();
    let more = manifests.problems_left_out();
    if more > 0 {
        warnings.push(incomplete(format!("{more} more problems of this kind")));
    }
    let named = args.filenames.iter().map(|path| match path.to_str() {
        Some("-") => "standard input".to_owned(),
        _ => path.display().to_string(),
    });
    let named: Vec<_> = named.collect();
    let source = format!(
        "manifests in {}: {} documents",
        named.join(", "),
        manifests.documents()
    );
    let (policy, places) = manifests.into_parts();
    Ok(Input {
        policy,
        places: Some(places),
        server: Server::of(None),
        source,
        warnings,
        exemptions: Exemptions::default(),
        cluster: None,
    })
}

fn of_snapshot(path: &Path) -> Result<Input> {
    let snapshot = snapshot::read(path)?;
    Ok(Input {
        policy: snapshot.policy,
        places: None,
        server: snapshot.server,
        source: snapshot.source,
        warnings: snapshot.warnings,
        exemptions: snapshot.exemptions,
        cluster: None,
    })
}

async fn of_cluster(args: &AuditArgs) -> Result<Input> {
    let cluster = Cluster::connect(&args.connection).await?;
    let mut warnings = Vec::new();
    let version = match cluster.version().await? {
        Ok(version) => Some(version),
        Err(why) => {
            warnings.push(warning(format!("the server's version is not known: {why}")));
            None
        }
    };
    let gates = {
        let cluster = cluster.clone();
        tokio::spawn(async move { cluster.gates().await })
    };
    let source = format!("cluster {}", cluster.url);
    let mut save = match &args.save {
        Some(path) => Some(snapshot::Writer::create(path, &source)?),
        None => None,
    };
    let policy = lists(&cluster, &mut warnings, save.as_mut()).await?;
    let mut server = Server::of(version);
    match gates.await? {
        Ok(gates) => gates
            .iter()
            .for_each(|(name, enabled)| server.tell(name, *enabled, Origin::Server)),
        Err(failure) => warnings.push(warning(format!(
            "the server does not tell its feature gates, so its version's defaults are assumed \
             ({failure}); --feature-gates says otherwise"
        ))),
    }
    let exemptions = cluster.exemptions().await.unwrap_or_else(|failure| {
        warnings.push(warning(format!(
            "AccessExemptions cannot be listed, so what they accept counts: {failure}"
        )));
        Exemptions::default()
    });
    if let Some(save) = save {
        save.finish(&server, &exemptions, &warnings)?;
    }
    Ok(Input {
        policy,
        places: None,
        server,
        source,
        warnings,
        exemptions,
        cluster: Some(cluster),
    })
}

/// Lists all four kinds at once. What is refused is a warning; if all is, an error.
async fn lists(
    cluster: &Cluster,
    warnings: &mut Vec<Warning>,
    mut save: Option<&mut snapshot::Writer>,
) -> Result<Policy> {
    let progress = Progress::new("roles and bindings");
    let (pages, mut listed) = mpsc::channel(WAITING);
    let mut lists = JoinSet::new();
    for collection in Collection::ALL {
        let (cluster, pages) = (cluster.clone(), pages.clone());
        lists.spawn(async move { (collection, cluster.list(collection, pages).await) });
    }
    drop(pages);
    let mut policy = Policy::of_cluster();
    let mut counts = HashMap::new();
    while let Some(page) = listed.recv().await {
        progress.add(page.objects.len());
        counts.insert(page.collection, page.remaining);
        progress.left(counts.values().sum());
        for object in &page.objects {
            object.add_to(&mut policy);
            if let Some(save) = save.as_deref_mut() {
                save.add(object)?;
            }
        }
    }
    let mut refused = 0;
    while let Some(list) = lists.join_next().await {
        let (collection, Err(failure)) = list? else {
            continue;
        };
        refused += 1;
        let text = missing(collection, &failure);
        if refused == Collection::ALL.len() {
            bail!("nothing can be listed: {text}");
        }
        warnings.push(incomplete(text));
    }
    warnings.sort_by(|a, b| a.text.cmp(&b.text));
    Ok(policy)
}

fn missing(collection: Collection, failure: &Failure) -> String {
    let without = match collection {
        Collection::Roles | Collection::ClusterRoles => "what is bound to one is not found",
        Collection::RoleBindings | Collection::ClusterRoleBindings => {
            "what they give is not found, and what they would make harmless is"
        }
    };
    let name = collection.name();
    format!("{name} cannot be listed, so {without}: {failure}; needed is list on {name}")
}

fn warning(text: String) -> Warning {
    Warning {
        text,
        location: None,
        incomplete: false,
    }
}

fn incomplete(text: String) -> Warning {
    Warning {
        incomplete: true,
        ..warning(text)
    }
}
