"""`ringward mask` beside Presidio, which finds and does not even replace: the same texts, one CPU, in turn.

Presidio takes its texts one by one, as an application hands them over, and is loaded already; ringward takes all of
them from standard input, as often as it needs to run for some time, and starts anew for each round.
"""

import json
import os
import random
import resource
import statistics
import subprocess
import sys

from dataclasses import dataclass
from world import HERE, PROXY_CPU, Failure, run

PACKAGE = "presidio-analyzer==2.2.366"
PLACE = os.path.abspath(f"{HERE}/../../target/peers/presidio")
WORDS = ("the of and to in is that it was for server request response database function configure latency customer "
         "account invoice payment performance however implementation architecture therefore consider people").split()
SENSITIVE = ("4111 1111 1111 1111", "bob.smith@example.com", "(212) 555-0123", "123-45-6789", "10.11.12.13",
             "DE89 3704 0044 0532 0130 00")


@dataclass
class MaskingRow:
    case: str
    contender: str
    mb_per_second: float
    cpu_us_per_kib: float
    ratio: float
    ratio_min: float
    ratio_max: float
    found: int
    faults: list

    def as_json(self):
        return {"case": self.case, "contender": self.contender, "mb_per_second": round(self.mb_per_second, 4),
                "cpu_us_per_kib": round(self.cpu_us_per_kib, 3), "ratio_to_presidio": round(self.ratio, 1),
                "ratio_min": round(self.ratio_min, 1), "ratio_max": round(self.ratio_max, 1), "found": self.found,
                "faults": self.faults}


def sentence(chance, every):
    words = [chance.choice(WORDS) for _ in range(chance.randint(6, 20))]
    if chance.randrange(every) == 0:
        words.insert(chance.randrange(len(words)), chance.choice(SENSITIVE))
    return " ".join(words) + ".\n"


def prose(chance, size, every):
    """Texts of about a kilobyte; one of so many sentences holds a value."""
    texts = []
    while sum(map(len, texts)) < size:
        texts.append("".join(sentence(chance, every) for _ in range(12)))
    return texts


def records(chance, size):
    """Answers of an API, whose notes hold a value once in a hundred."""
    texts = []
    while sum(map(len, texts)) < size:
        customers = [{"id": chance.randrange(1 << 40), "created_at": f"2026-01-{chance.randint(10, 28)}T10:20:00Z",
                      "name": f"{chance.choice(WORDS)} {chance.choice(WORDS)}", "balance": chance.randrange(10**6) / 100,
                      "notes": sentence(chance, 100).strip()} for _ in range(6)]
        texts.append(json.dumps({"customers": customers}) + "\n")
    return texts


