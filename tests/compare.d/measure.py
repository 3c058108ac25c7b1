"""Rounds of segments: one contender runs while the others are stopped, and its CPU is read at the edges."""

import json
import os
import random
import socket
import ssl
import statistics
import subprocess
import time
from dataclasses import dataclass, field

from contenders import CONNECTIONS_MAX
from world import HERE, LOAD_CPU

LOAD_CPU_MAX, STEAL_SATURATED_MAX, STEAL_PACED_MAX, BYTES_OFF_MAX = 0.85, 0.03, 0.15, 0.01
# Longest head of an answer that any contender sends here.
HEAD_BYTES_MAX = 600
# Segments that do not count are repeated so often.
REPEATS = 1


@dataclass
class Segment:
    cpu_us: float = 0.0  # a request, an event of a stream, or a turn
    per_second: float = 0.0
    latency_us: float = None
    faults: list = field(default_factory=list)


@dataclass
class Row:
    case: str
    contender: str
    cpu_us: float
    ratio: float
    ratio_min: float
    ratio_max: float
    per_second: float
    added_p50_us: float
    rss_mib: float
    faults: list

    def as_json(self):
        rounded = lambda value, digits: None if value is None else round(value, digits)
        return {"case": self.case, "contender": self.contender, "cpu_us": rounded(self.cpu_us, 2),
                "ratio_to_nginx": rounded(self.ratio, 3), "ratio_min": rounded(self.ratio_min, 3),
                "ratio_max": rounded(self.ratio_max, 3), "per_second": rounded(self.per_second, 0),
                "added_p50_us": rounded(self.added_p50_us, 1), "rss_mib": rounded(self.rss_mib, 1),
                "faults": self.faults}


def cpu_times():
    """Busy, stolen and all ticks of the load's CPU, and stolen and all of every CPU."""
    with open("/proc/stat") as stat:
        lines = {line.split()[0]: list(map(int, line.split()[1:9])) for line in stat if line.startswith("cpu")}
    one, every = lines[f"cpu{LOAD_CPU}"], lines["cpu"]
    return sum(one) - one[3] - one[4] - one[7], sum(one), every[7], sum(every)


