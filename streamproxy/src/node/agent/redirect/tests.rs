//! On the real kernel: a node, a client that comes from elsewhere and another node, each in a network
//! namespace of its own. They need root; where there is none they say so.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

use super::*;

const KUBELET: u16 = 10250;
const AGENT: u16 = 10353;

/// Long enough for anything here.
const LONG: Duration = Duration::from_secs(20);

/// Runs a test of this module that is ignored otherwise, in a network namespace of its own.
fn in_namespace(test: &str) {
    if Command::new("unshare")
        .args(["--net", "true"])
        .status()
        .map_or(true, |s| !s.success())
    {
        eprintln!("skipped: {test} needs root, for a network namespace of its own");
        return;
    }
    let output = Command::new("unshare")
        .args(["--net", "--"])
        .args(this(test))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}"
    );
}

/// The command that runs one of the ignored tests.
fn this(test: &str) -> Vec<String> {
    let module = module_path!().split_once("::").unwrap().1;
    let program = std::env::current_exe().unwrap().display().to_string();
    let name = format!("{module}::{test}");
    [&program, &name, "--exact", "--ignored", "--nocapture"]
        .map(str::to_owned)
        .to_vec()
}

fn shell(line: &str) {
    let status = Command::new("sh").args(["-ec", line]).status().unwrap();
    assert!(status.success(), "{line}");
}

/// A process beside this one, and the namespace that it may have. It ends with this.
struct Beside(Child);

impl Beside {
    /// Connected to this one by `link`, with our side of it `ours` and the other's `theirs`.
    fn new(link: &str, ours: &str, theirs: &str) -> Self {
        let child = Command::new("unshare")
            .args(["--net", "--", "sh", "-c", "echo; exec sleep 600"])
            .stdout(Stdio::piped())
            .spawn();
        let mut this = Self(child.unwrap());
        // Once it says something it has its namespace.
        let mut line = [0];
        this.0
            .stdout
            .as_mut()
            .unwrap()
            .read_exact(&mut line)
            .unwrap();
        let pid = this.0.id();
        let gateway = ours.split('/').next().unwrap();
        shell(&format!(
            "ip link add {link} type veth peer name eth0 netns /proc/{pid}/ns/net
             ip addr add {ours} dev {link} nodad; ip link set {link} up
             nsenter --net=/proc/{pid}/ns/net sh -ec 'ip link set lo up
               ip addr add {theirs} dev eth0 nodad; ip link set eth0 up; ip route add default via {gateway}'"
        ));
        this
    }

    /// What this namespace's process prints of a command.
    fn run(&self, command: &[String]) -> String {
        let output = Command::new("nsenter")
            .arg(format!("--net=/proc/{}/ns/net", self.0.id()))
            .args(command)
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Who answers there at an address.
    fn asks(&self, ip: &str) -> String {
        let line = format!("exec 3<>/dev/tcp/{ip}/{KUBELET} && cat <&3");
        self.run(&["bash".to_owned(), "-c".to_owned(), line])
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Says its name to whoever connects, and keeps the connection open as long as the client does.
fn server(address: &str, name: &'static str) {
    let listener = TcpListener::bind(address).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            std::thread::spawn(move || {
                let _ = stream.write_all(name.as_bytes());
                // A client that wants only the name sees the end; another one has sent a byte first.
                stream
                    .set_read_timeout(Some(Duration::from_millis(200)))
                    .unwrap();
                let mut byte = [0];
                while stream.read(&mut byte).is_ok_and(|read| read == 1) {
                    stream.set_read_timeout(Some(LONG)).unwrap();
                    stream.write_all(&byte).unwrap();
                }
            });
        }
    });
}

/// A node: loopback, an address, its kubelet, the agent's listener.
fn node() -> IpAddr {
    shell(
        "ip link set lo up; ip addr add 10.9.9.9/32 dev lo; ip addr add fd00:9::9/128 dev lo nodad",
    );
    server("[::]:10250", "kubelet");
    server("[::]:10353", "agent");
    IpAddr::from([10, 9, 9, 9])
}

