#!/usr/bin/env bash
# ray.init() replaces the program's handler of SIGTERM, and ray.shutdown() does not give it back.
#
# One expects a library to leave the program's signal handlers alone, or at least to restore them when it is shut down.
# Seen with ray 2.60.0 and Python 3.11 on Linux: after init, SIGTERM has a handler of Ray's, and so it has after shutdown,
# for the rest of the process; a program that cleans up on SIGTERM no longer does. SIGINT is left alone.
# Read the handler before init in the main thread, and set it again right after.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check ray==2.60.0
RAY_USAGE_STATS_ENABLED=0 "$folder/venv/bin/python" - <<'END'
import signal

import ray


def own(number, frame):
    raise SystemExit("cleaned up")


for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, own)
seen = []
for step in (lambda: ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False), ray.shutdown):
    step()
    seen.append([signal.getsignal(number) is own for number in (signal.SIGTERM, signal.SIGINT)])
print("ray", ray.__version__, "own handlers of SIGTERM and SIGINT after init:", seen[0], "after shutdown:", seen[1])
assert seen == [[False, True], [False, True]], "this has changed"
END