class Meter:
    """Runs the segments of one case."""

    def __init__(self, world, case, seconds, strict=True):
        self.world, self.case, self.seconds, self.strict = world, case, seconds, strict

    def target(self, contender):
        case = self.case
        if contender is None:
            return (self.world.secure_port if case.kind == "turn" else self.world.upstream_port), []
        own = case.full and contender.full_port != contender.port
        headers = self.world.bearer if own else contender.fields
        if case.kind == "turn":
            return contender.turn_port, headers
        return (contender.tls if case.tls else contender.full_port if case.full else contender.port), headers

    def load(self, contender, seconds, rate=0.0):
        """One run of the load; the fields of its JSON line."""
        case, (port, headers) = self.case, self.target(contender)
        if case.kind == "turn":
            return self.turns(port, headers, seconds)
        if case.tls:
            return self.wrk(port, headers, seconds)
        options = dict(connections=case.connections, seconds=seconds, body=case.body, method=case.method,
                       headers=headers, rate=rate or case.rate, expect=case.expect)
        if case.close:
            options["close"] = 1
        if case.kind == "stream":
            # The streams begin one after the other, so that their events do not come in step. Their length
            # is that of the segment.
            events = max(10, int(seconds / 0.02))
            path = case.path.replace("events=100", f"events={events}")
            options.update(rate=case.connections / 0.25, seconds=0.25, once=1)
            return self.world.load(port, path, **options)
        return self.world.load(port, case.path, **options)

    def wrk(self, port, headers, seconds):
        # wrk takes whole seconds only, and counts heads and bodies together.
        out = self.world.pinned(["wrk", "-t1", f"-c{self.case.connections}", f"-d{max(1, round(seconds))}s",
                                 "--timeout", "5s", "-s", f"{HERE}/wrk.lua",
                                 f"https://localhost:{port}{self.case.path}"])
        done = json.loads(out.splitlines()[-1])
        heads = done["bytes"] - done["requests"] * self.case.expect
        fits = 0 <= heads <= done["requests"] * HEAD_BYTES_MAX + self.case.connections * self.case.expect
        done["body_bytes"] = done["requests"] * self.case.expect if fits else done["bytes"]
        return done

    def turns(self, port, headers, seconds):
        out = self.world.pinned(["python3", f"{HERE}/turn.py", str(port), self.case.path, str(self.case.body),
                                 str(self.case.connections), f"{seconds:.2f}", self.world.keys.cert, *headers])
        return json.loads(out.splitlines()[-1])

    def segment(self, contender):
        """One segment, with the reasons why it may not count."""
        case, result = self.case, Segment()
        contender.resume()
        before, cpu = cpu_times(), contender.cpu_ns()
        done = self.load(contender, self.seconds)
        used, after = contender.cpu_ns() - cpu, cpu_times()
        contender.pause()
        contender.after_segment()
        busy, total, stolen, every = (b - a for a, b in zip(before, after))
        count = done["events"] if case.kind == "stream" else done["requests"]
        if not count:
            result.faults.append("nothing was answered")
            return result
        result.cpu_us, result.per_second = used / 1000 / count, count / done["seconds"]
        if case.kind == "stream":
            result.latency_us = done["delay_p50_us"]
        elif case.kind == "turn":
            result.latency_us = done["latency_p50_us"]
        self.judge(result, done, busy / max(total, 1), stolen / max(every, 1))
        return result

    def judge(self, result, done, load_share, steal):
        case, paced = self.case, bool(self.case.rate) or self.case.kind != "requests"
        if done["errors"]:
            result.faults.append(f"{done['errors']} errors")
        expected, got = done["requests"] * case.expect, done["body_bytes"]
        if expected and abs(got / expected - 1) > BYTES_OFF_MAX:
            result.faults.append(f"{got} bytes instead of {expected}")
        if load_share > LOAD_CPU_MAX and not paced:
            result.faults.append(f"cpu {LOAD_CPU} {load_share:.0%} busy")
        if steal > (STEAL_PACED_MAX if paced else STEAL_SATURATED_MAX):
            result.faults.append(f"{steal:.0%} of the CPU stolen")

    def latency(self, contender):
        """Median latency at a fixed rate, from the intended send."""
        if contender:
            contender.resume()
        seconds = min(1.0, self.seconds)
        done = self.load(contender, seconds, self.case.latency_rate)
        if contender:
            contender.pause()
            contender.after_segment()
        key = "delay_p50_us" if self.case.kind == "stream" else "latency_p50_us"
        return None if done["errors"] else done[key]


def run_case(world, case, make, rounds, seconds, strict, say):
    """Measures one case; a row a contender."""
    started = []
    try:
        for contender in make(case):
            started.append(contender)
            contender.start()
            contender.pause()
        if case.kind == "idle":
            return [idle_row(world, case, contender) for contender in started]
        meter = Meter(world, case, seconds, strict)
        ciphers = tls_ciphers(world, started) if case.tls else {}
        warm(world, meter, started)
        found = rows(case, meter, started, rounds, say)
        for row in found:
            # What Go chooses in TLS 1.3 cannot be configured.
            if ciphers.get(row.contender) != ciphers.get("nginx"):
                row.faults.append(f"with {ciphers[row.contender]}, not {ciphers['nginx']}")
        return found
    finally:
        for contender in started:
            contender.end()


def tls_ciphers(world, started):
    """What each agrees on with a client that prefers what wrk prefers."""
    context, found = ssl.create_default_context(cafile=world.keys.cert), {}
    for contender in started:
        contender.resume()
        raw = socket.create_connection(("127.0.0.1", contender.tls), 10)
        with context.wrap_socket(raw, server_hostname="localhost") as connection:
            found[contender.name] = connection.cipher()[0]
        contender.pause()
    return found


