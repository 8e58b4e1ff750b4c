"""`python -m evergreen` is the `evergreen` command."""

from evergreen.cli import main

raise SystemExit(main())
