"""`python -m exercises.grading`."""

import sys

if __name__ == "__main__":
    from .command import main

    sys.exit(main())
