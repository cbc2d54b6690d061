//! Each credential arrives at the API server as the same user with the gateway as without it, and what
//! is forged or smuggled gains nothing: a table of attacks, with what each got.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout
)]

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use streamway_e2e::cluster::{Cluster, Gateway};
use streamway_e2e::https;
use streamway_e2e::install::Kubectl as Which;
use streamway_e2e::kubectl::Kubectl;
use streamway_e2e::pki::{Authority, Pair};
use streamway_e2e::suite::Suite;
use streamway_e2e::{OLD_API_SERVER, run};

/// reader may get streams of pods and not create them; dev may do both; cert-dev may be jane.
const RIGHTS: &str = r"
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: get-streams}
rules:
- {apiGroups: [''], resources: [pods], verbs: [get, list]}
- {apiGroups: [''], resources: [pods/exec, pods/attach, pods/portforward], verbs: [get]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: get-streams}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: get-streams}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: reader}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: create-streams}
rules: [{apiGroups: [''], resources: [pods, pods/exec, pods/attach, pods/portforward], verbs: [get, create]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: create-streams}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: create-streams}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: dev}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: be-jane}
rules:
- {apiGroups: [''], resources: [users], resourceNames: [jane], verbs: [impersonate]}
- {apiGroups: [''], resources: [groups], resourceNames: [team-j], verbs: [impersonate]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: be-jane}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: be-jane}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: cert-dev}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: streamway-gateway-impersonation}
rules:
- {apiGroups: [''], resources: [users], resourceNames: [cert-dev, jane, joe], verbs: [impersonate]}
- {apiGroups: [''], resources: [groups], resourceNames: [team-a, team-b, team-j], verbs: [impersonate]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: streamway-gateway-impersonation}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: streamway-gateway-impersonation}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: streamway-gateway}]
";

const SECRETS: &str = "/api/v1/namespaces/kube-system/secrets";
const WHOAMI: &str = "/apis/authentication.k8s.io/v1/selfsubjectreviews";

/// What `kubectl auth whoami` says, or how it failed.
fn whoami(kubectl: &Kubectl, args: &[&str]) -> Result<String> {
    let ended = kubectl.run(&[args, &["auth", "whoami", "-o", "json"]].concat(), b"")?;
    if ended.code != 0 {
        return Ok(format!("exit code {}: {}", ended.code, ended.stderr.trim()));
    }
    let review: Value = serde_json::from_slice(&ended.stdout)?;
    let mut user = review["status"]["userInfo"].clone();
    // The gateway says by which certificate a user came, which an API server of 1.28 does not yet.
    if let Some(extra) = user.get_mut("extra").and_then(Value::as_object_mut) {
        extra.remove("authentication.kubernetes.io/credential-id");
        if extra.is_empty() {
            user.as_object_mut().context("user")?.remove("extra");
        }
    }
    Ok(user.to_string())
}

struct Caller<'a> {
    token: Option<&'a str>,
    certificate: Option<(&'a Path, &'a Path)>,
}

impl Caller<'_> {
    /// Sends a request's text behind its credentials, and returns everything that came.
    fn send(&self, address: &str, line: &str, headers: &str, body: &str) -> Result<String> {
        let token = self
            .token
            .map(|token| format!("Authorization: Bearer {token}\r\n"));
        let request = format!(
            "{line} HTTP/1.1\r\nHost: cluster\r\n{}{headers}\r\n{body}",
            token.unwrap_or_default()
        );
        let mut connection = https::connect(address, self.certificate)?;
        connection.write_all(request.as_bytes())?;
        connection.flush()?;
        let mut answer = first_answer(&mut connection);
        // Nothing is expected behind it, so there is nothing to wait for but a moment.
        connection
            .sock
            .set_read_timeout(Some(Duration::from_millis(300)))?;
        answer.extend(https::read_all(&mut connection));
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }
}

