"""`python -m mimaface_cli` and the `mimaface` command."""


def main() -> None:
    from mimaface_cli.cli.app import run

    run()


if __name__ == "__main__":
    main()
