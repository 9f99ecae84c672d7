#!/usr/bin/env python3
"""A pyserial session that obeys commands.

Each line of standard input is a JSON list [command, argument]. Each answer is a line with a JSON
object: "value" or "error", and "ms", the time that pyserial took.
"""

import json
import sys
import time

import serial


class Session:
    def __init__(self):
        self.port = None

    def open(self, arguments):
        """Opens {"url": ..., keyword arguments of serial_for_url}."""
        arguments = dict(arguments)
        url = arguments.pop("url")
        arguments.setdefault("timeout", 15)
        self.port = serial.serial_for_url(url, **arguments)
        return self.port.is_open

    def reopen(self, _):
        self.port.open()
        return self.port.is_open

    def close(self, _):
        self.port.close()
        return self.port.is_open

    def set(self, arguments):
        """Sets properties, in order: [[name, value], ...]."""
        for name, value in arguments:
            setattr(self.port, name, value)

    def get(self, names):
        return {name: getattr(self.port, name) for name in names}

    def write(self, data):
        return self.port.write(bytes.fromhex(data))

    def read(self, length):
        return self.port.read(length).hex()

    def flush(self, _):
        self.port.flush()

    def in_waiting(self, _):
        return self.port.in_waiting

    def reset_input_buffer(self, _):
        self.port.reset_input_buffer()

    def reset_output_buffer(self, _):
        self.port.reset_output_buffer()

    def send_break(self, seconds):
        self.port.send_break(seconds)

    def version(self, _):
        return serial.__version__


def main():
    session = Session()
    for line in sys.stdin:
        command, argument = json.loads(line)
        start = time.perf_counter()
        try:
            answer = {"value": getattr(session, command)(argument)}
        except Exception as error:  # whatever it is, the test wants to see it
            answer = {"error": f"{type(error).__name__}: {error}"}
        answer["ms"] = round((time.perf_counter() - start) * 1000, 2)
        print(json.dumps(answer), flush=True)


main()
