"""The benchmark of a stranger's file: what it cannot do, it says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from evergreen.settings import PROJECT


def test_a_file_that_nothing_can_be_made_of_ends_with_the_words_of_new(tmp_path: Path) -> None:
    file = tmp_path / "it.csv"
    file.write_text("a,b\n" + "1,2\n" * 30)
    command = [sys.executable, "-m", "benchmarks.first_model", str(file), "--label", "nope"]
    ended = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "no column 'nope'" in ended.stderr and "`evergreen new` ended with 1" in ended.stderr
    assert "Traceback" not in ended.stderr and "no stack wrote" not in ended.stderr
