"""`python -m emosae`, the same as `emosae`."""

import sys

from emosae.cli import main

sys.exit(main())
