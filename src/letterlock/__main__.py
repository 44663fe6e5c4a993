"""`python -m letterlock` is `letterlock`."""

from letterlock.cli import main

main()
