#!/usr/bin/python3
"""Starts the demo under a seccomp profile in the form of container engines, and asks it something.

With the profile as it is the shards must run on io_uring, and without its three calls on epoll.
"""

import errno
import json
import os
import subprocess
import sys
import urllib.error
import urllib.request

import seccomp

COMPARE = {"SCMP_CMP_EQ": lambda one: seccomp.Arg(one["index"], seccomp.EQ, one["value"]),
           "SCMP_CMP_MASKED_EQ": lambda one: seccomp.Arg(one["index"], seccomp.MASKED_EQ, one["value"],
                                                         one["valueTwo"])}


def load(profile, without):
    """Restricts this process, and what it starts, to the profile."""
    number = lambda rule: seccomp.ERRNO(rule.get("errnoRet", errno.EPERM))
    chosen = seccomp.SyscallFilter(seccomp.ERRNO(profile["defaultErrnoRet"]))
    for rule in profile["syscalls"]:
        action = seccomp.ALLOW if rule["action"] == "SCMP_ACT_ALLOW" else number(rule)
        for name in rule["names"]:
            # A name that this architecture or library does not know is left out, as engines do.
            if name in without or seccomp.resolve_syscall(seccomp.Arch(), name) < 0:
                continue
            chosen.add_rule(action, name, *(COMPARE[one["op"]](one) for one in rule.get("args", [])))
    chosen.load()


def answers(url):
    try:
        return urllib.request.urlopen(url, timeout=20).status
    except urllib.error.HTTPError as error:
        return error.code


def check(profile, program, without, driver):
    demo = subprocess.Popen([program, "demo", "--json"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                            preexec_fn=lambda: load(profile, without), text=True)
    try:
        world = json.loads(demo.stdout.readline())
        # Without a token: the gateway itself answers.
        code = answers(world["gateway"] + "/v1/models")
        assert code in (401, 404), f"status {code}"
        status = subprocess.run([program, "status", "--json", "--admin", f"unix:{world['admin_socket']}"],
                                capture_output=True, text=True, check=True).stdout
        drivers = {shard["driver"] for shard in json.loads(status)["shards"]}
        assert drivers == {driver}, f"{drivers} instead of {driver}"
        print(f"{'without' if without else 'with'} the calls of io_uring: {driver}, and it answers")
    finally:
        demo.terminate()
        demo.wait()


def main():
    profile, program = json.load(open(sys.argv[1], encoding="utf-8")), os.path.abspath(sys.argv[2])
    calls = {"io_uring_setup", "io_uring_enter", "io_uring_register"}
    check(profile, program, set(), "io_uring")
    check(profile, program, calls, "epoll")


if __name__ == "__main__":
    main()
