"""What stands around the contenders: keys, certificate, an issuer of tokens, ports, the two ends of the load."""

import base64
import http.server
import json
import os
import shutil
import socket
import subprocess
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
PROXY_CPU, LOAD_CPU = "0", "1"


class Failure(Exception):
    """Something that the person who measures has to put right."""


def run(*command, **options):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, **options)
    if done.returncode:
        what = (done.stderr or done.stdout).decode(errors="replace").strip()
        raise Failure(f"{' '.join(map(str, command[:3]))} … failed: {what[-2000:]}")
    return done.stdout


def install(commands, say):
    """Installs the Debian packages of the commands that are missing."""
    missing = [package for command, package in commands if not shutil.which(command)]
    if not missing:
        return
    if not shutil.which("apt-get"):
        raise Failure(f"install {' '.join(missing)}: there is no apt-get here")
    say(f"installing {' '.join(missing)}")
    root = [] if os.geteuid() == 0 else ["sudo", "-n"]
    run(*root, "apt-get", "update", "-q")
    run(*root, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-qy", *missing)


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Keys:
    """A P-256 key and certificate for TLS, and one that signs tokens."""

    def __init__(self, directory):
        self.cert, self.key = f"{directory}/cert.pem", f"{directory}/key.pem"
        run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
            "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
            "-addext", "basicConstraints=critical,CA:FALSE", "-keyout", self.key, "-out", self.cert)
        self.both = f"{directory}/both.pem"
        with open(self.both, "w") as both:
            both.write(open(self.cert).read() + open(self.key).read())
        self.signer = f"{directory}/signer.pem"
        run("openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", self.signer)
        for path in (self.key, self.both, self.signer):
            os.chmod(path, 0o600)
        point = run("openssl", "ec", "-in", self.signer, "-pubout", "-outform", "DER")[-64:]
        self.jwk = {"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": "compare",
                    "x": base64url(point[:32]), "y": base64url(point[32:])}

    def token(self, issuer):
        now = int(time.time())
        claims = {"iss": issuer, "aud": "https://gateway.example", "sub": "agent-7", "groups": ["agents"],
                  "purpose": "measuring", "iat": now, "nbf": now, "exp": now + 3600, "jti": "compare-1"}
        parts = [{"alg": "ES256", "typ": "JWT", "kid": "compare"}, claims]
        text = ".".join(base64url(json.dumps(part).encode()) for part in parts)
        der = run("openssl", "dgst", "-sha256", "-sign", self.signer, "-out", "/dev/stdout",
                  self._file(text))
        return f"{text}.{base64url(raw_signature(der))}"

    def _file(self, text):
        path = f"{self.signer}.input"
        with open(path, "w") as file:
            file.write(text)
        return path


def raw_signature(der):
    """The two numbers of a DER signature, each in 32 bytes (RFC 7518 section 3.4)."""
    at, numbers = 2, b""
    for _ in range(2):
        length = der[at + 1]
        numbers += der[at + 2:at + 2 + length].lstrip(b"\0").rjust(32, b"\0")
        at += 2 + length
    return numbers


class Issuer:
    """Publishes one key on loopback, as OpenID Connect Discovery says."""

    def __init__(self, jwk):
        issuer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                known = {"/.well-known/openid-configuration": issuer.document, "/jwks": {"keys": [jwk]}}
                body = json.dumps(known.get(self.path, {})).encode()
                self.send_response(200 if self.path in known else 404)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.document = {"issuer": self.url, "jwks_uri": f"{self.url}/jwks"}
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


def build_peer(directory):
    """Builds the program that is upstream and load."""
    program = f"{directory}/peer"
    run("cc", "-O2", "-Wall", "-o", program, f"{HERE}/peer.c")
    return program


