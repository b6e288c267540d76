"""`python -m actkit` is `actkit`."""

from actkit.cli import main

if __name__ == "__main__":
    main()