def warm(world, meter, started):
    if meter.case.kind == "turn":
        return
    for contender in started:
        contender.resume()
        port = contender.port if meter.case.tls else meter.target(contender)[0]
        world.load(port, meter.case.path, headers=meter.target(contender)[1], seconds=0.1, once=1)
        contender.pause()
        contender.after_segment()


def rows(case, meter, started, rounds, say):
    order, names = list(started), [contender.name for contender in started]
    segments, latencies, direct = {name: [] for name in names}, {name: [] for name in names}, []
    for number in range(rounds):
        # Each round in another order and then backwards, so that a drift hits all alike.
        if number % 2:
            order.reverse()
        else:
            random.shuffle(order)
        for contender in order:
            result = meter.segment(contender)
            for _ in range(REPEATS if meter.strict else 0):
                # A busy load says that the proxy is as fast as the load: to repeat it would not help.
                if all(fault.startswith("cpu") for fault in result.faults):
                    break
                again = meter.segment(contender)
                result = again if len(again.faults) <= len(result.faults) else result
            segments[contender.name].append(result)
        measure_latency(case, meter, order, segments, latencies, direct)
        line = "  ".join(f"{name} {segments[name][-1].cpu_us:.1f}" for name in names)
        say(f"{case.name} round {number + 1}: {line} µs")
    return [row(case, contender, segments, latencies, direct) for contender in started]


def measure_latency(case, meter, order, segments, latencies, direct):
    if not meter.strict and direct:
        return
    if case.latency_rate:
        direct.append(meter.latency(None))
        for contender in order:
            latencies[contender.name].append(meter.latency(contender))
    elif case.kind in ("stream", "turn"):
        direct.append(meter.latency(None))
        for contender in order:
            latencies[contender.name].append(segments[contender.name][-1].latency_us)


def median(values):
    values = [value for value in values if value is not None]
    return statistics.median(values) if values else None


def row(case, contender, segments, latencies, direct):
    own, base = segments[contender.name], segments.get("nginx", [])
    ratios = [a.cpu_us / b.cpu_us for a, b in zip(own, base) if a.cpu_us and b.cpu_us]
    added = [a - b for a, b in zip(latencies[contender.name], direct) if a is not None and b is not None]
    faults = sorted({fault for one in own for fault in one.faults})
    return Row(case.name, contender.name, median(one.cpu_us for one in own), median(ratios),
               min(ratios, default=None), max(ratios, default=None), median(one.per_second for one in own),
               median(added), contender.rss_mib(), faults)


def idle_row(world, case, contender):
    """Memory before and with idle connections; what one costs stands in `per_second`'s place as bytes."""
    contender.resume()
    before = contender.rss_mib()
    connections = min(case.connections, CONNECTIONS_MAX)
    command = world.load_command(contender.port, case.path, connections=connections, idle=1,
                                 expect=case.expect, seconds=60)
    load = subprocess.Popen(["taskset", "-c", LOAD_CPU, *command], stdin=subprocess.PIPE,
                            stdout=subprocess.PIPE)
    done = json.loads(load.stdout.readline())
    after = settled(contender)
    load.stdin.close()
    load.wait()
    contender.pause()
    each = (after - before) * (1 << 20) / connections
    faults = [f"{done['errors']} errors"] if done["errors"] else []
    if connections < case.connections:
        faults.append(f"{connections} connections: that is what the limit of descriptors allows")
    return Row(case.name, contender.name, None, None, None, None, None, None, after,
               faults + [f"{before:.1f} MiB before, {each:.0f} B a connection"])


def settled(contender, seconds=14.0):
    """Resident memory once it has stopped to fall: an idle connection gives its buffers back after a while."""
    end, last = time.monotonic() + seconds, contender.rss_mib()
    while time.monotonic() < end:
        time.sleep(1)
        now = contender.rss_mib()
        if now >= last - 0.1 and time.monotonic() > end - seconds / 2:
            return now
        last = now
    return last
