//! Events, `events.k8s.io/v1`: what `kubectl describe` shows of a rollout and of a node.
//!
//! kube's Recorder takes two Events with one reason for the same, whatever they say, so that of two
//! waves that begin only the first would be told. Here the same is what says the same.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event as Object;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Client, Error};
use serde_json::{Value, json};
use streamway_crds::names;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::Instant;

use crate::plan::Event;
use crate::random;

/// Events that wait to be written; more are dropped, since nothing depends on them.
const WAITING: usize = 1024;

/// Events written at once.
const AT_ONCE: usize = 8;
/// The same, as the semaphore counts.
const ALL_TURNS: u32 = 8;

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

/// How one Event comes to be told.
enum Told {
    First(Box<Object>),
    Again(String, Value),
}

impl Recorder {
    async fn run(mut self, mut receiver: mpsc::Receiver<Message>) {
        let turns = Arc::new(Semaphore::new(AT_ONCE));
        while let Some(message) = receiver.recv().await {
            // The semaphore is never closed: there is no other end to these waits.
            match message {
                Message::Tell(about, event) => {
                    let turn = Arc::clone(&turns).acquire_owned().await;
                    let reason = event.reason;
                    // Events of cluster-scoped objects are in `default`.
                    let namespace = about.namespace.as_deref().unwrap_or("default");
                    let api = Api::namespaced(self.client.clone(), namespace);
                    let told = self.tell(*about, event);
                    tokio::spawn(async move {
                        if let Err(error) = write(&api, told).await {
                            tracing::warn!(reason, %error, "an Event could not be written");
                        }
                        drop(turn);
                    });
                }
                Message::Flushed(done) => {
                    let _all = turns.acquire_many(ALL_TURNS).await;
                    let _ = done.send(());
                }
            }
        }
    }

    fn tell(&mut self, about: ObjectReference, event: Event) -> Told {
        let now = Instant::now();
        self.series
            .retain(|_, series| now.duration_since(series.last) < SERIES);
        let same = Same {
            uid: about.uid.clone().unwrap_or_default(),
            reason: event.reason,
            message: event.message.clone(),
        };
        if let Some(series) = self.series.get_mut(&same) {
            series.count += 1;
            series.last = now;
            let time = MicroTime(Timestamp::now());
            let again = json!({"series": {"count": series.count, "lastObservedTime": time}});
            return Told::Again(series.name.clone(), again);
        }
        let object = about.name.as_deref().unwrap_or_default();
        let name = format!("{object}.{:016x}", random::number());
        let series = Series {
            name: name.clone(),
            count: 1,
            last: now,
        };
        self.series.insert(same, series);
        Told::First(Box::new(self.told(&name, about, event)))
    }

    fn told(&self, name: &str, about: ObjectReference, event: Event) -> Object {
        let note = cut(event.message, NOTE);
        Object {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
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
            ..Object::default()
        }
    }
}

async fn write(api: &Api<Object>, told: Told) -> Result<(), Error> {
    match told {
        Told::First(event) => api.create(&PostParams::default(), &event).await.map(drop),
        Told::Again(name, series) => {
            let params = PatchParams::default();
            let patched = api.patch(&name, &params, &Patch::Merge(series)).await;
            patched.map(drop)
        }
    }
}

/// A text of so many bytes at most.
pub(crate) fn cut(mut text: String, longest: usize) -> String {
    if text.len() > longest {
        text.truncate(text.floor_char_boundary(longest.saturating_sub('…'.len_utf8())));
        text.push('…');
    }
    text
}
