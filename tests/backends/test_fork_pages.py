"""A fork server's memory is put into huge pages, and nothing in it changes."""

import platform
import re
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import gc
from ecot.backends.sandbox import fork_pages

def huge():
    lines = open("/proc/self/smaps_rollup").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("AnonHugePages"))

objects = [(number, str(number), bytes(1000)) for number in range(20_000)]
before = huge()
told = fork_pages.collapse()
grown = huge() - before
assert all(item == (number, str(number), bytes(1000)) for number, item in enumerate(objects))
fork_pages.collapse()  # once more does no harm
assert all(item == (number, str(number), bytes(1000)) for number, item in enumerate(objects))
print(told, grown // 2048)
"""


def test_what_is_allocated_is_collapsed_and_stays_as_it_was():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    told, grown = map(int, done.stdout.split())
    kernel = tuple(int(part) for part in re.findall(r"\d+", platform.release())[:2])
    supported = kernel >= (6, 1) and Path("/sys/kernel/mm/transparent_hugepage").exists()
    # How much depends on how much memory lies together. What was huge before is told too.
    assert (told > 0) == supported and grown <= told