/// Reads until an answer with a length, and no other, is whole.
fn first_answer(connection: &mut https::Connection) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&bytes).to_ascii_lowercase();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.split("content-length: ").nth(1);
            let length = length.and_then(|rest| rest.lines().next()?.trim().parse().ok());
            if body.len() >= length.unwrap_or(0) {
                return bytes;
            }
        }
        match connection.read(&mut chunk) {
            Ok(count) if count > 0 => bytes.extend_from_slice(&chunk[..count]),
            _ => return bytes,
        }
    }
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or("none")
}

/// The message of a refusal, for the table.
fn told(answer: &str) -> String {
    let body = answer.split("\r\n\r\n").nth(1).unwrap_or_default();
    let message = body
        .split("\"message\":\"")
        .nth(1)
        .and_then(|rest| rest.split("\",\"").next());
    message.unwrap_or(body).chars().take(110).collect()
}

fn credentials_arrive(cluster: &Cluster, gateway: &Gateway) -> Result<()> {
    let users = ["admin", "dev", "nobody", "cert-admin", "cert-dev"];
    let others: [&[&str]; 4] = [
        &[],
        &["--as", "jane"],
        &["--as", "jane", "--as-group", "team-j"],
        &["--as", "joe", "--as-uid", "7"],
    ];
    for user in users {
        for args in others {
            let direct = whoami(&cluster.kubectl_as(user)?, args)?;
            let through = whoami(&gateway.kubectl(user)?, args)?;
            ensure!(
                direct == through,
                "{user} {args:?}: direct {direct}, gateway {through}"
            );
            if args.is_empty() {
                println!("    {user}: {through}");
            }
        }
    }
    Ok(())
}

/// A kubeconfig of one user for a server.
fn kubeconfig(path: &Path, server: &str, ca: &Path, user: &str) -> Result<Kubectl> {
    let text = format!(
        "apiVersion: v1\nkind: Config\nclusters:\n- {{name: c, cluster: {{server: \"{server}\", \
         certificate-authority: {}}}}}\nusers:\n- name: u\n  user: {user}\n\
         contexts:\n- {{name: u, context: {{cluster: c, user: u}}}}\ncurrent-context: u\n",
        ca.display()
    );
    fs::write(path, text)?;
    Kubectl::new(Which::Current, path.to_owned(), "u")
}

/// Plugins, service accounts, OIDC: tokens and certificates from elsewhere.
fn other_credentials_arrive(cluster: &Cluster, gateway: &Gateway, folder: &Path) -> Result<()> {
    let ca = cluster.file("ca.crt");
    let admin = cluster.kubectl()?;
    admin.ok(&["create", "serviceaccount", "bot"])?;
    let minted = admin.ok(&["create", "token", "bot"])?;
    let oidc = oidc_token(folder)?;
    let plugin = |name: &str, status: &str| -> Result<String> {
        let script = folder.join(name);
        let answer = format!(
            "{{\"apiVersion\":\"client.authentication.k8s.io/v1\",\"kind\":\"ExecCredential\",\"status\":{status}}}"
        );
        fs::write(&script, format!("#!/bin/sh\ncat <<'END'\n{answer}\nEND\n"))?;
        run::output(&mut run::command(
            "chmod",
            ["+x", &script.to_string_lossy()],
        ))?;
        Ok(format!(
            "{{exec: {{apiVersion: client.authentication.k8s.io/v1, command: {}, interactiveMode: Never}}}}",
            script.display()
        ))
    };
    let pem = |name: &str| -> Result<String> {
        let text = fs::read_to_string(cluster.file(name))?;
        Ok(Value::from(text).to_string())
    };
    let certificate = format!(
        "{{\"clientCertificateData\":{},\"clientKeyData\":{}}}",
        pem("cert-dev.crt")?,
        pem("cert-dev.key")?
    );
    let users = [
        (
            "exec plugin, token",
            plugin("token", "{\"token\":\"dev-token\"}")?,
            "\"dev\"",
        ),
        (
            "exec plugin, certificate",
            plugin("certificate", &certificate)?,
            "\"cert-dev\"",
        ),
        (
            "service account's token",
            format!("{{token: {}}}", minted.trim()),
            "system:serviceaccount:default:bot",
        ),
        ("OIDC token", format!("{{token: {oidc}}}"), "oidc:jane"),
        (
            "wrong token",
            "{token: no-such-token}".to_owned(),
            "Unauthorized",
        ),
    ];
    for (what, user, name) in users {
        let direct = kubeconfig(&folder.join("direct"), &cluster.url(), &ca, &user)?;
        let through = kubeconfig(&folder.join("through"), &gateway.url, &ca, &user)?;
        let (direct, through) = (whoami(&direct, &[])?, whoami(&through, &[])?);
        ensure!(
            direct == through,
            "{what}: direct {direct}, gateway {through}"
        );
        ensure!(through.contains(name), "{what}: {through}");
        println!("    {what}: {through}");
    }
    Ok(())
}

