#!/usr/bin/python3
# vm:
"""DTR and RTS rise when the first client comes. What they do when the last one leaves: as with
ser2net without the option, and as `hangup-when-done` says with it."""

from guest import Ftdi, check, connect, outputs, start_broker, start_ser2net, wait_for

usb = Ftdi(serial="H1")
CONFIG = """
connection: &usb
  accepter: tcp,127.0.0.1,3001
  connector: serialdev,{usb},9600n81{options}
connection: &uart
  accepter: tcp,127.0.0.1,3002
  connector: serialdev,/dev/vm/a,9600n81{options}
"""


def levels(lines):
    return (lines["dtr"], lines["rts"])


def after_close(start, options):
    """(DTR, RTS) of both devices when their only client has gone."""
    broker = start(CONFIG.format(usb=usb.path(), options=options))
    for name, port, path, lines in (
        ("FTDI", 3001, usb.path(), usb.lines),
        ("16550", 3002, "/dev/vm/a", lambda: outputs("a")),
    ):
        client = connect(port)
        wait_for(lambda: levels(lines()) == (True, True), 10, lambda: f"DTR and RTS on: {lines()}")
        client.close()
        wait_for(lambda: not broker.opened(path), 10, f"{name} closed")
    # the driver works on for a moment when the file is gone, but not longer than the process lives
    broker.stop()
    return {"FTDI": levels(usb.lines()), "16550": levels(outputs("a"))}


def fallen(value):
    return {"FTDI": (value, value), "16550": (value, value)}


for options in ("", ",local"):
    reference = after_close(start_ser2net, options)
    found = after_close(start_broker, options)
    print(f"9600n81{options:6} ser2net {reference}, serbroker {found}")
    check(found == reference, "serbroker leaves the lines as ser2net does")
    check(found == fallen(False), "they fall")
for options, up in ((",hangup-when-done", False), (",hangup-when-done=false", True)):
    found = after_close(start_broker, options)
    print(f"9600n81{options} serbroker {found}")
    check(found == fallen(up), f"with {options[1:]} they {'stay up' if up else 'fall'}")
