"""What the scripts of this package share: argument errors and wrong input end in one line and exit code 2."""

from __future__ import annotations

import argparse


class Parser(argparse.ArgumentParser):
    """Argument errors in one line, exit code 2; no abbreviated options."""

    def __init__(self, prog: str, description: str) -> None:
        super().__init__(prog=prog, description=description, allow_abbrev=False)

    def error(self, message: str) -> None:
        self.exit(2, f"error: {message}; see {self.prog} --help\n")