class Process:
    """A program that was started here; ended by its own id."""

    def __init__(self, command, cpu, log, **options):
        self.command, self.log = command, log
        with open(log, "ab") as file:
            self.child = subprocess.Popen(["taskset", "-c", cpu, *map(str, command)], stdin=subprocess.DEVNULL,
                                          stdout=file, stderr=file, **options)
        self.pid = self.child.pid
        self.stopped = False

    def pids(self):
        """The process and its children."""
        found, queue = [], [self.pid]
        while queue:
            pid = queue.pop()
            found.append(pid)
            try:
                for task in os.listdir(f"/proc/{pid}/task"):
                    with open(f"/proc/{pid}/task/{task}/children") as children:
                        queue.extend(map(int, children.read().split()))
            except FileNotFoundError:
                found.remove(pid)
        return found

    def signal(self, number):
        for pid in self.pids():
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                pass

    def await_port(self, port, seconds=15):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.child.poll() is not None:
                break
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                return
            except OSError:
                time.sleep(0.02)
        with open(self.log) as log:
            raise Failure(f"{self.command[0]} does not listen:\n{log.read()[-3000:]}")

    def end(self):
        if self.child.poll() is not None:
            return
        self.signal(18)  # SIGCONT: a stopped process does not see the next one
        self.child.terminate()
        try:
            self.child.wait(5)
        except subprocess.TimeoutExpired:
            self.signal(9)
            self.child.wait()


class Surroundings:
    """Keys, issuer and upstream in one directory."""

    def __init__(self, directory):
        self.directory, self.began = directory, time.monotonic()
        self.keys = Keys(directory)
        self.issuer = Issuer(self.keys.jwk)
        self.bearer = [f"authorization: Bearer {self.keys.token(self.issuer.url)}"]
        self.peer = build_peer(directory)
        self.upstream_port, self.secure_port = free_ports(2)
        self.taken = {self.upstream_port, self.secure_port}
        self.running = []
        self._upstream(directory)

    def _upstream(self, directory):
        upstream = Process([self.peer, "upstream", self.upstream_port], LOAD_CPU, f"{directory}/upstream.log")
        self.running.append(upstream)
        upstream.await_port(self.upstream_port)
        path = f"{directory}/secure.conf"
        with open(path, "w") as file:
            file.write(f"""
worker_processes 1; daemon off; pid {directory}/secure.pid; error_log {directory}/secure.log warn;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 1000000000; keepalive_timeout 300s; client_max_body_size 64m;
  client_body_temp_path {directory}/secure.body; proxy_temp_path {directory}/secure.temp;
  fastcgi_temp_path {directory}/secure.f; uwsgi_temp_path {directory}/secure.u; scgi_temp_path {directory}/secure.s;
  client_body_buffer_size 2m; proxy_buffering off; proxy_http_version 1.1; proxy_set_header Connection "";
  ssl_certificate {self.keys.cert}; ssl_certificate_key {self.keys.key}; ssl_protocols TLSv1.3;
  upstream plain {{ server 127.0.0.1:{self.upstream_port}; keepalive 128; keepalive_requests 1000000000; }}
  server {{ listen 127.0.0.1:{self.secure_port} ssl backlog=4096; location / {{ proxy_pass http://plain; }} }}
}}
""")
        secure = Process(["nginx", "-c", path, "-e", f"{directory}/secure.log"], LOAD_CPU,
                         f"{directory}/secure.log")
        self.running.append(secure)
        secure.await_port(self.secure_port)

    def ports(self, count):
        found = [port for port in free_ports(count + 4) if port not in self.taken][:count]
        self.taken.update(found)
        return found

    def pinned(self, command):
        """Runs a load to its end on its CPU; what it printed."""
        return run("taskset", "-c", LOAD_CPU, *map(str, command)).decode()

    def load_command(self, port, path, headers=(), **options):
        command = [self.peer, "load", "--to", f"127.0.0.1:{port}", "--path", path]
        for name, value in options.items():
            command += [f"--{name}", str(value)]
        for header in headers:
            command += ["--header", header]
        return command

    def load(self, port, path, **options):
        return json.loads(self.pinned(self.load_command(port, path, **options)))

    def end(self):
        self.issuer.server.shutdown()
        for process in self.running:
            process.end()