/// What a browser sends: the token among the subprotocols.
fn tokens_among_subprotocols_arrive(gateway: &Gateway) -> Result<()> {
    let address = gateway.url.trim_start_matches("https://");
    let nobody = Caller {
        token: None,
        certificate: None,
    };
    let exec = "/api/v1/namespaces/default/pods/nosuch/exec?command=id&stdout=true";
    for (subprotocol, token, wanted) in [
        ("v5.channel.k8s.io", "ZGV2LXRva2Vu", "404"),
        ("v4.channel.k8s.io", "ZGV2LXRva2Vu", "404"),
        ("v5.channel.k8s.io", "bm9ib2R5LXRva2Vu", "403"),
        ("v5.channel.k8s.io", "d3Jvbmc", "401"),
        ("v5.channel.k8s.io", "!", "401"),
    ] {
        let headers = format!(
            "{UPGRADE}Sec-WebSocket-Protocol: base64url.bearer.authorization.k8s.io.{token}, {subprotocol}\r\n"
        );
        let answer = nobody.send(address, &format!("GET {exec}"), &headers, "")?;
        ensure!(status(&answer) == wanted, "{subprotocol} {token}: {answer}");
    }
    Ok(())
}

const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// Requests of many users at once over few connections: nobody is ever taken for another.
fn nobody_is_taken_for_another(cluster: &Cluster, gateway: &Gateway) -> Result<()> {
    use http::Request;
    use http_body_util::Full;
    use hyper::body::Bytes;
    use streamway_e2e::httpclient::{HttpClient, Speaks};
    let address = gateway.url.trim_start_matches("https://").to_owned();
    let certificate = |name: &str| {
        (
            cluster.file(&format!("{name}.crt")),
            cluster.file(&format!("{name}.key")),
        )
    };
    let runtime = tokio::runtime::Runtime::new()?;
    let ask = async |speaks, user: &'static str, pair: Option<(PathBuf, PathBuf)>| -> Result<()> {
        let pair = pair.as_ref().map(|(a, b)| (a.as_path(), b.as_path()));
        let mut client = HttpClient::connect(&address, speaks, pair).await?;
        for _ in 0..60 {
            let mut request = Request::post(WHOAMI).header("content-type", "application/json");
            if pair.is_none() && user != "system:anonymous" {
                request = request.header("authorization", format!("Bearer {user}-token"));
            }
            let body = r#"{"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"}"#;
            let answer = client
                .whole(request.body(Full::new(Bytes::from(body)))?)
                .await?;
            let text = String::from_utf8_lossy(&answer.body).into_owned();
            let is = if user == "system:anonymous" {
                answer.status == 403 && text.contains("system:anonymous")
            } else {
                text.contains(&format!("\"username\":\"{user}\""))
            };
            ensure!(is, "{user} over {speaks:?} is {} {text}", answer.status);
        }
        Ok(())
    };
    runtime.block_on(async {
        let mut all = Vec::new();
        for speaks in [Speaks::Http1, Speaks::Http2] {
            for user in ["cert-admin", "cert-dev"] {
                all.push(ask(speaks, user, Some(certificate(user))));
            }
            for user in ["admin", "nobody", "dev", "system:anonymous"] {
                all.push(ask(speaks, user, None));
            }
        }
        let ended = futures_util::future::join_all(all).await;
        ended.into_iter().collect::<Result<Vec<()>>>()
    })?;
    Ok(())
}

