//! Events, `events.k8s.io/v1`: what `kubectl describe` shows of a rollout and of a node.
//!
//! kube's Recorder takes two Events with one reason for the same, whatever they say, so that of two
//! waves that begin only the first would be told. Here the same is what says the same.

use std::collections::HashMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event as Told;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Client, Error};
use serde_json::json;
use streamway_crds::names;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::plan::Event;
use crate::random;

/// Events that wait to be written; more are dropped, since nothing depends on them.
const WAITING: usize = 1024;

/// What is told again within this time is counted instead, as client-go does it.
const SERIES: Duration = Duration::from_mins(6);

/// The API server's limit on an Event's note, in bytes.
const NOTE: usize = 1024;

/// Publishes Events; clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct Events(mpsc::Sender<Message>);

#[derive(Debug)]
enum Message {
    Tell(Box<ObjectReference>, Event),
    /// Everything before it was told.
    Flushed(oneshot::Sender<()>),
}

impl Events {
    /// Of one controller; what is published is written by a task that ends with the last clone.
    pub(crate) fn new(client: &Client, instance: String) -> Self {
        let (sender, receiver) = mpsc::channel(WAITING);
        let recorder = Recorder {
            client: client.clone(),
            instance,
            series: HashMap::new(),
        };
        tokio::spawn(recorder.run(receiver));
        Self(sender)
    }

    /// Tells it, some time soon.
    pub(crate) fn publish(&self, about: ObjectReference, event: Event) {
        let name = about.name.as_deref().unwrap_or_default();
        let (reason, message) = (event.reason, &event.message);
        if event.warning {
            tracing::warn!(about = name, reason, message);
        } else {
            tracing::info!(about = name, reason, message);
        }
        if self
            .0
            .try_send(Message::Tell(Box::new(about), event))
            .is_err()
        {
            tracing::warn!("too many Events at once; one is not told");
        }
    }

    /// Waits until everything that was published is written.
    pub(crate) async fn flushed(&self) {
        let (done, flushed) = oneshot::channel();
        if self.0.send(Message::Flushed(done)).await.is_ok() {
            let _ = flushed.await;
        }
    }
}

struct Recorder {
    client: Client,
    instance: String,
    series: HashMap<Same, Series>,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Same {
    uid: String,
    reason: &'static str,
    message: String,
}

#[derive(Debug)]
struct Series {
    name: String,
    count: i32,
    last: Instant,
}

impl Recorder {
    async fn run(mut self, mut receiver: mpsc::Receiver<Message>) {
        while let Some(message) = receiver.recv().await {
            match message {
                Message::Tell(about, event) => {
                    let reason = event.reason;
                    if let Err(error) = self.tell(*about, event).await {
                        tracing::warn!(reason, %error, "an Event could not be written");
                    }
                }
                Message::Flushed(done) => {
                    let _ = done.send(());
                }
            }
        }
    }

    async fn tell(&mut self, about: ObjectReference, event: Event) -> Result<(), Error> {
        let now = Instant::now();
        self.series
            .retain(|_, series| now.duration_since(series.last) < SERIES);
        // Events of cluster-scoped objects are in `default`.
        let namespace = about.namespace.clone();
        let namespace = namespace.unwrap_or_else(|| "default".to_owned());
        let api: Api<Told> = Api::namespaced(self.client.clone(), &namespace);
        let same = Same {
            uid: about.uid.clone().unwrap_or_default(),
            reason: event.reason,
            message: event.message.clone(),
        };
        if let Some(series) = self.series.get_mut(&same) {
            series.count += 1;
            series.last = now;
            let time = MicroTime(Timestamp::now());
            let patch = json!({"series": {"count": series.count, "lastObservedTime": time}});
            let params = PatchParams::default();
            let written = api.patch(&series.name, &params, &Patch::Merge(patch)).await;
            return written.map(drop);
        }
        let name = format!(
            "{}.{:016x}",
            about.name.as_deref().unwrap_or_default(),
            random::number()
        );
        let told = self.told(&name, &namespace, about, event);
        api.create(&PostParams::default(), &told).await?;
        let series = Series {
            name,
            count: 1,
            last: now,
        };
        self.series.insert(same, series);
        Ok(())
    }

    fn told(&self, name: &str, namespace: &str, about: ObjectReference, event: Event) -> Told {
        let mut note = event.message;
        if note.len() > NOTE {
            note.truncate(note.floor_char_boundary(NOTE - 3));
            note.push('…');
        }
        Told {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                namespace: Some(namespace.to_owned()),
                ..ObjectMeta::default()
            },
            event_time: Some(MicroTime(Timestamp::now())),
            action: Some(event.reason.to_owned()),
            reason: Some(event.reason.to_owned()),
            note: Some(note),
            regarding: Some(about),
            reporting_controller: Some(format!("{}/controller", names::GROUP)),
            reporting_instance: Some(self.instance.clone()),
            type_: Some(if event.warning { "Warning" } else { "Normal" }.to_owned()),
            ..Told::default()
        }
    }
}
