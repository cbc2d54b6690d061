//! The AccessReport: Roles and bindings, audited every so often by whoever leads.
//!
//! ```text
//!  pages of Roles and bindings ─▶ rbac::Index ─▶ audit::Report ─▶ AccessReport, gauges
//! ```
//!
//! Nothing is kept between two audits but what was written: a cluster may have tens of thousands of
//! bindings, and a cache of them would be most of the controller.

mod read;
mod status;

use std::pin::pin;
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::Client;
use kube::api::{Api, ObjectMeta, Patch, PatchParams, PostParams};
use kube::runtime::watcher::watch_object;
use kube::runtime::{WatchStreamExt, watcher};
use serde_json::json;
use streamway_audit::Severity;
use streamway_crds::{ACCESS_REPORT, AccessReport, AccessReportSpec, AccessReportStatus, names};
use tokio::time::{Instant, sleep_until};

use crate::metrics::{Finding, Metrics};

/// After an audit that could not be written, or whose definition is not there; twice as long each time,
/// since each is a whole audit, to [`AGAIN_AT_MOST`], and no longer than the report's own interval.
const AGAIN: Duration = Duration::from_mins(1);
const AGAIN_AT_MOST: Duration = Duration::from_mins(10);

/// A report that says the same is written again after this, so that nobody takes it for old.
const SAYS_SO_AGAIN: Duration = Duration::from_hours(1);

/// Audits, and tells.
pub(crate) struct Access {
    client: Client,
    metrics: Metrics,
}

/// One report, as somebody wrote its spec.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Revision {
    uid: Option<String>,
    generation: Option<i64>,
}

/// The last audit of this process.
struct Last {
    revision: Revision,
    written: Instant,
    status: AccessReportStatus,
}

impl Revision {
    fn of(report: &AccessReport) -> Self {
        Self {
            uid: report.metadata.uid.clone(),
            generation: report.metadata.generation,
        }
    }
}

impl Access {
    pub(crate) fn new(client: &Client, metrics: &Metrics) -> Self {
        Self {
            client: client.clone(),
            metrics: metrics.clone(),
        }
    }

    /// Audits for ever: when the report's interval is over, when its spec changes, and when somebody
    /// deleted it.
    pub(crate) async fn run(self) {
        let api = self.api();
        let mut seen = pin!(seen(api));
        let mut object = None;
        let mut last = None;
        let mut tried = None;
        let mut due = Instant::now();
        let mut again = AGAIN;
        loop {
            tokio::select! {
                () = sleep_until(due), if object.is_some() => {}
                next = seen.next() => {
                    // A watch has no end.
                    let Some(next) = next else { return };
                    let due = is_due(next.as_ref(), tried.as_ref());
                    object = Some(next);
                    if !due {
                        continue;
                    }
                    again = AGAIN;
                }
            }
            let Some(known) = &object else { continue };
            tried = Some(known.as_ref().map(Revision::of));
            let made = match known {
                Some(known) => Ok(known.clone()),
                None => self.make().await,
            };
            let (interval, round) = match made {
                Ok(report) => {
                    // Events of its status ask for nothing, whether or not that can be written.
                    tried = Some(Some(Revision::of(&report)));
                    let round = self.round(&report, &mut last).await;
                    (report.spec.interval.get(), round)
                }
                Err(error) => (AGAIN_AT_MOST, Err(error)),
            };
            let pause = match round {
                Ok(()) => {
                    again = AGAIN;
                    interval
                }
                Err(error) => {
                    let pause = again.min(interval);
                    tracing::warn!(%error, ?pause, "the AccessReport cannot be written; trying again");
                    again = (again * 2).min(AGAIN_AT_MOST);
                    pause
                }
            };
            due = Instant::now() + pause;
        }
    }