fn attacks(cluster: &Cluster, gateway: &Gateway, stranger: &Pair) -> Result<()> {
    let address = gateway.url.trim_start_matches("https://");
    let (dev, dev_key) = (cluster.file("cert-dev.crt"), cluster.file("cert-dev.key"));
    let nobody = Caller {
        token: Some("nobody-token"),
        certificate: None,
    };
    let reader = Caller {
        token: Some("reader-token"),
        certificate: None,
    };
    let anonymous = Caller {
        token: None,
        certificate: None,
    };
    let certified = Caller {
        token: None,
        certificate: Some((&dev, &dev_key)),
    };
    let forged = Caller {
        token: None,
        certificate: Some((&stranger.certificate, &stranger.key)),
    };
    let forged_token = Caller {
        token: Some("nobody-token"),
        ..forged
    };
    let close = "Connection: close\r\n";
    let claims = "X-Remote-User: admin\r\nX-Remote-Group: system:masters\r\n";
    let list = format!("GET {SECRETS}");
    let absolute = format!("GET https://elsewhere.test{SECRETS}");
    let pod = "/api/v1/namespaces/default/pods/box";
    let spdy = "Connection: Upgrade\r\nUpgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: v4.channel.k8s.io\r\n";
    let v5 = format!("{UPGRADE}Sec-WebSocket-Protocol: v5.channel.k8s.io\r\n");
    let second = format!("{list} HTTP/1.1\r\nHost: cluster\r\n{claims}\r\n");
    let smuggled = format!("0\r\n\r\n{second}");
    let exec = |path: &str| format!("GET {path}?command=id&stdout=true");
    // What, who, the request's line, headers and body; the statuses that are no gain.
    type Attack<'a> = (
        &'a str,
        &'a Caller<'a>,
        String,
        String,
        &'a str,
        &'a [&'a str],
    );
    let attacks: Vec<Attack<'_>> = vec![
        (
            "forged front-proxy headers, a token",
            &nobody,
            list.clone(),
            format!("{claims}{close}"),
            "",
            &["403"],
        ),
        (
            "forged front-proxy headers, nobody",
            &anonymous,
            list.clone(),
            format!("{claims}{close}"),
            "",
            &["403"],
        ),
        (
            "forged front-proxy headers, a certificate",
            &certified,
            list.clone(),
            format!("{claims}{close}"),
            "",
            &["403"],
        ),
        (
            "the same in odd case and twice",
            &certified,
            list.clone(),
            format!(
                "x-REMOTE-user: admin\r\nX-Remote-User: admin\r\nX-REMOTE-GROUP: system:masters\r\n{close}"
            ),
            "",
            &["403"],
        ),
        (
            "with underscores",
            &certified,
            list.clone(),
            format!("X_Remote_User: admin\r\nX_Remote_Group: system:masters\r\n{close}"),
            "",
            &["403"],
        ),
        (
            "named hop-by-hop, to lose the gateway's own",
            &certified,
            list.clone(),
            "Connection: close, X-Remote-User, X-Remote-Group, X-Forwarded-For\r\n".into(),
            "",
            &["403"],
        ),
        (
            "forged impersonation, a token",
            &nobody,
            list.clone(),
            format!("Impersonate-User: admin\r\nImpersonate-Group: system:masters\r\n{close}"),
            "",
            &["403"],
        ),
        (
            "forged impersonation, a certificate",
            &certified,
            list.clone(),
            format!("Impersonate-User: admin\r\nImpersonate-Group: system:masters\r\n{close}"),
            "",
            &["403"],
        ),
        (
            "a stranger's certificate of system:masters",
            &forged,
            list.clone(),
            close.into(),
            "",
            &["401"],
        ),
        (
            "the same, with nobody's token",
            &forged_token,
            list.clone(),
            close.into(),
            "",
            &["403"],
        ),
        (
            "absolute form",
            &nobody,
            absolute,
            close.into(),
            "",
            &["403"],
        ),
        (
            "Content-Length and Transfer-Encoding",
            &nobody,
            "POST /nosuch".into(),
            format!(
                "Content-Length: {}\r\nTransfer-Encoding: chunked\r\n",
                smuggled.len()
            ),
            &smuggled,
            &["400", "403"],
        ),
        (
            "two Content-Lengths",
            &nobody,
            "POST /nosuch".into(),
            "Content-Length: 0\r\nContent-Length: 9\r\n".into(),
            &second,
            &["400"],
        ),
        (
            "Transfer-Encoding that nobody knows",
            &nobody,
            "POST /nosuch".into(),
            "Transfer-Encoding: xchunked\r\n".into(),
            &second,
            &["400", "501"],
        ),
        (
            "a header folded onto the next line",
            &nobody,
            list.clone(),
            format!("X-A: b\r\n X-Remote-User: admin\r\n{close}"),
            "",
            &["400", "403"],
        ),
        (
            "a line break in a header",
            &nobody,
            list.clone(),
            format!("X-A: b\nX-Remote-User: admin\n{close}"),
            "",
            &["400", "403"],
        ),
        (
            "CONNECT",
            &nobody,
            "CONNECT 127.0.0.1:2379".into(),
            close.into(),
            "",
            &["400", "405"],
        ),
        (
            "v5 exec with get alone",
            &reader,
            exec(&format!("{pod}/exec")),
            v5.clone(),
            "",
            &["403"],
        ),
        (
            "SPDY exec by GET with get alone",
            &reader,
            exec(&format!("{pod}/exec")),
            spdy.into(),
            "",
            &["403"],
        ),
        (
            "v4 exec with get alone",
            &reader,
            exec(&format!("{pod}/exec")),
            v5.replace("v5.", "v4."),
            "",
            &["403"],
        ),
        (
            "attach with get alone",
            &reader,
            exec(&format!("{pod}/attach")),
            v5.replace("v5.", "v4."),
            "",
            &["403"],
        ),
        (
            "port-forward by WebSocket with get alone",
            &reader,
            format!("GET {pod}/portforward?ports=80"),
            v5.replace("v5.", "v4."),
            "",
            &["403"],
        ),
        (
            "exec by // with get alone",
            &reader,
            exec(&format!("/{pod}/exec")),
            v5.clone(),
            "",
            &["400"],
        ),
        (
            "exec by .. with get alone",
            &reader,
            exec(&format!("{pod}/log/../exec")),
            v5.clone(),
            "",
            &["400"],
        ),
        (
            "exec by %65xec with get alone",
            &reader,
            exec(&format!("{pod}/%65xec")),
            v5.clone(),
            "",
            &["400"],
        ),
        (
            "exec by exec/ with get alone",
            &reader,
            exec(&format!("{pod}/exec/")),
            v5.clone(),
            "",
            &["400"],
        ),
        (
            "a body where the stream would begin",
            &reader,
            exec(&format!("{pod}/exec")),
            format!("{v5}Content-Length: {}\r\n", second.len()),
            &second,
            &["400"],
        ),
    ];
    for (what, caller, line, headers, body, no_gain) in attacks {
        let answer = caller.send(address, &line, &headers, body)?;
        let status = status(&answer);
        println!("    {what:48} {status} {}", told(&answer));
        ensure!(no_gain.contains(&status), "{what}: {answer}");
        ensure!(!answer.contains("SecretList"), "{what}: {answer}");
        ensure!(!answer.contains("HTTP/1.1 101"), "{what}: {answer}");
    }
    Ok(())
}

