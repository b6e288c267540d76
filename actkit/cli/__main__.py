"""`python -m actkit.cli` is `actkit`."""

from actkit.cli import main

main()
