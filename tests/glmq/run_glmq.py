"""The command line as it is, for terminals that run a script."""

from glmq.cli import main

if __name__ == "__main__":
    main()
