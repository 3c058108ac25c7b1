"""What is measured: one entry a case."""

from dataclasses import dataclass

KIB, MIB = 1 << 10, 1 << 20


@dataclass(frozen=True)
class Case:
    """`path` is what the upstream is asked for, `body` what is sent (bytes), `expect` what must come back."""

    name: str
    what: str
    path: str
    expect: int = 0
    body: int = 0
    connections: int = 64
    rate: float = 0  # requests a second; 0: as many as go
    latency_rate: float = 0  # at which the added latency is taken; 0: it is not
    close: bool = False  # a connection a request
    tls: bool = False
    full: bool = False  # the full trip, for the contender that has one
    kind: str = "requests"  # requests | stream | idle | turn
    default: bool = True
    chat: bool = False  # also for gateways that know nothing but models

    @property
    def method(self):
        return "POST" if self.body else "GET"


def stream(connections, events, pause_us):
    return f"/v1/messages?events={events}&us={pause_us}"


CASES = [
    Case("small", "200 B POST, 200 B answer", "/json/200", 200, 200, latency_rate=2000),
    Case("small_2000", "the same at 2,000 a second", "/json/200", 200, 200, rate=2000, latency_rate=2000,
         default=False),
    Case("new_conn", "the same, a connection a request", "/json/200", 200, 200, close=True, latency_rate=1000),
    Case("body64k", "64 KiB answer, Content-Length", "/bytes/65536", 64 * KIB, latency_rate=1000),
    Case("chunked64k", "64 KiB answer, chunked", "/chunked/65536", 64 * KIB, latency_rate=1000),
    Case("body1m", "1 MiB answer", "/bytes/1048576", MIB, latency_rate=100, default=False),
    Case("tls_small", "small over TLS", "/json/200", 200, tls=True),
    Case("tls64k", "body64k over TLS", "/bytes/65536", 64 * KIB, tls=True),
    Case("full_small", "small, full trip", "/json/200", 200, 200, latency_rate=2000, full=True, default=False),
    Case("full_small_2000", "the same at 2,000 a second", "/json/200", 200, 200, rate=2000, latency_rate=2000,
         full=True, default=False),
    Case("full_json", "200 B POST, 64 KiB JSON, full trip", "/json/65536", 64 * KIB, 200, latency_rate=500,
         full=True),
    Case("full_1m", "200 B POST, 1 MiB JSON, full trip", "/json/1048576", MIB, 200, latency_rate=50, full=True,
         default=False),
    Case("sse_plain", "events at a pace", stream(64, 100, 20000), 0, 200, kind="stream", default=False),
    Case("full_sse", "events at a pace, full trip", stream(64, 100, 20000), 0, 200, kind="stream", full=True),
    Case("chat", "an OpenAI chat completion, full trip", "/v1/chat/completions", 0, 400, connections=4, full=True,
         default=False, chat=True),
    Case("chat_10", "the same, 10 a second", "/v1/chat/completions", 0, 400, connections=4, rate=10,
         latency_rate=10, full=True, default=False, chat=True),
    Case("idle10k", "10,000 idle connections", "/json/200", 200, 0, connections=10000, kind="idle",
         default=False),
    Case("claude_turn", "100 KB over TLS, 500 events back", stream(4, 500, 2000), 0, 100_000, connections=4,
         kind="turn", full=True, default=False),
    Case("claude_turn_1m", "1 MB over TLS, 500 events back", stream(4, 500, 2000), 0, 1_000_000, connections=4,
         kind="turn", full=True, default=False),
]