/// A request behind an upgrade belongs to whoever was upgraded to, not to the gateway.
fn a_request_behind_an_upgrade_is_no_request(gateway: &Gateway) -> Result<()> {
    let address = gateway.url.trim_start_matches("https://");
    let admin = Caller {
        token: Some("admin-token"),
        certificate: None,
    };
    let spdy = "Connection: Upgrade\r\nUpgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: v4.channel.k8s.io\r\n";
    let second = format!(
        "GET {SECRETS} HTTP/1.1\r\nHost: cluster\r\nAuthorization: Bearer admin-token\r\n\r\n"
    );
    let path = "/api/v1/namespaces/default/pods/box-node/exec?command=id&stdout=true";
    let answer = admin.send(address, &format!("POST {path}"), spdy, &second)?;
    ensure!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    ensure!(
        answer.matches("HTTP/1.1").count() == 1 && !answer.contains("SecretList"),
        "{answer}"
    );
    Ok(())
}

/// What the API server was asked for, by its own count.
fn exec_requests(cluster: &Cluster) -> Result<u64> {
    let metrics = cluster.kubectl()?.ok(&["get", "--raw", "/metrics"])?;
    let counters = metrics.lines().filter(|line| {
        line.starts_with("apiserver_request_total{")
            && ["exec", "attach", "portforward"]
                .iter()
                .any(|name| line.contains(&format!("subresource=\"{name}\"")))
    });
    Ok(counters
        .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
        .sum())
}

