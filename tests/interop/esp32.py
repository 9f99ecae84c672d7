#!/usr/bin/env python3
"""An ESP32 on a pseudo-terminal, as far as esptool looks at it.

    esp32.py FLASH [--lines FILE] [--strapped] [--rise SECONDS]

FLASH is a file with the content of the flash. The path of the terminal is the first line on
standard output; then there is a line for everything that happens to the chip. It ends with its
standard input.

With --lines it has DTR and RTS, in the state file of the library that lends modem lines to
terminals, behind the circuit of the usual boards: RTS without DTR holds the chip in reset, DTR
without RTS pulls IO0 down. EN has a capacitor and rises --rise seconds after it is let go; IO0 is
looked at then: low leads to the boot loader. --strapped is a board whose IO0 is always low.
Without --lines the chip is in the boot loader from the start and is never reset.

Sources: the serial protocol as Espressif documents it ("Serial Protocol" in the manual of esptool),
the registers of the ESP32 Technical Reference Manual.

The chip has a speed, and bytes that go over the line at another speed are garbage, both ways.
"""

import argparse
import enum
import hashlib
import os
import select
import struct
import sys
import termios
import time
import tty
import zlib

# TIOCM_DTR and TIOCM_RTS of asm-generic/termios.h
DTR, RTS = 0x002, 0x004
ROM_SPEED = 115200
SPEEDS = {getattr(termios, name): int(name[1:]) for name in dir(termios) if name[1:].isdigit() and name[0] == "B"}
FLASH_SIZE = 4 << 20
# what the flash says to RDID: maker, type, size as a power of two
FLASH_ID = 0xEF | 0x40 << 8 | 0x16 << 16
MAGIC = 0x00F01D83
ROM_LOG = b"ets Jun  8 2016 00:22:57\r\n\r\nrst:0x1 (POWERON_RESET),boot:"
LOADER_LOG = b"0x3 (DOWNLOAD_BOOT(UART0/UART1/SDIO_REI_REO_V2))\r\nwaiting for download\r\n"
PROGRAM_LOG = b"0x13 (SPI_FAST_FLASH_BOOT)\r\nthe program in the flash runs\r\n"
SPI_CMD, SPI_USR2, SPI_W0 = 0x3FF42000, 0x3FF42024, 0x3FF42080
SPI_START = 1 << 18
UART_CLKDIV = 0x3FF40014
CRYSTAL = 40_000_000
REGISTERS = {
    0x40001000: MAGIC,
    # MAC address 24:0a:c4:12:34:56
    0x3FF5A004: 0xC4123456,
    0x3FF5A008: 0x0000240A,
    # from these two esptool reckons the crystal of 40 MHz: 800 * 15625 * 128 / 40
    0x3FF5A010: 128,
    0x3FF5F06C: 800 << 7,
}


class Command(enum.IntEnum):
    FLASH_BEGIN = 0x02
    FLASH_DATA = 0x03
    FLASH_END = 0x04
    MEM_BEGIN = 0x05
    MEM_END = 0x06
    MEM_DATA = 0x07
    SYNC = 0x08
    WRITE_REG = 0x09
    READ_REG = 0x0A
    SPI_SET_PARAMS = 0x0B
    SPI_ATTACH = 0x0D
    READ_FLASH_SLOW = 0x0E
    CHANGE_BAUDRATE = 0x0F
    DEFLATE_BEGIN = 0x10
    DEFLATE_DATA = 0x11
    DEFLATE_END = 0x12
    FLASH_MD5 = 0x13
    ERASE_FLASH = 0xD0
    ERASE_REGION = 0xD1
    READ_FLASH = 0xD2


class Failed(Exception):
    """A status other than 0."""


UNKNOWN, CHECKSUM = 0x05, 0x07


def frame(data):
    """SLIP (RFC 1055)."""
    return b"\xc0" + data.replace(b"\xdb", b"\xdb\xdd").replace(b"\xc0", b"\xdb\xdc") + b"\xc0"


def checksum(data):
    value = 0xEF
    for byte in data:
        value ^= byte
    return value


