#!/usr/bin/env python3
"""Writes the folder of a log from docs/RECORDS.md and docs/FORMAT.md alone, with records that only the log itself may append. For tests.

    forge.py DATA [two-trims]

One segment: a stream that was trimmed, one that was deleted, and one that was erased while a fork continues it.
"""

import json
import os
import struct
import sys

sys.dont_write_bytecode = True

import frames  # noqa: E402
from tamper import commit, crc, seal  # noqa: E402

STORE = bytes(range(16))
SEGMENT_BYTES = 64 << 10
NOTE = 16
TRIMMED, DELETED, ERASED, FORK, BESIDE = (bytes([number]) * 16 for number in (0xA1, 0xD1, 0xE1, 0xF1, 0xF9))


def named(name):
    name = name.encode()
    return struct.pack("<HH", 0, len(name)) + name


def first(name, parent=None):
    """Extras of a stream's first record."""
    return bytes([1 | (4 if parent else 0)]) + named(name) + (struct.pack("<16sQ", *parent) if parent else b"")


class Forge:
    def __init__(self):
        self.commits, self.previous, self.positions = [], bytes(32), {}

    def add(self, *records):
        """A commit of (stream, kind, origin, extras, payload)."""
        number, found = len(self.commits) + 1, []
        for index, (stream, kind, origin, extras, payload) in enumerate(records):
            position = self.positions[stream] = self.positions.get(stream, 0) + 1
            header = struct.pack("<16sQ16sQHHQIq16sQHI", stream, position, bytes(16), 0, 0, kind, number, index,
                                 1_700_000_000_000_000 + number, bytes(16), origin, len(extras), len(payload))
            found.append(seal(bytearray(header + bytes(4) + extras + payload + bytes(4))))
        head = b"FSc\x02" + struct.pack("<HH16sQQQQIIQ32s32s", 2, 128, STORE, 1, 1, number, number - 1,
                                        0, 0, 0, bytes(32), self.previous) + bytes(4)
        self.commits.append(commit(head, found, rehash=True))
        self.previous = frames.sha256(self.commits[-1][:140])

    def note(self, stream, text, extras=b""):
        return stream, NOTE, 0, extras, text.encode()

    def trim(self, stream, name, below):
        said = {"below": below, "as_of": self.positions[stream], "time_us": 1_700_000_000_000_000, "versions": [], "subs": [],
                "views": []}
        self.add((stream, frames.STREAM_TRIMMED, below, first(name), json.dumps(said).encode()))

    def write(self, folder):
        os.makedirs(folder)

        def put(name, data):
            with open(os.path.join(folder, name), "wb") as file:
                file.write(data)

        put("slot-000001", b"".join(self.commits).ljust(SEGMENT_BYTES, b"\0"))
        mark = b"FSw\x01" + struct.pack("<Q16sQQB", 1, STORE, 1, len(self.commits), 1)
        put("watermark", (mark + crc(mark)).ljust(4096, b"\0") + bytes(4096))
        said = json.dumps({
            "format": 2, "store": list(STORE), "salt": list(STORE), "free": [], "runs": [], "origin": [0, "00" * 32],
            "slots": [{"slot": 1, "generation": 1, "base": 1, "bytes": SEGMENT_BYTES, "recycled": False}],
            "generation": 1, "run": 0, "erasing": 0}).encode()
        put("manifest", b"FSm\x01" + struct.pack("<I", len(said)) + crc(said) + said)


def main():
    forge = Forge()
    note = forge.note
    forge.add(note(TRIMMED, "one", first("trimmed")), note(TRIMMED, "two"), note(BESIDE, "stays", first("beside")))
    forge.add(note(TRIMMED, "three"))
    forge.add(note(TRIMMED, "four"))
    if "two-trims" in sys.argv:
        forge.trim(TRIMMED, "trimmed", 2)
        forge.add(note(TRIMMED, "five"))
    forge.trim(TRIMMED, "trimmed", 4)
    forge.add(note(TRIMMED, "last"))
    forge.add(note(DELETED, "one", first("deleted")), note(DELETED, "two"))
    forge.add((DELETED, frames.STREAM_DELETED, 0, b"", b""))
    forge.add(note(ERASED, "a secret", first("erased")), note(ERASED, "another"))
    forge.positions[FORK] = 1
    forge.add(note(FORK, "of the fork", first("fork", (ERASED, 1))))
    forge.add((ERASED, frames.STREAM_DELETED, 1, b"", b""))
    forge.write(os.path.join(sys.argv[1], "log"))


if __name__ == "__main__":
    main()