fn ask(ip: impl Into<IpAddr>) -> String {
    let mut stream = TcpStream::connect(SocketAddr::new(ip.into(), KUBELET)).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    let mut name = String::new();
    stream.read_to_string(&mut name).unwrap();
    name
}

/// A session: a connection whose other end answers each byte.
struct Session(TcpStream);

impl Session {
    fn open(ip: IpAddr) -> (Self, String) {
        let mut stream = TcpStream::connect(SocketAddr::new(ip, KUBELET)).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        stream.write_all(b"x").unwrap();
        let mut name = Vec::new();
        let mut byte = [0];
        while byte != *b"x" {
            stream.read_exact(&mut byte).unwrap();
            name.push(byte[0]);
        }
        name.pop();
        (Self(stream), String::from_utf8(name).unwrap())
    }

    fn lives(&mut self) -> bool {
        let mut byte = [0];
        let echoed = self
            .0
            .write_all(b"y")
            .and_then(|()| self.0.read_exact(&mut byte));
        echoed.is_ok() && byte == *b"y"
    }
}

impl Session {
    /// Whether it was reset, and not merely left without an answer.
    fn is_reset(&mut self) -> bool {
        let patience = Some(Duration::from_millis(200));
        self.0.set_read_timeout(patience).unwrap();
        let asked = self.0.write_all(b"y").and_then(|()| self.0.read(&mut [0]));
        let reset = [io::ErrorKind::ConnectionReset, io::ErrorKind::BrokenPipe];
        asked.is_err_and(|error| reset.contains(&error.kind()))
    }
}

/// Threads that serve, as long as this is there.
fn living() -> (Beats, tokio::runtime::Runtime) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let beats = Beats::new();
    runtime.spawn(beats.thread());
    (beats, runtime)
}

fn redirect(beats: &Beats, in_use: impl Fn() -> bool + Send + 'static) -> Redirect {
    let beats = beats.clone();
    let redirection = Redirection {
        kubelet: KUBELET,
        agent: AGENT,
        ipv6: true,
        beats,
    };
    Redirect::start(redirection, in_use).unwrap()
}

impl Redirect {
    /// Wants it, and waits until it is so.
    fn have(&self, wanted: Wanted, state: &State) {
        self.want(wanted);
        self.reaches(|now| now == state);
    }

    fn reaches(&self, wanted: impl Fn(&State) -> bool) {
        let mut now = self.state();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build();
        let reached = async {
            tokio::time::timeout(LONG, now.wait_for(|now| wanted(now)))
                .await
                .is_ok()
        };
        let reached = runtime.unwrap().block_on(reached);
        assert!(reached, "{:?}", self.state.borrow());
    }
}

/// Asks until the answer is the wanted one; how long that took.
fn until(what: &str, mut is: impl FnMut() -> bool) -> Duration {
    let start = Instant::now();
    while !is() {
        assert!(start.elapsed() < LONG, "{what}");
        std::thread::yield_now();
    }
    start.elapsed()
}

fn tables() -> String {
    let list = Command::new("nft").args(["list", "tables"]).output();
    list.map_or_else(
        |_| String::new(),
        |output| String::from_utf8_lossy(&output.stdout).into_owned(),
    )
}

#[test]
fn what_comes_for_the_kubelet_goes_to_the_agent() {
    in_namespace("inside_redirected");
}

