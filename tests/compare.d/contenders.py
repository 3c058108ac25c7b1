"""The proxies that are compared, each configured as its documentation says is best, with one worker."""

import os
import resource
import shutil
import signal
import time

from world import PROXY_CPU, Failure, Process

STREAMS = "/v1/"
# A proxied connection takes two descriptors, and a proxy needs some for itself: ringward keeps 512.
CONNECTIONS_MAX = min(30000, (resource.getrlimit(resource.RLIMIT_NOFILE)[1] - 600) // 2)


class Contender:
    """One proxy before the upstream. `port` is clear text, `tls` TLS; the others are ports of the full trip."""

    name = "?"

    def __init__(self, world, directory):
        self.world, self.directory = world, directory
        os.makedirs(directory, exist_ok=True)
        self.port, self.tls, *self.more = world.ports(2 + self.extra_ports)
        self.full_port, self.turn_port = self.port, self.tls
        self.process = None

    extra_ports = 0
    # Of the process, besides what it inherits.
    environment = {}
    # Forwards nothing but requests to models.
    chat_only = False
    # Fields that its requests need.
    fields = []
    # What is asked for until it answers, and how long it may take to listen.
    ready, patience = "/json/200", 15

    def write(self, name, text, mode=0o600):
        path = f"{self.directory}/{name}"
        with open(path, "w") as file:
            file.write(text)
        os.chmod(path, mode)
        return path

    def start(self):
        self.process = Process(self.command(), PROXY_CPU, f"{self.directory}/log", cwd=self.directory,
                               env={**os.environ, **self.environment})
        self.process.await_port(self.port, self.patience)
        self.await_answer(self.port, [])

    def takes(self, case):
        """Whether it can be measured by a case."""
        return case.chat or not self.chat_only

    def await_answer(self, port, headers):
        """Some listen before they know where requests go."""
        end = time.monotonic() + 15
        while self.world.load(port, self.ready, once=1, connections=1, headers=headers)["errors"]:
            if time.monotonic() > end:
                raise Failure(f"{self.name} does not answer:\n{open(self.process.log).read()[-3000:]}")
            time.sleep(0.05)

    def pause(self):
        self.process.signal(signal.SIGSTOP)

    def resume(self):
        self.process.signal(signal.SIGCONT)

    def end(self):
        """Ends it and removes all that it wrote: the next case begins with an empty folder, above all without a
        log whose sealed segments `after_segment` took away."""
        if self.process:
            self.process.end()
        shutil.rmtree(self.directory, ignore_errors=True)

    def after_segment(self):
        """Clears what a segment leaves behind."""

    def cpu_ns(self):
        """CPU time of all threads of all processes, also those that io_uring started."""
        total = 0
        for pid in self.process.pids():
            for task in os.listdir(f"/proc/{pid}/task"):
                try:
                    with open(f"/proc/{pid}/task/{task}/schedstat") as stat:
                        total += int(stat.read().split()[0])
                except (FileNotFoundError, ProcessLookupError):
                    pass
        return total

    def rss_mib(self):
        total = 0
        for pid in self.process.pids():
            with open(f"/proc/{pid}/status") as status:
                total += sum(int(line.split()[1]) for line in status if line.startswith("VmRSS"))
        return total / 1024


class Nginx(Contender):
    """The baseline: connections to the upstream are kept, streams are not buffered, all else is nginx's own."""

    name = "nginx"
    extra_ports = 1
    buffers = ""

    def command(self):
        world, buffers = self.world, self.buffers
        locations = f"""
      location / {{ proxy_pass http://upstreams; }}
      location {STREAMS} {{ proxy_pass http://upstreams; proxy_buffering off; }}"""
        path = self.write("nginx.conf", f"""
worker_processes 1;
daemon off;
pid nginx.pid;
error_log log warn;
events {{ worker_connections {2 * CONNECTIONS_MAX}; multi_accept on; }}
http {{
  access_log off;
  client_body_temp_path body; proxy_temp_path temp; fastcgi_temp_path fast; uwsgi_temp_path uw; scgi_temp_path sc;
  client_max_body_size 64m; client_body_buffer_size 2m;
  keepalive_timeout 300s; keepalive_requests 1000000000;
  upstream upstreams {{
    server 127.0.0.1:{world.upstream_port};
    keepalive 128; keepalive_requests 1000000000; keepalive_timeout 300s;
  }}
  upstream secure {{
    server 127.0.0.1:{world.secure_port};
    keepalive 128; keepalive_requests 1000000000; keepalive_timeout 300s;
  }}
  proxy_http_version 1.1;
  proxy_set_header Connection "";
  {buffers}
  ssl_certificate {world.keys.cert}; ssl_certificate_key {world.keys.key};
  ssl_protocols TLSv1.3; ssl_session_cache shared:tls:4m;
  server {{ listen 127.0.0.1:{self.port} backlog=4096; {locations} }}
  server {{ listen 127.0.0.1:{self.tls} ssl backlog=4096; {locations} }}
  server {{
    listen 127.0.0.1:{self.more[0]} ssl backlog=4096;
    location / {{
      proxy_pass https://secure; proxy_buffering off;
      proxy_ssl_protocols TLSv1.3; proxy_ssl_session_reuse on; proxy_ssl_name localhost; proxy_ssl_server_name on;
      proxy_ssl_verify on; proxy_ssl_trusted_certificate {world.keys.cert};
    }}
  }}
}}
""")
        self.turn_port = self.more[0]
        return ["nginx", "-p", self.directory, "-c", path, "-e", f"{self.directory}/log"]


class NginxTuned(Nginx):
    """With buffers that hold the bodies of these cases, and none in a file."""

    name = "nginx_tuned"
    buffers = """proxy_buffer_size 16k; proxy_buffers 16 32k; proxy_busy_buffers_size 96k;
  proxy_max_temp_file_size 0;"""


class Haproxy(Contender):
    name = "haproxy"
    extra_ports = 1

    def command(self):
        world = self.world
        crt = f"ssl crt {world.keys.both} ssl-min-ver TLSv1.3"
        path = self.write("haproxy.cfg", f"""
global
  nbthread 1
  maxconn {CONNECTIONS_MAX}
  tune.ssl.default-dh-param 2048
defaults
  mode http
  timeout connect 5s
  timeout client 300s
  timeout server 300s
  timeout http-keep-alive 300s
  option http-no-delay
  http-reuse always
frontend plain
  bind 127.0.0.1:{self.port} backlog 4096
  bind 127.0.0.1:{self.tls} {crt} backlog 4096
  default_backend upstreams
backend upstreams
  server one 127.0.0.1:{world.upstream_port}
frontend turns
  bind 127.0.0.1:{self.more[0]} {crt} backlog 4096
  default_backend secure
backend secure
  server one 127.0.0.1:{world.secure_port} ssl verify required ca-file {world.keys.cert} sni str(localhost)
""")
        self.turn_port = self.more[0]
        return ["haproxy", "-db", "-f", path]


class Ringward(Contender):
    name = "ringward"
    extra_ports = 2

    def __init__(self, world, directory, name="ringward", binary=None):
        super().__init__(world, directory)
        self.name, self.binary = name, binary
        self.full_port, self.turn_port = self.more

    def command(self):
        world = self.world
        self.write("upstream.key", "sk-upstream-0123456789abcdef0123456789abcdef")
        tls = f'tls.cert = {{ file = "{world.keys.cert}" }}\ntls.key = {{ file = "{world.keys.key}" }}'
        inject = 'inject = { header = "x-api-key", value = "${secret:upstream}" }'
        full = """identity = ["agents"]
policies = ["no-admin", "no-purges", "default"]
masks = ["emails", "cards", "projects"]
record = { bodies = "full" }"""
        text = f"""version = 1
[runtime]
cores = 1
drain = "1s"
[[listen]]
name = "plain"
addr = "127.0.0.1:{self.port}"
[[listen]]
name = "tls"
addr = "127.0.0.1:{self.tls}"
{tls}
[[listen]]
name = "full"
addr = "127.0.0.1:{self.full_port}"
[[listen]]
name = "turn"
addr = "127.0.0.1:{self.turn_port}"
{tls}
[admin]
socket = "admin.sock"
[[identity]]
name = "agents"
issuer = "{world.issuer.url}"
audience = ["https://gateway.example"]
algorithms = ["ES256"]
require_purpose = true
[secrets.upstream]
source = {{ file = "upstream.key" }}
[upstreams.plain]
url = "http://127.0.0.1:{world.upstream_port}"
[upstreams.full]
url = "http://127.0.0.1:{world.upstream_port}"
{inject}
[upstreams.model]
url = "http://127.0.0.1:{world.upstream_port}"
protocol = "anthropic"
{inject}
[upstreams.chat]
url = "http://127.0.0.1:{world.upstream_port}"
protocol = "openai"
inject = {{ header = "authorization", value = "Bearer ${{secret:upstream}}" }}
[upstreams.turn]
url = "https://localhost:{world.secure_port}"
protocol = "anthropic"
tls.ca = {{ file = "{world.keys.cert}" }}
{inject}
[[route]]
name = "plain"
match = {{ listen = "plain" }}
identity = []
upstream = "plain"
policies = ["default"]
record = "off"
[[route]]
name = "tls"
match = {{ listen = "tls" }}
identity = []
upstream = "plain"
policies = ["default"]
record = "off"
[[route]]
name = "full"
match = {{ listen = "full" }}
upstream = "full"
commit = "written"
{full}
[[route]]
name = "chat"
match = {{ listen = "full", path = "/v1/chat/**" }}
upstream = "chat"
commit = "written"
{full}
[[route]]
name = "model"
match = {{ listen = "full", path = "/v1/**" }}
upstream = "model"
commit = "written"
{full}
[[route]]
name = "turn"
match = {{ listen = "turn" }}
upstream = "turn"
commit = "durable"
{full.replace('"no-purges"', '"no-purges", "no-drop"')}
[[policy]]
name = "no-admin"
when = {{ path = "/admin/**" }}
action = "block"
reason = "Not for agents."
[[policy]]
name = "no-purges"
when = {{ groups_any = ["interns"], method = "DELETE" }}
action = "block"
reason = "Not for interns."
[[policy]]
name = "no-drop"
when = {{ body = {{ contains_any = ["DROP TABLE", "TRUNCATE "], ignore_case = true }} }}
action = "block"
reason = "Destructive SQL needs a runbook."
[[policy]]
name = "default"
action = "allow"
[[mask]]
name = "emails"
kind = "email"
[[mask]]
name = "cards"
kind = "credit_card"
[[mask]]
name = "projects"
kind = "literals"
words = ["Project Falcon"]
replace = "[project]"
[audit]
dir = "audit"
[log]
access = "off"
level = "warn"
"""
        return [self.binary or world.binary, "run", "-c", self.write("ringward.toml", text)]

    def start(self):
        super().start()
        # The issuer's keys are fetched after the start.
        self.await_answer(self.full_port, self.world.bearer)

    def after_segment(self):
        """Removes sealed segments: a minute of whole bodies is several gigabytes."""
        audit = f"{self.directory}/audit"
        files = [f"{audit}/{name}" for name in os.listdir(audit)] if os.path.isdir(audit) else []
        files = sorted((path for path in files if os.path.isfile(path)), key=os.path.getmtime)
        for path in files[:-8]:
            if os.path.getsize(path) >= 1 << 20:
                os.unlink(path)
