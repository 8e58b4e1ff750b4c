"""Change detectors of `river`, asked by line: run by `detectors`, in an environment that has river and nothing of ours.

`new adwin` begins one; each later line is a value, and is answered by 1 where the detector says that a change has come.
"""

from __future__ import annotations

import sys
from typing import Any

from river import drift  # type: ignore[import-not-found]  # stands in an environment of its own

_KINDS: dict[str, Any] = {"adwin": drift.ADWIN, "page-hinkley": drift.PageHinkley}


def main() -> None:
    """Answer until the input ends."""
    detector: Any = None
    for line in sys.stdin:
        said = line.split()
        if said[0] == "new":
            detector = _KINDS[said[1]]()
            continue
        changed = False
        for value in said:
            detector.update(float(value))
            changed |= detector.drift_detected
        print(int(changed), flush=True)


if __name__ == "__main__":
    main()
