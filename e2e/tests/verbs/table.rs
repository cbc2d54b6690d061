//! The commands, in groups.

mod read;
mod run;
mod ways;
mod write;

use super::normal::Objects::{self, Equal, Measured, Same};

/// A command: what is typed, the exit code that it has, and words that its output has, so that two
/// equal failures of a row that does not do what it means are no success.
pub(crate) type Row = (&'static str, i32, &'static str);

/// Who runs a group's commands.
#[derive(Debug, Clone, Copy)]
pub(crate) enum By {
    /// kubectl 1.37 as this user.
    User(&'static str),
    /// kubectl 1.28 as the administrator.
    OldKubectl,
}

/// Commands that are run one after another, on both sides at once.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) what: &'static str,
    /// The namespace; each side has its own where each makes its own objects.
    pub(crate) namespace: &'static str,
    pub(crate) objects: Objects,
    pub(crate) by: By,
    pub(crate) rows: &'static [Row],
}

/// Makes what the groups in `reads` read.
pub(crate) const FIXTURE: Group = group("objects", "reads", Same, read::OBJECTS);

pub(crate) const GROUPS: [Group; 15] = [
    group("get, in its forms", "reads", Same, read::GET),
    group(
        "describe, explain, discovery, auth",
        "reads",
        Same,
        read::DESCRIBE,
    ),
    group("logs", "reads", Same, read::LOGS),
    group("top", "reads", Measured, read::TOP),
    group(
        "apply, diff, edit, replace, create",
        "apply",
        Equal,
        write::APPLY,
    ),
    group(
        "patch, label, set, scale, expose",
        "patch",
        Equal,
        write::PATCH,
    ),
    group("delete", "delete", Equal, write::DELETE),
    group("rollout", "rollout", Equal, run::ROLLOUT),
    group(
        "run, wait, debug, token, certificate",
        "pods",
        Equal,
        run::PODS,
    ),
    group("cordon, drain, taint", "nodes", Equal, run::NODES),
    group("get -w, proxy", "watch", Equal, ways::WATCH),
    group("refusals and warnings", "refused", Equal, ways::REFUSED),
    Group {
        by: By::User("cert-admin"),
        ..group("by certificate", "cert", Equal, ways::AGAIN)
    },
    Group {
        by: By::User("cert-dev"),
        ..group("by certificate, few rights", "few", Equal, ways::AGAIN)
    },
    Group {
        by: By::OldKubectl,
        ..group("kubectl 1.28", "old", Equal, ways::AGAIN)
    },
];

const fn group(
    what: &'static str,
    namespace: &'static str,
    objects: Objects,
    rows: &'static [Row],
) -> Group {
    Group {
        what,
        namespace,
        objects,
        by: By::User("admin"),
        rows,
    }
}
