"""The PDF, which takes a while and needs XeLaTeX: built only where the environment says `CI`, as on every commit."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tools.build import STRICT

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.skipif(not os.environ.get("CI"), reason="`make pdf` builds it; here only where CI=true")
def test_the_pdf_is_built_without_a_warning_and_holds_all_code_of_the_package():
    done = subprocess.run([sys.executable, "-m", "tools.build", "pdf", *STRICT], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
