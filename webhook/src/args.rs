//! Flags, in kube-apiserver's own names where it has them.

mod access;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser};
use rustls_pki_types::ServerName;
use streamway_crds::names;
use streamway_daemon::exit::ExitError;
use streamway_daemon::flags::duration;

pub use access::AccessArgs;

/// Keeps what a rollout switched on a Node from being undone by its kubelet, and sessions from those who
/// may get and not create.
///
/// The API server asks it about updates of Nodes' status that change what a Node declares, or its
/// kubelet's port. Where the NodeStreaming of that name says so, ExtendWebSocketsToKubelet stays declared
/// or withdrawn and the kubelet's port stays the agent's, whatever the kubelet writes; nothing else of a
/// Node is ever changed, and no write denied. Answers come from memory: when the API server is away, the
/// last wishes hold.
///
/// With --access-check it is asked about exec, attach and port-forward too: see below.
///
/// Exit codes: 0 after a signal, 64 for wrong flags or files, 1 for failures at run time.
#[derive(Debug, Parser)]
#[command(name = "webhook", version, max_term_width = 100, after_long_help = help())]
pub struct Cli {
    /// Address and port to serve the API server on (HTTPS)
    #[arg(long, value_name = "ADDR", default_value_t = SocketAddr::from(([0, 0, 0, 0], names::WEBHOOK_PORT)))]
    pub listen: SocketAddr,

    /// Address of /metrics, /livez and /readyz (plain HTTP)
    #[arg(long, value_name = "ADDR", default_value_t = SocketAddr::from(([127, 0, 0, 1], names::ADMIN_PORT)))]
    pub metrics_listen: SocketAddr,

    /// How to reach the API server; in a pod the default is its service account
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// Port on which agents stand in for kubelets: their --listen. It comes from here and never from
    /// an object that a user can write
    #[arg(long, value_name = "PORT", default_value_t = names::AGENT_PORT)]
    pub agent_port: u16,

    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would show it")]
    pub access: AccessArgs,

    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would show it")]
    pub certificates: CertificateArgs,

    /// Feature gates, as Name=true|false; see below
    #[arg(long, value_name = "GATES")]
    pub feature_gates: Vec<String>,

    /// After a SIGTERM: how long to go on accepting while reporting not-ready
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = duration)]
    pub shutdown_delay_duration: Duration,

    /// After that: how long requests may take that have begun
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration)]
    pub shutdown_grace_period: Duration,

    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would show it")]
    pub logs: streamway_daemon::logs::LogArgs,
}

/// Where the serving certificate comes from.
#[derive(Debug, Clone, Args)]
pub struct CertificateArgs {
    /// Serving certificate and its chain (PEM), read again when it changes, cert-manager's for one.
    /// Without it the webhook has a CA of its own; see below
    #[arg(long, value_name = "FILE", requires = "tls_private_key_file")]
    pub tls_cert_file: Option<PathBuf>,

    /// Key of --tls-cert-file (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert_file")]
    pub tls_private_key_file: Option<PathBuf>,

    /// Namespace of the Secret and of the Service
    #[arg(long, value_name = "NAMESPACE", env = "POD_NAMESPACE", default_value = names::SYSTEM_NAMESPACE)]
    pub namespace: String,

    /// Secret that holds the CA and the serving certificate; it is made where it does not exist
    #[arg(long, value_name = "NAME", default_value = names::WEBHOOK_SECRET)]
    pub certificate_secret: String,

    /// MutatingWebhookConfiguration whose caBundle is kept current
    #[arg(long, value_name = "NAME", default_value = names::WEBHOOK_CONFIGURATION)]
    pub webhook_configuration: String,

    /// Service that the API server reaches the webhook by: the serving certificate is for
    /// NAME.NAMESPACE.svc
    #[arg(long, value_name = "NAME", default_value = names::WEBHOOK)]
    pub service_name: String,

    /// More names and addresses that the serving certificate is for, by comma
    #[arg(long, value_name = "HOSTS", value_delimiter = ',')]
    pub tls_hosts: Vec<String>,

    /// How long a serving certificate is valid; after two thirds of it there is a new one
    #[arg(long, value_name = "DURATION", default_value = "720h", value_parser = duration)]
    pub certificate_duration: Duration,

    /// How long the CA is valid; after two thirds of it, or where the present one was made for less than half as long,
    /// the next is made known, and it signs a tenth of --certificate-duration later
    #[arg(long, value_name = "DURATION", default_value = "8760h", value_parser = duration)]
    pub ca_duration: Duration,
}

/// Shorter ones leave no time for every replica and API server to take part in a rotation.
const SHORTEST: Duration = Duration::from_secs(30);

impl CertificateArgs {
    /// Names and addresses that a certificate of our own is for.
    pub fn hosts(&self) -> Vec<String> {
        let service = format!("{}.{}.svc", self.service_name, self.namespace);
        let mut hosts = vec![format!("{service}.cluster.local"), service];
        hosts.extend(self.tls_hosts.iter().cloned());
        hosts.sort();
        hosts.dedup();
        hosts
    }