fn the_stream_is_not_asked_for(cluster: &Cluster, gateway: &Gateway) -> Result<()> {
    let before = exec_requests(cluster)?;
    let kubectl = gateway.kubectl("reader")?;
    let address = gateway.url.trim_start_matches("https://");
    let reader = Caller {
        token: Some("reader-token"),
        certificate: None,
    };
    let v4 = format!("{UPGRADE}Sec-WebSocket-Protocol: v4.channel.k8s.io\r\n");
    let exec = "GET /api/v1/namespaces/default/pods/box-node/exec?command=id&stdout=true";
    let answer = reader.send(address, exec, &v4, "")?;
    ensure!(
        status(&answer) == "403" && answer.contains("verbs: [create]"),
        "{answer}"
    );
    ensure!(
        exec_requests(cluster)? == before,
        "the API server was asked for the stream"
    );
    let counted = gateway.metrics()?;
    ensure!(
        counted.contains("streamway_create_checks_total{result=\"denied\"}"),
        "{counted}"
    );
    // kubectl falls back to SPDY, whose POST the API server refuses.
    let ended = kubectl.run(&["exec", "box-node", "--", "id"], b"")?;
    ensure!(
        ended.code == 1 && ended.stderr.contains("cannot create resource"),
        "{}",
        ended.stderr
    );
    let ended = gateway
        .kubectl("dev")?
        .run(&["exec", "box-node", "--", "echo", "may"], b"")?;
    ensure!(ended.stdout == b"may\n", "{}", ended.stderr);
    Ok(())
}

