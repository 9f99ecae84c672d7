#!/usr/bin/env python3
"""Runs pyserial's own tests on a port.

    suite.py DIRECTORY URL [TEST...]

TESTs are names as they are told; without any, all are run. DIRECTORY is `test` of pyserial's source distribution. For each test there is a line of JSON on
standard output: "test", "outcome" (passed, failed, skipped), "text" and "seconds". What the tests
themselves print goes to standard error.
"""

import contextlib
import importlib
import json
import os
import sys
import time
import unittest


class Result(unittest.TestResult):
    """Tells each outcome as it comes."""

    def __init__(self, sink):
        super().__init__()
        self.sink = sink
        self.begun = 0.0
        self.told = False

    def startTest(self, test):
        super().startTest(test)
        self.begun = time.monotonic()
        self.told = False

    def tell(self, test, outcome, text=""):
        # a test may fail twice, in itself and when it tidies up
        if self.told:
            return
        self.told = True
        seconds = time.monotonic() - self.begun if self.begun else 0.0
        entry = {"test": test.id(), "outcome": outcome, "text": text, "seconds": seconds}
        print(json.dumps(entry), file=self.sink, flush=True)

    def addSuccess(self, test):
        self.tell(test, "passed")

    def addFailure(self, test, err):
        self.tell(test, "failed", f"{err[0].__name__}: {err[1]}")

    addError = addFailure

    def addSkip(self, test, reason):
        self.tell(test, "skipped", reason)


def main():
    directory, url, *wanted = sys.argv[1:]
    sys.path.insert(0, directory)
    names = sorted(name[:-3] for name in os.listdir(directory) if name.endswith(".py"))
    suite = unittest.TestSuite()
    for name in names:
        if not name.startswith("test"):
            continue
        module = importlib.import_module(name)
        module.PORT = url
        for case in unittest.defaultTestLoader.loadTestsFromModule(module):
            suite.addTests(test for test in case if not wanted or test.id() in wanted)
    sink = sys.stdout
    with contextlib.redirect_stdout(sys.stderr):
        suite.run(Result(sink))


main()
