#!/usr/bin/env python3
"""Alters the folder of a closed log as somebody would who knows the format and recomputes every plain checksum. For tests.

    tamper.py HOW DATA [NUMBER]

In the first segment: alter, alter-rehashed, remove-record, swap-records, remove-commit, swap-commits (NUMBER: the commit), replace-commit
(by that of the log in the folder DATA.twin), roll-back (of so many commits). In the first run: run-alter, run-alter-rehashed,
run-remove-record, run-remove-middle, run-remove-last, run-swap, run-erase.
"""

import json
import os
import struct
import sys
import zlib

sys.dont_write_bytecode = True

import frames  # noqa: E402
import runs  # noqa: E402
from dump import Contents  # noqa: E402
from folder import Folder  # noqa: E402
from xxh3 import xxh3_64  # noqa: E402


def crc(data):
    return struct.pack("<I", zlib.crc32(data))


def split(body):
    """Frames of the records in a commit."""
    at, found = 0, []
    while at < len(body):
        end = at + frames.HEADER_FRAME + frames.body_bytes(body, at) + 4
        found.append(bytearray(body[at:end]))
        at = end
    return found


def seal(frame):
    """Recomputes a record's checksums."""
    frame[frames.HEADER:frames.HEADER_FRAME] = crc(frame[:frames.HEADER])
    frame[-4:] = crc(frame[frames.HEADER_FRAME:-4])
    return frame


def altered(frame):
    frame[-5] ^= 1
    return seal(frame)


def commit(head, records, rehash=False):
    """A commit of format 2 with the header `head` around these records: count, length, xxh3 and crc fit; with `rehash` the digest too."""
    head, body = bytearray(head), b"".join(records)
    struct.pack_into("<IIQ", head, 8 + 48, len(records), len(body), xxh3_64(body))
    if rehash:
        head[72:104] = frames.sha256(*(frames.record(frame, 0, len(frame)).digest for frame in records))
    head[-4:] = crc(head[:-4])
    whole = bytes(head) + body
    return whole + bytes(-len(whole) % frames.ALIGN)


class FirstSegment:
    def __init__(self, folder):
        self.folder, self.segment = folder, folder.segments[0]
        self.data = folder.read(self.segment.name)
        self.commits, at = [], 0
        while (head := frames.commit_head(self.data, at)) is not None:
            self.commits.append(self.data[at:at + head.bytes])
            at += head.bytes

    def parts(self, number):
        whole = self.commits[number - 1]
        head = frames.commit_head(whole)
        return whole[:head.head_bytes], split(whole[head.head_bytes:head.head_bytes + head.body_bytes])

    def write(self):
        data = b"".join(self.commits)
        write(self.folder, self.segment.name, data + bytes(self.segment.bytes - len(data)))


def write(folder, name, data):
    with open(os.path.join(folder.path, name), "wb") as file:
        file.write(data)


def write_watermark(folder, number):
    mark = b"FSw\x01" + struct.pack("<Q16sQQB", 1 << 40, folder.store, 1 << 40, number, 1)
    write(folder, "watermark", (mark + crc(mark)).ljust(4096, b"\0") * 2)


def in_segment(how, folder, number, data):
    segment = FirstSegment(folder)
    at = number - 1
    if how in ("alter", "alter-rehashed"):
        head, records = segment.parts(number)
        segment.commits[at] = commit(head, [altered(records[0]), *records[1:]], how == "alter-rehashed")
    elif how == "remove-record":
        head, records = segment.parts(number)
        segment.commits[at] = commit(head, records[:-1])
    elif how == "swap-records":
        head, records = segment.parts(number)
        for index, frame in enumerate((records[1], records[0])):
            struct.pack_into("<I", frame, 60, index)
        segment.commits[at] = commit(head, [seal(records[1]), seal(records[0]), *records[2:]])
    elif how == "remove-commit":
        del segment.commits[at]
    elif how == "swap-commits":
        segment.commits[at:at + 2] = reversed(segment.commits[at:at + 2])
    elif how == "replace-commit":
        segment.commits[at] = FirstSegment(Folder(data + ".twin")).commits[at]
    elif how == "roll-back":
        del segment.commits[-number:]
        write_watermark(folder, len(segment.commits))
    else:
        sys.exit(__doc__)
    segment.write()


def block(raw):
    head = struct.pack("<III", len(raw), len(raw), 0)
    return head + struct.pack("<Q", xxh3_64(head + raw)) + raw


