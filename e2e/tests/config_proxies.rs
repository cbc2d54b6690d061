//! The samples of proxies before the gateway, as real proxies: what goes through each.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::Path;
use std::process::Stdio;
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use streamway_e2e::cluster::{Cluster, Gateway};
use streamway_e2e::kubectl::Kubectl;
use streamway_e2e::suite::Suite;
use streamway_e2e::{OLD_API_SERVER, install, run, wait};

/// A sample, where it listens in it, and whether client certificates pass.
struct Sample {
    file: &'static str,
    listens: &'static str,
    certificates: bool,
}

const SAMPLES: [Sample; 4] = [
    Sample {
        file: "haproxy.cfg",
        listens: ":6443",
        certificates: true,
    },
    Sample {
        file: "haproxy-http.cfg",
        listens: ":443",
        certificates: false,
    },
    Sample {
        file: "nginx-stream.conf",
        listens: "6443",
        certificates: true,
    },
    Sample {
        file: "nginx-http.conf",
        listens: "443",
        certificates: false,
    },
];

/// Ports of the proxies, one after another. Clusters use others.
const PORT: u16 = 17643;

#[test]
fn proxies_pass_what_their_samples_say() {
    install::proxies().unwrap();
    let cluster = Cluster::builder("test-config-proxies")
        .api_server(OLD_API_SERVER)
        .node("one", OLD_API_SERVER, None)
        .up()
        .unwrap();
    let gateway = cluster.gateway("gateway").up().unwrap();
    let mut suite = Suite::default();
    for (sample, port) in SAMPLES.iter().zip(PORT..) {
        let address = format!("{}:{port}", cluster.host_address());
        start(&cluster, &gateway, sample, &address).unwrap();
        let server = format!("--server=https://{address}");
        let exec = |kubectl: &Kubectl| -> Result<String> {
            let args = ["-v=6", "exec", "-i", "box-one", &server, "--", "cat"];
            let ended = kubectl.run(&args, b"some bytes")?;
            ensure!(
                ended.code == 0 && ended.stdout == b"some bytes",
                "{ended:?}"
            );
            Ok(ended.stderr)
        };
        suite.check(&format!("{}: exec over WebSocket", sample.file), || {
            let leg = exec(&cluster.kubectl()?)?;
            let websocket = leg.contains("v5.channel.k8s.io") && !leg.contains("fallback");
            ensure!(websocket, "{leg}");
            Ok(())
        });
        suite.check(
            &format!("{}: kubectl 1.28's over SPDY", sample.file),
            || exec(&cluster.kubectl_spdy()?).map(drop),
        );
        suite.check(&format!("{}: client certificates", sample.file), || {
            let whoami = ["auth", "whoami", server.as_str()];
            let ended = cluster.kubectl_as("cert-dev")?.run(&whoami, b"")?;
            let told = String::from_utf8_lossy(&ended.stdout);
            ensure!(
                told.contains("cert-dev") == sample.certificates,
                "{ended:?}"
            );
            Ok(())
        });
        suite.check(
            &format!(
                "{}: an upload of more than 1 MiB, a watch at once",
                sample.file
            ),
            || upload_and_watch(&cluster.kubectl()?, &server),
        );
    }
    suite.verdict();
}

/// Makes a Secret through the proxy, and sees it come in a watch through the proxy.
fn upload_and_watch(kubectl: &Kubectl, server: &str) -> Result<()> {
    kubectl.ok(&["delete", "secret", "--all"])?;
    kubectl.ok(&["create", "secret", "generic", "first"])?;
    let watch = ["get", "secrets", "--watch", "-o", "name", server];
    let mut watch = kubectl.command(&watch).stdout(Stdio::piped()).spawn()?;
    let lines = BufReader::new(watch.stdout.take().context("stdout")?).lines();
    let (sender, received) = mpsc::channel();
    std::thread::spawn(move || {
        lines
            .map_while(Result::ok)
            .try_for_each(|line| sender.send(line))
    });
    let soon = || received.recv_timeout(Duration::from_secs(10));
    let listed = soon();
    // 1.3 MB in base64.
    let data = "YWFh".repeat(325_000);
    let big =
        format!("{{apiVersion: v1, kind: Secret, metadata: {{name: big}}, data: {{a: {data}}}}}");
    let apply = ["apply", "--server-side", "-f", "-", server];
    let created = kubectl.ok_with(&apply, big.as_bytes());
    let came = soon();
    watch.kill()?;
    watch.wait()?;
    created?;
    ensure!(listed.as_deref() == Ok("secret/first"), "{listed:?}");
    ensure!(came.as_deref() == Ok("secret/big"), "{came:?}");
    Ok(())
}

/// Starts a proxy of a sample, with this cluster's addresses and files.
fn start(cluster: &Cluster, gateway: &Gateway, sample: &Sample, address: &str) -> Result<()> {
    let hosts = [cluster.host_address()];
    let serving = cluster.authority().server("proxy-serving", &hosts)?;
    let pem = fs::read_to_string(&serving.certificate)? + &fs::read_to_string(&serving.key)?;
    fs::write(cluster.file("proxy-serving.pem"), pem)?;
    let file = |name: &str| cluster.file(name).to_string_lossy().into_owned();
    let (_, metrics) = gateway.metrics_address.rsplit_once(':').context("a port")?;
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/samples");
    let mut text = fs::read_to_string(samples.join(sample.file))?;
    for (theirs, ours) in [
        (
            &*format!("bind {}", sample.listens),
            format!("bind {address}"),
        ),
        (
            &*format!("listen {}", sample.listens),
            format!("listen {address}"),
        ),
        ("192.0.2.21:6443", gateway.url.replace("https://", "")),
        ("port 6444", format!("port {metrics}")),
        (
            "/etc/haproxy/gateway.example.com.pem",
            file("proxy-serving.pem"),
        ),
        ("/etc/haproxy/gateway-ca.crt", file("ca.crt")),
        (
            "/etc/nginx/gateway.example.com.crt",
            file("proxy-serving.crt"),
        ),
        (
            "/etc/nginx/gateway.example.com.key",
            file("proxy-serving.key"),
        ),
        ("/etc/nginx/gateway-ca.crt", file("ca.crt")),
        // The name in the gateway's certificate.
        ("gateway.example.com", "localhost".to_owned()),
    ] {
        text = text.replace(theirs, &ours);
    }
    // There is one gateway here.
    let lines = text.lines().filter(|line| !line.contains("192.0.2.22"));
    let mut text = lines.collect::<Vec<_>>().join("\n") + "\n";
    let config = cluster.file(sample.file);
    let mut command = if sample.file.starts_with("haproxy") {
        run::command("haproxy", ["-f"])
    } else {
        let pid = file(&format!("{}-own.pid", sample.file));
        let (load, part) = if sample.file.contains("stream") {
            (format!("load_module {};\n", install::NGINX_STREAM), text)
        } else {
            let part = format!("http {{\naccess_log off;\n{text}}}\n");
            (String::new(), part)
        };
        text = format!(
            "{load}daemon off; master_process off; error_log stderr; pid {pid}; events {{}}\n{part}"
        );
        run::command("nginx", ["-c"])
    };
    fs::write(&config, text)?;
    let name = sample.file.replace('.', "-");
    cluster.start(&name, command.arg(config))?;
    wait::until("the proxy listens", Duration::from_secs(10), || {
        Ok(TcpStream::connect(address).map(Some)?)
    })
    .with_context(|| run::tail_of(&cluster.log(&name), 10))?;
    Ok(())
}
