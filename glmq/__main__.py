"""`glmq`, and `python -m glmq`."""

from __future__ import annotations

import sys

from .optional_packages import missing_package


def main() -> None:
    """The command line. Where a package that it needs is missing, end with what installs it."""
    try:
        from .cli import main as run
    except ModuleNotFoundError as error:
        if (told := missing_package(error)) is None:
            raise
        print(f"glmq: error: {told}", file=sys.stderr)
        sys.exit(2)
    run()


if __name__ == "__main__":
    main()
