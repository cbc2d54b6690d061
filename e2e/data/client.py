"""Runs a command, and fetches a page through a forwarded port, with Python's kubernetes client:
v4.channel.k8s.io, the older WebSocket protocols. Arguments: kubeconfig, pod."""

import sys

from kubernetes import client, config
from kubernetes.stream import portforward, stream

kubeconfig, pod = sys.argv[1:]
config.load_kube_config(kubeconfig)
api = client.CoreV1Api()

session = stream(
    api.connect_get_namespaced_pod_exec, pod, "default",
    command=["sh", "-c", "read line; echo got $line; echo err >&2; exit 5"],
    stdin=True, stdout=True, stderr=True, tty=False, _preload_content=False)
session.write_stdin("hello\n")
session.run_forever(timeout=20)
assert session.read_stdout() == "got hello\n", "stdout"
assert session.read_stderr() == "err\n", "stderr"
assert session.returncode == 5, session.returncode

forwarded = portforward(api.connect_get_namespaced_pod_portforward, pod, "default", ports="8080")
connection = forwarded.socket(8080)
connection.setblocking(True)
connection.sendall(b"GET /page HTTP/1.0\r\n\r\n")
answer = b""
while True:
    data = connection.recv(65536)
    if not data:
        break
    answer += data
connection.close()
body = answer.partition(b"\r\n\r\n")[2]
assert len(body) == 4 << 20, len(body)
print("python ok")