    /// One audit.
    async fn round(
        &self,
        object: &AccessReport,
        last: &mut Option<Last>,
    ) -> Result<(), kube::Error> {
        let (report, failed) = match read::report(&self.client).await {
            Ok(report) => (Some(report), None),
            Err(error) => (None, Some(error.to_string())),
        };
        if let Some(report) = &report {
            self.count(report);
        }
        let now = Time(Timestamp::now());
        let before = object.status.clone().unwrap_or_default();
        let generation = object.metadata.generation;
        let status = status::next(before, report.as_ref(), failed, generation, now);
        let revision = Revision::of(object);
        let known = last.as_ref().filter(|last| {
            last.revision == revision
                && status::say_the_same(&last.status, &status)
                && last.written.elapsed() < SAYS_SO_AGAIN
        });
        let written = match known {
            Some(last) => last.written,
            None => {
                self.write(&status).await?;
                Instant::now()
            }
        };
        *last = Some(Last {
            revision,
            written,
            status,
        });
        Ok(())
    }

    async fn make(&self) -> Result<AccessReport, kube::Error> {
        let mut report = AccessReport::new(ACCESS_REPORT, AccessReportSpec::default());
        report.metadata = ObjectMeta {
            labels: Some([(names::PART_OF_LABEL.into(), names::PART_OF.into())].into()),
            ..report.metadata
        };
        let params = PostParams {
            field_manager: Some(names::CONTROLLER_MANAGER.to_owned()),
            ..PostParams::default()
        };
        let made = self.api().create(&params, &report).await;
        self.metrics.wrote("accessreports", &made);
        match made {
            // Somebody else was faster.
            Err(kube::Error::Api(status)) if status.code == 409 => {
                self.api().get(ACCESS_REPORT).await
            }
            made => made,
        }
    }

    async fn write(&self, status: &AccessReportStatus) -> Result<(), kube::Error> {
        let patch = json!({
            "apiVersion": "streamway.dev/v1alpha1",
            "kind": "AccessReport",
            "status": status,
        });
        let params = PatchParams::apply(names::CONTROLLER_MANAGER).force();
        let api = self.api();
        let written = api
            .patch_status(ACCESS_REPORT, &params, &Patch::Apply(&patch))
            .await;
        self.metrics.wrote("accessreports/status", &written);
        written.map(drop)
    }

    fn count(&self, report: &streamway_audit::Report) {
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.metrics.accepted.set(number(report.counts.suppressed));
        self.metrics.findings.clear();
        for severity in Severity::ALL {
            let count = report.counts.by_severity.get(&severity).copied();
            let label = Finding {
                severity: severity.as_str(),
            };
            let count = number(count.unwrap_or(0));
            self.metrics.findings.get_or_create(&label).set(count);
        }
    }

    fn api(&self) -> Api<AccessReport> {
        Api::all(self.client.clone())
    }
}

/// The report as it changes; none where there is none.
fn seen(api: Api<AccessReport>) -> impl Stream<Item = Option<AccessReport>> {
    let told = watch_object(api, ACCESS_REPORT);
    let told = told.map(|one| one.map(Some));
    let told = told.backoff(watcher::DefaultBackoff::default());
    told.filter_map(|one| async {
        match one {
            Ok(object) => object,
            Err(error) => {
                tracing::warn!(%error, "the AccessReport cannot be watched; trying again");
                None
            }
        }
    })
}

/// Whether what was seen asks for an audit now: another than was tried last, or none, where there was one. What was
/// tried waits for its time, however often its status is written.
fn is_due(seen: Option<&AccessReport>, tried: Option<&Option<Revision>>) -> bool {
    tried != Some(&seen.map(Revision::of))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_asks_for_an_audit() {
        let report = |uid: &str, generation| {
            let mut report = AccessReport::new(ACCESS_REPORT, AccessReportSpec::default());
            report.metadata.uid = Some(uid.to_owned());
            report.metadata.generation = Some(generation);
            report
        };
        let first = Some(report("a", 1));
        let tried = Some(Revision::of(&report("a", 1)));
        for (seen, tried, due) in [
            (&None, None, true),
            (&first, None, true),
            // It could not be made, and is still not there.
            (&None, Some(None), false),
            (&first, Some(None), true),
            // Its status was written.
            (&first, Some(tried.clone()), false),
            (&Some(report("a", 2)), Some(tried.clone()), true),
            (&None, Some(tried.clone()), true),
            // Deleted and made anew between two looks.
            (&Some(report("b", 1)), Some(tried), true),
        ] {
            assert_eq!(
                is_due(seen.as_ref(), tried.as_ref()),
                due,
                "{seen:?} {tried:?}"
            );
        }
    }
}
