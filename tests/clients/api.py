"""Runs schemathesis against the admin API of a demo: whatever is sent, no operation fails with 5xx, and every
answer is as the API's own description says. Takes the binary; the demo is this script's, and ends with it."""

import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import urllib.request

# Their answers do not end, or end the process, or take what makes the rest of the run worth anything.
NOT_ASKED = [
    "/api/v1/events",
    "/api/v1/sessions/{id}/events",
    "/api/v1/drain",
    "/api/v1/audit/erase",
    "/api/v1/audit/key:rotate",
    "/auth/login",
    "/auth/callback",
    "/auth/cli",
    "/auth/token",
    "/auth/device",
    "/auth/device/token",
]
CHECKS = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
]
POLICY = '[[policy]]\nname = "tried"\nwhen = { path = "/nowhere" }\naction = "block"\nreason = "No."\n'


def forward(path):
    """Takes connections on loopback to a unix socket, where nobody has to log in; gives the address."""
    listener = socket.create_server(("127.0.0.1", 0))

    def pump(source, sink, at_end):
        try:
            while piece := source.recv(65536):
                sink.sendall(piece)
            sink.shutdown(at_end)
        except OSError:
            # One side has gone: neither waits for what will not come.
            for end in (source, sink):
                try:
                    end.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def serve():
        while True:
            client, _ = listener.accept()
            server = socket.socket(socket.AF_UNIX)
            server.connect(path)
            for ends in ((client, server, socket.SHUT_WR), (server, client, socket.SHUT_RDWR)):
                threading.Thread(target=pump, args=ends, daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    return "http://127.0.0.1:%d" % listener.getsockname()[1]


def ask(method, url, body=None, **fields):
    data = None if body is None else json.dumps(body).encode()
    fields = {name.replace("_", "-"): value for name, value in fields.items()}
    request = urllib.request.Request(url, data, {"content-type": "application/json", **fields}, method=method)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def fill(demo, api):
    """Something to be seen: a recorded request and a file. Gives the parameters that lead to them."""
    model = demo["gateway"] + demo["routes"]["anthropic"] + "/v1/messages"
    question = {"model": "m", "max_tokens": 8, "messages": [{"role": "user", "content": "hello"}]}
    ask("POST", model, question, authorization="Bearer " + demo["token"])
    ask("PUT", api + "/api/v1/policies.d/tried", {"toml": POLICY})
    exchanges = []
    while not exchanges:
        exchanges = ask("GET", api + "/api/v1/exchanges")["exchanges"]
    return {
        "/api/v1/sessions/{id}": ("id", exchanges[0]["session"]),
        "/api/v1/sessions/{id}/export": ("id", exchanges[0]["session"]),
        "/api/v1/requests/{id}/explain": ("id", exchanges[0]["id"]),
        "/api/v1/policies.d/{name}": ("name", "tried"),
    }


def settings(known, folder):
    """The settings of a run in which these parameters are known."""
    lines = []
    for path, (name, value) in known.items():
        parameters = f'parameters = {{ "{name}" = "{value}" }}'
        lines += ["[[operations]]", f'include-name = "GET {path}"', parameters]
    file = pathlib.Path(folder, "schemathesis.toml")
    file.write_text("\n".join(lines) + "\n")
    return str(file)


def main(binary):
    folder = tempfile.mkdtemp()
    places = {name: folder for name in ("HOME", "TMPDIR", "XDG_RUNTIME_DIR")}
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE}
    demo = subprocess.Popen([binary, "demo", "--json"], env={**os.environ, **places}, **pipes)
    try:
        ready = json.loads(demo.stdout.readline())
        api = forward(ready["admin_socket"])
        tool = [str(pathlib.Path(sys.executable).with_name("schemathesis")), "--config-file"]
        tool += [settings(fill(ready, api), folder), "run", api + "/api/v1/openapi.json"]
        tool += ["--phases", "coverage,fuzzing", "--checks", ",".join(CHECKS), "--continue-on-failure"]
        tool += ["--max-examples", "8", "--seed", "1", "--max-time", "40", "--request-timeout", "20"]
        tool += ["--request-retries", "2"]
        tool += ["--generation-database", "none", "--suppress-health-check", "all", "--no-color"]
        for path in NOT_ASKED:
            tool += ["--exclude-path", path]
        code = subprocess.run(tool, cwd=folder, check=False).returncode
        # Whatever was sent, it still serves.
        return code if ask("GET", api + "/readyz")["ready"] else 1
    finally:
        demo.terminate()
        demo.wait(timeout=60)
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