/// A certificate that the API server takes for somebody's, and not for a front proxy's.
fn a_wrong_front_proxy_gives_nobody_its_rights(cluster: &Cluster) -> Result<()> {
    let pair = cluster
        .authority()
        .client("not-a-front-proxy", "root", &["system:masters"])?;
    let (certificate, key) = (
        pair.certificate.to_string_lossy(),
        pair.key.to_string_lossy(),
    );
    let ca = cluster.file("ca.crt");
    let gateway = cluster
        .gateway("wrong")
        .front_proxy(false)
        .ready(false)
        .args(&[
            "--client-ca-file",
            &ca.to_string_lossy(),
            "--proxy-client-cert-file",
            &certificate,
            "--proxy-client-key-file",
            &key,
        ])
        .up()?;
    let ready = gateway.readiness()?;
    ensure!(
        ready.contains("[-]front-proxy") && ready.contains("requestheader-client-ca-file"),
        "{ready}"
    );
    let ended = gateway
        .kubectl("cert-dev")?
        .run(&["get", "--raw", SECRETS], b"")?;
    ensure!(
        ended.code != 0 && ended.stdout.is_empty(),
        "{:?}",
        ended.stdout
    );
    ensure!(ended.stderr.contains("front-proxy"), "{}", ended.stderr);
    // Who needs none is served.
    let served = gateway
        .kubectl("admin")?
        .ok(&["get", "ns", "default", "-o", "name"])?;
    ensure!(served == "namespace/default\n", "{served}");
    Ok(())
}

fn impersonation(cluster: &Cluster) -> Result<()> {
    let gateway = cluster.gateway("impersonates").impersonation().up()?;
    let (direct, through) = (
        cluster.kubectl_as("cert-dev")?,
        gateway.kubectl("cert-dev")?,
    );
    let others: [&[&str]; 3] = [
        &[],
        &["--as", "jane"],
        &["--as", "jane", "--as-group", "team-j"],
    ];
    for args in others {
        let (direct, through) = (whoami(&direct, args)?, whoami(&through, args)?);
        ensure!(
            direct == through,
            "{args:?}: direct {direct}, gateway {through}"
        );
        println!("    cert-dev {args:?}: {through}");
    }
    // joe may be impersonated by the gateway, and not by cert-dev: the gateway's right is not theirs.
    let masters: [&str; 4] = ["--as", "jane", "--as-group", "system:masters"];
    for (user, args, words) in [
        ("cert-admin", &[][..], "--proxy-client-cert-file"),
        ("cert-dev", &masters, "nobody becomes system:masters"),
        ("cert-dev", &["--as", "joe"], "you may not impersonate it"),
        ("cert-dev", &["--as", "admin"], "you may not impersonate it"),
    ] {
        let raw = [args, &["get", "--raw", "/version"]].concat();
        let ended = gateway.kubectl(user)?.run(&raw, b"")?;
        ensure!(
            ended.code == 1 && ended.stderr.contains(words),
            "{user} {args:?}: {ended:?}"
        );
        println!("    {user} {args:?}: {}", ended.stderr.trim());
    }
    let token = whoami(&gateway.kubectl("admin")?, &["--as", "jane"])?;
    ensure!(token.contains("\"jane\""), "{token}");
    let can = cluster.kubectl()?.run(
        &["auth", "can-i", "--list", "--as", "streamway-gateway"],
        b"",
    )?;
    let can = String::from_utf8_lossy(&can.stdout).into_owned();
    let own = can
        .lines()
        .filter(|line| !line.contains("[get]") && !line.contains("selfsubject"));
    for line in own {
        println!("    the gateway may: {line}");
    }
    Ok(())
}

/// An ID token of an issuer that the API server knows by its flags: RS256, made with openssl.
fn oidc_token(folder: &Path) -> Result<String> {
    use base64::Engine;
    let encode = |bytes: &[u8]| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes);
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)?
        .as_secs();
    let claims = serde_json::json!({
        "iss": ISSUER, "aud": "streamway", "sub": "jane", "groups": ["team-j"], "iat": now, "exp": now + 3600,
    });
    let head = serde_json::json!({"alg": "RS256", "kid": "k", "typ": "JWT"});
    let text = format!(
        "{}.{}",
        encode(head.to_string().as_bytes()),
        encode(claims.to_string().as_bytes())
    );
    fs::write(folder.join("signed"), &text)?;
    let path = |name: &str| folder.join(name).to_string_lossy().into_owned();
    run::output(&mut run::command(
        "openssl",
        [
            "dgst",
            "-sha256",
            "-sign",
            &path("oidc.key"),
            "-out",
            &path("signature"),
            &path("signed"),
        ],
    ))?;
    Ok(format!(
        "{text}.{}",
        encode(&fs::read(folder.join("signature"))?)
    ))
}