#[test]
#[ignore = "runs in a network namespace"]
fn inside_redirected() {
    let own = node();
    let client = Beside::new("client", "10.1.0.1/24", "10.1.0.2/24");
    let other = Beside::new("other", "10.2.0.1/24", "10.2.0.2/24");
    shell("echo 1 > /proc/sys/net/ipv4/ip_forward");
    let pid = other.0.id();
    let mut kubelet = Command::new("nsenter")
        .arg(format!("--net=/proc/{pid}/ns/net"))
        .args(this("inside_other_kubelet"))
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    until("the other node's kubelet answers", || {
        client.asks("10.2.0.2") == "other kubelet"
    });
    let (beats, _runtime) = living();
    let redirect = redirect(&beats, || false);
    assert_eq!(
        (ask(own), client.asks("10.1.0.1")),
        ("kubelet".into(), "kubelet".into())
    );
    let before = Session::open(own);
    assert_eq!(before.1, "kubelet");

    redirect.have(Wanted::Agent, &State::Agent);
    let v6 = |text: &str| ask(text.parse::<IpAddr>().unwrap());
    assert_eq!(ask(own), "agent", "from the node, to its own address");
    assert_eq!(client.asks("10.1.0.1"), "agent", "from elsewhere");
    assert_eq!(v6("fd00:9::9"), "agent", "over IPv6");
    assert_eq!(ask([127, 0, 0, 1]), "kubelet", "over loopback");
    assert_eq!(
        ask([127, 8, 8, 8]),
        "kubelet",
        "over loopback's other addresses"
    );
    assert_eq!(v6("::1"), "kubelet", "over IPv6's loopback");
    assert_eq!(
        client.asks("10.2.0.2"),
        "other kubelet",
        "forwarded to another node"
    );
    let mut before = before.0;
    assert!(before.lives(), "a session of before is cut");

    redirect.have(Wanted::Kubelet, &State::Kubelet);
    assert_eq!(ask(own), "kubelet");
    assert_eq!(client.asks("10.1.0.1"), "kubelet");
    assert!(before.lives());
    assert!(!tables().contains("streamway"), "{}", tables());
    drop(kubelet.stdin.take());
    kubelet.wait().unwrap();
}

#[test]
#[ignore = "runs in a network namespace"]
fn inside_other_kubelet() {
    server("0.0.0.0:10250", "other kubelet");
    let _ = io::stdin().read(&mut [0]);
}

#[test]
fn sessions_outlive_the_redirection() {
    in_namespace("inside_sessions");
}

#[test]
#[ignore = "runs in a network namespace"]
fn inside_sessions() {
    let own = node();
    let (beats, _runtime) = living();
    let in_use = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(true));
    let asked = std::sync::Arc::clone(&in_use);
    let redirect = redirect(&beats, move || {
        asked.load(std::sync::atomic::Ordering::Relaxed)
    });
    redirect.have(Wanted::Agent, &State::Agent);
    let (mut session, name) = Session::open(own);
    assert_eq!(name, "agent");
    redirect.have(Wanted::Kubelet, &State::Kubelet);
    assert_eq!(ask(own), "kubelet", "new ones go to the kubelet");
    let start = Instant::now();
    // Longer than the table's own timeouts.
    while start.elapsed() < Duration::from_secs(6) {
        assert!(session.lives(), "cut after {:?}", start.elapsed());
    }
    redirect.have(Wanted::Agent, &State::Agent);
    assert_eq!(ask(own), "agent", "and back");
    redirect.have(Wanted::Kubelet, &State::Kubelet);
    in_use.store(false, std::sync::atomic::Ordering::Relaxed);
    if Command::new("nft").arg("-v").output().is_ok() {
        until("the table goes with the last session", || {
            !tables().contains("streamway")
        });
    }
}

#[test]
fn two_owners_stand_side_by_side() {
    in_namespace("inside_two");
}