def write_run(folder, entry, run, records, stubs, heads=None):
    """The run with other records: one block for each stream, stored as it is, and everything that speaks of the records to match."""
    streams = {}
    for tag, frame in records:
        stream, position = struct.unpack_from("<16sQ", frame)
        streams.setdefault(stream, []).append((position, bytes([tag]) + bytes(frame), tag, bytes(frame)))
    blocks, index, spans, blobs, at = [], [], b"", b"", len(runs.HEAD)
    for number, (stream, found) in enumerate(sorted(streams.items())):
        found.sort()
        blocks.append(block(b"".join(raw for _, raw, _, _ in found)))
        index.append(struct.pack("<16sQQI", stream, found[0][0], at, len(blocks[-1])))
        at += len(blocks[-1])
        snapshot = 0
        for position, _, tag, frame in found:
            record = frames.record(frame, 0, len(frame), erased=tag == runs.TAG_ERASED)
            snapshot = position if record.kind == frames.STREAM_TRIMMED else snapshot
            if "blob" in record.extras:
                blobs += struct.pack("<32s16sQ", record.extras["blob"][0], stream, position)
        spans += struct.pack("<16sQQQIQ", stream, found[0][0], found[-1][0], len(found), number, snapshot)
    heads = heads or header_frames(run)
    commits = b"".join(struct.pack("<H", len(head)) + head for head in heads)
    sections, data = {}, runs.HEAD

    def section(name, parts):
        nonlocal data
        parts = [part for part in parts if part]
        sections[name] = {"offset": len(data), "bytes": sum(map(len, parts)), "blocks": len(parts)}
        data += b"".join(parts)

    section("records", blocks)
    index.append(struct.pack("<16sQQI", sorted(streams)[0], 0, len(data), len(block(spans))))
    section("streams", [block(spans)])
    section("commits", [block(commits)])
    section("stubs", [stubs and block(b"".join(struct.pack("<QI32s", *stub) for stub in sorted(stubs)))])
    section("blobs", [blobs and block(blobs)])
    section("index", [block(b"".join(index))])
    counts = {"records": len(records), "streams": len(streams), "raw_bytes": sum(len(frame) for _, frame in records)}
    footer = block(json.dumps({**run.footer, **counts, "sections": sections}).encode())
    trailer = struct.pack("<QII", len(data), len(footer), 0)
    data += footer + trailer + crc(trailer) + runs.MAGIC
    write(folder, run.name, data)
    manifest = folder.read("manifest")
    said = json.loads(manifest[12:])
    for listed in said["runs"]:
        if listed["run"] == entry["run"]:
            listed["bytes"] = len(data)
    text = json.dumps(said).encode()
    write(folder, "manifest", b"FSm\x01" + struct.pack("<I", len(text)) + crc(text) + text)


def header_frames(run):
    """Of every commit, as it stands in the run."""
    found = []
    for _, _, raw in run.blocks("commits"):
        at = 0
        while at < len(raw):
            end = at + 2 + int.from_bytes(raw[at:at + 2], "little")
            found.append(raw[at + 2:end])
            at = end
    return found


def raw_records(run):
    """(tag, frame) of every record."""
    found = []
    for _, _, raw in run.blocks("records"):
        at = 0
        while at < len(raw):
            length = frames.record(raw, at + 1, len(raw), raw[at] == runs.TAG_ERASED).frame_bytes
            found.append((raw[at], bytearray(raw[at + 1:at + 1 + length])))
            at += 1 + length
    return found


def in_run(how, folder):
    entry = folder.runs[0]
    run = folder.run(entry)
    records, stubs, heads = raw_records(run), [stub for _, stub in run.stubs()], header_frames(run)
    counts = {commit.number: commit.records for _, commit in run.commits()}
    header = [frames.record(frame, 0, len(frame), tag == runs.TAG_ERASED) for tag, frame in records]

    def first(wanted):
        return next(at for at in range(1, len(records) - 1) if wanted(at))

    def alone(at):
        return counts[header[at].commit] == 1

    def stream_goes_on(at):
        return header[at - 1].stream == header[at].stream == header[at + 1].stream

    if how == "run-alter":
        altered(records[first(lambda at: header[at].payload_bytes > 0)][1])
    elif how == "run-alter-rehashed":
        at = first(lambda at: alone(at) and header[at].payload_bytes > 0)
        place = header[at].commit - run.first
        head = heads[place]
        heads[place] = commit(head, [altered(records[at][1])], rehash=True)[:len(head)]
    elif how == "run-remove-record":
        del records[first(lambda at: not alone(at) and header[at].kind >= 16)]
    elif how == "run-remove-middle":
        del records[first(lambda at: alone(at) and stream_goes_on(at))]
    elif how == "run-remove-last":
        streams = Contents(folder).streams
        parents = [stream.parent[0] for stream in streams.values() if stream.parent]
        del records[next(at for at, record in enumerate(header) if alone(at) and record.stream not in parents
                         and record.position == streams[record.stream].last)]
    elif how == "run-swap":
        at = first(lambda at: alone(at) and stream_goes_on(at) and alone(at + 1))
        for one, other in ((at, at + 1), (at + 1, at)):
            struct.pack_into("<Q", records[one][1], 16, header[other].position)
            seal(records[one][1])
    elif how == "run-erase":
        at = first(lambda at: header[at].payload_bytes > 0)
        frame = records[at][1]
        erased = frame[:frames.HEADER_FRAME] + frames.sha256(frame[frames.HEADER_FRAME:-4])
        records[at] = runs.TAG_ERASED, erased
    else:
        sys.exit(__doc__)
    write_run(folder, entry, run, records, stubs, heads)


def main():
    how, data = sys.argv[1:3]
    folder = Folder(data)
    if how.startswith("run-"):
        in_run(how, folder)
    else:
        in_segment(how, folder, int(sys.argv[3]), data)


if __name__ == "__main__":
    main()