class Chip:
    def __init__(self, line, flash):
        self.line = line
        self.flash = flash
        self.power_on()

    def power_on(self):
        self.speed = ROM_SPEED
        self.stub = False
        self.registers = dict(REGISTERS)
        self.segment = None
        self.block = 0
        self.blocks = 0
        self.place = 0
        self.inflate = None
        self.packet = None
        self.escape = False
        # what a reader of the flash has not acknowledged: [offset, length, block, window, acknowledged]
        self.reading = None

    def reset(self, download):
        self.power_on()
        tell("reset", "boot loader" if download else "program")
        # whoever has another speed still, from before, does not want to read it
        self.line.send(ROM_LOG + (LOADER_LOG if download else PROGRAM_LOG), self.speed, quiet=True)

    def receive(self, data):
        """Bytes of the line, in the boot loader."""
        for byte in data:
            if byte == 0xC0:
                if self.packet:
                    self.obey(bytes(self.packet))
                self.packet = bytearray()
                self.escape = False
            elif self.packet is None:
                pass
            elif self.escape:
                self.packet.append({0xDC: 0xC0, 0xDD: 0xDB}.get(byte, byte))
                self.escape = False
            elif byte == 0xDB:
                self.escape = True
            else:
                self.packet.append(byte)

    def send(self, data):
        self.line.send(frame(data), self.speed)

    def answer(self, command, value=0, data=b"", status=0):
        # the boot loader in the ROM has two bytes more than the one that is loaded
        end = bytes([1 if status else 0, status]) + (b"" if self.stub else b"\0\0")
        self.send(struct.pack("<BBHI", 1, command, len(data) + len(end), value) + data + end)

    def obey(self, packet):
        if self.reading and len(packet) == 4:
            self.acknowledged(*struct.unpack("<I", packet))
            return
        if len(packet) < 8:
            return
        direction, number, length, check = struct.unpack("<BBHI", packet[:8])
        data = packet[8:]
        if direction != 0 or length != len(data):
            tell("bad packet", packet[:16].hex())
            return
        try:
            command = Command(number)
            if number >= 0xD0 and not self.stub:
                raise Failed(UNKNOWN)
            if command in (Command.FLASH_DATA, Command.MEM_DATA, Command.DEFLATE_DATA):
                if check & 0xFF != checksum(data[16:]):
                    tell("bad checksum")
                    raise Failed(CHECKSUM)
                length, self.block = struct.unpack("<II", data[:8])
                data = data[16 : 16 + length]
            getattr(self, command.name.lower())(command, data)
        except (ValueError, struct.error):
            tell("unknown", f"{number:#x}")
            self.answer(number, status=UNKNOWN)
        except Failed as failure:
            self.answer(number, status=failure.args[0])

    def sync(self, command, _):
        # once for each of its tries to find the speed
        for _ in range(8):
            self.answer(command, 0 if self.stub else 0x20120707)

    def read_reg(self, command, data):
        (address,) = struct.unpack("<I", data)
        value = CRYSTAL // self.speed if address == UART_CLKDIV else self.registers.get(address, 0)
        self.answer(command, value)

    def write_reg(self, command, data):
        for address, value, mask, _ in struct.iter_unpack("<IIII", data):
            old = self.registers.get(address, 0)
            self.registers[address] = old & ~mask | value & mask
        if self.registers.get(SPI_CMD, 0) & SPI_START:
            self.registers[SPI_CMD] = 0
            identify = self.registers.get(SPI_USR2, 0) & 0xFFFF == 0x9F
            self.registers[SPI_W0] = FLASH_ID if identify else 0
        self.answer(command)

    def spi_attach(self, command, _):
        self.answer(command)

    spi_set_params = spi_attach

    def mem_begin(self, command, data):
        self.segment = struct.unpack("<IIII", data)
        self.answer(command)

    def mem_data(self, command, _):
        self.answer(command)

    def mem_end(self, command, data):
        stay, entry = struct.unpack("<II", data)
        self.answer(command)
        if not stay and entry:
            self.stub = True
            tell("loaded program runs")
            self.send(b"OHAI")

    def change_baudrate(self, command, data):
        (speed, _) = struct.unpack("<II", data)
        self.answer(command)
        self.speed = speed
        tell("speed", speed)

    def flash_begin(self, command, data):
        size, self.blocks, self.block_size, self.place = struct.unpack("<IIII", data[:16])
        self.inflate = None
        self.erase(self.place, size)
        self.answer(command)

    def deflate_begin(self, command, data):
        self.flash_begin(command, data)
        self.inflate = zlib.decompressobj()

    def flash_data(self, command, data):
        self.write(self.place + self.block * self.block_size, data)
        self.answer(command)

    def deflate_data(self, command, data):
        data = self.inflate.decompress(data)
        self.write(self.place, data)
        self.place += len(data)
        self.answer(command)

    def flash_end(self, command, _):
        self.answer(command)

    deflate_end = flash_end

    def flash_md5(self, command, data):
        offset, size = struct.unpack("<II", data[:8])
        digest = hashlib.md5(self.read(offset, size))
        self.answer(command, data=digest.digest() if self.stub else digest.hexdigest().encode())

    def erase_flash(self, command, _):
        self.erase(0, FLASH_SIZE)
        self.answer(command)

    def erase_region(self, command, data):
        self.erase(*struct.unpack("<II", data))
        self.answer(command)

    def read_flash_slow(self, command, data):
        offset, length = struct.unpack("<II", data)
        self.answer(command, data=self.read(offset, length).ljust(64, b"\0"))

    def read_flash(self, command, data):
        offset, length, block, window = struct.unpack("<IIII", data)
        self.answer(command)
        self.reading = [offset, length, block, window, 0, 0]
        self.send_blocks()

    def acknowledged(self, length):
        self.reading[5] = length
        self.send_blocks()

    def send_blocks(self):
        offset, length, block, window, sent, acknowledged = self.reading
        while sent < length and sent - acknowledged < block * window:
            part = self.read(offset + sent, min(block, length - sent))
            self.send(part)
            sent += len(part)
        self.reading[4] = sent
        if acknowledged >= length:
            self.send(hashlib.md5(self.read(offset, length)).digest())
            self.reading = None

    def read(self, offset, length):
        return os.pread(self.flash, length, offset)

    def write(self, offset, data):
        tell("write", f"{offset:#x} {len(data)}")
        os.pwrite(self.flash, data, offset)

    def erase(self, offset, length):
        if length:
            tell("erase", f"{offset:#x} {length}")
            os.pwrite(self.flash, b"\xff" * length, offset)


