"""`python -m ecot`, the same as the console script."""

from ecot.cli.main import main

if __name__ == "__main__":
    main()