#[test]
#[ignore = "runs in a network namespace"]
fn inside_two() {
    let own = node();
    server("0.0.0.0:10354", "new agent");
    let (beats, _runtime) = living();
    let old = redirect(&beats, || false);
    old.have(Wanted::Agent, &State::Agent);
    assert_eq!(ask(own), "agent");
    let redirection = Redirection {
        kubelet: KUBELET,
        agent: 10354,
        ipv6: false,
        beats,
    };
    let new = Redirect::start(redirection, || false).unwrap();
    new.have(Wanted::Agent, &State::Agent);
    assert_eq!(ask(own), "new agent", "the new one's table comes first");
    old.have(Wanted::Kubelet, &State::Kubelet);
    assert_eq!(ask(own), "new agent");
    old.have(Wanted::Agent, &State::Agent);
    drop(new);
    until("the old one's is left", || ask(own) == "agent");
}

#[test]
fn who_dies_or_hangs_is_out_of_the_path() {
    in_namespace("inside_death");
}

#[test]
#[ignore = "runs in a network namespace"]
fn inside_death() {
    let own = node();
    let holder = || {
        let mut child = Command::new(&this("x")[0]);
        child
            .args(&this("inside_holder")[1..])
            .stdin(Stdio::piped())
            .stdout(Stdio::null());
        let child = Beside(child.spawn().unwrap());
        until("the table stands", || ask(own) == "agent");
        child
    };
    let signal = |child: &Beside, name: &str| shell(&format!("kill -{name} {}", child.0.id()));

    let mut child = holder();
    signal(&child, "KILL");
    // A connection of before would not end: its server is here, and does not die with its table.
    child.0.wait().unwrap();
    let took = until("the kubelet answers after SIGKILL", || {
        ask(own) == "kubelet"
    });
    eprintln!("SIGKILL: {took:?}");
    drop(child);

    let mut child = holder();
    let (mut session, _) = Session::open(own);
    signal(&child, "STOP");
    let took = until("the kubelet answers after SIGSTOP", || {
        ask(own) == "kubelet"
    });
    eprintln!("SIGSTOP: {took:?}");
    let reset = until("the session is reset", || session.is_reset());
    eprintln!("reset: {:?}", took + reset);
    signal(&child, "CONT");
    until("it is back", || ask(own) == "agent");
    drop(child.0.stdin.take());
    child.0.wait().unwrap();
    until("it is gone with its process", || ask(own) == "kubelet");
}

#[test]
#[ignore = "runs in a network namespace"]
fn inside_holder() {
    let (beats, _runtime) = living();
    let redirect = redirect(&beats, || false);
    redirect.have(Wanted::Agent, &State::Agent);
    let _ = io::stdin().read(&mut [0]);
}

#[test]
fn threads_that_hang_are_noticed() {
    in_namespace("inside_hang");
}

#[test]
#[ignore = "runs in a network namespace"]
fn inside_hang() {
    let own = node();
    let (beats, runtime) = living();
    let redirect = redirect(&beats, || false);
    redirect.have(Wanted::Agent, &State::Agent);
    let (go_on, wait) = sync_channel::<()>(0);
    runtime.spawn(async move {
        let _ = wait.recv();
    });
    let took = until("the kubelet answers", || ask(own) == "kubelet");
    eprintln!("hung: {took:?}");
    redirect.reaches(|state| matches!(state, State::Failed(_)));
    drop(go_on);
    redirect.reaches(|state| *state == State::Agent);
    assert_eq!(ask(own), "agent");
}

#[test]
fn without_the_right_it_says_so() {
    in_namespace("inside_without_right");
}

#[test]
#[ignore = "runs in a network namespace"]
fn inside_without_right() {
    let mut child = Command::new("setpriv");
    child.args(["--bounding-set=-net_admin", "--inh-caps=-net_admin", "--"]);
    let output = child.args(this("inside_refused")).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("1 passed"), "{text}");
}

#[test]
#[ignore = "runs in a network namespace"]
fn inside_refused() {
    let (beats, _runtime) = living();
    let redirect = redirect(&beats, || false);
    redirect.want(Wanted::Agent);
    redirect.reaches(|state| matches!(state, State::Failed(why) if why.contains("NET_ADMIN")));
}