def tell(*what):
    print(*what, flush=True)


class Line:
    """The chip's end of the line."""

    def __init__(self):
        self.far, self.near = os.openpty()
        tty.setraw(self.near)
        settings = termios.tcgetattr(self.near)
        settings[4] = settings[5] = termios.B115200
        termios.tcsetattr(self.near, termios.TCSANOW, settings)
        os.set_blocking(self.far, False)
        self.path = os.ttyname(self.near)
        self.pending = bytearray()

    def broken(self, speed):
        """Whether the other end has another speed."""
        return SPEEDS.get(termios.tcgetattr(self.near)[5]) != speed

    def garbled(self, data, speed, quiet=False):
        if not self.broken(speed):
            return data
        if not quiet:
            tell("garbage", len(data), "bytes")
        return bytes(byte ^ 0x55 for byte in data)

    def send(self, data, speed, quiet=False):
        self.pending += self.garbled(data, speed, quiet)
        self.flush()

    def flush(self):
        try:
            while self.pending:
                del self.pending[: os.write(self.far, self.pending)]
        except BlockingIOError:
            pass

    def receive(self, speed):
        try:
            return self.garbled(os.read(self.far, 65536), speed)
        except BlockingIOError:
            return b""


class Circuit:
    """DTR and RTS, and what they do to EN and IO0."""

    def __init__(self, path, strapped, rise):
        self.file = os.open(path, os.O_RDONLY)
        self.strapped = strapped
        self.rise = rise
        self.held = False
        self.let_go = None

    def look(self):
        """None: nothing happened; else a reset, and whether IO0 was low at its end."""
        lines = int.from_bytes(os.pread(self.file, 4, 0), sys.byteorder)
        dtr, rts = bool(lines & DTR), bool(lines & RTS)
        if rts and not dtr:
            self.held, self.let_go = True, None
            return None
        if not self.held:
            return None
        now = time.monotonic()
        if self.let_go is None:
            self.let_go = now
        if now - self.let_go < self.rise:
            return None
        self.held = False
        return self.strapped or (dtr and not rts)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("flash")
    parser.add_argument("--lines")
    parser.add_argument("--strapped", action="store_true")
    parser.add_argument("--rise", type=float, default=0.0)
    arguments = parser.parse_args()
    flash = os.open(arguments.flash, os.O_RDWR | os.O_CREAT, 0o600)
    os.pwrite(flash, b"\xff" * FLASH_SIZE, 0)
    line = Line()
    circuit = None
    if arguments.lines:
        lines = os.path.join(arguments.lines, "modem." + line.path.rsplit("/", 1)[1])
        with open(lines, "wb") as file:
            file.write(bytes(256))
        circuit = Circuit(lines, arguments.strapped, arguments.rise)
    chip = Chip(line, flash)
    listening = circuit is None
    print(line.path, flush=True)
    while True:
        wanted = [line.far] if line.pending else []
        readable, _, _ = select.select([line.far, sys.stdin], wanted, [], 0.002 if circuit else None)
        if sys.stdin in readable and not os.read(0, 1):
            return
        line.flush()
        if circuit is not None:
            download = circuit.look()
            if download is not None:
                listening = download
                chip.reset(download)
            elif circuit.held:
                # no power to read
                line.receive(chip.speed)
                continue
        data = line.receive(chip.speed)
        if listening and data:
            chip.receive(data)


main()
