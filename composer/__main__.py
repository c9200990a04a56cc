"""`python -m composer` is the command `composer`."""

from composer.cli import main

main()
