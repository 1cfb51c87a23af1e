"""Commits and records as docs/RECORDS.md draws them: pure functions from bytes, every checksum checked."""

import hashlib
import struct
import zlib

from xxh3 import xxh3_64

ALIGN = 8
TERMINATOR = 16
HEADER = 102
HEADER_FRAME = HEADER + 4
ZERO = bytes(32)

STREAM_TRIMMED, STREAM_DELETED = 2, 3

_RECORD = struct.Struct("<16sQ16sQHHQIq16sQHI")
_COMMIT = {1: struct.Struct("<16sQQQQIIQQ"), 2: struct.Struct("<16sQQQQIIQ32s32s")}
assert _RECORD.size == HEADER and _COMMIT[1].size == 72 and _COMMIT[2].size == 128


class Damaged(Exception):
    """What is on disk is not what was written."""


def sha256(*parts):
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.digest()


class Commit:
    """A commit's header frame."""

    __slots__ = ("format", "store", "generation", "epoch", "number", "durable_through", "records", "body_bytes",
                 "body_hash", "records_digest", "previous", "hash", "head_bytes")

    @property
    def bytes(self):
        """Length of the whole commit, padding included."""
        return -(-(self.head_bytes + self.body_bytes) // ALIGN) * ALIGN


def commit_head(data, at=0):
    """The commit header at `at`; None if there is none that checks. Says nothing about the records."""
    if bytes(data[at:at + 3]) != b"FSc" or at + 8 > len(data):
        return None
    form, length = struct.unpack_from("<HH", data, at + 4)
    if form not in _COMMIT or data[at + 3] != form or length != _COMMIT[form].size:
        return None
    end = at + 8 + length
    frame = bytes(data[at:end + 4])
    if len(frame) != length + 12 or struct.unpack_from("<I", frame, length + 8)[0] != zlib.crc32(frame[:-4]):
        return None
    commit = Commit()
    fields = _COMMIT[form].unpack_from(frame, 8)
    commit.format, commit.head_bytes = form, len(frame)
    (commit.store, commit.generation, commit.epoch, commit.number, commit.durable_through, commit.records,
     commit.body_bytes, commit.body_hash) = fields[:8]
    if form == 1:
        commit.records_digest, commit.previous = ZERO, link_of_format_1(fields[8])
        commit.hash = link_of_format_1(xxh3_64(frame))
    else:
        commit.records_digest, commit.previous = fields[8:]
        commit.hash = sha256(frame)
    return commit


def link_of_format_1(xxh3):
    return xxh3.to_bytes(8, "little") + bytes(24)


class Record:
    """A record: its header, and its body unless that was erased (then only the body's digest is left)."""

    __slots__ = ("stream", "position", "sub_stream", "sub_number", "subject", "kind", "commit", "index", "time_us",
                 "causation", "origin", "extras_bytes", "payload_bytes", "extras", "payload", "erased", "digest",
                 "frame_bytes")

    def __str__(self):
        return f"record {self.position} of stream {self.stream.hex()}"


def body_bytes(header, at=0):
    """Length of extras and payload, from a header's bytes."""
    extras, payload = struct.unpack_from("<HI", header, at + 96)
    return extras + payload


def record(data, at, end, erased=False):
    """The record whose frame begins at `at` and ends no later than `end`."""
    if at + HEADER_FRAME > end:
        raise Damaged("a record is longer than what holds it")
    header = bytes(data[at:at + HEADER])
    if struct.unpack_from("<I", data, at + HEADER)[0] != zlib.crc32(header):
        raise Damaged("the checksum of a record's header does not hold")
    found = Record()
    (found.stream, found.position, found.sub_stream, found.sub_number, found.subject, found.kind, found.commit,
     found.index, found.time_us, found.causation, found.origin, found.extras_bytes,
     found.payload_bytes) = _RECORD.unpack(header)
    found.erased = erased
    body_at = at + HEADER_FRAME
    if erased:
        if body_at + 32 > end:
            raise Damaged(f"{found}: it is longer than what holds it")
        found.frame_bytes, found.extras, found.payload = HEADER_FRAME + 32, {}, b""
        body_digest = bytes(data[body_at:body_at + 32])
    else:
        body_end = body_at + found.extras_bytes + found.payload_bytes
        if body_end + 4 > end:
            raise Damaged(f"{found}: it is longer than what holds it")
        body = bytes(data[body_at:body_end])
        if struct.unpack_from("<I", data, body_end)[0] != zlib.crc32(body):
            raise Damaged(f"{found}: the payload's checksum does not hold")
        found.frame_bytes = body_end + 4 - at
        try:
            found.extras = _extras(body[:found.extras_bytes])
        except (IndexError, UnicodeDecodeError, struct.error) as error:
            raise Damaged(f"{found}: its extras are malformed") from error
        found.payload = body[found.extras_bytes:]
        body_digest = sha256(body)
    found.digest = sha256(header, body_digest)
    return found


class _Rest:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, count):
        if self.at + count > len(self.data):
            raise IndexError("cut short")
        self.at += count
        return self.data[self.at - count:self.at]

    def number(self, count):
        return int.from_bytes(self.take(count), "little")

    def name(self):
        principal = self.take(self.number(2)).decode()
        return principal, self.take(self.number(2)).decode()


def _extras(data):
    if not data:
        return {}
    rest, extras = _Rest(data), {}
    flags = rest.number(1)
    if flags & 1:
        extras["stream"] = rest.name()
    if flags & 2:
        extras["sub_stream"] = rest.name()
    if flags & 4:
        extras["parent"] = rest.take(16), rest.number(8)
    if flags & 8:
        key, fingerprint, count = rest.take(rest.number(1)), rest.number(8), rest.number(2)
        extras["repeatable"] = key, fingerprint, [
            (rest.take(16), rest.number(8), rest.number(8)) for _ in range(count)]
    if flags & 16:
        extras["blob"] = rest.take(32), rest.number(8)
    if flags >= 32 or rest.at != len(data):
        raise IndexError("other bytes than those that the flags announce")
    return extras