const ISSUER: &str = "https://127.0.0.1:18443";

/// Serves an issuer's two documents over TLS.
fn start_issuer(folder: &Path) -> Result<()> {
    use base64::Engine;
    use streamway_e2e::issuer;
    let key = folder.join("oidc.key").to_string_lossy().into_owned();
    run::output(&mut run::command(
        "openssl",
        ["genrsa", "-out", &key, "2048"],
    ))?;
    let modulus = run::output(&mut run::command(
        "openssl",
        ["rsa", "-in", &key, "-noout", "-modulus"],
    ))?;
    let Some(hex) = modulus.trim().strip_prefix("Modulus=") else {
        bail!("openssl said {modulus}");
    };
    let bytes: Vec<u8> = hex
        .as_bytes()
        .chunks(2)
        .filter_map(|two| u8::from_str_radix(std::str::from_utf8(two).ok()?, 16).ok())
        .collect();
    let modulus = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes);
    let authority = Authority::new(folder, "issuer-ca")?;
    let pair = authority.server("issuer", &["127.0.0.1".to_owned()])?;
    issuer::serve(ISSUER, &pair, &modulus)
}

#[test]
fn every_caller_is_who_they_are() {
    let elsewhere = tempfile::tempdir().unwrap();
    start_issuer(elsewhere.path()).unwrap();
    let issuer_ca = elsewhere.path().join("issuer-ca.crt");
    let cluster = Cluster::builder("test-gateway-identity")
        .api_server(OLD_API_SERVER)
        .api_server_flags(&[
            &format!("--oidc-issuer-url={ISSUER}"),
            "--oidc-client-id=streamway",
            "--oidc-username-claim=sub",
            "--oidc-username-prefix=oidc:",
            "--oidc-groups-claim=groups",
            &format!("--oidc-ca-file={}", issuer_ca.display()),
        ])
        .node("node", OLD_API_SERVER, None)
        .up()
        .unwrap();
    cluster.kubectl().unwrap().apply(RIGHTS).unwrap();
    let stranger = Authority::new(elsewhere.path(), "stranger").unwrap();
    let stranger = stranger
        .client("forged", "admin", &["system:masters"])
        .unwrap();
    let gateway = cluster.gateway("gateway").up().unwrap();

    let mut suite = Suite::default();
    suite.check(
        "tokens and certificates, and whom they impersonate: the same user and groups",
        || credentials_arrive(&cluster, &gateway),
    );
    suite.check(
        "plugins, service accounts, OIDC: the same user and groups",
        || other_credentials_arrive(&cluster, &gateway, elsewhere.path()),
    );
    suite.check("tokens among the subprotocols", || {
        tokens_among_subprotocols_arrive(&gateway)
    });
    suite.check("nobody is taken for another, of many at once", || {
        nobody_is_taken_for_another(&cluster, &gateway)
    });
    suite.check("attacks gain nothing", || {
        attacks(&cluster, &gateway, &stranger)
    });
    suite.check("a request behind an upgrade is no request", || {
        a_request_behind_an_upgrade_is_no_request(&gateway)
    });
    suite.check(
        "get without create: refused before the API server is asked",
        || the_stream_is_not_asked_for(&cluster, &gateway),
    );
    suite.check(
        "a wrong front-proxy certificate gives nobody its rights",
        || a_wrong_front_proxy_gives_nobody_its_rights(&cluster),
    );
    suite.check(
        "impersonation, where there is no front-proxy certificate",
        || impersonation(&cluster),
    );
    suite.verdict();
}
