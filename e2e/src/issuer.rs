//! An OIDC issuer: the two documents that an API server reads.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;

use anyhow::Result;
use rustls::crypto::ring::default_provider;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};

use crate::pki::Pair;

/// Serves the issuer at `url` (`https://HOST:PORT`), whose one RSA key `k` has a modulus in base64url,
/// until the process ends.
pub fn serve(url: &str, pair: &Pair, modulus: &str) -> Result<()> {
    let chain = CertificateDer::pem_file_iter(&pair.certificate)?.collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_file(&pair.key)?;
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    let config = Arc::new(config);
    let about = json!({
        "issuer": url,
        "jwks_uri": format!("{url}/keys"),
        "id_token_signing_alg_values_supported": ["RS256"],
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
    });
    let keys = json!({"keys": [
        {"kty": "RSA", "alg": "RS256", "use": "sig", "kid": "k", "e": "AQAB", "n": modulus},
    ]});
    let listener = TcpListener::bind(url.trim_start_matches("https://"))?;
    std::thread::spawn(move || {
        for tcp in listener.incoming().flatten() {
            if let Ok(tls) = ServerConnection::new(Arc::clone(&config)) {
                // A client that leaves is none of ours to mourn.
                let _ = answer(StreamOwned::new(tls, tcp), &about, &keys);
            }
        }
    });
    Ok(())
}

fn answer(
    mut stream: StreamOwned<ServerConnection, std::net::TcpStream>,
    about: &Value,
    keys: &Value,
) -> Result<()> {
    let mut head = Vec::new();
    let mut chunk = [0; 1024];
    while !head.windows(4).any(|four| four == b"\r\n\r\n") {
        let count = stream.read(&mut chunk)?;
        anyhow::ensure!(count > 0, "no request");
        head.extend_from_slice(chunk.get(..count).unwrap_or_default());
    }
    let asks_for_keys = head.starts_with(b"GET /keys ");
    let body = if asks_for_keys { keys } else { about }.to_string();
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(answer.as_bytes())?;
    stream.conn.send_close_notify();
    stream.flush()?;
    Ok(())
}
