"""Runs Ansible's command line tools for the tests, many times a second.

Reads one JSON request a line: {"dir", "tool", "args"}, where tool is the
path of ansible-inventory or ansible. Answers one JSON line each:
{"rc", "stdout", "stderr"}. Every request runs in a fork of this process, in
which Ansible is imported already.
"""
import json
import os
import runpy
import sys
import tempfile

import ansible.release

home = tempfile.TemporaryDirectory()
config = os.path.join(home.name, "ansible.cfg")
open(config, "w").close()
for name in [n for n in os.environ if n.startswith("ANSIBLE_")]:
    del os.environ[name]
os.environ.update(
    ANSIBLE_CONFIG=config,
    ANSIBLE_DEPRECATION_WARNINGS="0",
    ANSIBLE_NOCOLOR="1",
    GOFLEET_TEST_VARIABLE="from env",
    HOME=home.name,
    COLUMNS="1000",
)

import ansible.cli.inventory  # noqa: E402  for its modules, and after the environment is set
import ansible.cli.adhoc  # noqa: E402


def run(request):
    files = [tempfile.TemporaryFile() for _ in range(2)]
    pid = os.fork()
    if pid == 0:
        rc = 1
        try:
            os.chdir(request["dir"])
            for fd, f in zip((1, 2), files):
                os.dup2(f.fileno(), fd)
            sys.stdout = open(1, "w", encoding="utf-8", closefd=False)
            sys.stderr = open(2, "w", encoding="utf-8", closefd=False)
            sys.argv = [request["tool"], *request["args"]]
            runpy.run_path(request["tool"], run_name="__main__")
            rc = 0
        except SystemExit as e:
            rc = e.code if isinstance(e.code, int) else int(e.code is not None)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(rc)
    _, status = os.waitpid(pid, 0)
    out = []
    for f in files:
        f.seek(0)
        out.append(f.read().decode("utf-8", "replace"))
    return {"rc": os.waitstatus_to_exitcode(status), "stdout": out[0], "stderr": out[1]}


print(json.dumps({"version": ansible.release.__version__}), flush=True)
for line in sys.stdin:
    print(json.dumps(run(json.loads(line))), flush=True)
