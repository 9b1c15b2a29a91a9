"""First inferences that meet in several threads end."""

import subprocess
import sys

from tests.command import ROOT

MEET = """
import sys, threading
from ragkit.catalog import EMBEDDERS
sys.setswitchinterval(1e-6)
embedder = EMBEDDERS.load("openvino")("minilm")
threads = [threading.Thread(target=embedder.embed, args=(["some words"],)) for _ in range(6)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print("ended")
"""


def test_first_inferences_in_several_threads_do_not_wait_for_each_other_for_ever():
    for _ in range(5):
        done = subprocess.run(
            [sys.executable, "-c", MEET], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
        )
        assert done.stdout == "ended\n"
