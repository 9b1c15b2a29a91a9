"""Nothing phones home: the libraries' own reporting is off before they load."""

import subprocess
import sys

PROGRAM = """
import sys
import ragkit
import openvino
from openvino.tools.ovc import telemetry_utils
assert "openvino_telemetry" not in sys.modules or sys.modules["openvino_telemetry"] is None
assert "telemetry_stub" in telemetry_utils.tm.__name__, telemetry_utils.tm
print("quiet")
"""


def test_openvino_cannot_report_its_use():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert done.stdout.strip() == "quiet", done.stderr