def deltas(chance, size):
    """What a model streams: forty bytes at a time, each with an address."""
    return [f"{chance.choice(WORDS)} {chance.choice(WORDS)} bob.{n}@example.com and so on.\n"[:48]
            for n in range(size // 48)]


# Name, what it is, texts by size, and how many bytes Presidio gets, whose speed differs that much.
CASES = [
    ("mask_text", "prose, a value in 100 sentences", lambda chance, size: prose(chance, size, 100), 256 << 10),
    ("mask_json", "answers of an API, a value in 100 records", records, 128 << 10),
    ("mask_dense", "prose, a value in each sentence", lambda chance, size: prose(chance, size, 1), 64 << 10),
    ("mask_deltas", "deltas of 40 bytes with an e-mail address", deltas, 24 << 10),
]
# Bytes that ringward gets of each: a second of work or more, so that its start does not count.
RINGWARD_BYTES = 64 << 20


class Presidio:
    def __init__(self, say):
        python = f"{PLACE}/bin/python"
        if not os.path.exists(f"{PLACE}/installed"):
            say(f"installing {PACKAGE}")
            run(sys.executable, "-m", "venv", PLACE)
            run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", PACKAGE)
            open(f"{PLACE}/installed", "w").close()
        command = ["taskset", "-c", PROXY_CPU, python, "-B", f"{HERE}/presidio_worker.py"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        say(f"presidio: {' '.join(self.answer()['recognizers'])}")

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise Failure("presidio ended early")
        return json.loads(line)

    def analyse(self, path):
        print(path, file=self.process.stdin, flush=True)
        return self.answer()

    def end(self):
        self.process.stdin.close()
        self.process.wait()


def mask(program, path, more=()):
    """Seconds and CPU seconds of one run over the file at `path`."""
    command = ["taskset", "-c", PROXY_CPU, program, "mask", *more]
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), os.times().elapsed
    with open(path, "rb") as text:
        done = subprocess.run(command, stdin=text, stdout=subprocess.PIPE if more else subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise Failure(f"{program} mask failed")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"seconds": os.times().elapsed - began, "cpu": cpu, "output": done.stdout}


def rows(directory, programs, rounds, quick, say):
    presidio = Presidio(say)
    try:
        return [row for case in CASES for row in case_rows(case, presidio, directory, programs, rounds, quick)]
    finally:
        presidio.end()


def case_rows(case, presidio, directory, programs, rounds, quick):
    name, _, make, size = case
    texts = make(random.Random(2026), size // 4 if quick else size)
    whole = "".join(texts).encode()
    repeats = max(1, (RINGWARD_BYTES // 8 if quick else RINGWARD_BYTES) // len(whole))
    paths = {kind: f"{directory}/{name}.{kind}" for kind in ("json", "once", "many")}
    with open(paths["json"], "w") as file:
        json.dump(texts, file)
    for kind, count in (("once", 1), ("many", repeats)):
        with open(paths[kind], "wb") as file:
            file.write(whole * count)
    # Compiles its expressions.
    warm = presidio.analyse(paths["json"])
    results = {"presidio": [], **{program: [] for program in programs}}
    found = {"presidio": warm["found"]}
    for program, path in programs.items():
        found[program] = mask(path, paths["once"], ["--explain"])["output"].count(b"\n")
    for _ in range(rounds):
        done = presidio.analyse(paths["json"])
        results["presidio"].append((done["seconds"] / len(whole), done["cpu"] / len(whole)))
        for program, path in programs.items():
            done = mask(path, paths["many"])
            bytes_in = len(whole) * repeats
            results[program].append((done["seconds"] / bytes_in, done["cpu"] / bytes_in))
    for path in paths.values():
        os.remove(path)
    return [row_of(name, contender, measured, results["presidio"], found[contender])
            for contender, measured in results.items()]


def row_of(name, contender, measured, baseline, found):
    """Ratios are of CPU time, which what else runs on the machine changes least."""
    ratios = [theirs[1] / ours[1] for ours, theirs in zip(measured, baseline)]
    seconds, cpu = (statistics.median(one[index] for one in measured) for index in (0, 1))
    busy = [f"waited {100 - 100 * cpu / seconds:.0f} % of the time"] if cpu < 0.9 * seconds else []
    return MaskingRow(name, contender, 1 / seconds / 1e6, cpu * 1e6 * 1024, statistics.median(ratios), min(ratios),
                      max(ratios), found, busy)


def table(all_rows):
    lines = [f"{'case':13}{'contender':12}{'MB/s':>10}{'CPU µs/KiB':>12}  {'× presidio, CPU':30}{'found':>7}"]
    for row in all_rows:
        ratio = f"{row.ratio:,.0f} ({row.ratio_min:,.0f} to {row.ratio_max:,.0f})"
        lines.append(f"{row.case:13}{row.contender:12}{row.mb_per_second:>10,.3f}{row.cpu_us_per_kib:>12,.2f}  "
                     f"{ratio:30}{row.found:>7}")
        if row.faults:
            lines.append(f"{'':25}note: {'; '.join(row.faults)}")
    return "\n".join(lines)
