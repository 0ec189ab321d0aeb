"""`python -m mimaface_cli` and the `mimaface` command."""

from mimaface_cli.cli.process import main

if __name__ == "__main__":
    main()