    /// What clap cannot see.
    ///
    /// # Errors
    /// [`ExitError`] (64) for hosts that no certificate can be for, and for durations that certificates
    /// cannot be rotated in.
    pub fn check(&self) -> Result<(), ExitError> {
        for host in self.hosts() {
            if ServerName::try_from(host.as_str()).is_err() {
                return Err(ExitError::usage(format_args!(
                    "no certificate can be for {host:?}; give --tls-hosts names and addresses, and \
                     --service-name and --namespace what the Service has"
                )));
            }
        }
        if self.certificate_duration < SHORTEST {
            return Err(ExitError::usage(format_args!(
                "--certificate-duration {:?} is too short; give {SHORTEST:?} or more",
                self.certificate_duration
            )));
        }
        // A CA that is due has a third of its time left: enough for a last certificate by it to be
        // valid to its own end, whenever the next CA signs.
        if self.ca_duration < self.certificate_duration.saturating_mul(4) {
            return Err(ExitError::usage(format_args!(
                "--ca-duration {:?} is too short; give four times --certificate-duration or more",
                self.ca_duration
            )));
        }
        Ok(())
    }
}

fn help() -> String {
    format!(
        "Feature gates (--feature-gates=Name=true|false,…):\n{}\n\
         Without ExtendWebSocketsToKubelet what Nodes declare is left alone.\n\n\
         Access: a WebSocket is opened by get, which so is enough to run commands in pods where nobody asks\n\
         for create as well. /admit/connect/audit, /warn and /deny ask at admission; /authorize, and\n\
         /authorize/audit, which denies nobody, before RBAC, by an AuthorizationConfiguration. Without\n\
         AuthorizePodWebsocketUpgradeCreatePermission sessions in pods are let through.\n\n\
         Certificates: without --tls-cert-file the replica that comes first makes a CA and a serving\n\
         certificate and keeps both in the Secret; every replica serves from there, renews ahead of\n\
         time, and keeps the caBundles of the webhook configurations. A CA is in the caBundle long\n\
         before anything signed by it is served. To renew the serving certificate now, delete tls.crt\n\
         from the Secret; to have a new CA, delete ca.key or the whole Secret. No call is lost by it.\n\n\
         Examples:\n  \
         In a pod of the shipped manifests:\n    \
         webhook --shutdown-delay-duration 5s --logging-format json\n\n  \
         In a pod, with cert-manager's certificate (and its CA injector for the caBundle):\n    \
         webhook --tls-cert-file /tls/tls.crt --tls-private-key-file /tls/tls.key\n\n  \
         Asked by API servers before RBAC:\n    \
         webhook --access-check --client-ca-file /ca/front-proxy.crt --client-allowed-names front-proxy-client\n\n  \
         On a host, for a MutatingWebhookConfiguration with clientConfig.url:\n    \
         webhook --kubeconfig admin.conf --listen 192.0.2.1:9443 --tls-hosts 192.0.2.1",
        streamway_daemon::gates::help()
    )
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parsed(flags: &[&str]) -> Cli {
        Cli::try_parse_from(["webhook"].iter().chain(flags)).unwrap()
    }

    #[test]
    fn the_flags_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn nothing_needs_to_be_said_in_a_pod() {
        let args = parsed(&[]);
        assert_eq!(args.listen, "0.0.0.0:9443".parse().unwrap());
        assert_eq!(args.agent_port, 10350);
        assert_eq!(
            args.certificates.certificate_duration,
            Duration::from_hours(720)
        );
        assert!(args.certificates.check().is_ok());
        let service = "streamway-webhook.streamway-system.svc";
        let hosts = args.certificates.hosts();
        assert_eq!(
            hosts,
            [service.to_owned(), format!("{service}.cluster.local")]
        );
    }

    #[test]
    fn hosts_are_told_once() {
        let hosts = parsed(&[
            "--tls-hosts",
            "10.0.0.1,webhook.example",
            "--tls-hosts",
            "10.0.0.1",
        ]);
        assert_eq!(hosts.certificates.hosts().len(), 4);
    }

    #[test]
    fn hosts_that_no_certificate_can_be_for_are_refused() {
        for flags in [
            ["--tls-hosts", "a b"],
            ["--tls-hosts", "*.example"],
            ["--tls-hosts", "10.0.0.1:443"],
            ["--namespace", ""],
        ] {
            let error = parsed(&flags).certificates.check().unwrap_err();
            assert!(
                error.to_string().contains("--tls-hosts"),
                "{flags:?}: {error}"
            );
        }
        let good = ["--tls-hosts", "10.0.0.1,::1,webhook.example"];
        assert!(parsed(&good).certificates.check().is_ok());
    }

    #[test]
    fn times_that_leave_no_room_for_a_rotation_are_refused() {
        for (flags, words) in [
            (
                &["--certificate-duration", "29s"][..],
                "--certificate-duration 29s is too short",
            ),
            (
                &["--ca-duration", "719h"],
                "four times --certificate-duration",
            ),
            (
                &["--certificate-duration", "1m", "--ca-duration", "239s"],
                "four times",
            ),
        ] {
            let error = parsed(flags).certificates.check().unwrap_err();
            assert_eq!(error.code(), streamway_daemon::exit::USAGE);
            assert!(error.to_string().contains(words), "{flags:?}: {error}");
        }
        let exactly = parsed(&["--certificate-duration", "30s", "--ca-duration", "2m"]);
        assert!(exactly.certificates.check().is_ok());
    }
}
