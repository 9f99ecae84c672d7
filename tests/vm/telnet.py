"""A bare telnet client with the COM port control option (RFC 2217), for cases."""

import select
import socket
import time

IAC, DONT, DO, WONT, WILL, SB, SE = 255, 254, 253, 252, 251, 250, 240
BINARY, ECHO, SGA, COM_PORT = 0, 1, 3, 44

# Limits are for failures, and the machine is as slow as its host is busy: they are this much longer.
PATIENCE = 3

SET_BAUDRATE, SET_DATASIZE, SET_PARITY, SET_STOPSIZE, SET_CONTROL = 1, 2, 3, 4, 5
NOTIFY_LINESTATE, NOTIFY_MODEMSTATE = 6, 7
SET_LINESTATE_MASK, SET_MODEMSTATE_MASK, PURGE_DATA = 10, 11, 12


class Telnet:
    """A telnet connection to a port of this machine. Agrees to binary, echo, suppress-go-ahead and,
    if com_port, to COM port control; refuses the rest.

    notices: the sub-negotiations of COM port control that came, as (time, command, payload), with
    the command as the client has it (the server's is 100 higher).
    """

    def __init__(self, port, com_port=False, seconds=10):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=seconds)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.ours = {BINARY, SGA} | ({COM_PORT} if com_port else set())
        self.told = set()
        self.pending = b""
        self.data = bytearray()
        self.notices = []
        self.agreed = set()
        self.ended = False

    def send(self, data):
        """Data, with its IAC bytes doubled."""
        self.socket.sendall(data.replace(b"\xff", b"\xff\xff"))

    def tell(self, *codes):
        """A command: IAC and these bytes."""
        self.socket.sendall(bytes([IAC, *codes]))

    def say(self, verb, option):
        # each is said once: an answer to an answer would go on for ever
        if (verb, option) not in self.told:
            self.told.add((verb, option))
            self.tell(verb, option)

    def pump(self, seconds):
        """Takes in what comes within that time, at least what is there; False when nothing came."""
        if self.ended or not select.select([self.socket], [], [], max(0, seconds))[0]:
            return False
        try:
            piece = self.socket.recv(65536)
        except ConnectionResetError:
            piece = b""
        if not piece:
            self.ended = True
        self.pending += piece
        while size := self.one():
            self.pending = self.pending[size:]
        return True

    def one(self):
        """Takes one piece from what is pending; its size, 0 if it is not whole."""
        text = self.pending
        if not text:
            return 0
        if text[0] != IAC:
            size = text.find(IAC) if IAC in text else len(text)
            self.data += text[:size]
            return size
        if len(text) < 2:
            return 0
        verb = text[1]
        if verb == IAC:
            self.data.append(IAC)
            return 2
        if verb in (DO, DONT, WILL, WONT):
            if len(text) < 3:
                return 0
            self.negotiate(verb, text[2])
            return 3
        if verb == SB:
            end = 2
            while (end := text.find(IAC, end)) >= 0 and text[end + 1 : end + 2] == b"\xff":
                end += 2
            if end < 0 or len(text) < end + 2:
                return 0
            body = text[2:end].replace(b"\xff\xff", b"\xff")
            if len(body) > 1 and body[0] == COM_PORT:
                self.notices.append((time.monotonic(), body[1] - 100, body[2:]))
            return end + 2
        return 2

    def negotiate(self, verb, option):
        if verb == DO:
            if option in self.ours:
                self.agreed.add(option)
            self.say(WILL if option in self.ours else WONT, option)
        elif verb == WILL:
            self.say(DO if option in (BINARY, ECHO, SGA) else DONT, option)

    def wait(self, condition, seconds, what):
        """Takes in what comes until condition() gives something true, and returns that."""
        end = time.monotonic() + PATIENCE * seconds
        while not (value := condition()):
            left = end - time.monotonic()
            if left <= 0 or (self.ended and not self.pending):
                state = "; the connection has ended" if self.ended else ""
                raise AssertionError(
                    f"not within {seconds} s: {what}{state}; data {bytes(self.data[-200:])!r}, "
                    f"notices {[notice[1:] for notice in self.notices[-10:]]}"
                )
            self.pump(min(left, 0.5))
        return value

    def read(self, count, seconds=10):
        """Exactly that many bytes of data."""
        self.wait(lambda: len(self.data) >= count, seconds, f"{count} bytes of data")
        data = bytes(self.data[:count])
        del self.data[:count]
        return data

    def close(self):
        self.socket.close()


class ComPort(Telnet):
    """A telnet connection on which COM port control is agreed."""

    def __init__(self, port, seconds=10):
        super().__init__(port, com_port=True, seconds=seconds)
        self.say(WILL, COM_PORT)
        self.wait(lambda: COM_PORT in self.agreed, seconds, "COM port control agreed")

    def order(self, command, payload):
        """Sends a command without waiting for its answer."""
        body = bytes([command]) + bytes(payload)
        self.socket.sendall(bytes([IAC, SB, COM_PORT]) + body.replace(b"\xff", b"\xff\xff") + bytes([IAC, SE]))

    def ask(self, command, payload, seconds=10):
        """Sends a command and returns the payload of its answer."""
        before = len(self.notices)
        self.order(command, payload)

        def answer():
            for _, got, value in self.notices[before:]:
                if got == command:
                    return (value,)
            return None

        return self.wait(answer, seconds, f"an answer to command {command}")[0]

    def control(self, value):
        """SET-CONTROL; the answer, a number."""
        return self.ask(SET_CONTROL, [value])[0]

    def baud(self, value):
        """SET-BAUDRATE (0 asks); the answer."""
        return int.from_bytes(self.ask(SET_BAUDRATE, value.to_bytes(4, "big")), "big")

    def states(self, kind=NOTIFY_MODEMSTATE):
        """What NOTIFY-MODEMSTATE (or -LINESTATE) said so far: [(time, value)]."""
        return [(at, value[0]) for at, got, value in self.notices if got == kind]
