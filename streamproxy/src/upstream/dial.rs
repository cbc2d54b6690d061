//! New connections to a server.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::{InvalidDnsNameError, ServerName};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::Tls;
use crate::conn::Conn;
use crate::stream::Upstream;

/// How long a connection may take, then its TLS handshake, then HTTP/2's settings: kubelet and API
/// servers are near.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Why there is no connection to a server.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum DialError {
    /// TCP.
    #[error("error dialing {noun} at {address}: {source}")]
    Connect {
        /// Whom.
        noun: &'static str,
        /// Host and port.
        address: String,
        /// Why.
        source: Arc<io::Error>,
    },
    /// TLS.
    #[error("{noun} at {address} refused TLS: {source}")]
    Tls {
        /// Whom.
        noun: &'static str,
        /// Host and port.
        address: String,
        /// Why.
        source: Arc<io::Error>,
    },
    /// Nothing in time.
    #[error("error dialing {noun} at {address}: no answer within 10 s")]
    Late {
        /// Whom.
        noun: &'static str,
        /// Host and port.
        address: String,
    },
}

/// Makes connections to one server.
#[derive(Debug, Clone)]
pub(super) struct Dialer(Arc<Target>);

#[derive(Debug)]
struct Target {
    noun: &'static str,
    address: String,
    tls: Option<(Tls, ServerName<'static>)>,
}

impl Dialer {
    pub(super) fn new(
        noun: &'static str,
        host: &str,
        port: u16,
        tls: Option<Tls>,
    ) -> Result<Self, InvalidDnsNameError> {
        // An IPv6 host stands in brackets in a URL.
        let bare = host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        let tls = match tls {
            Some(tls) => {
                let name = tls.server_name().map_or(bare, str::to_owned);
                Some((tls, ServerName::try_from(name)?))
            }
            None => None,
        };
        Ok(Self(Arc::new(Target {
            noun,
            address: format!("{host}:{port}"),
            tls,
        })))
    }

    /// Nothing came in time.
    pub(super) fn late(&self) -> DialError {
        DialError::Late {
            noun: self.0.noun,
            address: self.0.address.clone(),
        }
    }

    pub(super) async fn dial(&self) -> Result<Upstream, DialError> {
        let noun = self.0.noun;
        let address = || self.0.address.clone();
        let tcp = timeout(ANSWER_TIMEOUT, TcpStream::connect(&self.0.address))
            .await
            .map_err(|_| self.late())?
            .map_err(|source| DialError::Connect {
                noun,
                address: address(),
                source: Arc::new(source),
            })?;
        streamway_daemon::tcp::keep_alive(&tcp);
        let conn = Conn::new(tcp);
        let Some((tls, name)) = &self.0.tls else {
            return Ok(Upstream::Plain(conn));
        };
        let handshake = TlsConnector::from(tls.config()).connect(name.clone(), conn);
        let stream = timeout(ANSWER_TIMEOUT, handshake)
            .await
            .map_err(|_| self.late())?
            .map_err(|source| DialError::Tls {
                noun,
                address: address(),
                source: Arc::new(source),
            })?;
        Ok(Upstream::Tls(Box::new(stream)))
    }
}
